"""Run seeds, one here or many on all cores: each has its outcome, and they come in seed order.

Rules kept here: an outcome depends on the seed alone, never on the process it ran in or on what ran
there before; a failing seed says which invariant broke and how to see its history again.
"""

import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from tests.simulation.world import World
from wire import checking, keys, trust

# Seeds handed to a process at once: a second of work, so the cores end at the same time.
SHARE = 8
SIGNATURES_MAX = 4_096  # more than a seed makes
GC_THRESHOLD = 50_000  # a world is thousands of objects that live as long as it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one seed ended."""

    seed: int
    digest: str = ""
    events: int = 0
    failure: str = ""  # begins with the invariant's number, or with the name of an error
    cpu_s: float = 0.0

    def __str__(self) -> str:
        if not self.failure:
            return f"seed {self.seed} {self.digest} {self.events} events"
        return f"seed {self.seed} FAILED: {self.failure}\n    {replay_command(self.seed)}"


def replay_command(seed: int) -> str:
    """What to type to see one seed again."""
    return f"./run simulate --seeds 1 --from {seed} --trace"


def run_seed(seed: int, show: Callable[[str], None] | None = None) -> tuple[str, int]:
    """One seed's digest and number of events.

    Args:
        seed: which.
        show: is given every line of its history.

    Raises:
        Violation: an invariant does not hold.
    """
    world = World(seed, show)
    try:
        return world.run(), world.schedule.events
    finally:
        world.close()


def outcome(seed: int, show: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed, whatever becomes of it."""
    began_s = time.process_time()
    try:
        digest, events = run_seed(seed, show)
    except Exception as error:  # noqa: BLE001  # any end of a seed is told, then the next runs
        name = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return Outcome(seed=seed, failure=f"{name}{error}")
    cpu_s = time.process_time() - began_s
    return Outcome(seed=seed, digest=digest, events=events, cpu_s=cpu_s)


def cores() -> int:
    """How many processes can run at the same time on this machine."""
    return len(os.sched_getaffinity(0))


def outcomes(seeds: range) -> Iterator[Outcome]:
    """The outcomes of all seeds in their order, run on every core."""
    # Not forked: whatever threads and connections this process has stay its own.
    context = multiprocessing.get_context("spawn")
    processes = min(cores(), -(-len(seeds) // SHARE))
    with ProcessPoolExecutor(processes, context, prepare) as pool:
        yield from pool.map(outcome, seeds, chunksize=SHARE)


def prepare() -> None:
    """Make this process ready for many seeds."""
    # Whether a signature is good depends on its bytes alone: a replay costs no second 45 us.
    for user in (checking, trust):
        vars(user)["verifies"] = lru_cache(SIGNATURES_MAX)(keys.verifies)
    logging.disable()  # the parties' own warnings are what faults look like
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)

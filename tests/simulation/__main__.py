"""`python -m tests.simulation --seeds N --from S [--trace]`: run seeds, say how fast, show one."""

import argparse
import logging
import sys
import time
import traceback

from tests.simulation.world import World


def replay_command(seed: int) -> str:
    """What to type to see one seed again."""
    return f"python -m tests.simulation --from {seed} --seeds 1 --trace"


def run_seed(seed: int, *, is_shown: bool = False) -> tuple[str, int]:
    """One seed's digest and number of events.

    Raises:
        Violation: an invariant does not hold.
    """
    world = World(seed, print if is_shown else None)
    try:
        return world.run(), world.schedule.events
    finally:
        world.close()


def main() -> int:
    """Run the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first")
    parser.add_argument("--trace", action="store_true", help="print every line of the history")
    asked = parser.parse_args()
    logging.disable()  # the parties' own warnings are what faults look like
    started_s = time.perf_counter()
    failed = []
    for seed in range(asked.first, asked.first + asked.seeds):
        try:
            digest, events = run_seed(seed, is_shown=asked.trace)
            print(f"seed {seed} {digest} {events} events")
        except Exception as error:  # noqa: BLE001  # any end of a seed is told, then the next runs
            failed.append(seed)
            if asked.trace:
                traceback.print_exc()
            print(f"seed {seed} FAILED: {type(error).__name__}: {error}")
            print(f"    {replay_command(seed)}")
    took_s = time.perf_counter() - started_s
    print(f"{asked.seeds} seeds, {len(failed)} failed, {asked.seeds / took_s:.1f} seeds/s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`./run simulate --seeds N --from S [--trace]`: run seeds on all cores, say how fast; show one."""

import argparse
import sys
import time

from tests.simulation.seeds import Outcome, cores, outcome, outcomes, prepare


def positive(text: str) -> int:
    """A number of seeds."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} seeds cannot be run: one is the least")
    return number


def main() -> int:
    """Run the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="./run simulate", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=200, help="how many (200)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first (0)")
    parser.add_argument("--trace", action="store_true", help="print every line of each history")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    started_s = time.perf_counter()
    if asked.trace or len(seeds) == 1:
        prepare()
        ran = (outcome(seed, print if asked.trace else None) for seed in seeds)
    else:
        ran = outcomes(seeds)
    done = []
    for one in ran:
        print(one, flush=True)
        done.append(one)
    print(summary(done, time.perf_counter() - started_s))
    return 1 if any(one.failure for one in done) else 0


def summary(done: list[Outcome], took_s: float) -> str:
    """How many, how many failed, how large they are, how fast they went."""
    failed = [one for one in done if one.failure]
    events = sorted(one.events for one in done if not one.failure)
    median = events[len(events) // 2] if events else 0
    cpu_s = sum(one.cpu_s for one in done)
    per_core = (len(done) - len(failed)) / cpu_s if cpu_s else 0.0
    return (
        f"{len(done)} seeds, {len(failed)} failed, median {median} events;"
        f" {per_core:.1f} seeds/s per core, {took_s:.1f} s on {cores()} cores"
    )


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.reliability [matrix] --hits N` and `... chaos --payments N --kills N`."""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path

from tests.reliability.chaos import ChaosPlan, run_chaos
from tests.reliability.matrix import Kill, Matrices, Outcome, Restart
from tests.reliability.points import POINTS, Point

DISK = "/var/tmp"  # noqa: S108  # unlike /tmp it is never a RAM disk; a folder is made in it
METERS_PER_HIT = 500  # of each agent; one kill takes 2 to 30 consumers


def main() -> int:
    """Run what was asked for; 1 if anything was lost or happened twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    what = parser.add_subparsers(dest="what")
    matrix = what.add_parser("matrix", help="kill each process at each point")
    for one in (parser, matrix):
        one.add_argument("--hits", type=int, default=1, help="die at the first to N-th time")
        one.add_argument("--points", nargs="*", default=[one.name for one in POINTS])
    chaos = what.add_parser("chaos", help="kill the broker under payments")
    chaos.add_argument("--payments", type=int, default=5_000)
    chaos.add_argument("--kills", type=int, default=20)
    chaos.add_argument("--rate", type=float, default=60.0, help="webhooks a second")
    chaos.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="relight-reliability-", dir=DISK) as folder:
        if asked.what == "chaos":
            return _chaos(Path(folder), asked)
        points = [one for one in POINTS if one.name in asked.points]
        return _matrix(Path(folder), points, asked.hits)


def _matrix(folder: Path, points: list[Point], hits: int) -> int:
    matrices = Matrices(folder, meters=METERS_PER_HIT * hits)
    failed = 0
    started_s = time.monotonic()
    try:
        for restart in Restart:
            print(f"\nrestart {restart}\n{_row('point', 'hit', *_COLUMNS)}")
            for point, hit in product(points, range(1, hits + 1)):
                kill = Kill(point=point, hit=hit, restart=restart, is_hurried=False)
                failed += not _told(matrices, kill)
    finally:
        matrices.end()
    count = len(points) * hits * len(Restart)
    took_s = time.monotonic() - started_s
    print(f"\n{count} kills, {failed} failed, {took_s:.0f} s")
    return 1 if failed else 0


_COLUMNS = ("payments", "commands", "unfinished", "repeated", "rest_ms")


def _row(*cells: object) -> str:
    return " ".join(f"{cell!s:>10}" for cell in cells)


def _told(matrices: Matrices, kill: Kill) -> bool:
    """One kill and its line; whether all demands held."""
    try:
        outcome: Outcome = matrices.ready().run(kill)
    except AssertionError as error:
        print(_row(kill.point.name, kill.hit), f"FAILED: {error}", flush=True)
        return False
    figures = asdict(outcome)
    print(_row(kill.point.name, kill.hit, *(figures[one] for one in _COLUMNS)), flush=True)
    return True


def _chaos(folder: Path, asked: argparse.Namespace) -> int:
    plan = ChaosPlan(
        payments=asked.payments, kills=asked.kills, rate_per_s=asked.rate, seed=asked.seed
    )
    try:
        figures = run_chaos(folder / "installation", plan)
    except AssertionError as error:
        print(f"FAILED: {error}")
        return 1
    for name, value in asdict(figures).items():
        print(f"{name:>20} {value}")
    print("nothing lost, nothing twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""I14: the same seed has the same history, whatever the order of Python's sets."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = 12  # more than one process takes at once, so the pool is in it


def digests(hash_seed: str, first: int, seeds: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--from", str(first)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^seed \d+ ([0-9a-f]{32}) ", done.stdout, re.MULTILINE)


def test_same_seed_has_the_same_history_under_any_hash_seed_and_in_any_process() -> None:
    # The pool's processes have run other seeds before; a seed alone is run by the first process.
    together = digests("1", 3, SEEDS)
    assert len(together) == SEEDS
    assert len(set(together)) == SEEDS
    assert digests("4711", 3, SEEDS) == together
    assert digests("random", 3 + SEEDS - 1, 1) == together[-1:]

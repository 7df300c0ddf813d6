"""I14: the same seed has the same history, whatever the order of Python's sets."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = 3  # two seconds each time; every process makes its keys, files and template anew


def digests(hash_seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS), "--from", "3"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^seed \d+ ([0-9a-f]{32}) ", done.stdout, re.MULTILINE)


def test_same_seed_has_the_same_history_under_any_hash_seed() -> None:
    first = digests("1")
    assert len(first) == SEEDS
    assert len(set(first)) == SEEDS
    assert digests("4711") == first

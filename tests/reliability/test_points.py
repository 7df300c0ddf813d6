"""The table of the points is whole, true of the code, and what docs/reliability.md prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.points import POINTS
from tests.reliability.steering import Steering

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
NAMED = [f"G{one}" for one in range(1, 7)] + [f"E{one}" for one in range(1, 11)]
NAMED += [f"A{one}" for one in range(1, 9)]


def test_all_twenty_four_named_points_are_in_the_table_once():
    names = [one.name for one in POINTS]
    assert [one for one in names if one in NAMED] == NAMED
    assert len(names) == len(set(names))


def test_reliability_page_prints_the_table_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    row = re.compile(r"^\| ([GEA]\d+\+?) \| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
    table = [(one.name, one.place, one.on_disk, one.not_yet) for one in POINTS]
    assert [tuple(cell.strip() for cell in cells) for cells in row.findall(page)] == table


@pytest.mark.parametrize("part", ["intake", "engine", "agent"])
def test_every_point_names_a_function_of_the_product(part, tmp_path):
    """The launcher wraps them all before the command runs; `--help` is enough to see that."""
    Steering(tmp_path / "page")
    script = "relight-agent" if part == "agent" else "relight"
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.crashing", str(tmp_path / "page"), part,
         "--", script, "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_page_carries_clock_and_point_to_whoever_maps_it(tmp_path):
    mine, theirs = Steering(tmp_path / "page"), Steering(tmp_path / "page")
    assert (theirs.ahead_ms, theirs.armed, theirs.died) == (0, ("", 0), ("", 0))
    mine.jump(1_000)
    mine.jump(500)
    mine.arm("E10", 3)
    assert (theirs.ahead_ms, theirs.armed) == (1_500, ("E10", 3))
    theirs.note_death("E10", 77)
    assert mine.died == ("E10", 77)
    mine.disarm()
    assert theirs.armed == ("", 0)
    mine.arm("A1", 1)
    assert mine.died == ("", 0)

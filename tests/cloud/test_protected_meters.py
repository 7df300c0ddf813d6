"""Meters whose supply is never taken away, as the meters file says it (I11)."""

import pytest
from sqlalchemy import select

from cloud.imports import import_file
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import meters
from tests.cloud.engine_world import World

HEADER = "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer"


def given(world: World, protected: str | None) -> list[str]:
    """Import M-1 with this cell, or without the column; what was wrong."""
    header = HEADER if protected is None else f"{HEADER},protected"
    cells = "M-1,A-1,AG-1,2022-05-10,2022-05-11,F-1,T-1"
    row = cells if protected is None else f"{cells},{protected}"
    path = world.path.parent / "meters.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    report = import_file(
        world.store, "meters", path, now_ms=world.now_ms, is_dry_run=False,
        policy=MP_WEST_FIRST_PHASE,
    )  # fmt: skip
    return [one.reason for one in report.bad]


@pytest.mark.parametrize(("then", "is_protected"), [(None, 1), ("", 1), ("yes", 1), ("no", 0)])
def test_protected_meter_stays_so_until_a_file_says_no(world: World, then, is_protected):
    assert given(world, "yes") == []
    assert given(world, then) == []
    assert world.value(select(meters.c.is_protected)) == is_protected


def test_meter_is_not_protected_unless_a_file_says_so(world: World):
    assert given(world, None) == []
    assert world.value(select(meters.c.is_protected)) == 0


def test_word_that_is_neither_yes_nor_no_is_refused(world: World):
    assert given(world, "Y") == ["is neither yes nor no"]

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from cloud.doctor import clocks
from cloud.doctor.findings import Code, Finding, Note, NotProven
from cloud.schema import agents, spools
from tests.cloud.doctor.conftest import MADE_AT_MS
from tests.cloud.doctor.test_registry import write

SECOND_MS = 1_000


def test_clock_behind_the_newest_row_of_the_ledger_is_found(folder, subject):
    write(folder, insert(agents).values(agent_id="A1", heard_at_ms=MADE_AT_MS))
    for later_s, expected in ((-60, []), (-61, [Code.CLOCK_BEHIND_LEDGER])):
        behind = subject(later_ms=later_s * SECOND_MS)
        assert [one.code for one in clocks.is_not_behind_the_ledger(behind)] == expected


def test_watermark_from_the_future_is_found(folder, subject):
    values = {"intake": "INTAKE-1", "spool": b"12345678", "first_seen_at_ms": MADE_AT_MS}
    write(folder, insert(spools).values(watermark_at_ms=MADE_AT_MS + 60_000, **values))
    assert clocks.watermarks_are_not_ahead(subject(later_ms=0)) == []
    write(folder, update(spools).values(watermark_at_ms=MADE_AT_MS + 61_000))
    (remark,) = clocks.watermarks_are_not_ahead(subject(later_ms=0))
    assert remark.code is Code.WATERMARK_AHEAD


@pytest.mark.parametrize(
    ("says", "is_inside", "kind"),
    [
        (True, True, None),
        (False, False, Finding),
        (False, True, NotProven),
        (None, False, NotProven),
    ],
)
def test_word_of_the_kernel_counts_where_it_speaks_of_this_host(
    monkeypatch, subject, says, is_inside, kind
):
    monkeypatch.setattr(clocks, "kernel_is_synchronised", lambda: says)
    monkeypatch.setattr(clocks, "in_container", lambda: is_inside)
    remarks = clocks.is_synchronised(subject(is_production=True))
    assert [type(one) for one in remarks] == ([] if kind is None else [kind])
    assert all(one.code is Code.CLOCK_UNSYNCHRONISED for one in remarks if kind is Finding)


def test_clock_of_a_developers_machine_that_nobody_sets_is_a_note(monkeypatch, subject):
    monkeypatch.setattr(clocks, "kernel_is_synchronised", lambda: False)
    monkeypatch.setattr(clocks, "in_container", lambda: False)
    (remark,) = clocks.is_synchronised(subject())
    assert isinstance(remark, Note)


def test_container_is_told_by_its_marks(monkeypatch, tmp_path):
    monkeypatch.setattr(clocks, "_CONTAINER_MARKS", (str(tmp_path),))
    assert clocks.in_container()
    monkeypatch.delenv("container", raising=False)
    monkeypatch.setattr(clocks, "_CONTAINER_MARKS", ())
    first = Path("/proc/1/comm")
    is_host = not first.exists() or first.read_text().strip() in ("systemd", "init")
    assert clocks.in_container() is not is_host


def test_kernel_that_is_asked_answers_or_says_it_cannot():
    assert clocks.kernel_is_synchronised() in (True, False, None)


def test_boot_clock_that_is_missing_or_stands_still_is_found(subject, monkeypatch):
    monkeypatch.setattr(clocks.time, "clock_gettime", lambda _: -1_000_000.0)
    (remark,) = clocks.boot_clock_goes_on(subject())
    assert remark.code is Code.BOOT_CLOCK_MISSING
    monkeypatch.delattr(clocks.time, "CLOCK_BOOTTIME")
    (remark,) = clocks.boot_clock_goes_on(subject())
    assert remark.code is Code.BOOT_CLOCK_MISSING

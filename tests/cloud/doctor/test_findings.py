"""Every finding has a cure, and stands in the operators' page."""

import json
import re
from pathlib import Path

import pytest

from cloud.doctor.examination import BROKER_CHECKS, CHECKS, COPY_CHECKS
from cloud.doctor.findings import (
    CURES,
    Code,
    Examined,
    Finding,
    Measured,
    Note,
    NotProven,
    Report,
)

ROOT = Path(__file__).parents[3]
REPORT = Report(
    (
        Examined("a", "all is well", []),
        Examined("b", "all is well", [Measured("3 ms")]),
        Examined("c", "all is well", [Finding(Code.DISK_LOW, "1 GiB"), Note("elsewhere 2")]),
        Examined("d", "all is well", [NotProven("nobody there", "go there")]),
    )
)


@pytest.mark.parametrize("code", Code)
def test_code_stands_in_the_operators_page_with_its_cure(code):
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"| `{code}` |" in page
    assert CURES[code] in page


def test_every_code_is_found_by_a_test():
    tests = [
        path.read_text(encoding="utf-8")
        for path in (*Path(__file__).parent.glob("test_*.py"), *ROOT.glob("tests/broker/*doctor*"))
        if path.name != Path(__file__).name
    ]
    missing = [one for one in Code if not any(f"Code.{one.name}" in text for text in tests)]
    assert missing == []


def test_checks_have_names_of_their_own():
    names = [one.name for one in (*BROKER_CHECKS, *CHECKS)] + [name for name, *_ in COPY_CHECKS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z-]+", one) for one in names)


def test_report_has_one_line_for_what_is_good_and_one_for_each_remark():
    assert [line for one in REPORT.examined for line in one.lines()] == [
        "good        a: all is well",
        "good        b: all is well (3 ms)",
        f"FINDING     disk_low: 1 GiB. Cure: {CURES[Code.DISK_LOW]}",
        "note        c: elsewhere 2",
        "not proven  d: nobody there. To prove it: go there",
    ]
    assert REPORT.summary() == "4 checks, 1 findings, 1 not proven"


def test_report_for_programs_says_the_same():
    told = json.loads(REPORT.json())
    assert (told["findings"], told["not_proven"], len(told["checks"])) == (1, 1, 4)
    assert told["checks"][2]["remarks"][0] == {
        "finding": "disk_low",
        "text": "1 GiB",
        "cure": CURES[Code.DISK_LOW],
    }

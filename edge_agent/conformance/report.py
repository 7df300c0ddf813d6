"""The table of a conformance run: for people, and as JSON for a build that must fail."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from edge_agent.conformance.case import Case


class Verdict(StrEnum):
    """How a row ended."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table; `found` says what was seen instead, of a row that failed."""

    name: str
    rule: str
    sent: str
    seen: str
    verdict: Verdict
    found: str
    took_ms: int


def row(case: Case, found: str, took_ms: int) -> Row:
    """The row of a case; it failed if something else was found."""
    return Row(
        name=case.name,
        rule=case.rule,
        sent=case.sent,
        seen=case.seen,
        verdict=Verdict.FAILED if found else Verdict.PASSED,
        found=found,
        took_ms=took_ms,
    )


def line(one: Row) -> str:
    """A row for people; one that failed says what was sent, what must be seen and what was."""
    first = f"{one.verdict:6}  {one.name:52} {one.rule:16} {one.took_ms / 1_000:6.2f} s"
    if one.verdict is Verdict.PASSED:
        return first
    return (
        f"{first}\n        sent:  {one.sent}\n        must:  {one.seen}\n        found: {one.found}"
    )


def summary(rows: Sequence[Row]) -> str:
    """The last line."""
    passed = sum(one.verdict is Verdict.PASSED for one in rows)
    took_s = sum(one.took_ms for one in rows) / 1_000
    return f"{passed} of {len(rows)} rows passed in {took_s:.0f} s"


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows for a program."""
    return [asdict(one) for one in rows]

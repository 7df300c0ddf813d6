"""The one pure function that decides: every reason, and what no facts may ever lead to (I10)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rules import DAY_MS, MP_WEST_FIRST_PHASE, Conclusion, Reason, Situation, decide
from cloud.spelling import parse_day, parse_instant
from cloud.vocabulary import CutBy, LockKind, Verdict

NOW_MS = parse_instant("2026-11-02 11:51")
PAID = Situation(
    episode_id=1,
    account_id="A-1",
    meter_id="M-1",
    cut_at_ms=NOW_MS - DAY_MS,
    cut_by=CutBy.REMOTE,
    is_ended=False,
    quote_paise=214_250,
    credited_paise=214_250,
    locks=frozenset({LockKind.NON_PAYMENT}),
    installed_at_ms=parse_day("2022-05-10"),
    mapped_account_id="A-1",
    mapped_at_ms=parse_day("2022-05-11"),
)
OTHER_LOCKS = sorted(set(LockKind) - {LockKind.NON_PAYMENT})


def judge(situation: Situation, now_ms: int = NOW_MS) -> Conclusion:
    return decide(situation, MP_WEST_FIRST_PHASE, now_ms=now_ms)


AGAINST: list[tuple[Reason, dict[str, object]]] = [
    (Reason.ALREADY_CLOSED, {"is_ended": True}),
    (Reason.ARMED, {"is_armed": True}),
    (Reason.NO_QUOTE, {"quote_paise": None}),
    (Reason.SHORT, {"credited_paise": 0}),
    (Reason.OTHER_LOCK, {"locks": frozenset({LockKind.NON_PAYMENT, LockKind.THEFT})}),
    (Reason.NOT_CUT_REMOTELY, {"cut_by": CutBy.POLE}),
    (Reason.OUTSIDE_PHASE, {"installed_at_ms": parse_day("2025-01-01")}),
    (Reason.OUTSIDE_PHASE, {"installed_at_ms": parse_day("2020-01-01") - 1}),
    (Reason.MAPPING_CHANGED, {"mapped_account_id": "A-2"}),
    (Reason.MAPPING_CHANGED, {"mapped_at_ms": PAID.cut_at_ms + 1}),
    (Reason.OFF_TOO_LONG, {"cut_at_ms": NOW_MS - 180 * DAY_MS - 1}),
    (Reason.METER_REFUSED, {"meter_refused_because": "load_voltage"}),
]


def test_covered_quote_with_nothing_else_against_it_closes():
    assert judge(PAID) == Conclusion(verdict=Verdict.CLOSE, reasons=(Reason.QUOTE_COVERED,))


@pytest.mark.parametrize(("reason", "facts"), AGAINST)
def test_each_reason_alone_keeps_the_relay_open(reason: Reason, facts: dict[str, object]):
    conclusion = judge(replace(PAID, **facts))  # type: ignore[arg-type]
    assert (conclusion.verdict, conclusion.reasons) == (Verdict.NONE, (reason,))


def test_every_reason_has_a_case():
    assert {reason for reason, _ in AGAINST} | {Reason.QUOTE_COVERED} == set(Reason)


def test_all_reasons_are_told_not_only_the_first():
    both = replace(PAID, credited_paise=0, cut_by=CutBy.POLE)
    assert judge(both).reasons == (Reason.SHORT, Reason.NOT_CUT_REMOTELY)


@pytest.mark.parametrize("day", ["2020-01-01", "2024-12-31"])
def test_first_and_last_day_of_the_phase_belong_to_it(day: str):
    assert judge(replace(PAID, installed_at_ms=parse_day(day))).verdict is Verdict.CLOSE


def test_exactly_180_days_without_light_is_not_too_long():
    assert judge(replace(PAID, cut_at_ms=NOW_MS - 180 * DAY_MS,
                         mapped_at_ms=0)).verdict is Verdict.CLOSE  # fmt: skip


@pytest.mark.parametrize(("missing", "verdict"), [(100, "close"), (101, "none")])
def test_tolerance_is_exactly_one_rupee(missing: int, verdict: str):
    conclusion = judge(replace(PAID, credited_paise=214_250 - missing))
    assert conclusion.verdict == verdict
    assert conclusion.short_by_paise == (0 if verdict == "close" else missing)


@given(
    locks=st.frozensets(st.sampled_from(sorted(LockKind))),
    credited=st.integers(min_value=-(2**40), max_value=2**40),
    quote=st.none() | st.integers(min_value=1, max_value=2**40),
    cut_by=st.sampled_from(sorted(CutBy)),
    is_armed=st.booleans(),
)
def test_nothing_closes_with_another_lock_or_too_little_money(
    locks: frozenset[LockKind],
    credited: int,
    quote: int | None,
    cut_by: CutBy,
    is_armed: bool,  # noqa: FBT001  # drawn by hypothesis
):
    """I10: whatever was paid, no payment clears a lock other than non-payment."""
    money = {"quote_paise": quote, "credited_paise": credited}
    facts = {"locks": locks, "cut_by": cut_by, "is_armed": is_armed}
    conclusion = judge(replace(PAID, **money, **facts))  # type: ignore[arg-type]
    may_close = (
        quote is not None
        and quote - credited <= 100
        and locks <= {LockKind.NON_PAYMENT}
        and cut_by is CutBy.REMOTE
        and not is_armed
    )
    assert (conclusion.verdict is Verdict.CLOSE) == may_close
    assert conclusion.other_locks == tuple(sorted(locks - {LockKind.NON_PAYMENT}))
    assert conclusion.is_covered == (quote is not None and quote - credited <= 100)


@pytest.mark.parametrize("lock", OTHER_LOCKS)
def test_every_other_lock_alone_keeps_the_relay_open(lock: LockKind):
    assert judge(replace(PAID, locks=frozenset({lock}))).verdict is Verdict.NONE

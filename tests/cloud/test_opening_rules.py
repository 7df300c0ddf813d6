"""May this supply be taken away: every reason that speaks against it, alone and together."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from cloud.cli.keys import DEVELOPMENT_POLICY
from cloud.opening_rules import (
    LIFE_MS,
    OpenSituation,
    SkipReason,
    WaitReason,
    conclude,
    first_lawful_ms,
    is_within_window,
)
from cloud.rules import DAY_MS, MP_WEST_FIRST_PHASE
from cloud.vocabulary import LockKind

NOON = 1_760_509_800_000  # Wednesday 2025-10-15 12:00 in Indore
MINUTE = 60_000
HOUR = 60 * MINUTE
FAIR = OpenSituation(
    proposal_id=1,
    account_id="N1",
    meter_id="M1",
    sum_paise=100_000,
    owed_paise=120_000,
    notice_served_at_ms=NOON - 20 * DAY_MS,
    proposed_at_ms=NOON - HOUR,
    has_payment_pending=False,
    locks=frozenset(),
    is_protected=False,
    has_open_episode=False,
    is_relay_open=False,
    installed_at_ms=MP_WEST_FIRST_PHASE.installed_from_ms,
    is_account_closed=False,
    mapped_account_id="N1",
    mapped_at_ms=0,
    closed_at_ms=None,
    agent_heard_at_ms=NOON - MINUTE,
    is_agent_suspended=False,
    is_meter_moving=False,
)


def concluded(situation=FAIR, edge=DEVELOPMENT_POLICY, now_ms=NOON):
    return conclude(situation, MP_WEST_FIRST_PHASE, edge, now_ms=now_ms)


def test_open_with_nothing_against_it_may_go():
    assert concluded().may_go


SKIPS = {
    SkipReason.NOTHING_OWED: {"owed_paise": 100, "sum_paise": 100},
    SkipReason.OWES_LESS: {"owed_paise": 99_899},
    SkipReason.PAYMENT_PENDING: {"has_payment_pending": True},
    SkipReason.LOCKED: {"locks": frozenset({LockKind.COURT_ORDER})},
    SkipReason.PROTECTED: {"is_protected": True},
    SkipReason.ALREADY_CUT: {"has_open_episode": True},
    SkipReason.RELAY_OPEN: {"is_relay_open": True},
    SkipReason.OUTSIDE_PHASE: {"installed_at_ms": MP_WEST_FIRST_PHASE.installed_before_ms},
    SkipReason.ACCOUNT_CLOSED: {"is_account_closed": True},
    SkipReason.MAPPING_CHANGED: {"mapped_at_ms": NOON},
    SkipReason.AGENT_SUSPENDED: {"is_agent_suspended": True},
}
WAITS = {
    WaitReason.NOTICE_RUNS: {"notice_served_at_ms": NOON - 15 * DAY_MS},
    WaitReason.DWELL: {"closed_at_ms": NOON - 59_999},
    WaitReason.AGENT_SILENT: {"agent_heard_at_ms": NOON - 15 * MINUTE - 1},
    WaitReason.METER_MOVES: {"is_meter_moving": True},
    WaitReason.TRIED_TODAY: {"tries_today": 3},
}


def test_every_reason_has_its_case():
    assert set(SKIPS) == set(SkipReason)
    assert set(WAITS) | {WaitReason.OUTSIDE_WINDOW} == set(WaitReason)


@pytest.mark.parametrize("reason", SKIPS)
def test_each_fact_alone_skips_the_open(reason):
    found = concluded(replace(FAIR, **SKIPS[reason]))
    assert (found.skips, found.waits) == ((reason,), ())


@pytest.mark.parametrize("reason", WAITS)
def test_each_fact_alone_makes_the_open_wait(reason):
    found = concluded(replace(FAIR, **WAITS[reason]))
    assert (found.skips, found.waits) == ((), (reason,))


def test_meter_of_another_account_is_never_opened_for_this_one():
    found = concluded(replace(FAIR, mapped_account_id="N2"))
    assert found.skips == (SkipReason.MAPPING_CHANGED,)


def test_agent_never_heard_of_is_silent():
    assert concluded(replace(FAIR, agent_heard_at_ms=None)).waits == (WaitReason.AGENT_SILENT,)


def test_all_reasons_are_told_not_only_the_first():
    found = concluded(replace(FAIR, is_protected=True, has_payment_pending=True, owed_paise=0))
    assert len(found.skips) == 4


@pytest.mark.parametrize("hours", [0, 11.99])
def test_notice_served_at_any_hour_of_a_day_runs_to_the_sixteenth_day_after(hours):
    midnight = NOON - 12 * HOUR
    lawful = first_lawful_ms(int(midnight + hours * 2 * HOUR), DEVELOPMENT_POLICY)
    assert lawful == midnight + 16 * DAY_MS


@pytest.mark.parametrize(
    ("at_ms", "may"),
    [
        (NOON, True),
        (NOON - HOUR, True),  # 11:00
        (NOON - HOUR - 1, False),
        (NOON + 2 * HOUR - LIFE_MS - 1, True),  # it ends just before 14:00
        (NOON + 2 * HOUR - LIFE_MS, False),
        (NOON + 3 * DAY_MS, False),  # Saturday
        (NOON + 4 * DAY_MS, False),
        (NOON + 5 * DAY_MS, True),  # Monday
    ],
)
def test_whole_life_of_an_open_lies_in_the_window(at_ms, may):
    assert is_within_window(DEVELOPMENT_POLICY, at_ms, at_ms + LIFE_MS) is may
    served = replace(FAIR, agent_heard_at_ms=at_ms)
    assert (WaitReason.OUTSIDE_WINDOW in concluded(served, now_ms=at_ms).waits) is not may


def test_closed_day_has_no_window():
    today = (NOON + 330 * MINUTE) // DAY_MS
    edge = changed(DEVELOPMENT_POLICY, closed_days=(today,))
    assert not is_within_window(edge, NOON, NOON + LIFE_MS)

"""Steps 8 to 18 in their order: whatever else is wrong, the earlier step answers."""

from dataclasses import replace

import msgspec
import pytest

from edge_agent.clock import TimeView
from edge_agent.verification import (
    Accept,
    AlreadyFinished,
    CommandFacts,
    InProgress,
    NotNow,
    NotNowReason,
    OpeningFacts,
    Refusal,
    verify,
)
from tests.edge_agent.installation_by_hand import DAY_MS, NOON_MS, POLICY
from wire.messages import Command, Counter
from wire.vocabulary import Action, RefusalReason, Role

TIME = TimeView(earliest_ms=NOON_MS, latest_ms=NOON_MS + 20, age_ms=1_000, is_disputed=False)
OPENING = OpeningFacts(
    registry_version=4,
    registry_expires_at_ms=NOON_MS + DAY_MS,
    welcome_trust_version=4,
    policy=POLICY,
    is_stopped=False,
    is_protected=False,
    running_ms=10 * DAY_MS,
    since_close_ms=None,
    meter_opens=0,
    agent_opens=0,
    reached=100,
    manifest=None,
)
FACTS = CommandFacts(
    time=TIME,
    finished_item=None,
    is_unfinished=False,
    outstanding=0,
    window=32,
    is_journal_full=False,
    floor=Counter(epoch=3, sequence_ms=NOON_MS - 1_000),
    highest=Counter(epoch=3, sequence_ms=NOON_MS - 500),
    is_meter_known=True,
    is_guarded=False,
    roles=frozenset({Role.ENGINE, Role.GUARD}),
    opening=OPENING,
)
OPEN = Command(
    action="open",
    agent="AGENT-1",
    meter="M-1",
    epoch=3,
    sequence_ms=NOON_MS,
    expires_at_ms=NOON_MS + 300_000,
    evidence=bytes(32),
    manifest=None,
)
CLOSE = msgspec.structs.replace(OPEN, action="close")

# What makes each step fail, in the order of the steps: (changed facts, changed opening, command).
STEPS = [
    (NotNow(NotNowReason.NO_WELCOME), {"time": None}, {}, {}),
    (AlreadyFinished(9), {"finished_item": 9}, {}, {}),
    (InProgress(), {"is_unfinished": True}, {}, {}),
    (NotNow(NotNowReason.WINDOW_FULL), {"outstanding": 32}, {}, {}),
    (NotNow(NotNowReason.JOURNAL_FULL), {"is_journal_full": True}, {}, {}),
    ("before_welcome", {"floor": Counter(epoch=4, sequence_ms=0)}, {}, {}),
    ("low_counter", {"highest": Counter(epoch=3, sequence_ms=NOON_MS + 900_000)}, {}, {}),
    ("from_future", {}, {}, {"sequence_ms": NOON_MS + 60_021}),
    ("life_too_long", {}, {}, {"expires_at_ms": NOON_MS + 900_001}),
    ("expired", {}, {}, {"expires_at_ms": NOON_MS + 20}),  # exactly the latest time
    ("unknown_meter", {"is_meter_known": False}, {}, {}),
    ("unknown_action", {}, {}, {"action": "blink"}),
    ("missing_guard", {"roles": frozenset({Role.ENGINE})}, {}, {}),
    ("trust_expired", {}, {"registry_expires_at_ms": NOON_MS + 20}, {}),
    ("trust_old", {}, {"welcome_trust_version": 5}, {}),
    ("clock_untrusted", {"time": replace(TIME, is_disputed=True)}, {}, {}),
    ("stop", {}, {"is_stopped": True}, {}),
    ("protected", {}, {"is_protected": True}, {}),
    ("window", {}, {"policy": msgspec.structs.replace(POLICY, windows=())}, {}),
    ("dwell", {}, {"since_close_ms": 59_999}, {}),
    ("cap_meter", {}, {"meter_opens": 2}, {}),
    ("manifest_unknown", {}, {}, {"manifest": bytes(16)}),
    ("cap_agent", {}, {"agent_opens": 2}, {}),
]


def judge(step, *, with_later=()):
    facts: dict = {}
    opening: dict = {}
    command: dict = {}
    for _, of_facts, of_opening, of_command in (*reversed(with_later), step):
        facts |= of_facts
        opening |= of_opening
        command |= of_command
    found = replace(FACTS, opening=replace(OPENING, **opening), **facts)
    return verify(msgspec.structs.replace(OPEN, **command), found)


def wanted(step):
    return step[0] if not isinstance(step[0], str) else Refusal(RefusalReason(step[0]))


def test_open_with_everything_right_is_accepted():
    assert verify(OPEN, FACTS) == Accept()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step[0]))
def test_each_step_says_its_own_no(step):
    assert judge(step) == wanted(step)


def contradicts(earlier, later) -> bool:
    """Two failures that cannot be shown together, because they change one fact both ways."""
    return any(earlier[part].keys() & later[part].keys() for part in (1, 2, 3))


@pytest.mark.parametrize("place", range(len(STEPS) - 1), ids=lambda place: str(STEPS[place][0]))
def test_an_earlier_failing_step_wins(place):
    later = [one for one in STEPS[place + 1 :] if not contradicts(STEPS[place], one)]
    for one in later:
        assert judge(STEPS[place], with_later=[one]) == wanted(STEPS[place]), one[0]
    assert judge(STEPS[place], with_later=later) == wanted(STEPS[place])


def test_life_is_looked_at_before_expiry():
    later = replace(FACTS, time=replace(TIME, latest_ms=NOON_MS + 900_000))
    command = msgspec.structs.replace(OPEN, expires_at_ms=NOON_MS + 900_000)
    assert verify(command, later) == Refusal(RefusalReason.LIFE_TOO_LONG)


def test_close_asks_for_none_of_what_opens_need():
    """I11 is about opens; a close goes on when registry, stop, window and caps say no."""
    facts = replace(
        FACTS,
        opening=None,
        roles=frozenset({Role.ENGINE}),
        time=replace(TIME, is_disputed=True, age_ms=DAY_MS),
    )
    assert verify(CLOSE, facts) == Accept()
    assert verify(CLOSE, FACTS) == Accept()  # a guard's signature more does no harm
    too_old = replace(facts, time=replace(TIME, age_ms=DAY_MS + 1))
    assert verify(CLOSE, too_old) == NotNow(NotNowReason.NO_WELCOME)


def test_open_needs_a_welcome_of_the_last_15_minutes():
    for age_ms, verdict in ((900_000, Accept()), (900_001, Refusal(RefusalReason.CLOCK_UNTRUSTED))):
        assert verify(OPEN, replace(FACTS, time=replace(TIME, age_ms=age_ms))) == verdict


def test_open_judged_without_its_facts_is_never_accepted():
    assert isinstance(verify(OPEN, replace(FACTS, opening=None)), Refusal)


def test_withdraw_is_not_kept_out_by_a_full_window():
    withdraw = msgspec.structs.replace(OPEN, action="withdraw")
    assert verify(withdraw, replace(FACTS, outstanding=32)) == Accept()


def test_read_does_not_look_at_the_counter():
    """I7 is about counters that are accepted; a read accepts none."""
    read = msgspec.structs.replace(OPEN, action="read", sequence_ms=NOON_MS - 900)
    assert verify(read, FACTS) == Accept()
    below_floor = msgspec.structs.replace(read, sequence_ms=NOON_MS - 1_000)
    assert verify(below_floor, FACTS) == Refusal(RefusalReason.BEFORE_WELCOME)


def test_limits_are_exact():
    exact = {
        "sequence_ms": NOON_MS + 60_020,
        "expires_at_ms": NOON_MS + 60_020 + 600_000,
    }
    assert verify(msgspec.structs.replace(OPEN, **exact), FACTS) == Accept()
    long_life = msgspec.structs.replace(CLOSE, expires_at_ms=NOON_MS + 900_000)
    assert verify(long_life, FACTS) == Accept()
    longer = msgspec.structs.replace(CLOSE, expires_at_ms=NOON_MS + 900_001)
    assert verify(longer, FACTS) == Refusal(RefusalReason.LIFE_TOO_LONG)
    same_counter = replace(FACTS, highest=Counter(epoch=3, sequence_ms=NOON_MS))
    assert verify(CLOSE, same_counter) == Refusal(RefusalReason.LOW_COUNTER)
    higher_epoch = msgspec.structs.replace(CLOSE, epoch=4, sequence_ms=NOON_MS - 100_000)
    assert verify(higher_epoch, FACTS) == Accept()


def test_every_action_of_the_protocol_is_carried_out_and_no_other():
    for action in Action:
        assert verify(msgspec.structs.replace(OPEN, action=action), FACTS) == Accept()
    blink = msgspec.structs.replace(OPEN, action="blink")
    assert verify(blink, FACTS) == Refusal(RefusalReason.UNKNOWN_ACTION)


@pytest.mark.parametrize("action", ["close", "arm"])
def test_guarded_meter_gets_no_supply_by_the_engine_alone(action):
    command = msgspec.structs.replace(OPEN, action=action)
    guarded = replace(FACTS, is_guarded=True)
    assert verify(command, guarded) == Accept()
    alone = replace(guarded, roles=frozenset({Role.ENGINE}))
    assert verify(command, alone) == Refusal(RefusalReason.GUARDED)
    assert verify(command, replace(alone, is_guarded=False)) == Accept()


def test_guarded_meter_is_read_and_withdrawn_by_the_engine_alone():
    alone = replace(FACTS, is_guarded=True, roles=frozenset({Role.ENGINE}))
    for action in ("read", "withdraw", "guarded"):
        assert verify(msgspec.structs.replace(OPEN, action=action), alone) == Accept()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"registry_expires_at_ms": NOON_MS}, "trust_expired"),
        ({"welcome_trust_version": 5}, "trust_old"),
        ({"is_stopped": True}, "stop"),
        ({"meter_opens": 2}, "cap_meter"),
        ({"agent_opens": 2}, "cap_agent"),
        ({"running_ms": DAY_MS - 1}, "cap_meter"),
        ({"is_protected": True}, None),
        ({"since_close_ms": 0}, None),
        ({"policy": msgspec.structs.replace(POLICY, windows=())}, None),
    ],
)
def test_disarm_is_held_by_stop_trust_and_caps_and_by_nothing_that_guards_supply(changes, reason):
    disarm = msgspec.structs.replace(OPEN, action="disarm")
    verdict = verify(disarm, replace(FACTS, opening=replace(OPENING, **changes)))
    assert verdict == (Accept() if reason is None else Refusal(RefusalReason(reason)))


def test_young_journal_counts_every_limit_as_used():
    for running_ms, verdict in (
        (DAY_MS - 1, Refusal(RefusalReason.CAP_METER)),
        (DAY_MS, Accept()),
    ):
        opening = replace(OPENING, running_ms=running_ms)
        assert verify(OPEN, replace(FACTS, opening=opening)) == verdict


def test_only_refusals_about_the_counter_itself_keep_the_counter():
    keeping = {
        reason for reason in RefusalReason if not Refusal(reason).raises_counter(Action.CLOSE)
    }
    assert keeping == {"low_counter", "before_welcome", "from_future"}
    assert not any(Refusal(reason).raises_counter(Action.READ) for reason in RefusalReason)

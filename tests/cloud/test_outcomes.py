"""What a filed item means, and what it can never mean (I6, I8, I10)."""

import pytest
from sqlalchemy import select, update

from cloud.schema import ledger, locks, meters
from tests.cloud.agent_by_hand import ARMED, CLOSED, OPEN
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, filed, sent
from tests.wire.installation import EPOCH
from wire.messages import Counter
from wire.vocabulary import OUTCOMES, Action, Outcome, PaymentKind


def meter(world: World, number: int = 1):
    return world.one(select(meters).where(meters.c.meter_id == f"M-{number}"))


def lock(world: World):
    return world.one(select(locks).where(locks.c.cleared_at_ms.is_(None)))


def add_second_agent(world: World):
    other = world.add_agent("AG-2")
    world.start()
    world.turn(other.hello())
    return other


@pytest.mark.parametrize("outcome", [Outcome.CLOSED, Outcome.ALREADY_CLOSED])
def test_closed_read_back_ends_the_episode_and_shows_the_relay(world: World, outcome: Outcome):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += SECOND_MS
    world.turn(agent.says(agent.final(close, outcome)))
    assert (world.episode().state, world.episode().ended_at_ms) == ("ended", world.now_ms)
    assert (world.command().state, world.command().outcome) == ("acknowledged", outcome)
    assert (meter(world).output, meter(world).control_state) == (1, 1)
    assert world.engine._live.counts["closed"] == 1


def test_armed_relay_is_not_reported_as_closed(world: World):
    """I8: it waits for the button; the episode stays until the relay is read closed."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    assert (world.episode().state, world.episode().ended_at_ms) == ("armed", None)
    assert world.engine._live.counts["closed"] == 0
    assert world.engine._live.counts["armed"] == 1
    world.turn(agent.says(agent.state("M-1", CLOSED, world.now_ms)))
    assert world.episode().state == "ended"


@pytest.mark.parametrize(
    "facts",
    [
        {"after": None},
        {"after": OPEN},
        {"after": ARMED},
        {"read_at_ms": None},
        {"acted_at_ms": 5},
        {"meter": "M-2"},
        {"epoch": EPOCH + 1},
        {"sequence_ms": 1},
    ],
)
def test_success_that_cannot_be_true_is_filed_alarmed_and_never_applied(
    world: World, facts: dict[str, object]
):
    """I8: closed without a closed read-back never ends an episode."""
    agent = world.agents["AG-1"]
    world.add_home(2)
    (close,) = sent(world.pay())
    (answer,) = filed(world.turn(agent.says(agent.final(close, Outcome.CLOSED, **facts))))
    assert answer.through == 1
    assert world.alarm_codes() == ["impossible_outcome"]
    assert world.command().state == "published"
    assert world.episode().state == "paid"
    assert meter(world).output is None
    assert meter(world, 2).output is None


def test_armed_without_an_armed_read_back_is_never_applied(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED, after=OPEN)))
    assert world.alarm_codes() == ["impossible_outcome"]
    assert world.episode().state == "paid"


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - OUTCOMES[Action.CLOSE]))
def test_outcome_that_a_close_cannot_have_is_never_applied(world: World, outcome: Outcome):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, outcome)))
    assert world.alarm_codes() == ["impossible_outcome"]
    assert world.command().state == "published"


def test_agent_that_speaks_of_anothers_command_is_not_believed(world: World):
    other = add_second_agent(world)
    (close,) = sent(world.pay())
    world.turn(other.says(other.final(close, Outcome.CLOSED)))
    assert world.alarm_codes() == ["impossible_outcome"]
    assert world.episode().state == "paid"
    assert meter(world).output is None


def test_agent_cannot_end_an_armed_episode_of_anothers_meter(world: World):
    other = add_second_agent(world)
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    world.turn(other.says(other.state("M-1", CLOSED, world.now_ms)))
    assert world.episode().state == "armed"


def test_agent_cannot_hide_what_anothers_meter_reads(world: World):
    """In one turn: the stranger's higher number must not push the true reading out."""
    other = add_second_agent(world)
    agent = world.agents["AG-1"]
    for _ in range(5):
        other.alarm("door", 1)
    lie = other.says(other.state("M-1", OPEN, world.now_ms))
    world.turn(agent.says(agent.state("M-1", CLOSED, world.now_ms)), lie)
    assert meter(world).output == 1


def test_second_final_word_on_one_command_is_never_applied(world: World):
    """I6: one command has one outcome, never changed."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    world.turn(agent.says(agent.final(close, Outcome.CLOSED)))
    assert world.commands()[0].outcome == "unreachable"
    assert world.alarm_codes() == ["impossible_outcome"]
    assert world.episode().state == "paid"


def test_two_final_words_in_one_message_count_as_the_first(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    words = [agent.final(close, one) for one in (Outcome.UNREACHABLE, Outcome.CLOSED)]
    world.turn(agent.says(*words))
    assert world.commands()[0].outcome == "unreachable"
    assert world.episode().state == "paid"


def test_failed_close_is_decided_again(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.UNKNOWN)))
    first, second = world.commands()
    assert (first.state, second.state) == ("acknowledged", "queued")
    assert first.decision != second.decision


def test_meters_own_refusal_is_not_tried_again_by_itself(world: World):
    """Domain rule 30: load-side voltage and the like are for people."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    refusal = agent.final(close, Outcome.REFUSED_BY_METER, reason="load_voltage")
    world.turn(agent.says(refusal))
    assert world.episode().held_because == "load_voltage"
    assert world.decision().reasons == "meter_refused"
    assert sent(world.later(MINUTE_MS)) == []


@pytest.mark.parametrize(("ahead", "believed"), [(5_000, 5_000), (10**9, MINUTE_MS)])
def test_low_counter_teaches_the_counter_but_never_beyond_a_minute_ahead(
    world: World, ahead: int, believed: int
):
    """I7, R4: a lying or broken agent cannot push a counter out of reach."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    highest = Counter(epoch=EPOCH, sequence_ms=world.now_ms + ahead)
    refusal = agent.final(close, Outcome.REFUSED, reason="low_counter", highest=highest)
    world.turn(agent.says(refusal))
    assert meter(world).last_sequence == world.now_ms + believed
    (again,) = sent(world.later(15 * SECOND_MS))
    assert again.body.sequence_ms == max(meter(world).last_sequence, world.now_ms)


def test_relay_view_follows_numbers_not_arrival(world: World):
    agent = world.agents["AG-1"]
    older = agent.state("M-1", OPEN, world.now_ms)
    newer = agent.state("M-1", CLOSED, world.now_ms)
    world.turn(agent.says(newer))
    world.turn(agent.says(older))
    assert (meter(world).output, meter(world).view_number) == (1, 2)


def test_withdrawn_close_ends_and_its_lock_becomes_effective(world: World):
    """I15, R3: pending while the close may still act, effective when nothing can."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.REFUNDED)))
    world.later(SECOND_MS)
    assert lock(world).effective_at_ms is None
    words = [agent.final(close, Outcome.WITHDRAWN), agent.final(withdraw, Outcome.WITHDREW)]
    world.turn(agent.says(*words))
    world.later(SECOND_MS)
    assert lock(world).effective_at_ms == world.now_ms
    assert [row.state for row in world.commands()] == ["acknowledged", "acknowledged"]


def test_lock_is_effective_at_the_latest_when_the_live_close_lapsed(world: World):
    """I15."""
    world.pay()
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    world.later(17 * MINUTE_MS)
    assert lock(world).effective_at_ms is None
    world.later(SECOND_MS)
    world.later(SECOND_MS)
    assert lock(world).effective_at_ms is not None


def test_withdrawal_that_found_nothing_makes_the_lock_effective(world: World):
    """I15: what arrives later is below its counter, so nothing live can act any more."""
    agent = world.agents["AG-1"]
    world.pay()
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.REFUNDED)))
    world.turn(agent.says(agent.final(withdraw, Outcome.NOTHING_PENDING)))
    world.later(SECOND_MS)
    assert lock(world).effective_at_ms == world.now_ms


def test_withdrawal_that_came_too_late_leaves_the_lock_pending(world: World):
    """I15: the relay was moving already."""
    agent = world.agents["AG-1"]
    world.pay()
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.REFUNDED)))
    world.turn(agent.says(agent.final(withdraw, Outcome.TOO_LATE)))
    world.later(SECOND_MS)
    assert lock(world).effective_at_ms is None


def test_no_lock_is_effective_while_a_restored_ledger_waits(world: World):
    """I15, R3: it has forgotten which closes are live."""
    world.execute(update(ledger).values(locks_wait_until_ms=world.now_ms + 2 * SECOND_MS))
    world.pay(world.item(amount_paise=1), world.item(kind=PaymentKind.DISPUTED, object_id="d_1"))
    disputed = select(locks.c.effective_at_ms).where(locks.c.kind == "payment_disputed")
    world.later(SECOND_MS)
    assert world.value(disputed) is None
    world.later(SECOND_MS)
    assert world.value(disputed) == world.now_ms


def test_agents_alarm_reaches_people(world: World):
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.alarm("clock_disputed", world.now_ms)))
    assert world.alarm_codes() == ["clock_disputed"]

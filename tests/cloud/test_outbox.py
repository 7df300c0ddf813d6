"""The lifecycle of a command: every transition of the table, and nothing else (I4, I6)."""

import itertools

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from cloud import outbox
from cloud.outbox import TRANSITIONS, Event
from cloud.schema import commands
from cloud.vocabulary import CommandState
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, sent
from wire.vocabulary import Action, Outcome, PaymentKind

COLUMNS = {
    Event.FIXED: {"sends": 1},
    Event.ENGINE_SIGNED: {"sends": 0},
    Event.COSIGNED: {"sends": 1},
    Event.GUARD_REFUSED: {"ended_at_ms": 5},
    Event.REASON_GONE: {"ended_at_ms": 5},
    Event.FINAL_ITEM: {"outcome": "closed", "ended_at_ms": 5},
    Event.TIME_UP: {"ended_at_ms": 5},
    Event.AGENT_RESTARTED: {"ended_at_ms": 5},
}


def happens(world: World, event: Event) -> None:
    values = COLUMNS[event]
    rows = [{"row_id": world.command().id, **values}]
    with world.transaction() as transaction:
        outbox.apply(transaction, event, rows, columns=tuple(values))


@pytest.mark.parametrize(("state", "event"), [*itertools.product(CommandState, Event)])
def test_event_moves_a_command_as_the_table_says_or_not_at_all(
    world: World, state: CommandState, event: Event
):
    world.pay()
    world.execute(update(commands).values(state=state.value))
    before = world.command()
    happens(world, event)
    after = world.command()
    target = TRANSITIONS.get((state, event))
    if target is None:
        assert tuple(after) == tuple(before)
    else:
        assert after.state == target


def test_each_event_of_the_table_has_one_end():
    ends = {event: {target for (_, one), target in TRANSITIONS.items() if one is event}
            for event in Event}  # fmt: skip
    assert all(len(targets) == 1 for targets in ends.values())


def test_database_refuses_two_live_commands_for_one_meter(world: World):
    """R14, even when two workers dispute a lease."""
    world.pay()
    row = world.command()._asdict()
    del row["id"]
    row |= {"command_id": b"2" * 16, "sequence_ms": row["sequence_ms"] + 1}
    with pytest.raises(IntegrityError, match=r"commands\.meter_id"):
        world.execute(insert(commands), row)
    world.execute(insert(commands), row | {"action": "read"})  # reads are not counted


def test_database_refuses_one_counter_twice(world: World):
    """I7, R4."""
    world.pay()
    row = world.command()._asdict()
    del row["id"]
    again = row | {"command_id": b"2" * 16, "state": "lapsed"}
    with pytest.raises(IntegrityError, match="sequence_ms"):
        world.execute(insert(commands), again)


def test_database_refuses_two_waiting_closes_of_one_episode(world: World):
    world.pay()
    row = world.command()._asdict()
    del row["id"]
    row |= {"state": "queued", "command_id": None, "sequence_ms": None}
    world.execute(insert(commands), row)
    with pytest.raises(IntegrityError, match="episode_id"):
        world.execute(insert(commands), row)


def test_unanswered_command_goes_out_again_with_the_same_bytes(world: World):
    """R14: after 5, 15 and 60 s, then each minute, while more than 60 s of life remain."""
    (first,) = sent(world.pay())
    started_ms = world.now_ms
    resent_at: list[int] = []
    for _ in range(15 * 60):
        for again in sent(world.later(SECOND_MS)):
            assert again.payload == first.payload
            resent_at.append((world.now_ms - started_ms) // SECOND_MS)
    assert resent_at[:5] == [5, 15, 60, 120, 180]
    assert resent_at[-1] == 840
    assert world.command().sends == len(resent_at) + 1
    assert world.command().resend_at_ms is None  # its timer is not looked at any more


def test_withdrawn_close_is_never_sent_again(world: World):
    """R3: the engine's own re-send must not bring the close ahead of what withdraws it."""
    world.pay(world.item("pay_1", number=1))
    world.pay(world.item("pay_1", number=2, kind=PaymentKind.REFUNDED, object_id="rfnd_1"))
    actions = {again.body.action for _ in range(120) for again in sent(world.later(SECOND_MS))}
    assert actions == {"withdraw"}


def test_command_without_an_answer_lapses_two_minutes_after_expiry_and_is_tried_anew(world: World):
    (first,) = sent(world.pay())
    world.later(15 * MINUTE_MS + outbox.LAPSE_MS)
    assert [row.state for row in world.commands()] == ["published"]
    world.later(SECOND_MS)
    assert [row.state for row in world.commands()] == ["lapsed", "queued"]
    (second,) = sent(world.later(15 * SECOND_MS))
    assert second.body.sequence_ms > first.body.sequence_ms
    assert second.body.evidence != first.body.evidence


def test_late_outcome_of_a_lapsed_command_still_ends_its_episode(world: World):
    """And the retry that waits is dropped: a close must not outlive the reason for it."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.later(15 * MINUTE_MS + outbox.LAPSE_MS + SECOND_MS)
    world.turn(agent.says(agent.final(close, Outcome.CLOSED)))
    assert world.episode().state == "ended"
    assert [row.state for row in world.commands()] == ["acknowledged", "dropped"]
    assert sent(world.later(MINUTE_MS)) == []


def test_failed_attempts_climb_the_ladder_and_then_come_hourly(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    waits: list[int] = []
    for _ in range(8):
        world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
        waits.append(world.command().due_at_ms - world.now_ms)
        (close,) = sent(world.later(waits[-1]))
    assert waits == [*outbox.LADDER_MS[1:], *(outbox.LADDER_THEN_MS,) * 3]


def test_interim_word_ends_resending_and_changes_nothing_else(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.received(close)))
    assert world.command().received_at_ms == world.now_ms
    assert world.command().state == "published"
    assert sent(world.later(10 * SECOND_MS)) == []


def test_interim_word_of_another_agent_does_not_end_resending(world: World):
    (close,) = sent(world.pay())
    thief = world.add_agent("AG-2")
    world.start()
    world.turn(thief.hello())
    world.turn(thief.says(thief.received(close)))
    assert len(sent(world.later(5 * SECOND_MS))) == 1


def test_what_may_overtake_is_close_over_open_or_withdraw_and_withdraw_over_all():
    assert {
        Action.CLOSE: {Action.OPEN, Action.WITHDRAW},
        Action.WITHDRAW: set(Action),
    } == outbox.MAY_OVERTAKE

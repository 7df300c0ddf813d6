"""Step 12: dense chained numbers filed once, forks found, evidence kept (R8; I3, I8)."""

from sqlalchemy import select

from cloud.answers import FILED_EVERY_MS
from cloud.schema import agents, filed_items, journals
from tests.cloud.agent_by_hand import AgentByHand
from tests.cloud.engine_world import World, filed, sent
from wire.vocabulary import Outcome


def alarms(agent: AgentByHand, count: int):
    return [agent.alarm("door", 1) for _ in range(count)]


def numbers(world: World) -> list[int]:
    return [row.number for row in world.rows(select(filed_items).order_by(filed_items.c.number))]


def test_items_are_stored_as_their_bytes_and_answered_with_through_and_head(world: World):
    agent = world.agents["AG-1"]
    (answer,) = filed(world.turn(agent.says(*alarms(agent, 3))))
    assert (answer.journal, answer.through, answer.head) == (agent.journal, 3, agent.head)
    assert answer.generation_ms == world.engine.generation_ms
    assert numbers(world) == [1, 2, 3]


def test_through_stops_at_a_gap_and_passes_it_when_it_closes(world: World):
    agent = world.agents["AG-1"]
    first, second, third, fourth = alarms(agent, 4)
    world.turn(agent.says(first))
    (answer,) = filed(world.turn(agent.says(third, fourth)))
    assert (answer.through, answer.head) == (1, agent.heads[1])
    (answer,) = filed(world.turn(agent.says(second)))
    assert (answer.through, answer.head) == (4, agent.head)


def test_messages_of_one_turn_may_come_in_any_order(world: World):
    agent = world.agents["AG-1"]
    first, second, third = alarms(agent, 3)
    (answer,) = filed(world.turn(agent.says(third), agent.says(second), agent.says(first)))
    assert (answer.through, answer.head) == (3, agent.head)


def test_item_sent_again_is_filed_once_and_answered_again(world: World):
    agent = world.agents["AG-1"]
    message = agent.says(*alarms(agent, 2))
    world.turn(message)
    (answer,) = filed(world.turn(message, message))
    assert answer.through == 2
    assert numbers(world) == [1, 2]
    assert world.alarm_codes() == ["door", "door"]


def test_same_number_with_other_bytes_suspends_the_agent_and_keeps_both_versions(world: World):
    """I3: a clone or a changed disk; nothing is trimmed, so nothing is answered."""
    agent = world.agents["AG-1"]
    held = agent.alarm("door", 1)
    world.turn(agent.says(held))
    agent.begin(agent.journal)
    outgoing = world.turn(agent.says(agent.alarm("window", 1)))
    assert filed(outgoing) == []
    assert world.one(select(agents)).suspended_at_ms == world.now_ms
    assert world.alarm_codes() == ["door", "history_forked"]
    assert numbers(world) == [1]


def test_head_that_differs_from_ours_is_a_fork(world: World):
    agent = world.agents["AG-1"]
    first, second = alarms(agent, 2)
    world.turn(agent.says(first))
    assert filed(world.turn(agent.says(second, before=b"\x00" * 32))) == []
    assert world.one(select(journals)).forked_at_ms == world.now_ms


def test_wrong_head_behind_a_gap_is_found_when_the_gap_closes(world: World):
    agent = world.agents["AG-1"]
    first, second = alarms(agent, 2)
    (answer,) = filed(world.turn(agent.says(second, before=b"\x00" * 32)))
    assert answer.through == 0
    assert filed(world.turn(agent.says(first))) == []
    assert "history_forked" in world.alarm_codes()


def test_retired_journal_is_evidence_only(world: World):
    """Its items are stored, nothing is applied and nothing answered."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    late = agent.says(agent.final(close, Outcome.CLOSED))
    agent.begin(b"journal2")
    world.turn(agent.hello(unfinished=(close.command_id,)))
    assert filed(world.turn(late)) == []
    assert numbers(world) == [1]
    assert world.command().state == "published"
    assert world.episode().state == "paid"


def test_journal_nobody_said_hello_for_is_not_stored(empty: World):
    agent = empty.add_agent("AG-1")
    empty.start()
    assert empty.turn(agent.says(agent.alarm("door", 1))) == []
    assert numbers(empty) == []


def test_orphan_of_a_command_we_never_gave_is_filed(world: World):
    """After a restore they come; unfiled, the agent's journal would grow without bound."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    stranger = type(close)(close.body, b"\x07" * 16, close.payload)
    (answer,) = filed(world.turn(agent.says(agent.final(stranger, Outcome.CLOSED))))
    assert answer.through == 1
    assert world.command().state == "published"
    assert world.alarm_codes() == []


def test_filed_coalesces_only_while_more_waits(world: World):
    agent = world.agents["AG-1"]
    first, second, third = alarms(agent, 3)
    assert len(filed(world.turn(agent.says(first), is_busy=True))) == 1
    assert filed(world.turn(agent.says(second), is_busy=True)) == []
    world.now_ms += FILED_EVERY_MS
    (answer,) = filed(world.turn(agent.says(third), is_busy=True))
    assert answer.through == 3


def test_filed_that_was_held_back_goes_out_in_the_first_idle_turn(world: World):
    agent = world.agents["AG-1"]
    first, second = alarms(agent, 2)
    world.turn(agent.says(first), is_busy=True)
    world.turn(agent.says(second), is_busy=True)
    (answer,) = filed(world.turn())
    assert answer.through == 2


def test_large_gap_is_walked_over_in_the_turn_that_closes_it(world: World):
    agent = world.agents["AG-1"]
    items = alarms(agent, 200)
    for start in range(1, 200, 64):
        world.turn(agent.says(*items[start : start + 64]))
    (answer,) = filed(world.turn(agent.says(items[0])))
    assert (answer.through, answer.head) == (200, agent.head)

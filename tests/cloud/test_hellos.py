"""An agent says hello: each verdict, the floor above everything, what is void (R5; I5, I7)."""

import pytest
from sqlalchemy import select, update

from cloud.hellos import TURNED_AWAY_EVERY_MS
from cloud.outbox import LADDER_MS
from cloud.schema import agents, journals, meters
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, bodies, sent, welcome
from tests.wire.installation import EPOCH, GENERATION_MS
from wire.chain import first_head
from wire.topics import MessageType
from wire.vocabulary import JournalVerdict, Outcome

OTHER_JOURNAL = b"journal2"


def test_first_hello_of_a_journal_is_welcomed_as_new(empty: World):
    agent = empty.add_agent("AG-1")
    empty.start()
    told = welcome(empty.turn(agent.hello()))
    assert told.verdict is JournalVerdict.NEW
    assert told.nonce == agent.hellos.to_bytes(16, "big")
    assert (told.now_ms, told.generation_ms) == (empty.now_ms, GENERATION_MS)
    assert (told.through, told.head) == (0, first_head(agent.journal, agent.agent_id))


def test_next_hello_is_known_and_told_what_is_filed(world: World):
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.alarm("door", 1), agent.alarm("door", 2)))
    told = welcome(world.turn(agent.hello()))
    assert told.verdict is JournalVerdict.KNOWN
    assert (told.through, told.head) == (2, agent.head)


def test_agent_without_a_row_is_welcomed_too(empty: World):
    """Enrolled, but no meter was imported for it yet."""
    agent = empty.add_agent("AG-1")
    empty.execute(agents.delete())
    empty.start()
    assert welcome(empty.turn(agent.hello())).verdict is JournalVerdict.NEW


def test_another_journal_retires_the_first_for_ever(world: World):
    agent = world.agents["AG-1"]
    old = agent.journal
    agent.begin(OTHER_JOURNAL)
    assert welcome(world.turn(agent.hello())).verdict is JournalVerdict.NEW
    agent.begin(old)
    agent.restart()
    before = world.rows(select(journals))
    assert welcome(world.turn(agent.hello())).verdict is JournalVerdict.RETIRED
    assert world.rows(select(journals)) == before


def test_boot_below_the_highest_is_rolled_back(world: World):
    agent = world.agents["AG-1"]
    agent.restart()
    world.turn(agent.hello())
    agent.boot -= 1
    before = world.rows(select(journals))
    assert welcome(world.turn(agent.hello())).verdict is JournalVerdict.ROLLED_BACK
    assert world.rows(select(journals)) == before


@pytest.mark.parametrize("lost", ["numbers", "history"])
def test_journal_that_forgot_what_is_filed_is_rolled_back(world: World, lost: str):
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.alarm("door", 1), agent.alarm("door", 2)))
    facts = {"made": 1, "head": agent.heads[1]} if lost == "numbers" else {"head": b"\x00" * 32}
    assert welcome(world.turn(agent.hello(**facts))).verdict is JournalVerdict.ROLLED_BACK


def test_forked_journal_must_start_anew(world: World):
    """Else nothing it says is ever filed again, and its closes are tried for ever."""
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.alarm("door", 1), before=b"\x00" * 32))
    assert welcome(world.turn(agent.hello())).verdict is JournalVerdict.ROLLED_BACK
    agent.begin(OTHER_JOURNAL)
    assert welcome(world.turn(agent.hello())).verdict is JournalVerdict.NEW


def test_hello_that_turns_away_is_answered_once_a_minute(world: World):
    agent = world.agents["AG-1"]
    agent.boot = 0
    assert bodies(world.turn(agent.hello()), MessageType.WELCOME)
    world.now_ms += TURNED_AWAY_EVERY_MS - 1
    assert bodies(world.turn(agent.hello()), MessageType.WELCOME) == []
    world.now_ms += 1
    assert bodies(world.turn(agent.hello()), MessageType.WELCOME)


def test_hello_delivered_again_is_ignored(world: World):
    agent = world.agents["AG-1"]
    hello = agent.hello()
    assert len(bodies(world.turn(hello), MessageType.WELCOME)) == 1
    assert world.turn(hello) == []


def test_older_hello_overtaken_on_the_way_is_ignored(world: World):
    agent = world.agents["AG-1"]
    first, second = agent.hello(window=5), agent.hello(window=9)
    (told,) = bodies(world.turn(second, first), MessageType.WELCOME)
    assert told.nonce == (3).to_bytes(16, "big")
    assert world.one(select(agents)).window == 9


@pytest.mark.parametrize("how", ["new boot", "new journal"])
def test_floor_of_a_fresh_agent_is_above_every_counter_ever_given(world: World, how: str):
    """I7: nothing recorded before the restart can act after it."""
    agent = world.agents["AG-1"]
    ahead = world.now_ms + 50 * SECOND_MS
    world.execute(update(meters).values(last_epoch=EPOCH, last_sequence=ahead))
    (close,) = sent(world.pay())
    assert close.body.sequence_ms == ahead + 1
    agent.restart()
    if how == "new journal":
        agent.begin(OTHER_JOURNAL)
    told = welcome(world.turn(agent.hello()))
    assert (told.floor_epoch, told.floor_sequence) == (EPOCH, ahead + 1)
    (again,) = sent(world.later(LADDER_MS[1]))
    assert again.body.sequence_ms > told.floor_sequence


def test_floor_counts_what_a_meter_was_given_behind_another_agent(world: World):
    """I7: the meter moved here with its counter."""
    world.execute(update(meters).values(last_epoch=EPOCH, last_sequence=world.now_ms + 7))
    agent = world.agents["AG-1"]
    agent.restart()
    assert welcome(world.turn(agent.hello())).floor_sequence == world.now_ms + 7


def test_floor_of_a_known_boot_stays(world: World):
    agent = world.agents["AG-1"]
    floor = world.one(select(agents)).floor_sequence
    world.now_ms += MINUTE_MS
    assert welcome(world.turn(agent.hello())).floor_sequence == floor


def test_command_a_restarted_agent_does_not_name_is_void_and_decided_anew(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    agent.restart()
    (again,) = sent(world.turn(agent.hello()))  # at once: the ladder spaces retries, not this
    first, second = world.commands()
    assert (first.state, second.state) == ("void", "published")
    assert second.decision != first.decision
    assert again.body.sequence_ms > close.body.sequence_ms


def test_command_a_restarted_agent_names_goes_on(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    agent.restart()
    world.turn(agent.hello(unfinished=(close.command_id,)))
    assert [row.state for row in world.commands()] == ["published"]


def test_outcome_journaled_before_the_restart_is_believed_after_it(world: World):
    """The void command was done: its episode ends, whatever becomes of its successor."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    item = agent.final(close, Outcome.CLOSED)
    agent.restart()
    world.turn(agent.hello())
    world.turn(agent.says(item))
    assert [row.state for row in world.commands()] == ["acknowledged", "published"]
    assert world.episode().state == "ended"


def test_hello_of_the_same_boot_voids_nothing_and_brings_the_bytes_again(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += 5 * SECOND_MS
    (again,) = sent(world.turn(agent.hello()))
    assert again.payload == close.payload


def test_hellos_in_a_storm_bring_the_bytes_once_in_five_seconds(world: World):
    """R19."""
    agent = world.agents["AG-1"]
    world.pay()
    world.now_ms += 5 * SECOND_MS
    outgoing = world.turn(agent.hello(), agent.hello())
    assert len(bodies(outgoing, MessageType.WELCOME)) == 2
    assert len(sent(outgoing)) == 1


def test_agent_with_older_trust_is_sent_it_before_its_welcome(world: World):
    """A welcome under a key it does not know yet is junk to it."""
    outgoing = world.turn(world.agents["AG-1"].hello(trust_version=6))
    assert [one.topic for one in outgoing] == ["trust/AG-1", "welcome/AG-1"]
    assert [one.topic for one in world.turn(world.agents["AG-1"].hello())] == ["welcome/AG-1"]


def test_hello_with_another_agents_key_is_junk(world: World):
    world.add_agent("AG-2")
    world.start()
    forged = world.agents["AG-1"]
    forged.key = world.agents["AG-2"].key
    assert world.turn(forged.hello()) == []
    assert sum(world.engine.junk.values()) == 1


def test_restored_disk_of_the_same_boot_is_found_by_its_nonce(world: World):
    """I5, I6: it lost no filed item, yet it may have lost what it journaled before it moved."""
    agent = world.agents["AG-1"]
    world.turn(agent.hello())
    agent.hellos = 0
    assert world.turn(agent.hello(nonce=b"\x01" * 16)) == []
    again = welcome(world.turn(agent.hello(nonce=b"\x02" * 16)))
    assert again.verdict is JournalVerdict.ROLLED_BACK

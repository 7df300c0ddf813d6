"""What is no command, and what is junk, at the whole agent; and the sequences an agent lives."""

import pytest

from tests.vectors import rows
from tests.vectors.agent_sight import StepSeen
from tests.vectors.agent_world import SETUP_NONCE, AgentWorld, command_of, state_of
from tests.wire import vectors
from tests.wire.bodies import command
from wire.topics import MessageType, parse

SIX_ITEMS = {"made": 6, "head": vectors.chain()["items"][5]["head"]}


@pytest.mark.parametrize("row", rows.words_to_agent(), ids=rows.name_of)
def test_agent_does_with_a_word_what_the_vector_says(row):
    seen = StepSeen(AgentWorld(state_of(row))).deliver(vectors.message(row))
    seen.expect(row["verdict"])
    assert seen.world.moves == 0


@pytest.mark.parametrize("row", rows.junk("agent"), ids=rows.name_of)
def test_junk_is_counted_by_the_agent_and_leaves_no_row(row):
    """Nothing but a count: no row, no answer, no movement."""
    state = state_of(row, agent=row["receiver"], latest_ms=row["at_ms"])
    world = AgentWorld(state)
    before, sent = world.rows(), len(world.sent)
    effects = world.receive(vectors.message(row))
    assert world.rows() == before
    assert world.agent.junk.total() == 1
    assert (effects.outgoing, effects.jobs, world.moves) == ((), (), 0)
    assert len(world.sent) == sent
    assert not world.agent.not_now


@pytest.mark.parametrize("row", rows.envelopes("agent"), ids=rows.name_of)
def test_genuine_message_is_no_junk_to_the_agent_it_is_for(row):
    message_type = parse(row["topic"]).message_type
    # `filed` speaks of the six items; a journal that holds them has ended `command-close` already.
    given = SIX_ITEMS if message_type is MessageType.FILED else {}
    seen = StepSeen(AgentWorld(state_of(row, **given))).deliver(vectors.message(row))
    assert not seen.world.agent.junk
    if message_type is MessageType.COMMAND:
        assert len(seen.world.finals(command_of(row)[1])) == 1


def first_command(row):
    """The sequence's first command, which says how its relay stands at the beginning."""
    for step in row["steps"]:
        if step["event"] == "deliver" and rows.is_command(step):
            body, _ = command_of(step)
            if body.action in ("close", "open"):
                return body
    return None


@pytest.mark.parametrize("row", rows.sequences("agent"), ids=rows.name_of)
def test_agent_lives_through_a_sequence(row, tmp_path):
    """I6: step by step, over a journal on disk that a restart really reopens."""
    first = first_command(row)
    is_open = first is None or first.action == "close"
    state = state_of(row)
    open_relays = state["known_meters"] if is_open else ()
    world = AgentWorld(state, path=tmp_path / "journal.db", open_relays=open_relays)
    for step in row["steps"]:
        seen = StepSeen(world)
        if step["event"] == "restart":
            seen.restart()
        else:
            assert step["at_ms"] == state["latest_ms"]
            seen.deliver(vectors.message(step))
        seen.expect(step["expect"])
    world.agent.journal.close()


def test_world_of_the_vectors_is_the_state_they_name():
    """What the set-up did, read back from the agent itself."""
    state = state_of({}, **SIX_ITEMS, outstanding=3)
    world = AgentWorld(state)
    standing, hello = world.agent.journal.standing, world.hellos[-1]
    assert standing.journal_id == state["journal"]
    assert [standing.floor_epoch, standing.floor_sequence_ms] == state["floor"]
    assert (hello.boot, hello.made, hello.head) == (5, 6, state["head"])
    assert (hello.nonce, hello.trust_version) == (state["nonces"][0], 7)
    assert world.hellos[0].nonce == SETUP_NONCE
    time = world.agent._greeting.time()
    assert (time.earliest_ms, time.latest_ms) == (state["earliest_ms"], state["latest_ms"])
    assert world.agent._greeting.running_ms() == state["running_ms"]
    facts = world.agent._commands._facts.of_opening(command("open"))
    assert facts.reached == state["reached"]
    assert (facts.agent_opens, facts.meter_opens) == (0, 0)
    assert world.agent._commands.unfinished.outstanding == 3

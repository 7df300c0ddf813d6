"""Twenty thousand mutated messages at a real agent and a real engine: nothing breaks or moves.

The seed is fixed (I14): a failure comes again. What stays true of every message: no exception; junk
stores nothing, answers nothing, moves nothing; a relay moves at most once for a genuine command.
"""

from random import Random

import pytest

from tests.vectors import mutations
from tests.vectors.agent_world import AgentWorld, state_of, trust_message
from tests.vectors.engine_world import EngineWorld
from tests.vectors.engine_world import state_of as engine_state_of
from tests.wire import vectors
from tests.wire.vectors import Message
from wire.checking import Checked, check
from wire.messages import Command

SEED = 20_260_921
BROKEN = 11_000
SIGNED = 8_000
TRUST = 1_000
BATCH = 100
STEP_MS = 20  # between two batches: the engine's timers run, commands expire, hellos are due


@pytest.fixture
def engine(tmp_path):
    world = EngineWorld(engine_state_of({}), tmp_path / "ledger.db")
    yield world
    world.close()


@pytest.fixture
def agent():
    state = state_of({})
    return AgentWorld(state, open_relays=state["known_meters"])


def batches(messages):
    given = list(messages)
    return [given[start : start + BATCH] for start in range(0, len(given), BATCH)]


def genuine_to_agent(world, message):
    """Whether steps 1 to 7 let it through to this agent."""
    ring = world.agent._greeting.ring
    at_ms, receiver = world.agent._greeting.latest_ms(), world.state["agent"]
    found = check(message, ring, at_ms=at_ms, receiver=receiver)
    return found if isinstance(found, Checked) else None


def test_broken_messages_are_junk_to_agent_and_engine_and_leave_no_trace(agent, engine):
    rows, sent, ledger = agent.rows(), len(agent.sent), engine.everything()
    at_ms = engine.state["now_ms"]
    for batch in batches(mutations.broken(Random(SEED), BROKEN)):
        effects = agent.receive(*batch)
        assert (effects.outgoing, effects.jobs, effects.may_act) == ((), (), frozenset())
        assert engine.deliver(*batch, at_ms=at_ms) == []
    assert agent.agent.junk.total() == engine.engine.junk.total() == BROKEN
    assert (agent.rows(), len(agent.sent), agent.moves) == (rows, sent, 0)
    assert engine.everything() == ledger


def test_signed_nonsense_breaks_no_agent_and_moves_a_relay_once_per_genuine_command(agent):
    """I5 and I6: whoever holds keys can ask for movements, one each, and for nothing else."""
    commands = set()
    for batch in batches(mutations.resigned(Random(SEED + 1), SIGNED)):
        found = [one for one in map(lambda m: genuine_to_agent(agent, m), batch) if one]
        commands |= {one.digest for one in found if isinstance(one.message, Command)}
        rows, is_all_junk = agent.rows(), not found
        agent.deliver(*batch)
        assert not is_all_junk or agent.rows() == rows
        agent.elapsed_ms += STEP_MS
        agent.keep(agent.agent.due())
    movements = [one for one in agent.told() if one.kind == "command" and one.acted_at_ms]
    assert agent.moves == len({one.command for one in movements})
    assert {one.command for one in movements} <= {one[:16] for one in commands}
    assert len(commands) > 100
    assert agent.agent.is_welcomed


def test_signed_nonsense_breaks_no_engine_and_junk_leaves_no_row(engine):
    ring, at_ms = vectors.keyring(), engine.state["now_ms"]
    junk, odd = [], []
    for message in mutations.resigned(Random(SEED + 2), SIGNED):
        found = check(message, ring, at_ms=at_ms)
        (odd if isinstance(found, Checked) else junk).append(message)
    before = engine.everything()
    for batch in batches(junk):
        assert engine.deliver(*batch, at_ms=at_ms) == []
    assert engine.everything() == before
    assert len(odd) > 500
    for batch in batches(odd):
        at_ms += STEP_MS
        engine.deliver(*batch, at_ms=at_ms)
    assert engine.postings() >= engine.postings_before


def test_mutated_trust_messages_change_nothing_that_is_held(agent):
    random, good = Random(SEED + 3), trust_message()
    whole = mutations.Genuine("trust", "trust", good, good, ())
    envelopes = [*mutations.genuine(), whole]
    rows = agent.rows()
    for _ in range(TRUST):
        payload = random.choice(mutations.BREAKERS[:6])(random, whole, random.choice(envelopes))
        effects = agent.receive(Message("trust", payload))
        assert effects.jobs == ()
    assert agent.rows() == rows
    assert agent.agent.junk["trust"] > TRUST * 9 // 10

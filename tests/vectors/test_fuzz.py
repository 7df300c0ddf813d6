"""Twenty thousand mutated messages at a real agent and a real engine: nothing breaks or moves.

The seed is fixed (I14): a failure comes again. What stays true of every message: no exception; junk
stores nothing, answers nothing, moves nothing; a relay moves at most once for a genuine command.
"""

from random import Random

import pytest

from edge_agent.settings import NOTHING
from tests.vectors import mutations
from tests.vectors.agent_world import AgentWorld, state_of, trust_message
from tests.vectors.engine_world import EngineWorld
from tests.vectors.engine_world import state_of as engine_state_of
from tests.wire import vectors
from tests.wire.vectors import Message
from wire.checking import Checked, check
from wire.messages import Command, CommandItem

SEED = 20_260_921
BROKEN = 11_000
SIGNED = 8_000
TRUST = 1_000
BATCH = 100
AT_ONE_AGENT = 5  # the counter of a meter rises quickly; behind that all is refused
STEP_MS = 20  # between two batches: the engine's timers run, commands expire, hellos are due


@pytest.fixture
def engine(tmp_path):
    world = EngineWorld(engine_state_of({}), tmp_path / "ledger.db")
    yield world
    world.close()


def agent_world():
    state = state_of({})
    return AgentWorld(state, open_relays=state["known_meters"][:1])  # one to close, one to open


@pytest.fixture
def agent():
    return agent_world()


def batches(messages, size=BATCH):
    given = list(messages)
    return [given[start : start + size] for start in range(0, len(given), size)]


def parted(messages, verdict_on):
    """(junk, genuine): what steps 1 to 7 say, and the ids of the genuine commands."""
    junk, odd, commands = [], [], set()
    for message in messages:
        found = verdict_on(message)
        if not isinstance(found, Checked):
            junk.append(message)
            continue
        odd.append(message)
        if isinstance(found.message, Command):
            commands.add(found.digest[:16])
    return junk, odd, commands


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
    ring, at_ms = agent.agent._greeting.ring, agent.now_ms
    junk, odd, commands = parted(
        mutations.resigned(Random(SEED + 1), SIGNED),
        lambda one: check(one, ring, at_ms=at_ms, receiver=agent.state["agent"]),
    )
    rows = agent.rows()
    for batch in batches(junk):
        assert agent.deliver(*batch) == NOTHING
    assert (agent.rows(), agent.moves) == (rows, 0)
    assert agent.agent.junk.total() == len(junk)
    moved = [one for batch in batches(odd, AT_ONE_AGENT) for one in moved_by(batch)]
    assert set(moved) <= commands
    assert min(len(junk), len(odd)) > 1_000
    assert len(moved) > 20


def moved_by(messages):
    """The commands that moved a relay of a fresh agent, which takes the messages one by one."""
    world = agent_world()
    for message in messages:
        world.deliver(message)
        world.elapsed_ms += STEP_MS
        world.keep(world.agent.due())
    finals = [one for one in world.told() if isinstance(one, CommandItem)]
    moved = [one.command for one in finals if one.acted_at_ms is not None]
    assert world.moves == len(moved) == len(set(moved))
    return moved


def test_signed_nonsense_breaks_no_engine_and_junk_leaves_no_row(engine):
    ring, at_ms = vectors.keyring(), engine.state["now_ms"]
    junk, odd, _ = parted(
        mutations.resigned(Random(SEED + 2), SIGNED), lambda one: check(one, ring, at_ms=at_ms)
    )
    before = engine.everything()
    for batch in batches(junk):
        assert engine.deliver(*batch, at_ms=at_ms) == []
    assert engine.everything() == before
    assert engine.engine.junk.total() == len(junk)
    for batch in batches(odd):
        at_ms += STEP_MS
        engine.deliver(*batch, at_ms=at_ms)
    assert engine.everything() != before
    assert min(len(junk), len(odd)) > 1_000


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

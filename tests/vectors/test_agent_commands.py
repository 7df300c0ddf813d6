"""The commands of the vectors through the whole agent: journal, counters, relays, answers."""

import pytest

from meter_sim.relay_model import ControlMode
from tests.vectors import rows
from tests.vectors.agent_world import AgentWorld, command_of, state_of
from tests.wire import vectors
from tests.wire.test_vector_files import row_of, section
from wire.messages import Counter

REFUSED = [row for row in rows.commands() if "refused" in row["verdict"]]
NOT_NOW = [row for row in rows.commands() if row["verdict"] == {"not_now": True}]
ACCEPTED = [row for row in rows.commands() if row["verdict"] == {"accepted": True}]
SUCCESS = {
    "close": "closed", "arm": "armed", "open": "opened", "disarm": "disarmed", "read": "read",
    "withdraw": "nothing_pending", "guarded": "set", "unguarded": "set",
}  # fmt: skip


def world_of(row):
    body, _ = command_of(row)
    meters = () if body.action == "open" else state_of(row)["known_meters"]
    mode = ControlMode.ARM if body.action in ("arm", "disarm") else ControlMode.CLOSE
    world = AgentWorld(state_of(row), open_relays=meters, mode=mode)
    if body.action == "disarm" and meters:
        world.relays.close(body.meter, world.elapsed_ms)
    return world


def raises_counter(reason, action):
    """What the page's table says."""
    return action != "read" and row_of(section("Refusals"), f"`{reason}`")[-1] == "yes"


@pytest.mark.parametrize("row", REFUSED, ids=rows.name_of)
def test_refused_command_is_journaled_answered_and_moves_nothing(row):
    """I5: the counter follows exactly when the page says so (I7)."""
    world, (body, command_id) = world_of(row), command_of(row)
    highest = world.journal.commands.highest(body.meter)
    world.deliver(vectors.message(row))
    (item,) = world.finals(command_id)
    assert (item.outcome, item.reason) == ("refused", row["verdict"]["refused"])
    assert (item.before, item.after, item.acted_at_ms) == (None, None, None)
    assert (item.meter, item.sequence_ms) == (body.meter, body.sequence_ms)
    known = world.journal.commands.known(command_id)
    assert known is not None
    assert known.item == item.number
    assert world.moves == 0
    mine = Counter(epoch=body.epoch, sequence_ms=body.sequence_ms)
    expected = mine if raises_counter(item.reason, body.action) else highest
    assert world.journal.commands.highest(body.meter) == expected
    assert item.highest == (highest if item.reason == "low_counter" else None)


@pytest.mark.parametrize("row", REFUSED, ids=rows.name_of)
def test_refusal_is_final_also_across_a_restart(row):
    """The same bytes get the same item, whatever the next boot would think of them."""
    world, (_, command_id) = world_of(row), command_of(row)
    world.deliver(vectors.message(row))
    (item,) = world.finals(command_id)
    world.deliver(vectors.message(row))
    assert world.told_now == [item.number]
    world.restart()
    world.deliver(world.welcome(world.hellos[-1].nonce))
    assert world.agent.is_welcomed
    world.deliver(vectors.message(row))
    assert item.number in world.told_now
    assert world.finals(command_id) == [item]
    assert world.moves == 0


@pytest.mark.parametrize("row", NOT_NOW, ids=rows.name_of)
def test_command_that_comes_too_early_leaves_no_trace(row):
    world = world_of(row)
    before, sent = world.rows(), len(world.sent)
    effects = world.receive(vectors.message(row))
    assert (effects.outgoing, effects.jobs) == ((), ())
    assert world.rows() == before
    assert len(world.sent) == sent
    assert world.agent.not_now.total() == 1
    assert not world.agent.junk


@pytest.mark.parametrize("row", ACCEPTED, ids=rows.name_of)
def test_accepted_command_is_carried_out_and_read_back(row):
    """I8: the neighbour of a refusal passes, and its relay really stands as told."""
    world, (body, command_id) = world_of(row), command_of(row)
    highest = world.journal.commands.highest(body.meter)
    world.deliver(vectors.message(row))
    (item,) = world.finals(command_id)
    assert (item.outcome, item.reason) == (SUCCESS[body.action], None)
    is_movement = body.action in ("close", "arm", "open", "disarm")
    assert world.moves == is_movement
    if is_movement:
        assert item.after.output is (body.action == "close")
        assert world.relays.read(body.meter, world.elapsed_ms)[0] is (body.action == "close")
    mine = Counter(epoch=body.epoch, sequence_ms=body.sequence_ms)
    expected = highest if body.action == "read" else mine
    assert world.journal.commands.highest(body.meter) == expected
    world.deliver(vectors.message(row))
    assert world.told_now == [item.number]
    assert world.moves == is_movement

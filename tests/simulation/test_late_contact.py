"""I6 where a contact follows its command by minutes: who told it to move never says it did not."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from meter_sim.faults import Fault
from tests.simulation.plan import ALL_METERS, PARTIES, Plan, draw
from tests.simulation.world import World


def quiet(plan: Plan) -> Plan:
    """No fault but the meters': every contact closes 90 s after it was told to."""
    return replace(
        plan,
        loses=0,
        repeats=0,
        delays=0,
        replay_every_ms=0,
        crashes=dict.fromkeys(PARTIES, 0.0),
        part_every_ms=0,
        loses_sessions=0,
        loses_journals=0,
        rolls_journals_back=0,
        restores=0,
        cuts_again=False,
        lock_every_ms=0,
        moves=0,
        store_fails=0,
        clock_step_ms=0,
        has_thief=False,
        latency_ms=(0, 0),
        faults=dict.fromkeys(ALL_METERS, Fault.CLOSES_LATE),
        modes={},
    )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("tests.simulation.world.draw", lambda *drawn: quiet(draw(*drawn)))
    monkeypatch.setattr("tests.simulation.world.DOWN_MAX_MS", 1_000)
    monkeypatch.setattr("tests.simulation.provider.STORIES", ("nobody",))
    made = World(5)
    yield made
    made.close()


def test_close_told_to_move_before_a_crash_is_not_called_withdrawn(world: World) -> None:
    cut = world.cuts[0]
    agent = world.agents["AG-" + cut.meter.split("-")[1]]
    world.provider._cut = cut
    paid = world.provider._capture(cut, cut.quote_paise)
    while not world.movements.causes.get(cut.meter):
        world.schedule.run(world.now_ms + 100)
    agent.crash("crashed in the ACTION")
    world.schedule.run(world.now_ms + 5_000)
    world.provider._cut = cut
    world.provider._refund(paid, cut.quote_paise)
    world.schedule.run(world.now_ms + 200_000)
    assert world.movements.is_closed(cut.meter, world.now_ms)
    words = [item[6] for item in world.edge.finals.values() if item[3] == cut.meter]
    assert words == ["unknown", "too_late"]
    world.edge.never_moved()

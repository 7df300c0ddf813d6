"""A crash behind every commit of a command's life: what is read back, what goes on, what ends."""

import pytest

from edge_agent.relay import AskToAct
from edge_agent.settings import Effects
from meter_sim.meters import PopulationPlan
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import command_id
from wire.messages import RelayReading

OPEN_READING = RelayReading(output=False, control_state=0, control_mode=4)
CLOSED_READING = RelayReading(output=True, control_state=1, control_mode=4)


@pytest.fixture
def world(tmp_path) -> World:
    world = World(path=tmp_path / "journal.db")
    world.greet()
    return world


def acting(world: World, command) -> None:
    """Bring a command to `actuating`, and leave its operation under way."""
    world.receive(command)
    asked = AskToAct(command_id(command), OPEN_READING)
    effects = world.keep(world.agent.begin([asked]))
    assert effects.may_act == {command_id(command)}


def test_crash_behind_received_lets_a_close_go_on_after_the_welcome(world):
    close = world.command("close")
    world.receive(close)
    world.crash()
    hello = world.connect()
    assert hello.unfinished == (command_id(close),)
    effects = world.receive(world.welcome(hello, floor_sequence=world.now_ms))
    assert world.receive(close) == Effects()  # a re-send: it is under way
    world.run(effects.jobs)
    assert world.final_item(close).outcome == "closed"
    assert world.movements() == 1


def test_crash_behind_received_refuses_a_close_that_expired_meanwhile(world):
    close = world.command("close", life_ms=5_000)
    world.receive(close)
    world.elapsed_ms += 5_000
    world.crash()
    world.run(world.greet().jobs)
    assert world.final_item(close).reason == "expired"
    assert not world.is_closed()


def test_crash_behind_actuating_reads_back_first_and_reports_what_moved(world):
    """I6 and I8: the relay moved before the crash; it is not told again."""
    close = world.command("close")
    acting(world, close)
    world.relays.close("M-1", world.elapsed_ms)
    world.crash()
    world.run(world.greet().jobs)
    item = world.final_item(close)
    assert (item.outcome, item.after) == ("closed", CLOSED_READING)
    assert item.acted_at_ms is not None
    assert world.movements() == 1


def test_crash_behind_actuating_closes_once_more_if_nothing_moved_and_it_is_alive(world):
    close = world.command("close")
    acting(world, close)
    world.crash()
    world.run(world.greet().jobs)
    assert world.final_item(close).outcome == "closed"
    assert world.movements() == 1


def test_second_crash_behind_actuating_is_only_read_back(world):
    """I6: once more is once."""
    close = world.command("close", life_ms=900_000)
    acting(world, close)
    world.crash()
    effects = world.greet()
    world.keep(world.agent.begin([AskToAct(effects.jobs[0].command_id, OPEN_READING)]))
    world.crash()
    world.run(world.greet().jobs)
    assert world.final_item(close).outcome == "unchanged"
    assert not world.is_closed()


def test_crash_behind_actuating_refuses_what_expired_and_did_not_move(world):
    close = world.command("close", life_ms=20_000)
    acting(world, close)
    world.elapsed_ms += 20_000
    world.crash()
    world.run(world.greet().jobs)
    item = world.final_item(close)
    assert (item.outcome, item.reason) == ("refused", "expired")
    assert not world.is_closed()


def test_crash_behind_actuating_never_opens_a_second_time(world):
    world.age_and_reach()
    opening = world.command("open", "M-3")
    acting(world, opening)
    world.crash()
    world.run(world.greet().jobs)
    item = world.final_item(opening)
    assert (item.outcome, item.reason) == ("refused", "restarted")
    assert world.is_closed("M-3")


def test_crash_behind_actuating_and_a_silent_meter_is_unknown(world):
    close = world.command("close")
    acting(world, close)
    world.crash()
    effects = world.greet()
    world.relays = type(world.relays)((), PopulationPlan())
    world.run(effects.jobs)
    assert world.final_item(close).outcome == "unknown"


def test_withdrawal_behind_a_crash_keeps_the_second_movement_back(world):
    """I6: nothing moves it again; whether the first ACTION left before the crash, nobody knows."""
    close, withdraw = world.command("close"), world.command("withdraw")
    acting(world, close)
    world.crash()
    effects = world.greet()
    world.receive(withdraw)
    world.run(effects.jobs)
    assert world.final_item(close).outcome == "unknown"
    assert world.final_item(withdraw).outcome == "too_late"
    assert not world.is_closed()


def test_crash_behind_the_outcome_answers_from_the_journal(world):
    close = world.command("close")
    world.do(close)
    number, raw = 1, world.raw[1]
    world.crash()
    world.items.clear()
    world.greet()
    assert (sorted(world.items), world.raw[number]) == ([1], raw)

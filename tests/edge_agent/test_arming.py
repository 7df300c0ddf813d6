"""Arm and disarm (R15), guarded meters (R20): through bytes, journal, relay and answer."""

import pytest

from meter_sim.meters import PopulationPlan
from meter_sim.relay_model import ControlMode
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import ENGINE, GUARD
from wire.vocabulary import JournalVerdict

BOTH = (ENGINE, GUARD)


@pytest.fixture
def world(tmp_path) -> World:
    """Relays whose button must be pressed; M-1 and M-2 are open, M-3 is protected."""
    world = World(
        path=tmp_path / "journal.db",
        plan=PopulationPlan(
            initially_open=frozenset({"M-1", "M-2"}), control_mode=ControlMode.ARM_WITH_BUTTON
        ),
        protected=frozenset({"M-1"}),
    )
    world.greet()
    world.age_and_reach()
    return world


def state(world: World, meter: str = "M-1") -> tuple[bool, int]:
    return world.relays.read(meter, world.elapsed_ms)[:2]


def test_armed_relay_is_closed_by_its_button_only(world):
    item = world.outcome(world.command("arm", "M-1"))
    assert (item.outcome, item.after.control_state, item.after.output) == ("armed", 2, False)
    assert not world.is_closed("M-1")
    world.relays.press("M-1", world.elapsed_ms)
    assert world.is_closed("M-1")
    assert world.outcome(world.command("arm", "M-1")).outcome == "already_closed"


def test_relay_that_is_armed_is_not_told_again(world):
    world.do(world.command("arm", "M-1"))
    item = world.outcome(world.command("arm", "M-1"))
    assert (item.outcome, item.acted_at_ms) == ("armed", None)


def test_disarmed_relay_stays_open_whoever_presses(world):
    """Protection, window and dwell guard supply; an armed relay gives none."""
    world.do(world.command("arm", "M-1"))
    world.elapsed_ms += 3 * 3_600_000  # after the hours of opens
    world.greet()
    item = world.outcome(world.command("disarm", "M-1"))
    assert (item.outcome, item.before.control_state) == ("disarmed", 2)
    world.relays.press("M-1", world.elapsed_ms)
    assert state(world) == (False, 0)


def test_disarm_counts_in_the_caps_like_an_open(world):
    world.do(world.command("arm", "M-1"), world.command("arm", "M-2"))
    assert world.outcome(world.command("disarm", "M-1")).outcome == "disarmed"
    assert world.outcome(world.command("disarm", "M-2")).reason == "cap_agent"
    assert world.outcome(world.command("open", "M-3")).reason == "cap_agent"


def test_disarm_that_moved_nothing_does_not_count(world):
    already = world.outcome(world.command("disarm", "M-1"))
    assert (already.outcome, already.acted_at_ms) == ("already_open", None)
    assert world.outcome(world.command("disarm", "M-3")).reason == "relay_closed"
    world.do(world.command("arm", "M-2"))
    assert world.outcome(world.command("disarm", "M-2")).outcome == "disarmed"


def test_disarm_is_refused_while_frozen_also_if_it_was_accepted_before(world):
    world.do(world.command("arm", "M-1"))
    disarm = world.command("disarm", "M-1")
    jobs = world.receive(disarm).jobs
    world.receive(world.stop(world.now_ms))
    world.run(jobs)
    assert world.final_item(disarm).reason == "stop"
    assert state(world) == (False, 2)


def test_disarm_by_the_engine_alone_is_refused(world):
    world.do(world.command("arm", "M-1"))
    assert world.outcome(world.command("disarm", "M-1", signers=(ENGINE,))).reason == (
        "missing_guard"
    )


def test_disarm_received_before_a_restart_is_refused(world):
    world.do(world.command("arm", "M-1"))
    disarm = world.command("disarm", "M-1")
    world.receive(disarm)
    world.crash()
    assert not world.greet().jobs
    assert world.final_item(disarm).reason == "restarted"
    assert state(world) == (False, 2)


def test_arm_received_before_a_restart_goes_on(world):
    arm = world.command("arm", "M-1")
    world.receive(arm)
    world.crash()
    world.run(world.greet().jobs)
    assert world.final_item(arm).outcome == "armed"


def test_open_keeps_its_distance_from_an_arm_as_from_a_close(world):
    world.do(world.command("arm", "M-2"))
    assert world.outcome(world.command("open", "M-2")).reason == "dwell"
    world.pass_time(60_000)
    assert world.outcome(world.command("open", "M-2")).outcome == "opened"


def test_withdrawn_arm_moves_nothing(world):
    arm = world.command("arm", "M-1")
    jobs = world.receive(arm).jobs
    world.do(world.command("withdraw", "M-1"))
    world.run(jobs)
    assert world.final_item(arm).outcome == "withdrawn"
    assert state(world) == (False, 0)


# Guarded meters


def test_guarded_meter_is_closed_and_armed_by_engine_and_guard_only(world):
    assert world.outcome(world.command("guarded", "M-1")).outcome == "set"
    world.crash()
    world.greet()
    for action in ("close", "arm"):
        assert world.outcome(world.command(action, "M-1")).reason == "guarded"
        assert world.outcome(world.command(action, "M-1", signers=BOTH)).outcome == "armed"
    assert world.outcome(world.command("close", "M-2")).outcome == "armed"


def test_guarded_meter_is_given_back_by_engine_and_guard_only(world):
    world.do(world.command("guarded", "M-1"))
    alone = world.outcome(world.command("unguarded", "M-1", signers=(ENGINE,)))
    assert alone.reason == "missing_guard"
    assert world.outcome(world.command("close", "M-1")).reason == "guarded"
    assert world.outcome(world.command("unguarded", "M-1")).outcome == "set"
    assert world.outcome(world.command("close", "M-1")).outcome == "armed"


def test_guarded_and_unguarded_are_done_already_and_set_all_the_same(world):
    for action in ("unguarded", "guarded", "guarded", "unguarded"):
        item = world.outcome(world.command(action, "M-1"))
        assert (item.outcome, item.before, item.after) == ("set", None, None)


def test_recorded_unguarded_is_refused_when_the_meter_is_guarded_again(world):
    """I7: its counter is below that of the newer word."""
    recorded = world.command("unguarded", "M-1")
    world.do(world.command("guarded", "M-1"))
    assert world.outcome(recorded).reason == "low_counter"
    assert world.outcome(world.command("close", "M-1")).reason == "guarded"


def test_close_that_waited_is_superseded_by_guarded(world):
    """A lock for people's safety: what was not begun does not go on."""
    close = world.command("close", "M-1")
    jobs = world.receive(close).jobs
    world.do(world.command("guarded", "M-1"))
    world.run(jobs)
    assert world.final_item(close).outcome == "superseded"
    assert state(world) == (False, 0)


def test_new_journal_keeps_meters_guarded(world):
    world.do(world.command("guarded", "M-1"))
    world.receive(world.welcome(world.connect(), verdict=JournalVerdict.RETIRED))
    world.items.clear()
    world.raw.clear()
    world.greet(verdict=JournalVerdict.NEW)
    assert world.outcome(world.command("close", "M-1")).reason == "guarded"

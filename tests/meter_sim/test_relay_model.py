"""Each row of the class 70 table, and what delays, timer and bounce add to it."""

import pytest

from meter_sim.relay_model import (
    TRANSITIONS,
    ControlMode,
    ControlState,
    Mechanics,
    Relay,
    Stimulus,
    relay_at,
    resting,
    stimulated,
    target_of,
)

# The Blue Book's columns for each mode, written out by hand: which letters it allows.
LETTERS = {
    ControlMode.ALWAYS_CONNECTED: "",
    ControlMode.ARM_WITH_BUTTON: "bcdefg",
    ControlMode.CLOSE_WITH_BUTTON: "abcefg",
    ControlMode.ARM: "bcdeg",
    ControlMode.CLOSE: "abceg",
    ControlMode.ARM_CLOSES_ITSELF_WITH_BUTTON: "bcdefgh",
    ControlMode.ARM_CLOSES_ITSELF: "bcdegh",
}
OPEN, CLOSED, READY = ControlState
INSTANT = Mechanics(local_reconnect_ms=30_000)
SLOW = Mechanics(actuation_ms=100, local_reconnect_ms=30_000)


def standing(state: ControlState, mode: ControlMode) -> Relay:
    return resting(contact_is_closed=state is CLOSED, state=state, mode=mode)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: row.letter)
@pytest.mark.parametrize("mode", ControlMode, ids=lambda mode: mode.name)
def test_each_row_moves_state_and_contact_in_exactly_the_modes_of_the_blue_book(row, mode):
    before = standing(row.source, mode)
    after = stimulated(before, row.stimulus, 0, INSTANT)
    if row.letter in LETTERS[mode]:
        assert (after.control_state, after.contact_is_closed) == (row.target, row.target is CLOSED)
    elif target_of(mode, row.source, row.stimulus) is None:
        assert after is before
    else:  # a and d share source and stimulus: the mode has the other one
        assert {row.letter} < {"a", "d"}
        assert after.control_state is not row.target


def test_table_has_the_eight_rows_of_the_blue_book_and_no_other():
    assert "".join(row.letter for row in TRANSITIONS) == "abcdefgh"
    allowed = sum(len(letters) for letters in LETTERS.values())
    assert sum(len(row.modes) for row in TRANSITIONS) == allowed


@pytest.mark.parametrize("state", ControlState)
@pytest.mark.parametrize("stimulus", Stimulus)
def test_nothing_moves_a_relay_of_mode_0(state, stimulus):
    before = standing(state, ControlMode.ALWAYS_CONNECTED)
    assert stimulated(before, stimulus, 0, INSTANT) is before


def test_remote_close_after_a_limiter_trip_changes_nothing_as_in_real_firmware():
    tripped = stimulated(standing(CLOSED, ControlMode.CLOSE), Stimulus.LOCAL_DISCONNECT, 0, INSTANT)
    assert tripped.control_state is READY
    assert stimulated(tripped, Stimulus.REMOTE_RECONNECT, 5, INSTANT) is tripped


def test_contact_follows_control_state_after_the_actuation_delay():
    told = stimulated(standing(OPEN, ControlMode.CLOSE), Stimulus.REMOTE_RECONNECT, 1_000, SLOW)
    assert told.control_state is CLOSED
    assert not relay_at(told, 1_099, SLOW).contact_is_closed
    assert relay_at(told, 1_100, SLOW).contact_is_closed


def test_closing_and_opening_lags_add_to_the_actuation_delay_of_their_own_direction():
    mechanics = Mechanics(actuation_ms=100, closing_lag_ms=20, opening_lag_ms=3)
    closing = stimulated(standing(OPEN, ControlMode.CLOSE), Stimulus.REMOTE_RECONNECT, 0, mechanics)
    opening = stimulated(
        standing(CLOSED, ControlMode.CLOSE), Stimulus.REMOTE_DISCONNECT, 0, mechanics
    )
    assert (closing.next_change_ms, opening.next_change_ms) == (120, 103)


def test_newer_open_drops_the_closing_movement_still_to_come():
    told = stimulated(standing(OPEN, ControlMode.CLOSE), Stimulus.REMOTE_RECONNECT, 0, SLOW)
    untold = stimulated(told, Stimulus.REMOTE_DISCONNECT, 50, SLOW)
    assert untold.next_change_ms is None
    assert not relay_at(untold, 10_000, SLOW).contact_is_closed


@pytest.mark.parametrize(
    "mode", [ControlMode.ARM_CLOSES_ITSELF, ControlMode.ARM_CLOSES_ITSELF_WITH_BUTTON]
)
def test_armed_relay_of_modes_5_and_6_closes_by_itself_after_its_timer_and_actuation(mode):
    armed = stimulated(standing(OPEN, mode), Stimulus.REMOTE_RECONNECT, 0, SLOW)
    assert relay_at(armed, 29_999, SLOW).control_state is READY
    at_timer = relay_at(armed, 30_000, SLOW)
    assert (at_timer.control_state, at_timer.contact_is_closed) == (CLOSED, False)
    assert relay_at(armed, 30_099, SLOW).contact_is_closed is False
    assert relay_at(armed, 30_100, SLOW).contact_is_closed is True


def test_limiter_trip_in_mode_6_opens_and_closes_again_by_itself():
    tripped = stimulated(
        standing(CLOSED, ControlMode.ARM_CLOSES_ITSELF), Stimulus.LOCAL_DISCONNECT, 0, INSTANT
    )
    assert not tripped.contact_is_closed
    assert relay_at(tripped, 30_000, INSTANT).contact_is_closed


def test_trip_is_over_before_the_timer_closes_the_relay_again_however_late_one_asks():
    tripped = stimulated(
        standing(CLOSED, ControlMode.ARM_CLOSES_ITSELF), Stimulus.LOCAL_DISCONNECT, 0, SLOW
    )
    assert relay_at(tripped, 30_050, SLOW).contact_is_closed is False
    assert relay_at(tripped, 30_100, SLOW).contact_is_closed is True


def test_remote_open_stops_the_timer_of_an_armed_relay():
    mode = ControlMode.ARM_CLOSES_ITSELF
    armed = stimulated(standing(OPEN, mode), Stimulus.REMOTE_RECONNECT, 0, INSTANT)
    disarmed = stimulated(armed, Stimulus.REMOTE_DISCONNECT, 10, INSTANT)
    assert relay_at(disarmed, 10**6, INSTANT) == standing(OPEN, mode)


@pytest.mark.parametrize("mode", [ControlMode.ARM, ControlMode.ARM_WITH_BUTTON])
def test_armed_relay_of_modes_1_and_3_waits_for_the_button_for_ever(mode):
    armed = stimulated(standing(OPEN, mode), Stimulus.REMOTE_RECONNECT, 0, INSTANT)
    assert relay_at(armed, 10**12, INSTANT).contact_is_closed is False
    assert stimulated(armed, Stimulus.MANUAL_RECONNECT, 10**12, INSTANT).contact_is_closed


def test_bouncing_contact_closes_springs_back_and_closes_again():
    mechanics = Mechanics(actuation_ms=100, bounce_ms=40)
    told = stimulated(standing(OPEN, ControlMode.CLOSE), Stimulus.REMOTE_RECONNECT, 0, mechanics)
    times = [99, 100, 139, 140, 179, 180, 10_000]
    seen = [relay_at(told, at_ms, mechanics).contact_is_closed for at_ms in times]
    assert seen == [False, True, True, False, False, True, True]


def test_resting_relays_are_shared():
    assert standing(OPEN, ControlMode.CLOSE) is standing(OPEN, ControlMode.CLOSE)
    told = stimulated(standing(OPEN, ControlMode.CLOSE), Stimulus.REMOTE_RECONNECT, 0, SLOW)
    assert relay_at(told, 100, SLOW) is standing(CLOSED, ControlMode.CLOSE)

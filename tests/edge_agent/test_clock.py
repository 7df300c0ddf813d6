"""The clock's intervals, as properties."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import (
    AGREEING_SPAN_MS,
    DISPUTE_MS,
    ROUND_TRIP_MAX_MS,
    Clock,
    TimeReading,
)

BASE_MS = 1_760_000_000_000
WEEK_MS = 7 * 86_400_000


def reading(now_ms: int = BASE_MS, *, left_ms: int = 0, round_trip_ms: int = 0) -> TimeReading:
    return TimeReading(now_ms=now_ms, left_ms=left_ms, arrived_ms=left_ms + round_trip_ms)


@given(
    there_ms=st.integers(0, 5_000),
    back_ms=st.integers(0, 5_000),
    since_ms=st.integers(0, WEEK_MS),
    drift_ppm=st.integers(-400, 400),
)
def test_true_time_lies_in_the_interval_whatever_the_way_and_the_quartz(
    there_ms, back_ms, since_ms, drift_ppm
):
    # The engine reads its clock after `there_ms`; our quartz counts `drift_ppm` fast or slow.
    counted_ms = since_ms * 1_000_000 // (1_000_000 + drift_ppm)
    found = reading(round_trip_ms=there_ms + back_ms)
    at = found.arrived_ms + counted_ms
    true_ms = BASE_MS + back_ms + since_ms
    assert found.earliest_ms(at) <= true_ms
    assert true_ms <= found.latest_ms(at) + 1


@given(first_ms=st.integers(0, WEEK_MS), more_ms=st.integers(0, WEEK_MS))
def test_both_ends_of_the_interval_only_rise_and_it_only_widens(first_ms, more_ms):
    found = reading(round_trip_ms=200)
    early, late = 200 + first_ms, 200 + first_ms + more_ms
    assert found.earliest_ms(early) <= found.earliest_ms(late)
    assert found.latest_ms(early) <= found.latest_ms(late)
    width = found.latest_ms(early) - found.earliest_ms(early)
    assert width <= found.latest_ms(late) - found.earliest_ms(late)


def test_time_of_ten_hours_ago_is_uncertain_by_500_ppm_to_either_side():
    found = reading()
    assert found.earliest_ms(36_000_000) == BASE_MS + 36_000_000 - 18_000
    assert found.latest_ms(36_000_000) == BASE_MS + 36_000_000 + 18_000
    assert found.latest_ms(1) == BASE_MS + 2  # rounded up: never earlier than it can be


def test_welcome_with_a_round_trip_over_ten_seconds_gives_no_time():
    slow = reading(round_trip_ms=ROUND_TRIP_MAX_MS + 1)
    assert Clock().welcomed(slow, 0).view(20_000, 0) is None
    assert Clock().welcomed(reading(round_trip_ms=ROUND_TRIP_MAX_MS), 0).reading is not None


def test_welcome_within_120_seconds_replaces_the_time_without_dispute():
    clock = Clock().welcomed(reading(), 0)
    moved = clock.welcomed(reading(BASE_MS + 600_000 + 120_300, left_ms=600_000), 600_000)
    assert moved.reading is not clock.reading
    assert moved.disputed_until_ms == 0


def test_contradicting_welcome_keeps_the_old_time_and_opens_a_dispute():
    clock = Clock().welcomed(reading(), 0)
    for wrong_ms in (BASE_MS + 130_000, BASE_MS - 130_000):
        disputed = clock.welcomed(reading(wrong_ms, left_ms=1_000), running_ms=1_000)
        assert disputed.reading == clock.reading
        view = disputed.view(1_000, 1_000)
        assert view is not None
        assert view.is_disputed
        last_ms = 1_000 + DISPUTE_MS
        assert disputed.view(last_ms, last_ms - 1).is_disputed
        assert not disputed.view(last_ms, last_ms).is_disputed


def contradiction(at_ms: int, ahead_ms: int = 3_600_000) -> TimeReading:
    return reading(BASE_MS + ahead_ms + at_ms, left_ms=at_ms)


def test_three_agreeing_welcomes_over_ten_minutes_replace_the_time_for_closes_only():
    clock = Clock().welcomed(reading(), 0)
    for at_ms in (1_000, 2_000, 3_000):  # three, but within seconds
        clock = clock.welcomed(contradiction(at_ms), at_ms)
    assert clock.reading == reading()
    at_ms = 1_000 + AGREEING_SPAN_MS
    clock = clock.welcomed(contradiction(at_ms), at_ms)
    assert clock.reading == contradiction(at_ms)
    assert clock.view(at_ms, at_ms).is_disputed


def test_contradicting_welcomes_that_contradict_each_other_replace_nothing():
    clock = Clock().welcomed(reading(), 0)
    for place in range(12):
        at_ms = 1_000 + place * AGREEING_SPAN_MS
        clock = clock.welcomed(contradiction(at_ms, 3_600_000 * (1 + place % 2)), at_ms)
    assert clock.reading == reading()
    assert len(clock.contradicting) <= 3


def test_welcome_that_agrees_with_the_old_time_forgets_the_contradiction():
    clock = Clock().welcomed(reading(), 0)
    clock = clock.welcomed(contradiction(1_000), 1_000)
    clock = clock.welcomed(reading(BASE_MS + 2_000, left_ms=2_000), 2_000)
    assert clock.contradicting == ()
    assert clock.view(2_000, 2_000).is_disputed


def test_stored_dispute_outlives_a_restart():
    restarted = replace(Clock(disputed_until_ms=5_000), reading=reading())
    assert restarted.view(0, 4_999).is_disputed

"""How many opens may go now."""

from collections import Counter

import pytest

from cloud import opening_caps
from cloud.guard import thresholds
from cloud.opening_caps import (
    Canary,
    Caps,
    Counted,
    Pace,
    Place,
    agent_limit,
    canary_says,
    day_limit,
    fits,
    place_limit,
    room,
)
from cloud.vocabulary import ProposalState
from tests.wire.installation import POLICY

CAPS = Caps()
OPENED, SENT, FAILED = ProposalState.OPENED, ProposalState.SENT, ProposalState.FAILED
SKIPPED, QUARANTINED = ProposalState.SKIPPED, ProposalState.QUARANTINED


def counted(hour=0, day=0, meters=725_000):
    # As much as ever was usual, so that only hour and day count here.
    return Counted(in_last_hour=hour, in_last_day=day, meters=meters, earlier_days=(9_999,))


def test_half_a_per_cent_of_the_fleet_may_be_opened_in_a_day():
    assert day_limit(CAPS, 725_000) == 3_625
    assert day_limit(CAPS, 40) == 10  # a small company can use it at all


@pytest.mark.parametrize(
    ("hour", "day", "left"),
    [(0, 0, 500), (499, 499, 1), (500, 500, 0), (0, 3_600, 25), (0, 3_625, 0), (0, 4_000, 0)],
)
def test_room_is_what_hour_and_day_both_leave(hour, day, left):
    assert room(CAPS, counted(hour, day)) == left


def test_batch_that_fits_the_day_needs_nobody_and_one_more_needs_two():
    assert fits(CAPS, counted(), 3_625)
    assert not fits(CAPS, counted(), 3_626)
    assert not fits(CAPS, counted(day=1), 3_625)
    assert not fits(CAPS, counted(), 160_000)  # Uttar Pradesh, 12 August 2020


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({OPENED: 10}, Canary.PASSED),
        ({OPENED: 9, FAILED: 1}, Canary.PASSED),
        ({OPENED: 8, FAILED: 2}, Canary.FAILED),
        ({OPENED: 3, QUARANTINED: 2, SENT: 5}, Canary.FAILED),
        ({OPENED: 9, SENT: 1}, Canary.GOES_ON),
        ({OPENED: 5, SKIPPED: 5}, Canary.PASSED),
        ({ProposalState.PROPOSED: 10}, Canary.GOES_ON),
    ],
)
def test_rest_follows_only_a_canary_of_which_nine_in_ten_were_read_back_open(states, says):
    assert canary_says(CAPS, states) is says


@pytest.mark.parametrize(("meters", "limit"), [(1_000, 20), (40, 5), (0, 5), (1_049, 20)])
def test_feeder_may_lose_two_per_cent_in_a_quarter_of_an_hour_and_never_less_than_five(
    meters, limit
):
    assert place_limit(CAPS, meters) == limit


@pytest.mark.parametrize(("meters", "limit"), [(24, 0), (25, 1), (500, 10), (5_000, 20)])
def test_agent_is_asked_for_no_more_than_its_own_caps_let_it_do(meters, limit):
    assert agent_limit(CAPS, POLICY, meters) == limit


def test_pace_counts_feeder_transformer_and_agent_each_by_itself():
    limits = {("feeder", "F"): 3, ("transformer", "T"): 2, ("transformer", "U"): 2}
    pace = Pace(room=9, limits=limits | {("agent", "A"): 9}, counts=Counter())

    def take(transformer):
        return pace.take(Place(feeder="F", transformer=transformer, agent_id="A"))

    assert [take("T"), take("T"), take("T")] == [True, True, False]
    assert [take("U"), take("U")] == [True, False]  # the feeder's third was the last
    assert pace.room == 6


def test_pace_without_room_takes_nothing():
    limits = {("feeder", "F"): 9, ("transformer", "T"): 9, ("agent", "A"): 9}
    pace = Pace(room=0, limits=limits)
    assert not pace.take(Place(feeder="F", transformer="T", agent_id="A"))


def test_day_far_above_what_was_usual_has_no_room():
    usual = [100, 100, 100]

    def left(today):
        counted = Counted(in_last_hour=0, in_last_day=today, meters=725_000, earlier_days=usual)
        return room(CAPS, counted)

    assert (left(299), left(300), left(301)) == (1, 0, 0)


def test_engine_paces_itself_by_the_numbers_that_the_guard_takes_for_a_breach():
    assert (
        (CAPS.per_hour, CAPS.per_day_per_mille, CAPS.place_per_mille, CAPS.place_least)
        == (
            thresholds.HOUR_MAX,
            thresholds.DAY_PER_MILLE,
            thresholds.PLACE_PER_MILLE,
            thresholds.PLACE_MIN,
        )
    )  # fmt: skip
    assert (CAPS.canary, CAPS.agent_per_day) == (thresholds.DAY_MIN, thresholds.AGENT_DAY_MAX)
    assert opening_caps.PLACE_PERIOD_MS == thresholds.QUARTER_MS
    assert opening_caps.HOUR_MS == thresholds.HOUR_MS
    for name in ("MEAN_MIN", "MEAN_FACTOR", "MEAN_DAYS"):
        assert getattr(opening_caps, name) == getattr(thresholds, name)

"""How many opens may go now."""

import pytest

from cloud.opening_caps import (
    Canary,
    Caps,
    Counted,
    breached_feeder,
    canary_says,
    day_limit,
    fits,
    room,
)
from cloud.vocabulary import ProposalState

CAPS = Caps()
OPENED, SENT, FAILED = ProposalState.OPENED, ProposalState.SENT, ProposalState.FAILED
SKIPPED, QUARANTINED = ProposalState.SKIPPED, ProposalState.QUARANTINED


def counted(hour=0, day=0, meters=725_000):
    return Counted(in_last_hour=hour, in_last_day=day, meters=meters)


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


@pytest.mark.parametrize(
    ("opened", "meters", "breached"),
    [
        ({"F1": 20}, {"F1": 1_000}, None),
        ({"F1": 21}, {"F1": 1_000}, "F1"),
        ({"F1": 5}, {"F1": 40}, None),
        ({"F1": 6}, {"F1": 40}, "F1"),
        ({"F1": 1, "F2": 21}, {"F1": 1_000, "F2": 1_000}, "F2"),
        ({"F9": 6}, {}, "F9"),
    ],
)
def test_feeder_that_loses_too_many_in_a_quarter_of_an_hour_is_named(opened, meters, breached):
    assert breached_feeder(CAPS, opened, meters) == breached

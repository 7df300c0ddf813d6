"""How many homes before everything stops: each threshold at its limit and one beyond."""

import pytest

from cloud.guard.thresholds import (
    AGENT_DAY_MAX,
    DAY_MIN,
    HOUR_MAX,
    MEAN_MIN,
    PLACE_MIN,
    Counts,
    Threshold,
    breaches,
    limits,
)

MANY = {"meters": 10_000_000, "feeder_meters": 1_000_000, "transformer_meters": 1_000_000}


@pytest.mark.parametrize(
    ("threshold", "counts", "limit"),
    [
        (Threshold.HOUR, {"hour": HOUR_MAX}, HOUR_MAX),
        (Threshold.AGENT, {"agent": AGENT_DAY_MAX}, AGENT_DAY_MAX),
        (Threshold.MEAN, {"day": MEAN_MIN}, MEAN_MIN),
        (Threshold.MEAN, {"day": 600, "earlier_days": (100, 300)}, 600),
        (Threshold.DAY, {"day": 3_625, "meters": 725_000, "earlier_days": (9_999,)}, 3_625),
        (Threshold.DAY, {"day": DAY_MIN, "meters": 1_999}, DAY_MIN),
        (Threshold.FEEDER, {"feeder": PLACE_MIN, "feeder_meters": 250}, PLACE_MIN),
        (Threshold.FEEDER, {"feeder": 20, "feeder_meters": 1_000}, 20),
        (Threshold.TRANSFORMER, {"transformer": PLACE_MIN, "transformer_meters": 100}, PLACE_MIN),
        (Threshold.TRANSFORMER, {"transformer": 6, "transformer_meters": 300}, 6),
    ],
)
def test_threshold_breaks_with_the_first_meter_beyond_its_limit(threshold, counts, limit):
    told = Counts(**(MANY | counts))
    assert limits(told)[threshold] == limit
    assert breaches(told) == (threshold,)
    (counted,) = set(counts) - {"meters", "feeder_meters", "transformer_meters", "earlier_days"}
    assert breaches(Counts(**(MANY | counts | {counted: limit - 1}))) == ()


def test_every_threshold_has_a_limit():
    assert set(limits(Counts())) == set(Threshold)

"""How many homes may be cut before the guard stops everything: counts in, breaches out; pure.

Rules kept here (R7):
 * Meters are counted, not signatures: a second signature for a meter counted already is no second
   home. Each meter counts from before it is signed for.
 * Counting begins anew when two approvers lift a stop: they looked, and allow once more as much.
 * A breach is never by one command's fault alone, so it is no refusal of that command: it stops
   everything that waits (`cloud.guard.freezes`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

HOUR_MS = 3_600_000
QUARTER_MS = 900_000  # the 15 minutes in which a feeder or a transformer is looked at
HOUR_MAX = 500  # meters in any hour
DAY_PER_MILLE = 5  # of all meters the guard knows, in a local day: 0.5 %
PLACE_PER_MILLE = 20  # of the meters of one feeder or transformer, in 15 minutes: 2 %
PLACE_MIN = 5  # where a share of few meters would be fewer
DAY_MIN = 10  # the same for all meters of a small company: one canary
AGENT_DAY_MAX = 20  # meters of one agent in a local day: the ceiling of the edge's own caps
MEAN_FACTOR = 3  # times what was usual on the days of the last 28 on which anything was signed
MEAN_DAYS = 28
MEAN_MIN = 50  # meters a day that are never unusual: an installation has to begin with something


class Threshold(StrEnum):
    """Which count is over its limit."""

    HOUR = "hour"
    DAY = "day"
    FEEDER = "feeder"
    TRANSFORMER = "transformer"
    AGENT = "agent"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Other meters signed for, each in its own time; and how many meters there are."""

    hour: int = 0
    day: int = 0
    feeder: int = 0  # of the same feeder, in 15 min
    transformer: int = 0
    agent: int = 0  # of the same agent, in the local day
    earlier_days: Sequence[int] = ()  # of the last 28, those with any
    meters: int = 0
    feeder_meters: int = 0
    transformer_meters: int = 0


def breaches(counts: Counts, *, has_manifest: bool = False) -> tuple[Threshold, ...]:
    """Which thresholds one more meter would break.

    Args:
        counts: what was signed for before it.
        has_manifest: two approvers named this meter of this agent: the agent's share is theirs to
            exceed, as at the edge (R10); every other threshold holds.
    """
    return tuple(
        threshold
        for threshold, (count, limit) in _counts_and_limits(counts).items()
        if count + 1 > limit and not (has_manifest and threshold is Threshold.AGENT)
    )


def limits(counts: Counts) -> dict[Threshold, int]:
    """Each threshold's limit, as these counts set it."""
    return {threshold: limit for threshold, (_, limit) in _counts_and_limits(counts).items()}


def _counts_and_limits(counts: Counts) -> dict[Threshold, tuple[int, int]]:
    return {
        Threshold.HOUR: (counts.hour, HOUR_MAX),
        Threshold.DAY: (counts.day, _share(counts.meters, DAY_PER_MILLE, DAY_MIN)),
        Threshold.FEEDER: (counts.feeder, _share(counts.feeder_meters, PLACE_PER_MILLE, PLACE_MIN)),
        Threshold.TRANSFORMER: (
            counts.transformer,
            _share(counts.transformer_meters, PLACE_PER_MILLE, PLACE_MIN),
        ),
        Threshold.AGENT: (counts.agent, AGENT_DAY_MAX),
        Threshold.MEAN: (counts.day, _unusual(counts.earlier_days)),
    }


def _share(meters: int, per_mille: int, least: int) -> int:
    return max(least, meters * per_mille // 1_000)


def _unusual(days: Sequence[int]) -> int:
    """Three times the mean of the days on which anything was signed."""
    if not days:
        return MEAN_MIN
    return max(MEAN_MIN, MEAN_FACTOR * sum(days) // len(days))

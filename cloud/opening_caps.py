"""How many opens may go now: canary, hour, day, feeder. Pure counting, no money.

Rules kept here (design.md section 7): the first ten of a batch go alone, and the rest only when
nine of them were read back open; 500 an hour; half a per cent of all meters a day; two per cent of
one feeder in 15 minutes stop the batch until a person looks. The edge has caps of its own, which
nothing here can lift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloud.vocabulary import ProposalState

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
FEEDER_PERIOD_MS = 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The cloud's caps; a company sets them lower, never higher."""

    canary: int = 10
    canary_verified: int = 9
    per_hour: int = 500
    per_day_per_mille: int = 5
    feeder_percent: int = 2
    feeder_least: int = 5  # a small feeder's two per cent would be nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Opens that were sent, whatever became of them, and how many meters there are."""

    in_last_hour: int
    in_last_day: int
    meters: int


class Canary(StrEnum):
    """What the first of a batch say."""

    GOES_ON = "goes_on"  # some are under way or still to be sent
    PASSED = "passed"
    FAILED = "failed"


def day_limit(caps: Caps, meters: int) -> int:
    """Opens of one day; at least one canary, so that a small company can use it at all."""
    return max(caps.canary, meters * caps.per_day_per_mille // 1_000)


def room(caps: Caps, counted: Counted) -> int:
    """How many more opens may be sent now."""
    of_hour = caps.per_hour - counted.in_last_hour
    of_day = day_limit(caps, counted.meters) - counted.in_last_day
    return max(0, min(of_hour, of_day))


def fits(caps: Caps, counted: Counted, wanted: int) -> bool:
    """Whether a whole batch stays within the day's cap; else two approvers are needed."""
    return wanted <= day_limit(caps, counted.meters) - counted.in_last_day


def canary_says(caps: Caps, states: Mapping[ProposalState, int]) -> Canary:
    """Whether the rest of a batch may follow its canary.

    Args:
        caps: the cloud's caps.
        states: how many canary proposals are in each state.
    """
    waiting = states.get(ProposalState.PROPOSED, 0) + states.get(ProposalState.SENT, 0)
    opened = states.get(ProposalState.OPENED, 0)
    # A consumer who paid in the meantime says nothing about meters and commands.
    skipped = states.get(ProposalState.SKIPPED, 0)
    total = sum(states.values()) - skipped
    failed = total - waiting - opened
    if failed > caps.canary - caps.canary_verified:
        return Canary.FAILED
    if waiting:
        return Canary.GOES_ON
    return Canary.PASSED


def breached_feeder(
    caps: Caps, opened: Mapping[str, int], meters_of: Mapping[str, int]
) -> str | None:
    """A feeder of which too many meters were opened in the last 15 minutes, if there is one.

    Args:
        caps: the cloud's caps.
        opened: opens sent per feeder in the last 15 minutes.
        meters_of: meters per feeder.
    """
    for feeder, count in sorted(opened.items()):
        limit = max(caps.feeder_least, meters_of.get(feeder, 0) * caps.feeder_percent // 100)
        if count > limit:
            return feeder
    return None

"""How many opens may go now: canary, hour, day, feeder, transformer, agent. Pure counting.

Rules kept here (design.md section 7): the first ten of a batch go alone, and the rest only when
nine of ten were read back open; 500 an hour; half a per cent of all meters a day; of one feeder or
transformer two per cent in 15 minutes. Nothing is sent beyond them, so that nothing has to be
stopped: the guard, which counts by itself and by the same numbers, takes more for a breach and
shuts (tests/cloud/test_opening_caps.py compares the two). The edge has caps of its own, which
nothing here can lift.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cloud.vocabulary import ProposalState
from wire.documents import EdgePolicy

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
PLACE_PERIOD_MS = 900_000  # the 15 minutes in which a feeder or a transformer is looked at
# From the engine's choice to the guard's count: 120 s in the line, 120 s until it lapses. The
# engine counts so much longer, else the guard's newest hour would hold more than ours.
UNDER_WAY_MAX_MS = 240_000
MEAN_MIN = 50  # opens a day that are never unusual
MEAN_FACTOR = 3  # times what was usual on the days of the last 28 on which anything was opened
MEAN_DAYS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The cloud's caps; a company sets them lower, never higher."""

    canary: int = 10
    canary_verified: int = 9
    per_hour: int = 500
    per_day_per_mille: int = 5
    place_per_mille: int = 20  # of a feeder's or transformer's meters, in 15 min
    place_least: int = 5  # a small feeder's two per cent would be nothing
    agent_per_day: int = 20


CAPS = Caps()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Opens that were sent, whatever became of them, and how many meters there are."""

    in_last_hour: int
    in_last_day: int
    meters: int
    earlier_days: Sequence[int] = ()  # of the last 28, those on which anything was opened


class Canary(StrEnum):
    """What the first of a batch say."""

    GOES_ON = "goes_on"  # some are under way or still to be sent
    PASSED = "passed"
    FAILED = "failed"


def day_limit(caps: Caps, meters: int) -> int:
    """Opens of one day; at least one canary, so that a small company can use it at all."""
    return max(caps.canary, meters * caps.per_day_per_mille // 1_000)


def usual_limit(earlier_days: Sequence[int]) -> int:
    """Opens of one day that are not unusual: three times the mean of the days with any."""
    if not earlier_days:
        return MEAN_MIN
    return max(MEAN_MIN, MEAN_FACTOR * sum(earlier_days) // len(earlier_days))


def room(caps: Caps, counted: Counted) -> int:
    """How many more opens may be sent now."""
    of_hour = caps.per_hour - counted.in_last_hour
    of_day = day_limit(caps, counted.meters) - counted.in_last_day
    usual = usual_limit(counted.earlier_days) - counted.in_last_day
    return max(0, min(of_hour, of_day, usual))


def fits(caps: Caps, counted: Counted, wanted: int) -> bool:
    """Whether a whole batch stays within the day's cap; else two approvers are needed."""
    return wanted <= day_limit(caps, counted.meters) - counted.in_last_day


def place_limit(caps: Caps, meters: int) -> int:
    """Opens in 15 minutes of a feeder or transformer with so many meters."""
    return max(caps.place_least, meters * caps.place_per_mille // 1_000)


def agent_limit(caps: Caps, edge: EdgePolicy, meters: int) -> int:
    """Opens a day that an agent with so many meters does without a manifest (R2).

    It counts by what it itself reached, and may still refuse: this only spares it the asking.
    """
    if meters < edge.small:
        return 0
    return min(caps.agent_per_day, edge.ceiling, max(1, meters * edge.per_mille // 1_000))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a meter is, in everything that has a cap of its own."""

    feeder: str
    transformer: str
    agent_id: str


@dataclass(slots=True, kw_only=True)
class Pace:
    """What may still go in one look: taken from as opens are chosen."""

    room: int
    limits: Mapping[tuple[str, str], int]  # by (kind, name): feeder, transformer, agent
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, place: Place) -> bool:
        """Whether one more may go there; if so it is counted."""
        names = (
            ("feeder", place.feeder),
            ("transformer", place.transformer),
            ("agent", place.agent_id),
        )
        if self.room <= 0 or any(self.counts[one] >= self.limits.get(one, 0) for one in names):
            return False
        self.room -= 1
        self.counts.update(names)
        return True

"""One kill at one point with payments under way, the restart, and what is true afterwards."""

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from cloud.cli.processes import clock_ms
from tests.reliability.demands import Situation, demand_all, unrest
from tests.reliability.installation import SLOW_LINE, Mortals, taken
from tests.reliability.payers import Payers
from tests.reliability.points import Point
from tests.reliability.stages import Stage
from tests.walk.facts import until_heard
from tests.walk.installation import LONGEST_WAIT_S
from tests.walk.provider import Consumer

AGENTS = ("AGENT-1", "AGENT-2")
EARLY = 2  # payments that are on their way before the point is armed
PACE_S = 0.06  # between two payments: several are in flight whenever something dies
PAYERS_MAX = 30  # of one run; the third time is reached by the fifth payment at most
AFTER_EXPIRY_MS = 20 * 60_000  # a close lives 15 minutes, and lapses 2 minutes later
# The provider's clock stays: further ahead its reports would be a day old, and not posted.
AHEAD_MAX_MS = 12 * 3_600_000


class Restart(StrEnum):
    """When what was killed is started again."""

    AT_ONCE = "at once"
    AFTER_EXPIRY = "after expiry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Where to die, at which time of getting there, and when to come back."""

    point: Point
    hit: int
    restart: Restart
    is_hurried: bool  # pauses after the restart are passed over; a kill after expiry always is


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one kill showed."""

    payments: int
    commands: int  # for these payments; more than one each when one was lost, void or expired
    unfinished: int  # of them, when the process died
    repeated: int  # webhooks the provider sent again
    rest_ms: int  # from the restart to rest


class Matrix:
    """One installation, killed at one point after the other."""

    def __init__(self, walk: Mortals) -> None:
        self.walk = walk
        self._is_well = True  # a kill that did not end well leaves nothing to go on with
        self._payers = Payers(walk.provider)

    @property
    def is_spent(self) -> bool:
        """Whether the next kill needs another installation."""
        return not self._is_well or self.walk.steering.ahead_ms > AHEAD_MAX_MS

    def run(self, kill: Kill) -> Outcome:
        """Kill at the point's HIT-th time under payments; demand everything afterwards."""
        walk, point = self.walk, kill.point
        self._is_well = False
        walk.start_all()
        before = self._payers.asked
        agents = AGENTS[:1] if point.part == "agent" else AGENTS
        self._pay_until_death(kill, agents)
        mine = self._payers.asked - before
        self._demand_left(point, before)
        unfinished = len(mine - walk.files.reached(Stage.MARKED, mine))
        if kill.restart is Restart.AFTER_EXPIRY:
            walk.steering.jump(AFTER_EXPIRY_MS)
        started_s = time.monotonic()
        walk.start(walk.victim(point))
        repeated = self._payers.repeat()
        situation = Situation(walk.files, walk.meters, self._payers)
        walk.until_rest(
            lambda: unrest(situation),
            LONGEST_WAIT_S,
            is_hurried=kill.is_hurried or kill.restart is Restart.AFTER_EXPIRY,
        )
        rest_ms = int((time.monotonic() - started_s) * 1_000)
        demand_all(situation)
        assert walk.traces() == [], "an exception stands in a log"
        self._is_well = True
        return Outcome(
            payments=len(mine),
            commands=walk.files.count_commands(mine),
            unfinished=unfinished,
            repeated=len(repeated),
            rest_ms=rest_ms,
        )

    def _pay_until_death(self, kill: Kill, agents: tuple[str, ...]) -> None:
        walk, payers, point = self.walk, self._payers, kill.point
        process = walk.processes[walk.victim(point)]
        early = taken(walk, agents, EARLY)
        payers.pay_at_pace(early, 0.0, lambda: False)
        walk.until("early payments", lambda: self._all(Stage.POSTED, set(early)))
        walk.steering.arm(point.name, kill.hit)
        later = (taken(walk, (agents[at % len(agents)],), 1)[0] for at in range(PAYERS_MAX))
        payers.pay_at_pace(later, PACE_S, lambda: process.poll() is not None)
        walk.wait_for_death(point)

    def _demand_left(self, point: Point, before: set[Consumer]) -> None:
        """That the process died where the table says, by what it left on disk."""
        if point.passes is not None:
            first, then = point.passes
            self.walk.until(f"{point.name}: {then.value}", lambda: not self._left(first, then))
        first, then = point.leaves
        left = self._left(first, then) - before
        assert left, f"{point.name}: of nobody it is true that {first.value} and not: {then.value}"

    def _left(self, first: Stage, then: Stage) -> set[Consumer]:
        return self._reached(first) - self._reached(then)

    def _all(self, stage: Stage, consumers: set[Consumer]) -> bool:
        return consumers <= self._reached(stage)

    def _reached(self, stage: Stage) -> set[Consumer]:
        if stage is Stage.ASKED:
            return self._payers.asked
        if stage is Stage.ANSWERED:
            return set(self._payers.answered)
        return self.walk.files.reached(stage, self._payers.asked)


class Matrices:
    """The installation that kills share, made anew after one that did not end well."""

    def __init__(self, folder: Path, *, meters: int) -> None:
        self._folder = folder
        self._meters = meters
        self._made = 0
        self._running: Matrix | None = None

    def ready(self) -> Matrix:
        """A running installation in which all that was paid for is at rest."""
        if self._running is None or self._running.is_spent:
            self.end()
            self._made += 1
            self._running = self._begun(self._folder / f"installation-{self._made}")
        return self._running

    def end(self) -> None:
        """Leave nothing behind."""
        if self._running is not None:
            self._running.walk.end()
            self._running = None

    def _begun(self, folder: Path) -> Matrix:
        plan = {one: replace(SLOW_LINE, meters=self._meters) for one in AGENTS}
        walk = Mortals(folder, plan, clock_ms())
        walk.build()
        try:
            walk.start_all()
            until_heard(walk, *AGENTS)
        except BaseException:
            walk.end()
            raise
        return Matrix(walk)

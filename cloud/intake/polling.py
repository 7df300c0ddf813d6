"""The poller: fetches what a provider lists, stores what is new, then says how far it came.

Rules kept here (R1):
 * A mark is written after everything it speaks of is fsynced. Killed between the two, the slice is
   fetched again, found in the spool, and marked.
 * A failure changes nothing: the same slice is asked for again, after pauses that grow to a minute,
   or as long as the provider asks. Webhooks go on meanwhile; opens stop when the mark is too old.
 * What is stored goes through the door's own writer, in its turn and within its bounds.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cloud.intake.counting import Counted, Counters, count_stored
from cloud.intake.facts import Report
from cloud.intake.fetching import FetchError
from cloud.intake.poll_plan import PollPlan, Slice
from cloud.intake.spool import Spool, StoreUnavailableError, Taken
from cloud.intake.writing import BATCH_REPORTS_MAX, QueueFullError, ReportWriter
from wire.fields import ProviderId

PACE_S = 0.2  # between two slices: some ten requests a second leave the provider's limit to others
RETRY_FIRST_S = 1.0
RETRY_CAP_S = 60.0  # the watermark may be ten minutes old; so some tries fit
_DOUBLINGS_MAX = 6

_LOG = logging.getLogger(__name__)


class Lists(Protocol):
    """A provider whose payments can be fetched."""

    @property
    def provider(self) -> ProviderId:
        """Its id."""

    @property
    def needs_person(self) -> frozenset[str]:
        """Reasons of irrelevant reports that a person must hear of."""

    async def new_reports(self, part: Slice) -> list[Report]:
        """What the slice holds that the spool does not, in the order in which to store it.

        Raises:
            FetchError: it could not be fetched as a whole.
        """


@dataclass(slots=True, kw_only=True)
class Poller:
    """Polls one provider. `run` is a task; `turn` is one step of it."""

    lists: Lists
    plan: PollPlan
    writer: ReportWriter
    written: Spool  # only handed to the writer's thread
    has_room: Callable[[], bool]
    counters: Counters
    clock_ms: Callable[[], int]
    randomness: random.Random
    _failures: int = field(default=0, init=False)
    _told: str = field(default="", init=False)

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            pause_s = await self.turn()
            await asyncio.sleep(pause_s)

    async def turn(self) -> float:
        """Takes one slice, if one is due; the seconds until the next turn."""
        part = self.plan.next(self.clock_ms())
        if part is None:
            return self.plan.wait_ms(self.clock_ms()) / 1_000
        try:
            await self._take(part)
        except FetchError as error:
            return self._failed(str(error), error.retry_after_s)
        except (QueueFullError, StoreUnavailableError) as error:
            return self._failed(str(error), 0.0)
        self._succeeded()
        return max(PACE_S, self.plan.wait_ms(self.clock_ms()) / 1_000)

    async def _take(self, part: Slice) -> None:
        reports = await self.lists.new_reports(part)
        for start in range(0, len(reports), BATCH_REPORTS_MAX):
            await self._store(reports[start : start + BATCH_REPORTS_MAX])
        marks = self.plan.marks_after(part)
        if marks:
            mark = partial(self.written.mark_polled, self.lists.provider, marks)
            await self.writer.alone(mark)
        self.plan.done(part)

    async def _store(self, reports: list[Report]) -> None:
        if not self.has_room():
            raise QueueFullError("the engine has too many items to take first")
        answers: list[asyncio.Future[Taken]] = []
        try:
            answers += map(self.writer.submit, reports)
        except QueueFullError:
            # Those in line already are stored all the same; the next turn finds them in the spool.
            await asyncio.gather(*answers, return_exceptions=True)
            raise
        for report, taken in zip(reports, await asyncio.gather(*answers), strict=True):
            if not taken.is_duplicate:
                self.counters.count(Counted.FETCHED)
                count_stored(self.counters, report, self.lists.needs_person)

    def _failed(self, text: str, retry_after_s: float) -> float:
        self.counters.count(Counted.POLL_FAILED)
        if text != self._told:  # told once: a provider that is down for a day fills no log
            _LOG.error(
                "%s cannot be polled: %s; webhooks go on, relays are not opened until it can",
                *(self.lists.provider, text),
            )
        self._told = text
        pause_s = min(RETRY_CAP_S, RETRY_FIRST_S * 2.0 ** min(self._failures, _DOUBLINGS_MAX))
        self._failures += 1
        return max(retry_after_s, pause_s * self.randomness.uniform(0.5, 1.0))

    def _succeeded(self) -> None:
        if self._told:
            _LOG.warning("%s is polled again", self.lists.provider)
        self._failures = 0
        self._told = ""

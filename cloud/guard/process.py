"""The guard's rim: its own link, its own clock, a look at the engine's ledger four times a second.

Rules kept here: deliveries are acknowledged to the broker after they are stored, never before; a
store that is locked or full, or a ledger that cannot be read, means no signatures and nothing else;
nothing the guard does is waited for by anybody but an open.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloud.guard.asked import Asked
from cloud.guard.engine_ledger import LedgerUnreadableError, look
from cloud.guard.guard import Guard, Turned
from wire.link import Delivery, Link, LinkError, PublishResult
from wire.topics import MessageType
from wire.trust import Authorities

BATCH_MAX = 128  # deliveries of one turn: some 10 ms of work
LOOK_EVERY_MS = 250  # an open waits no longer for the guard to see it
TRUST_EVERY_MS = 10_000  # how soon a newer registry file counts
STORE_RETRY_S = (0.05, 0.2, 1.0, 5.0)  # then every 5 s: a full or locked store is a person's work
# What the broker's access list lets a guard read.
SUBSCRIPTIONS = (
    f"{MessageType.PAYMENT.value}/+/+",
    f"{MessageType.WATERMARK.value}/+",
    *(MessageType.STOP.value, MessageType.RESUME.value, MessageType.TRUST.value),
)
_LOG = logging.getLogger(__name__)


class GuardProcess:
    """Runs one guard on one link until it is cancelled.

    Args:
        guard: its turns.
        link: its own session with the broker.
        ledger: the engine's, which is only read.
        clock_ms: the wall clock.
        newer_trust: a registry that came as a file since the last call, if any.
    """

    def __init__(
        self,
        guard: Guard,
        link: Link,
        ledger: Path,
        clock_ms: Callable[[], int],
        newer_trust: Callable[[], Authorities | None],
    ) -> None:
        self._guard = guard
        self._link = link
        self._ledger = ledger
        self._clock_ms = clock_ms
        self._newer_trust = newer_trust
        self._trust_looked_at_ms = 0
        self._is_ledger_told = False
        # One thread: turns are strictly one after the other, and the loop reads meanwhile.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guard")

    async def run(self) -> None:
        """Serve for ever; ends by cancellation, with a clean end of the session."""
        link_task = asyncio.create_task(self._link.run(), name="guard.link")
        try:
            await self._serve()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await self._link.stop()
            link_task.cancel()
            self._worker.shutdown(wait=True)

    async def _serve(self) -> None:
        looked_at_ms = 0
        while True:
            deliveries = await self._link.receive(BATCH_MAX, wait_ms=LOOK_EVERY_MS)
            now_ms = self._clock_ms()
            is_due = not 0 <= now_ms - looked_at_ms < LOOK_EVERY_MS
            if is_due:
                looked_at_ms = now_ms
            turned = await self._until_stored(deliveries, is_due=is_due)
            self._link.acknowledge(deliveries)
            for one in turned.outgoing:
                sent = self._link.send(one.topic, one.payload, retain=one.is_retained)
                sent.add_done_callback(_note_failed)

    async def _until_stored(self, deliveries: Sequence[Delivery], *, is_due: bool) -> Turned:
        """One step, tried again while the store cannot be written: the deliveries wait."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(
                    self._worker, lambda: self.step(deliveries, is_due=is_due)
                )
            except sqlite3.Error as error:
                pause_s = STORE_RETRY_S[min(attempt, len(STORE_RETRY_S) - 1)]
                _LOG.error(  # the database's own words say it; a trace adds nothing
                    "the guard's store cannot be written (%s): nothing is signed; next try in"
                    " %.2f s",
                    *(error, pause_s),
                )
                attempt += 1
                await asyncio.sleep(pause_s)

    def step(self, deliveries: Sequence[Delivery], *, is_due: bool) -> Turned:
        """Store what arrived; then, when a look is due, judge what the engine asks for."""
        now_ms = self._clock_ms()
        if not 0 <= now_ms - self._trust_looked_at_ms < TRUST_EVERY_MS:
            self._trust_looked_at_ms = now_ms
            self._take_trust()
        turned = self._guard.turn(deliveries, None, now_ms=now_ms)
        asked = self._look(now_ms) if is_due else None
        if asked is None:
            return turned
        # The clock again: to read a ledger may have taken its time.
        judged = self._guard.turn((), asked, now_ms=self._clock_ms())
        return Turned(
            answers=judged.answers,
            waits=judged.waits,
            outgoing=(*turned.outgoing, *judged.outgoing),
        )

    def _look(self, now_ms: int) -> Asked | None:
        try:
            asked = look(self._ledger, self._guard.orders_to_ask(now_ms=now_ms))
        except LedgerUnreadableError as error:
            if not self._is_ledger_told:
                _LOG.error("the engine's ledger cannot be read (%s): nothing is signed", error)
            self._is_ledger_told = True
            return None
        self._is_ledger_told = False
        return asked

    def _take_trust(self) -> None:
        try:
            newer = self._newer_trust()
        except OSError as error:  # what is held stays in force; the next look tries again
            _LOG.error("alarm: newer trust cannot be remembered, so it waits: %s", error)
            return
        if newer is not None:
            self._guard.believe(newer)


def _note_failed(sent: asyncio.Future[PublishResult]) -> None:
    """A stop that was not published is published again in a minute; until then say so."""
    error = None if sent.cancelled() else sent.exception()
    if isinstance(error, LinkError):
        _LOG.error("the guard's stop was not published: %s", error)

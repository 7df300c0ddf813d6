"""The engine's rim: link, clock, one worker thread for the turns, and the second's summary.

Rules kept here: deliveries are acknowledged to the broker after the commit of their turn, never
before; while the database cannot be written the same deliveries wait, nothing is lost or half done;
a message that the database refuses is left out, so that one sender cannot stop the others;
what is published is repaired by re-sends, so no publish is waited for; newer trust files are read
in a thread of their own and believed between two turns.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from cloud.engine import Engine
from cloud.publisher import Outgoing
from cloud.trust_files import Believed, nothing_new, watch_trust
from wire.link import Delivery, Link, PublishDenied, PublishResult

_Result = TypeVar("_Result")
_LOG = logging.getLogger(__name__)

# Deliveries per turn: some 10 ms of work, so that a single payment waits no longer; and 128 lists
# of 64 items bind fewer variables in one statement than the least a database takes (32,766).
BATCH_MAX = 128
# A turn this small runs on the loop: waking another thread, on a core that sleeps, costs an idle
# system more than the few milliseconds the loop cannot read meanwhile.
INLINE_MAX = 4
TICK_MS = 100  # the longest a turn waits for deliveries: timers of the engine are due in seconds
SUMMARY_EVERY_MS = 1_000
# Behind a backlog that fills the link's queue SUBACK comes only when we take from it: no longer.
CONNECTING_MAX_S = 1.0
STORE_RETRY_S = (0.05, 0.2, 1.0, 5.0)  # then every 5 s: full or locked stores are a person's work


class EngineProcess:
    """Runs one engine on one link until it is cancelled.

    Args:
        engine: its turns.
        link: its session with the broker.
        clock_ms: the wall clock.
        look: what is believed from now on, None if nothing changed; called every ten seconds.
    """

    def __init__(
        self,
        engine: Engine,
        link: Link,
        clock_ms: Callable[[], int],
        look: Callable[[], Believed | None] = nothing_new,
    ) -> None:
        self._engine = engine
        self._link = link
        self._clock_ms = clock_ms
        self._look = look
        self._newer: Believed | None = None
        # One thread: turns are strictly one after the other, and the loop reads meanwhile.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="turn")

    async def run(self) -> None:
        """Serve for ever; ends by cancellation, with a clean end of the session."""
        link_task = asyncio.create_task(self._link.run(), name="engine.link")
        watching = watch_trust(self._look, self._note_newer)
        watch_task = asyncio.create_task(watching, name="engine.trust")
        try:
            await self._serve(watch_task)
        finally:
            watch_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._link.stop()
            link_task.cancel()
            self._worker.shutdown(wait=True)

    async def _serve(self, watch_task: asyncio.Task[None]) -> None:
        summarised_at_ms = connection_number = 0
        while True:
            deliveries = await self._link.receive(BATCH_MAX, wait_ms=TICK_MS)
            if deliveries and not self._link.connected:
                await self._connected_soon()
            if self._link.connection_number != connection_number:
                connection_number = self._link.connection_number
                self._engine.connected()
            if watch_task.done():
                watch_task.result()  # it never ends by itself: this raises what ended it
            if self._newer is not None:
                self._engine.believe(self._newer.authorities, self._newer.identities)
                self._newer = None
            outgoing = await self._turn(deliveries)
            self._link.acknowledge(deliveries)
            self._send(outgoing)
            now_ms = self._clock_ms()
            if now_ms - summarised_at_ms >= SUMMARY_EVERY_MS:
                summarised_at_ms = now_ms
                with contextlib.suppress(OperationalError):  # the next turn tells of it
                    self._send([await self._in_worker(self._summary)])

    async def _connected_soon(self) -> None:
        """What a session kept for us comes before SUBACK; answers published until then are lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECTING_MAX_S):
                await self._link.next_connection(0)

    def _note_newer(self, believed: Believed) -> None:
        self._newer = believed  # for `_serve`: a turn may be under way in the worker's thread

    async def _turn(self, deliveries: Sequence[Delivery]) -> list[Outgoing]:
        is_busy = len(deliveries) == BATCH_MAX
        attempt = 0
        while True:
            try:
                if len(deliveries) <= INLINE_MAX:
                    return self._engine.turn(deliveries, now_ms=self._clock_ms())
                return await self._in_worker(
                    lambda: self._engine.turn(deliveries, now_ms=self._clock_ms(), is_busy=is_busy)
                )
            except OperationalError as error:
                pause_s = STORE_RETRY_S[min(attempt, len(STORE_RETRY_S) - 1)]
                _LOG.error(  # the database's own words say it; a trace adds nothing
                    "the ledger cannot be written (%s); %d deliveries wait, next try in %.2f s",
                    error.orig, len(deliveries), pause_s,
                )  # fmt: skip
                attempt += 1
                await asyncio.sleep(pause_s)
            except DBAPIError as error:
                return await self._one_by_one(deliveries, error)

    async def _one_by_one(
        self, deliveries: Sequence[Delivery], error: DBAPIError
    ) -> list[Outgoing]:
        """One message the database refuses must not hold up the others: find it, leave it out.

        Nothing is lost by that: it changed nothing, and its sender sends it again.
        """
        if len(deliveries) <= 1:
            topics = " ".join(one.topic for one in deliveries)
            _LOG.error("the ledger refuses a message on %s: %s", topics, error.orig)
            return []
        outgoing: list[Outgoing] = []
        for one in deliveries:
            outgoing += await self._turn([one])
        return outgoing

    def _summary(self) -> Outgoing:
        return self._engine.summary(now_ms=self._clock_ms())

    async def _in_worker(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        for one in outgoing:
            sent = self._link.send(one.topic, one.payload, retain=one.is_retained)
            sent.add_done_callback(_note_denied)


def _note_denied(sent: asyncio.Future[PublishResult]) -> None:
    """A lost publish is sent again by its timer; a denied one never would arrive: say so."""
    error = None if sent.cancelled() else sent.exception()
    if isinstance(error, PublishDenied):
        _LOG.error("the broker refuses what this engine must publish: %s", error)

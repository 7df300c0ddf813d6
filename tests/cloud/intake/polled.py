"""An intake's poller over a real spool and a real HTTP server, with a clock the test moves."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cloud.intake.counting import Counters
from cloud.intake.fetching import HttpFetch
from cloud.intake.poll_plan import EVERY_MS, LIST_LAG_MS, PollPlan
from cloud.intake.polling import Poller
from cloud.intake.razorpay import PROVIDER
from cloud.intake.razorpay_poll import RazorpayLists
from cloud.intake.spool import Spool
from cloud.intake.spool_schema import Sweep
from cloud.intake.writing import ReportWriter
from tests.cloud.intake.razorpay_api import KEY_ID, KEY_SECRET, FakeRazorpay
from tests.cloud.intake.reports import genuine, open_spool, raw_of, report
from tests.wire.installation import NOW_MS
from wire.messages import PaymentItem

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
LAG_S = LIST_LAG_MS // 1_000
TURNS_MAX = 5_000  # more turns without a pause: the poller runs in circles


class Polled:
    """One intake that polls; `restart` it over the same file."""

    def __init__(self, api: FakeRazorpay, path: Path) -> None:
        self.api = api
        self.now_ms = NOW_MS
        self.path = path
        self.has_room = True
        self.secret = KEY_SECRET

    @property
    def now_s(self) -> int:
        return self.now_ms // 1_000

    def was_polled_before(self) -> None:
        """Every sweep came up to now; a life before this one saw to it."""
        spool = open_spool(self.path)
        spool.mark_polled(PROVIDER, dict.fromkeys(Sweep, self.now_ms))
        spool.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Polled"]:
        """One life of the process."""
        self.spool = open_spool(self.path)
        self.read = Spool.beside(self.path)
        self.writer = ReportWriter(self.spool, on_stored=lambda _: None)
        self.counters = Counters()
        fetch = HttpFetch(f"http://127.0.0.1:{self.api.port}", KEY_ID, self.secret)
        self.poller = Poller(
            lists=RazorpayLists(fetch, self.read, lambda: self.now_ms),
            plan=PollPlan(self.spool.polled_through(PROVIDER), EVERY_MS, self.now_ms),
            writer=self.writer,
            written=self.spool,
            has_room=lambda: self.has_room,
            counters=self.counters,
            clock_ms=lambda: self.now_ms,
            randomness=random.Random(1),
        )
        writing = asyncio.create_task(self.writer.run())
        try:
            yield self
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            self.writer.close()
            self.read.close()
            self.spool.close()

    async def catch_up(self, *, later_s: int = 0) -> None:
        """Time passes, then turns until nothing is due."""
        self.now_ms += later_s * 1_000
        for _ in range(TURNS_MAX):
            if self.poller.plan.wait_ms(self.now_ms) > 0:
                return
            await self.poller.turn()
        raise AssertionError("the poller runs in circles")

    def items(self) -> list[PaymentItem]:
        return [one.item for one in self.read.unreceipted(after=0, limit=100_000)]

    def said(self) -> list[tuple[str, str]]:
        """Kind and object id of every item, in the order of the numbers."""
        return [(item.kind.value, item.object_id) for item in self.items()]

    def complete_to_s(self) -> int | None:
        mark = self.read.polled_through(PROVIDER).get(Sweep.RECENT)
        return None if mark is None else mark // 1_000

    def stored(self) -> list[tuple[bytes, str]]:
        query = "SELECT raw, verdict FROM reports ORDER BY id"
        return self.read._execute(query).fetchall()

    def counted(self) -> dict[str, int]:
        return {name: number for name, number in self.counters.by_name().items() if number}


def captures(*numbers):
    return {("captured", f"pay_{number:014d}") for number in numbers}


def webhook(api, number):
    entity = api.payments[f"pay_{number:014d}"]
    return genuine(raw_of(report("payment.captured", payment=entity)))

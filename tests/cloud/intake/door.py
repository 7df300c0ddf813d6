"""A running door: real HTTP, a real spool, two providers."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.intake.counting import Counters
from cloud.intake.razorpay import Razorpay
from cloud.intake.server import Door, application, listen, serve
from cloud.intake.signed import Signed
from cloud.intake.spool import Spool
from cloud.intake.writing import ReportWriter
from tests.cloud.intake.reports import OLD_SECRET, SECRET, open_spool
from tests.wire.installation import NOW_MS
from wire.fields import ProviderId

BANK_SECRET = "bank secret of 64 hex digits or so"
BANK = Signed(name=ProviderId("BANK-A"), secrets=(BANK_SECRET,))


@dataclass
class Intake:
    port: int
    spool: Spool
    writer: ReportWriter
    counters: Counters
    path: str
    now_ms: int = NOW_MS
    has_room: bool = True

    def stored(self):
        connection = sqlite3.connect(self.path)
        rows = connection.execute("SELECT raw, event_id FROM reports ORDER BY id").fetchall()
        connection.close()
        return rows

    def counted(self):
        return {name: number for name, number in self.counters.by_name().items() if number}


@asynccontextmanager
async def open_door(folder: Path) -> AsyncIterator[Intake]:
    """The door of an intake whose spool is in `folder`."""
    spool = open_spool(folder / "spool.db")
    writer = ReportWriter(spool, on_stored=lambda _: None)
    with listen("127.0.0.1", 0) as listener:
        one = Intake(listener.getsockname()[1], spool, writer, Counters(), str(folder / "spool.db"))
        doors = [
            Door(
                provider=provider,
                writer=writer,
                has_room=lambda: one.has_room,
                counters=one.counters,
                clock_ms=lambda: one.now_ms,
            )
            for provider in (Razorpay(secrets=(SECRET, OLD_SECRET)), BANK)
        ]
        app = application(doors, lambda: {"counters": one.counters.by_name()})
        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(serve(app, listener))]
        yield one
        for task in reversed(tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    writer.close()
    spool.close()

"""Many reports, one fsync: the one place that writes to the spool while the intake runs.

Rules kept here:
 * A report that comes alone waits for nobody; those that come while the disk is busy share the next
   fsync. Statements run on the loop's thread, only COMMIT waits in another one: two threads that
   take turns in Python cost each other milliseconds (the interpreter's switch interval).
 * I13: what waits is bounded in number and bytes; beyond it the door says "not now".
 * A batch is stored whole or refused whole; nobody hears "stored" before the fsync.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from cloud.intake.facts import Report
from cloud.intake.spool import Spool, StoreUnavailableError, Taken

# Reports waiting for the disk: above a second of the heaviest load that is measured (1,500/s).
WAITING_REPORTS_MAX = 2_048
WAITING_BYTES_MAX = 64 * 2**20  # and what they may hold of the memory
# One transaction: 128 reports are 5 ms of statements, for which the loop serves nobody else.
BATCH_REPORTS_MAX = 128
BATCH_BYTES_MAX = 4 * 2**20

_Answer = TypeVar("_Answer")


class QueueFullError(Exception):
    """More waits for the disk than may wait."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    report: Report
    answer: asyncio.Future[Taken]


class ReportWriter:
    """The queue before the spool. `run` is a task; everything is called on its loop."""

    def __init__(self, spool: Spool, *, on_stored: Callable[[list[Taken]], None]) -> None:
        self._spool = spool
        self._on_stored = on_stored
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._work = asyncio.Event()
        self._is_free = asyncio.Lock()  # one transaction at a time

    def submit(self, report: Report) -> asyncio.Future[Taken]:
        """Puts a report in line; the future is done when it is durable.

        The future fails with StoreUnavailableError: then nothing of it is stored.

        Raises:
            QueueFullError: too many wait; nothing is stored.
        """
        size = len(report.raw)
        if (
            len(self._waiting) >= WAITING_REPORTS_MAX
            or self._waiting_bytes + size > WAITING_BYTES_MAX
        ):
            raise QueueFullError(f"{len(self._waiting)} reports wait for the disk")
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(report, answer))
        self._waiting_bytes += size
        self._work.set()
        return answer

    async def alone(self, job: Callable[[], _Answer]) -> _Answer:
        """Runs another write between two batches, in the writing thread; returns its answer."""
        async with self._is_free:
            return await self._in_thread(job)

    async def run(self) -> None:
        """Stores what is submitted, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                async with self._is_free:
                    await self._store_batch()

    def close(self) -> None:
        """Waits for the transaction under way, refuses what still waits."""
        self._thread.shutdown(wait=True)
        _refuse(list(self._waiting), StoreUnavailableError("the intake is stopping"))
        self._waiting.clear()

    async def _store_batch(self) -> None:
        batch = self._next_batch()
        try:
            taken = self._spool.stage(one.report for one in batch)
            await self._in_thread(self._spool.commit)
        except StoreUnavailableError as error:
            _refuse(batch, error)
            return
        except BaseException as error:
            # Cancelled, or a broken invariant that ends the process: nobody is told "stored".
            _refuse(batch, StoreUnavailableError(f"the intake is stopping: {error!r}"))
            raise
        for one, became in zip(batch, taken, strict=True):
            if not one.answer.done():  # its connection may have gone
                one.answer.set_result(became)
        self._on_stored(taken)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_REPORTS_MAX and size < BATCH_BYTES_MAX:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].report.raw)
        self._waiting_bytes -= size
        return batch

    async def _in_thread(self, job: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


def _refuse(batch: list[_Waiting], error: StoreUnavailableError) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)

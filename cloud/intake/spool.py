"""The intake's durable part: reports byte for byte, their numbered items, the engine's receipts.

Rules kept here:
 * I1: a report, its verdict and its items are one transaction, fsynced (WAL, synchronous FULL)
   before anybody is told. Reports and items never change.
 * A report is identified by its bytes. The event id stands in a header that no signature covers:
   whoever replays one genuine report under the event id of another must not make us drop the other.
 * Items are numbered 1, 2, 3 ... without a gap for the life of the spool file (R1).
 * Nothing is deleted before 35 days after its receipt; what has no receipt, and what could not be
   read, is never deleted. A higher generation removes every receipt: the restored ledger is offered
   all that is retained (R13).

One object writes and one may read beside it, each used by one thread at a time.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from cloud.intake.facts import Irrelevant, Report, Unreadable
from cloud.intake.spool_file import SpoolError, connect, lock, make_private
from cloud.intake.spool_schema import Sweep, migrations
from wire.decoding import decode_body, encode
from wire.fields import ProviderId, SpoolId
from wire.messages import PaymentItem
from wire.topics import payment_shard
from wire.vocabulary import PaymentKind, ReceiptVerdict

RETENTION_MS = 35 * 86_400_000  # the backup horizon: a ledger restored from that far is made whole
KNOWN_MAX = 500  # facts or reports looked for at once: a few ms, for which the door waits
TRIM_ITEMS_MAX = 1_000  # rows a trim removes at once; some 10 ms, for which the door waits

_SPOOL_ID_BYTES = 8
_UNRECEIPTED = """
    SELECT items.number, items.shard, reports.provider, items.item
    FROM items JOIN reports ON reports.id = items.report_id
    LEFT JOIN receipts ON receipts.number = items.number
    WHERE items.number > ? AND receipts.number IS NULL
    ORDER BY items.number LIMIT ?"""


class StoreUnavailableError(Exception):
    """The store is locked, full or failing now; nothing of the transaction is stored."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a report: whether its bytes were there before, and how many items it gave."""

    is_duplicate: bool
    items: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreceipted:
    """An item to be forwarded."""

    number: int
    shard: int
    provider: ProviderId
    item: PaymentItem
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Receipted:
    """The engine's word on one number."""

    number: int
    verdict: ReceiptVerdict
    at_ms: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Receipts to be written; with a generation, all receipts of the former one go first."""

    new_generation_ms: int | None
    receipts: tuple[Receipted, ...]


class Spool:
    """The spool file. `Spool.create_or_open` for the writer, `Spool.beside` for the reader."""

    def __init__(self, connection: sqlite3.Connection, held_lock: int | None) -> None:
        self._db = Database(connection)
        self._execute = connection.execute
        self._lock = held_lock

    @classmethod
    def create_or_open(
        cls, path: Path, *, now_ms: int, make_bytes: Callable[[int], bytes]
    ) -> "Spool":
        """The writer of the spool at `path`; a missing file is made, with its id.

        Raises:
            SpoolError: another intake uses it, or it is no spool.
        """
        make_private(path)
        held = lock(path)
        try:
            spool = cls(connect(path), held)
            migrations.apply(spool._db)
            spool._execute(
                "INSERT INTO spool VALUES (1, ?, ?, 0, 0) ON CONFLICT DO NOTHING",
                (make_bytes(_SPOOL_ID_BYTES), now_ms),
            )
        except sqlite3.Error as error:
            os.close(held)
            raise SpoolError(f"{path}: {error}; is it a spool of this program?") from error
        return spool

    @classmethod
    def beside(cls, path: Path) -> "Spool":
        """A reader beside the writer; it sees what is committed and waits for nobody."""
        connection = connect(path)
        connection.execute("PRAGMA query_only = ON")
        return cls(connection, None)

    def close(self) -> None:
        """Closes the file; nothing is lost, everything was committed."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)

    # What the forwarder and the poller read.

    @property
    def spool_id(self) -> SpoolId:
        """8 random bytes made with the file."""
        return SpoolId(self._scalar("SELECT id FROM spool"))

    @property
    def generation_ms(self) -> int:
        """The ledger's generation as last adopted; 0 before the first."""
        return int(self._scalar("SELECT generation_ms FROM spool"))

    @property
    def made(self) -> int:
        """The highest number given."""
        return int(self._scalar("SELECT made FROM spool"))

    @property
    def unreadable(self) -> int:
        """Reports that nobody could read; a person must look at them."""
        return int(self._scalar("SELECT count(*) FROM reports WHERE verdict = 'unreadable'"))

    @property
    def trimmed(self) -> int:
        """How many numbers were given whose items are gone; counts rows."""
        return int(self._scalar("SELECT made - (SELECT count(*) FROM items) FROM spool"))

    def count_receipts(self) -> int:
        """Items with a receipt; counts rows."""
        return int(self._scalar("SELECT count(*) FROM receipts"))

    def unreceipted(self, *, after: int, limit: int) -> list[Unreceipted]:
        """Items above `after` without a receipt, lowest first."""
        return [
            Unreceipted(
                number=number,
                shard=shard,
                provider=ProviderId(provider),
                item=decode_body(PaymentItem, item),
                size_bytes=len(item),
            )
            for number, shard, provider, item in self._execute(_UNRECEIPTED, (after, limit))
        ]

    def raw16_of_open(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """The first 16 bytes of the raw digest, of those numbers that have no receipt."""
        # A receipt has at most 256 items: bounded placeholders.
        places = ", ".join("?" * len(numbers))
        rows = self._execute(
            f"""SELECT items.number, substr(reports.sha256, 1, 16)
            FROM items JOIN reports ON reports.id = items.report_id
            LEFT JOIN receipts ON receipts.number = items.number
            WHERE items.number IN ({places}) AND receipts.number IS NULL""",
            tuple(numbers),
        )
        return dict(rows.fetchall())

    def known_facts(
        self, provider: ProviderId, kind: PaymentKind, object_ids: Sequence[str]
    ) -> set[str]:
        """Those of `object_ids` of which an item says that kind; at most KNOWN_MAX."""
        places = ", ".join("?" * len(object_ids))
        rows = self._execute(
            f"""SELECT DISTINCT object_id FROM facts
            WHERE provider = ? AND kind = ? AND object_id IN ({places})""",
            (provider, kind.value, *object_ids),
        )
        return {object_id for (object_id,) in rows}

    def known_reports(self, provider: ProviderId, digests: Sequence[bytes]) -> set[bytes]:
        """Those of `digests` (SHA-256) whose bytes are stored already; at most KNOWN_MAX."""
        places = ", ".join("?" * len(digests))
        rows = self._execute(
            f"SELECT sha256 FROM reports WHERE provider = ? AND sha256 IN ({places})",
            (provider, *digests),
        )
        return {digest for (digest,) in rows}

    def polled_through(self, provider: ProviderId) -> dict[Sweep, int]:
        """How far each sweep of a provider came, ms; a sweep that never ended is not there."""
        query = "SELECT sweep, through_ms FROM polls WHERE provider = ?"
        return {Sweep(sweep): through_ms for sweep, through_ms in self._execute(query, (provider,))}

    # What the writer writes. `stage` leaves its transaction open, so that `commit`, which waits for
    # the disk, can run in another thread.

    def take_in(self, reports: Iterable[Report]) -> list[Taken]:
        """Stores reports and the items they give, durably, all or none.

        Raises:
            StoreUnavailableError: nothing is stored.
        """
        taken = self.stage(reports)
        self.commit()
        return taken

    def stage(self, reports: Iterable[Report]) -> list[Taken]:
        """Opens a transaction and puts the reports into it; nothing is durable before `commit`.

        Raises:
            StoreUnavailableError: nothing is stored, no transaction is open.
        """
        try:
            self._execute("BEGIN IMMEDIATE")
            return [self._take_one(report) for report in reports]
        except sqlite3.OperationalError as error:
            raise self._given_up(error) from error

    def commit(self) -> None:
        """Makes the open transaction durable: fsynced when this returns.

        Raises:
            StoreUnavailableError: nothing is stored, no transaction is open.
        """
        try:
            self._execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise self._given_up(error) from error

    def save(self, marks: Marks) -> None:
        """Writes receipts; of a new generation: forgets the former receipts first (R13).

        Raises:
            StoreUnavailableError: nothing is written; a lost mark costs one re-send.
        """
        with self._transaction():
            if marks.new_generation_ms is not None:
                self._execute("DELETE FROM receipts")
                self._execute("UPDATE spool SET generation_ms = ?", (marks.new_generation_ms,))
            self._db.conn.executemany(
                "INSERT INTO receipts VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(one.number, one.verdict.value, one.at_ms) for one in marks.receipts],
            )

    def mark_polled(self, provider: ProviderId, marks: Mapping[Sweep, int]) -> None:
        """Notes how far sweeps came, ms, durably; what they found is durable already (R1).

        Raises:
            StoreUnavailableError: nothing is noted; the sweep is made again.
        """
        with self._transaction():
            self._db.conn.executemany(
                "INSERT OR REPLACE INTO polls VALUES (?, ?, ?)",
                [(provider, sweep.value, through_ms) for sweep, through_ms in marks.items()],
            )

    def trim(self, before_ms: int) -> int:
        """Removes what reached its end before `before_ms`, at most so many rows; says how many.

        `before_ms` is RETENTION_MS ago or earlier; the caller has the clock.

        Raises:
            StoreUnavailableError: nothing is removed.
        """
        with self._transaction():
            items = self._execute(
                """DELETE FROM items WHERE number IN (
                    SELECT number FROM receipts WHERE receipted_at_ms < ?
                    ORDER BY receipted_at_ms LIMIT ?)""",
                (before_ms, TRIM_ITEMS_MAX),
            )
            reports = self._execute(
                """DELETE FROM reports WHERE id IN (
                    SELECT reports.id FROM reports LEFT JOIN items ON items.report_id = reports.id
                    WHERE items.number IS NULL AND received_at_ms < ? AND verdict <> 'unreadable'
                    ORDER BY received_at_ms LIMIT ?)""",
                (before_ms, TRIM_ITEMS_MAX),
            )
        return items.rowcount + reports.rowcount

    def _take_one(self, report: Report) -> Taken:
        reading = report.reading
        verdict, reason = "forwarded", ""
        if isinstance(reading, Irrelevant | Unreadable):
            verdict = "irrelevant" if isinstance(reading, Irrelevant) else "unreadable"
            reason, reading = reading.reason, ()
        digest = sha256(report.raw).digest()
        inserted = self._execute(
            """INSERT INTO reports
            (provider, event_id, sha256, received_at_ms, verdict, reason, raw)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
            (
                *(report.provider, report.event_id, digest, report.received_at_ms),
                *(verdict, reason, report.raw),
            ),
        )
        if inserted.rowcount == 0:
            return Taken(is_duplicate=True)
        for fact in reading:
            number = self.made + 1
            item = encode(fact.numbered(number, digest, report.received_at_ms))
            shard = payment_shard(report.provider, fact.payment_id)
            self._execute(
                "INSERT INTO items VALUES (?, ?, ?, ?)", (number, inserted.lastrowid, shard, item)
            )
            said = (number, report.provider, fact.kind.value, fact.object_id)
            self._execute("INSERT INTO facts VALUES (?, ?, ?, ?)", said)
        return Taken(is_duplicate=False, items=len(reading))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of a block's writes durable, or none and StoreUnavailableError."""
        try:
            with self._db.atomic():
                yield
        except sqlite3.OperationalError as error:
            raise self._given_up(error) from error

    def _given_up(self, error: sqlite3.OperationalError) -> StoreUnavailableError:
        # A full disk may have ended the transaction by itself already.
        with suppress(sqlite3.OperationalError):
            self._db.rollback()
        return StoreUnavailableError(f"{error}; free space or stop the other program")

    def _scalar(self, query: str) -> Any:
        return self._execute(query).fetchone()[0]

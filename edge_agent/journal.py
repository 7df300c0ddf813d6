"""An agent's journal: what it received, did and said, written down before it acts or answers.

One SQLite file, WAL, `synchronous=FULL`: a commit that returned survives the loss of power. The
schema (`journal_schema`) keeps I3, I5, I6 and I7 itself. Rules kept here:
 * Everything is written inside `transaction`, one for a whole batch (group commit); a failed one
   leaves the file and this object as they were.
 * The journal id is born with the file; the items are one dense chained stream (`wire.chain`).
 * Removed is only what was filed 35 days of running time ago and cannot be replayed any more, as a
   prefix behind a checkpoint (R8, R13); the counters of meters are never removed.
 * One process has a journal open; a lock file beside it refuses a second one.
 * A journal the engine no longer believes in is put aside; its successor inherits what only rises.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from sqlite_utils import Database, Migrations

from edge_agent.command_rows import CommandRows
from edge_agent.journal_file import remove, remove_oldest_retired, successor, synced
from edge_agent.journal_schema import TABLES_1, TABLES_2
from edge_agent.manifest_rows import ManifestRows
from edge_agent.roster_rows import RosterRows
from wire.chain import first_head, next_head
from wire.decoding import encode
from wire.fields import AgentId, JournalId
from wire.messages import Counter, Item

JOURNAL_ID_BYTES = 8
RUNNING_SAVED_MS = 60_000  # of running time are lost at most when power fails
RETENTION_MS = 35 * 86_400_000  # of running time behind `filed`: the horizon of ledger backups
FILING_STEP_MS = 3_600_000  # filings are remembered to the hour: at most 840 rows
TRIM_MAX = 1_000  # items removed in one transaction, so that no commit waits for long
# About 200 MB; an agent of 1,000 meters makes some hundreds of items a day.
ITEMS_MAX = 500_000

_migrations = Migrations("edge_agent.journal")


@_migrations()
def first_tables(database: Database) -> None:
    """Create the tables of version 1."""
    for statement in TABLES_1:
        database.conn.execute(statement)


@_migrations()
def second_tables(database: Database) -> None:
    """Create what version 2 added."""
    for statement in TABLES_2:
        database.conn.execute(statement)


class InvariantBroken(Exception):  # noqa: N818  # the project's name for our own mistakes
    """What may never happen is about to happen; the process must stop."""


class JournalError(Exception):
    """The journal cannot be used; the message names the file and the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The one row of what this agent is and believes; the columns of table `standing`."""

    journal_id: JournalId
    agent: AgentId
    boot: int
    running_ms: int
    generation_ms: int
    floor_epoch: int
    floor_sequence_ms: int
    stop_ms: int
    lifted_ms: int
    welcome_stop_ms: int
    disputed_until_ms: int
    filed: int
    first_root: bytes
    trust: bytes
    roster_version: int

    @property
    def floor(self) -> Counter:
        """No counter at or below it is accepted."""
        return Counter(epoch=self.floor_epoch, sequence_ms=self.floor_sequence_ms)

    @property
    def is_stopped(self) -> bool:
        """Whether opens are frozen (R9): only a resume lifts, never a welcome."""
        return max(self.stop_ms, self.welcome_stop_ms) > self.lifted_ms


# What a successor takes over from a journal put aside. Not running_ms: its caps count as used up.
_INHERITED = (
    "generation_ms", "floor_epoch", "floor_sequence_ms", "stop_ms", "lifted_ms",
    "welcome_stop_ms", "first_root", "trust", "roster_version",
)  # fmt: skip


class Journal:
    """One open journal."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None, lock: int | None) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._execute = connection.execute
        self.commands = CommandRows(connection)
        self.manifests = ManifestRows(connection)
        self.rosters = RosterRows(connection)
        self._load()

    @classmethod
    def open(cls, path: Path | None, agent: AgentId, new_id: Callable[[int], bytes]) -> "Journal":
        """Open or create the journal of `agent`; None keeps it in memory, for simulations.

        Raises:
            JournalError: in use, of another agent, or not a journal.
        """
        lock = None if path is None else _locked(path)
        if path is not None and not path.exists() and successor(path).exists():
            successor(path).rename(path)  # a crash between the two renames of start_anew
        try:
            connection = _connected(path)
            if connection.execute("SELECT count(*) FROM standing").fetchone()[0] == 0:
                with Database(connection).atomic():
                    connection.execute(
                        "INSERT INTO standing (one, journal_id, agent) VALUES (1, ?, ?)",
                        (new_id(JOURNAL_ID_BYTES), agent),
                    )
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path} is not a usable journal: {error}; put it aside") from None
        journal = cls(connection, path, lock)
        if journal.standing.agent != agent:
            owner = journal.standing.agent
            journal.close()
            raise JournalError(f"{path} is the journal of {owner}, not of {agent}")
        return journal

    @classmethod
    def read(cls, path: Path) -> "Journal":
        """Open a journal for reading only, also while its agent runs.

        Raises:
            JournalError: missing or not a journal.
        """
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            return cls(connection, path, None)
        except (sqlite3.DatabaseError, TypeError) as error:
            raise JournalError(f"{path} is not a readable journal: {error}") from None

    def close(self) -> None:
        """Close the file; what is not committed is gone."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _load(self) -> None:
        columns = [field.name for field in fields(Standing)]
        row = self._execute(f"SELECT {', '.join(columns)} FROM standing").fetchone()
        self.standing = Standing(**dict(zip(columns, row, strict=True)))
        head = first_head(self.standing.journal_id, self.standing.agent)
        removed = self._execute(
            "SELECT number, head FROM checkpoints ORDER BY number DESC LIMIT 1"
        ).fetchone() or (0, head)
        newest = self._execute(
            "SELECT number, head FROM items ORDER BY number DESC LIMIT 1"
        ).fetchone()
        self.checkpoint: int = removed[0]
        self._checkpoint_head: bytes = removed[1]
        self.made: int
        self.head: bytes
        self.made, self.head = newest or removed

    @contextmanager
    def transaction(self, running_ms: int) -> Iterator[None]:
        """One commit for everything inside; `running_ms` is stored with it."""
        self._execute("BEGIN IMMEDIATE")
        before = self._connection.total_changes
        try:
            yield
            # What changed nothing, such as junk, costs no fsync.
            has_changed = self._connection.total_changes != before
            if has_changed or running_ms - self.standing.running_ms >= RUNNING_SAVED_MS:
                self.change(running_ms=max(running_ms, self.standing.running_ms))
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            self._load()
            raise

    def change(self, **columns: int | bytes) -> None:
        """Set columns of the standing; takes part in the caller's transaction."""
        names = ", ".join(f"{name} = :{name}" for name in columns)
        self._execute(f"UPDATE standing SET {names}", columns)
        self.standing = replace(self.standing, **columns)  # type: ignore[arg-type]  # column names

    @property
    def is_full(self) -> bool:
        """Whether no new command may be journaled (I13)."""
        return self.made - self.checkpoint >= ITEMS_MAX

    # The stream of items

    def append(self, item: Item) -> None:
        """Put the next item behind the stream; takes part in the caller's transaction."""
        encoded = encode(item)
        head = next_head(self.head, encoded)
        self._execute("INSERT INTO items VALUES (?, ?, ?)", (item.number, encoded, head))
        self.made, self.head = item.number, head

    def items_after(self, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` retained items behind `number`, in their order."""
        return self._execute(
            "SELECT number, item FROM items WHERE number > ? ORDER BY number LIMIT ?",
            (number, limit),
        ).fetchall()

    def head_at(self, number: int) -> bytes | None:
        """The head behind item `number`; None if it was never made or is removed."""
        if number == self.checkpoint:
            return self._checkpoint_head
        if number == self.made:
            return self.head
        row = self._execute("SELECT head FROM items WHERE number = ?", (number,)).fetchone()
        return bytes(row[0]) if row else None

    def mark_filed(self, through: int, running_ms: int) -> None:
        """The engine holds 1..through; takes part in the caller's transaction."""
        self.change(filed=through)
        newest = self._execute("SELECT max(running_ms) FROM filings").fetchone()[0]
        if newest is None or running_ms - newest >= FILING_STEP_MS:
            self._execute("INSERT OR IGNORE INTO filings VALUES (?, ?)", (through, running_ms))

    def adopt_generation(self, generation_ms: int) -> None:
        """A restored ledger may hold nothing: forget all marks, offer everything again (R13)."""
        self._execute("DELETE FROM filings")
        self.change(generation_ms=generation_ms, filed=self.checkpoint)

    def trim(self, running_ms: int, latest_ms: int) -> int:
        """Remove what was filed 35 days ago; takes part in the caller's transaction.

        A command that has not expired stays, with everything behind it: its stored refusal is
        what keeps a replay from being judged anew (I6).
        """
        self.manifests.trim(self.standing.running_ms - RETENTION_MS)
        aged = self._execute(
            "SELECT max(through) FROM filings WHERE running_ms <= ?", (running_ms - RETENTION_MS,)
        ).fetchone()[0]
        through = min(aged or 0, self.standing.filed, self.checkpoint + TRIM_MAX)
        alive = self._execute(
            "SELECT min(item) FROM steps WHERE step = 'outcome' AND item <= ?"
            " AND expires_at_ms >= ?",
            (through, latest_ms),
        ).fetchone()[0]
        through = through if alive is None else alive - 1
        head = self.head_at(through)
        if through <= self.checkpoint or head is None:
            return 0
        self._execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (through, head, running_ms))
        self._execute(
            "DELETE FROM steps WHERE step <> 'outcome' AND command_id IN"
            " (SELECT command_id FROM steps WHERE step = 'outcome' AND item <= ?)",
            (through,),
        )
        self._execute("DELETE FROM steps WHERE step = 'outcome' AND item <= ?", (through,))
        self._execute("DELETE FROM items WHERE number <= ?", (through,))
        self._execute("DELETE FROM checkpoints WHERE number < ?", (through,))
        self._execute("DELETE FROM filings WHERE through <= ?", (through,))
        removed = through - self.checkpoint
        self.checkpoint, self._checkpoint_head = through, head
        return removed

    # A new life

    def start_anew(self, new_id: Callable[[int], bytes]) -> "Journal":
        """Put this journal aside and open an empty successor that inherits what only rises."""
        target = None if self._path is None else successor(self._path)
        if target is not None:
            remove(target)
        agent = self.standing.agent
        journal_id = new_id(JOURNAL_ID_BYTES)
        connection = _connected(target)
        with Database(connection).atomic():
            inherited = {name: getattr(self.standing, name) for name in _INHERITED}
            columns = {"one": 1, "journal_id": journal_id, "agent": agent, **inherited}
            connection.execute(
                f"INSERT INTO standing ({', '.join(columns)})"
                f" VALUES ({', '.join(f':{name}' for name in columns)})",
                columns,
            )
            connection.executemany(
                "INSERT INTO meters (meter, epoch, sequence_ms) VALUES (?, ?, ?)",
                self.commands.counters(),
            )
            self.rosters.hand_on(connection)
        if self._path is None or target is None:
            self.close()
            return Journal(connection, None, None)
        connection.close()
        lock, self._lock = self._lock, None  # the lock passes to the successor
        self._connection.close()
        retired = self._path.with_name(
            f"{self._path.name}.retired-{self.standing.journal_id.hex()}"
        )
        self._path.rename(retired)
        target.rename(self._path)
        synced(self._path.parent)
        remove_oldest_retired(self._path)
        return Journal(_connected(self._path), self._path, lock)


def _connected(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        isolation_level=None,  # transactions begin and end where `transaction` says so
        cached_statements=256,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    _migrations.apply(Database(connection))
    return connection


def _locked(path: Path) -> int:
    """Hold the lock file beside the journal; the system lets go of it when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise JournalError(f"{path} is in use: is this agent running already?") from None
    return descriptor

"""The guard's store as a file: durable, its owner's alone, one guard's; and how long it has run.

Rules kept here:
 * A commit is on the disk when it returns (WAL, synchronous FULL): a count is durable before the
   key is used (R7).
 * A new, lost or restored store begins with every threshold used up. A store that was not seen for
   more than `GAP_MAX_MS` cannot be told from one that was put back, so it counts as that; nor can
   one that comes from the future.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cloud.guard.schema import STATEMENTS, VERSION

USED_UP_MS = 86_400_000  # of running time: what a lost store may have signed is over by then
# What was signed since an older copy of the store was made is not in it. Ten minutes bound that;
# and a guard that is away longer stops opens until people look (R7), so nothing more is lost.
GAP_MAX_MS = 600_000
CLOCK_BACK_MAX_MS = 60_000  # how far the clock may be set back and be the same clock
BUSY_MAX_MS = 5_000  # how long a command waits for the running guard, which writes for ms
ALARM_AGAIN_MS = 3_600_000  # a message that comes again and again is one alarm an hour
LOCK_SUFFIX = ".lock"
_PRIVATE_MODE = 0o600
_LOG = logging.getLogger(__name__)

Transaction = sqlite3.Connection  # inside `writing`: one write transaction


class StoreError(ValueError):
    """The store cannot be used as it is; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long this store has been in use, in running time that only grows."""

    seen_at_ms: int
    running_ms: int
    used_up_until_ms: int

    @property
    def is_used_up(self) -> bool:
        """Whether nothing may be signed because the store is new, or may be an older copy."""
        return self.running_ms < self.used_up_until_ms

    def at(self, now_ms: int, *, used_up_ms: int) -> "Life":
        """The life as it goes on at `now_ms`."""
        passed_ms = now_ms - self.seen_at_ms
        if not -CLOCK_BACK_MAX_MS <= passed_ms <= GAP_MAX_MS:
            return replace(self, seen_at_ms=now_ms, used_up_until_ms=self.running_ms + used_up_ms)
        running_ms = self.running_ms + max(0, passed_ms)
        return replace(self, seen_at_ms=now_ms, running_ms=running_ms)


def open_store(path: Path, *, now_ms: int, used_up_ms: int = USED_UP_MS) -> sqlite3.Connection:
    """The store at `path`; a missing one is made, and may sign after `used_up_ms` of running.

    Raises:
        StoreError: it is no store of this guard's.
        OSError: it cannot be made.
    """
    # An older mode stays: where engine and guard are different users, a group lets the engine read.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE_MODE))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            f"busy_timeout = {BUSY_MAX_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        with writing(connection) as transaction:
            _demand_schema(transaction, path, now_ms, used_up_ms)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path}: {error}; is it a store of this guard?") from None
    except StoreError:
        connection.close()
        raise
    return connection


def _demand_schema(transaction: Transaction, path: Path, now_ms: int, used_up_ms: int) -> None:
    (version,) = transaction.execute("PRAGMA user_version").fetchone()
    (tables,) = transaction.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version == 0 and tables == 0:
        for statement in STATEMENTS:
            transaction.execute(statement)
        transaction.execute(f"PRAGMA user_version = {VERSION}")
        transaction.execute("INSERT INTO life VALUES (1, ?, ?, 0, ?)", (now_ms, now_ms, used_up_ms))
        _LOG.warning("new store %s: it signs after %d min of running", path, used_up_ms // 60_000)
    elif version != VERSION:
        raise StoreError(
            f"{path} has version {version} of the guard's store, this release {VERSION}"
            if version
            else f"{path} is another program's database: correct [guard] store"
        )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only guard on the store at `path`.

    Raises:
        StoreError: another guard runs on it: two would each count for themselves.
    """
    lock = os.open(
        path.with_name(path.name + LOCK_SUFFIX),
        os.O_CREAT | os.O_RDWR | os.O_CLOEXEC,
        _PRIVATE_MODE,
    )
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{path} is in use by another guard: stop that one first") from None
        yield
    finally:
        os.close(lock)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[Transaction]:
    """One write transaction: all of it is on the disk at its end, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_life(connection: sqlite3.Connection) -> Life:
    """The life as it was written last."""
    row = connection.execute("SELECT seen_at_ms, running_ms, used_up_until_ms FROM life").fetchone()
    return Life(seen_at_ms=row[0], running_ms=row[1], used_up_until_ms=row[2])


def write_life(transaction: Transaction, life: Life) -> None:
    """Keep how long the store has run."""
    transaction.execute(
        "UPDATE life SET seen_at_ms = ?, running_ms = ?, used_up_until_ms = ?",
        (life.seen_at_ms, life.running_ms, life.used_up_until_ms),
    )


def raise_alarm(
    transaction: Transaction, code: str, subject: str, detail: str, *, now_ms: int
) -> None:
    """Keep what a person must look at, and say it in the log; the same again, once an hour."""
    raised = transaction.execute(
        """INSERT INTO alarms (code, subject, detail, raised_at_ms)
        SELECT :code, :subject, :detail, :now_ms WHERE NOT EXISTS (
            SELECT 1 FROM alarms WHERE code = :code AND subject = :subject AND detail = :detail
            AND raised_at_ms > :now_ms - :again_ms)""",
        {
            "code": code,
            "subject": subject,
            "detail": detail,
            "now_ms": now_ms,
            "again_ms": ALARM_AGAIN_MS,
        },
    )
    if raised.rowcount:
        _LOG.error("alarm: %s: %s: %s", code, subject, detail)

"""Ledger and spool on disk: durable, whole, append-only, of this release, with room left.

Rules kept here: a running store is only read. What the schema must refuse is tried on its copy in
memory, with one made-up row in each table, so that no payment ever waits for the doctor.
"""

import importlib
import pkgutil
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.doctor.findings import (
    Check,
    Code,
    Finding,
    Note,
    NotProven,
    Remark,
    Remarks,
    Subject,
)
from cloud.migrations import versions
from cloud.schema import APPEND_ONLY
from cloud.store import open_store, reading

LOOK_MAX_S = 3.0  # seconds for reading a whole file; larger ones are a night's work
STEPS_PER_LOOK = 10_000  # of SQLite's machine between two looks at the clock; some 0.1 ms
LOCKED_MAX_S = 2.0
DISK_LEAST_BYTES = 1 << 30
DISK_LEAST_SHARE = 0.05
_FULL = 2  # of PRAGMA synchronous
_IN_MEMORY = ("tmpfs", "ramfs")

# What must be refused, by table: I3 in the ledger, I1 in the spool.
_LEDGER_REFUSES = tuple((table, act) for table in APPEND_ONLY for act in ("UPDATE", "DELETE"))
_SPOOL_REFUSES = (
    ("reports", "UPDATE"),
    ("reports", "DELETE"),  # an unreadable one
    ("items", "UPDATE"),
    ("items", "DELETE"),  # one without a receipt
    ("receipts", "UPDATE"),
)
_MADE_UP = {"INTEGER": 1, "TEXT": "unreadable", "BLOB": b"\0"}


@dataclass(frozen=True, slots=True)
class Store:
    """One SQLite file, and what its schema must refuse."""

    name: str
    path: Path
    refuses: tuple[tuple[str, str], ...]


def can_be_read(subject: Subject) -> Remarks:
    """They are there, and they are databases."""
    return _of_each(subject, _unusable)


def commits_are_durable(subject: Subject) -> Remarks:
    """WAL in the file; synchronous FULL as the engine opens it."""
    return [*_of_each(subject, _not_wal), *_not_full(subject)]


def is_whole(subject: Subject) -> Remarks:
    """Every page, every index, every reference."""
    return _of_each(subject, _damaged)


def history_is_append_only(subject: Subject) -> Remarks:
    """The file's own schema refuses to change or remove what must stay."""
    return _of_each(subject, _changeable)


def schema_is_of_this_release(subject: Subject) -> Remarks:
    """The newest migration was applied, and none that this release does not know."""

    def look(store: Store) -> Remarks:
        if store.name != "ledger":  # the intake brings its spool up to date when it starts
            return []
        found, head = _schema_of(store), newest_migration()
        if found == head:
            return []
        text = f"{store.path} is at schema {found}, this release's is {head}"
        return [Finding(Code.SCHEMA_DIFFERS, text)]

    return _of_each(subject, look)


def has_room(subject: Subject) -> Remarks:
    """A full disk stops payments."""

    def look(store: Store) -> Remarks:
        disk = shutil.disk_usage(store.path.parent)
        if disk.free >= max(DISK_LEAST_BYTES, DISK_LEAST_SHARE * disk.total):
            return []
        share = 100 * disk.free / disk.total
        text = f"{disk.free / DISK_LEAST_BYTES:.1f} GiB ({share:.0f} %) free beside {store.path}"
        return [Finding(Code.DISK_LOW, text)]

    return _of_each(subject, look)


def is_on_a_disk(subject: Subject) -> Remarks:
    """Not in memory, which a power cut empties."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")

    def look(store: Store) -> Remarks:
        kind = file_system_of(store.path.resolve(), mounts)
        if kind not in _IN_MEMORY:
            return []
        text = f"{store.path} is on {kind}"
        if subject.is_production:
            return [Finding(Code.STORE_IN_MEMORY, text)]
        return [Note(f"{text}; in production this is a finding")]

    return _of_each(subject, look)


def newest_migration() -> str:
    """The revision that no other one follows."""
    modules = [
        importlib.import_module(f"{versions.__name__}.{one.name}")
        for one in pkgutil.iter_modules(versions.__path__)
    ]
    followed = {one.down_revision for one in modules}
    (head,) = (one.revision for one in modules if one.revision not in followed)
    return str(head)


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system a path lies on. `mounts`: the text of /proc/self/mountinfo."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields, _, behind = line.partition(" - ")
        mount = fields.split()[4]
        if path.is_relative_to(mount) and len(mount) >= len(best):  # later mounts cover earlier
            best, kind = mount, behind.split()[0]
    return kind


def _unusable(store: Store) -> Remarks:
    if not store.path.is_file():
        return [Finding(Code.STORE_UNUSABLE, f"there is no {store.path}")]
    try:
        with _reading(store) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        return [Finding(Code.STORE_UNUSABLE, f"{store.path}: {error}")]
    return []


def _not_wal(store: Store) -> Remarks:
    with _reading(store) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        return []
    return [Finding(Code.STORE_NOT_DURABLE, f"{store.path} has journal_mode {mode}, not WAL")]


def _schema_of(store: Store) -> str:
    with _reading(store) as connection:
        is_there = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.execute(is_there).fetchone() is None:
            return "nothing"
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else "nothing"


def _not_full(subject: Subject) -> Remarks:
    if subject.installation.configuration.engine is None:
        return []
    store = open_store(subject.installation.ledger_url())
    try:
        with reading(store) as connection:
            if store.dialect.name != "sqlite":
                return [NotProven("the ledger is no SQLite file", "SHOW synchronous_commit")]
            level = int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
    finally:
        store.dispose()
    if level >= _FULL:
        return []
    return [Finding(Code.STORE_NOT_DURABLE, f"the ledger is opened with synchronous {level}")]


def _damaged(store: Store) -> Remarks:
    give_up_s = time.monotonic() + LOOK_MAX_S
    try:
        with _reading(store) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > give_up_s, STEPS_PER_LOOK)
            (word,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            lost = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.OperationalError as error:
        text = f"{store.path} was not read to its end in {LOOK_MAX_S:.0f} s ({error})"
        return [NotProven(text, f"sqlite3 {store.path} 'PRAGMA integrity_check' on a backup")]
    except sqlite3.DatabaseError as error:
        word, lost = str(error), None
    if word != "ok":
        return [Finding(Code.STORE_DAMAGED, f"{store.path}: {word}")]
    if lost is not None:
        text = f"{store.path}: row {lost[1]} of {lost[0]} refers to a missing row of {lost[2]}"
        return [Finding(Code.STORE_DAMAGED, text)]
    return []


def _changeable(store: Store) -> Remarks:
    with _reading(store) as connection:
        statements = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            " ORDER BY type = 'trigger', type = 'index', rootpage"
        ).fetchall()
    remarks: list[Remark] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        copy.execute("PRAGMA ignore_check_constraints = ON")  # a made-up row means nothing
        for (statement,) in statements:
            copy.execute(statement)
        for table, act in store.refuses:
            if not _is_refused(copy, table, act):
                text = f"{store.path} lets {act} change {table}"
                remarks.append(Finding(Code.HISTORY_CHANGEABLE, text))
    return remarks


def _is_refused(copy: sqlite3.Connection, table: str, act: str) -> bool:
    columns = copy.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    if not columns:  # the table itself is gone
        return False
    marks = ", ".join("?" for _ in columns)
    first = columns[0][0]
    change = f"UPDATE {table} SET {first} = {first}" if act == "UPDATE" else f"DELETE FROM {table}"
    copy.execute("BEGIN")
    try:
        copy.execute(
            f"INSERT INTO {table} VALUES ({marks})", [_MADE_UP.get(kind) for _, kind in columns]
        )
        copy.execute(change)
    except sqlite3.IntegrityError as error:
        return "I1" in str(error) or "I3" in str(error)
    finally:
        copy.execute("ROLLBACK")
    return False


def _of_each(subject: Subject, look: Callable[[Store], Remarks]) -> list[Remark]:
    remarks: list[Remark] = []
    for store in _stores(subject):
        try:
            remarks += look(store)
        except (sqlite3.Error, OSError) as error:
            how = "see what check `stores` says"
            remarks.append(NotProven(f"{store.path}: {error}", how))
    return remarks


def _stores(subject: Subject) -> Iterator[Store]:
    """The SQLite files this configuration names. A spool is made by the intake's first start."""
    configured, at = subject.installation.configuration, subject.installation.at
    if configured.engine is not None and "://" not in configured.engine.ledger:
        yield Store("ledger", at(configured.engine.ledger), _LEDGER_REFUSES)
    if configured.intake is not None and at(configured.intake.spool).exists():
        yield Store("spool", at(configured.intake.spool), _SPOOL_REFUSES)


@contextmanager
def _reading(store: Store) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write."""
    address = f"{store.path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=LOCKED_MAX_S)) as connection:
        yield connection


CHECKS = (
    Check("stores", "ledger and spool can be read", can_be_read),
    Check("durable", "commits survive a power cut: WAL, synchronous FULL", commits_are_durable),
    Check("whole", "every page, index and reference is in order", is_whole),
    Check("append-only", "entries, decisions, facts and reports cannot change",
          history_is_append_only),
    Check("schema", "the ledger's schema is this release's", schema_is_of_this_release),
    Check("disk-space", "there is room: 1 GiB and 5 %", has_room),
    Check("disk", "the stores lie on a disk", is_on_a_disk),
)  # fmt: skip

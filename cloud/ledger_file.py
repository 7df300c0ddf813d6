"""The ledger as a file of SQLite: who may use it, what makes a copy of it sound.

Rules kept here: one engine at a time has a SQLite ledger, and nobody replaces the file under it: a
lock file beside the ledger is held as long as its process lives, and the system lets go of it when
the process ends, however it ends. A file is sound when its pages, its references and its money are.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

LOCK_SUFFIX = ".lock"
DIGEST_CHUNK_BYTES = 1 << 20  # read at once: far more than a disk's page, far less than memory
_PRIVATE_MODE = 0o600
_FAULTS_SHOWN = 3  # of a damaged file: enough to tell what kind of damage it is


class LedgerInUseError(ValueError):
    """Somebody else uses the ledger's file; the text says what to stop."""


class LedgerUnsoundError(ValueError):
    """A file that is no sound ledger; the text says what is wrong with it."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Have the ledger at `path` alone, against every other engine and restore.

    Raises:
        LedgerInUseError: another process has it.
    """
    lock_path = path.resolve().with_name(path.resolve().name + LOCK_SUFFIX)
    lock = os.open(lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _PRIVATE_MODE)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LedgerInUseError(
                f"{path} is in use by an engine or a restore: a SQLite ledger has one at a time;"
                " stop the other one first"
            ) from None
        yield
    finally:
        os.close(lock)


def connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """A plain connection to the file: `rw` never makes one, `ro` writes nothing to it."""
    address = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def demand_sound(path: Path) -> None:
    """The file is whole: every page, every reference, every posting.

    Raises:
        LedgerUnsoundError: with what is wrong.
    """
    try:
        with closing(connect(path, mode="ro")) as connection:
            faults = list(_faults(connection))
    except sqlite3.Error as error:
        raise LedgerUnsoundError(f"{path} is no sound ledger: {error}") from None
    if faults:
        shown = "; ".join(faults[:_FAULTS_SHOWN])
        raise LedgerUnsoundError(f"{path} is no sound ledger: {len(faults)} faults: {shown}")


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield str(line)
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} names no row of {parent}"
    unbalanced = connection.execute(
        "SELECT posting, sum(amount_paise) FROM entries GROUP BY posting"
        " HAVING sum(amount_paise) <> 0"
    )
    for posting, paise in unbalanced:
        yield f"posting {posting!r} is off by {paise} paise"


def digest_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    seen = sha256()
    with path.open("rb") as file:
        while chunk := file.read(DIGEST_CHUNK_BYTES):
            seen.update(chunk)
    return seen.hexdigest()


def settle_on_disk(path: Path) -> None:
    """The file's bytes, and its name in its folder, survive a power cut from now on."""
    for one, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(one, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

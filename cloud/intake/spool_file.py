"""The spool as a file: opened durable, and by one writer.

Rules kept here: a commit is on the disk when it returns (WAL, synchronous FULL); the file is its
owner's alone; a second writer is refused.
"""

import fcntl
import os
import sqlite3
from pathlib import Path

_PRIVATE_MODE = 0o600  # raw reports hold what consumers told their bank


class SpoolError(Exception):
    """The spool cannot be used as it is; a person must act."""


def make_private(path: Path) -> None:
    """Makes the file if it is missing, readable by its owner alone."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE_MODE))


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits last."""
    # No waiting for locks: there is one writer, so a lock is somebody else's; the door says 503.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL loses commits at a power cut; the 2xx was already sent.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def lock(path: Path) -> int:
    """An exclusive lock beside the file: two intakes would give one number twice.

    Raises:
        SpoolError: another intake holds it.
    """
    held = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, _PRIVATE_MODE)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise SpoolError(f"{path}: another intake uses it; each needs a spool of its own") from None
    return held

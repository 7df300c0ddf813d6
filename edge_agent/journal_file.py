"""The files of a journal: the one in use, the successor being made ready, those put aside."""

import os
from pathlib import Path

RETIRED_FILES_MAX = 4  # journals put aside are evidence; older ones are removed


def successor(path: Path) -> Path:
    """Where a journal's successor is made ready; it takes the name when it is complete."""
    return path.with_name(path.name + ".next")


def remove(path: Path) -> None:
    """Remove a database with its side files."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def remove_oldest_retired(path: Path) -> None:
    """Keep the newest journals put aside (I13)."""
    retired = sorted(
        path.parent.glob(f"{path.name}.retired-*"), key=lambda one: one.stat().st_mtime_ns
    )
    for oldest in retired[:-RETIRED_FILES_MAX]:
        remove(oldest)


def synced(directory: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The files of a simulating process: one folder in memory, and images that every seed copies.

Rules kept here: an image is made by the product's own code, once per process, with every table,
index and trigger and not one row: what a seed writes, random ids included, is its own.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlite_utils import Database

from cloud.intake.spool_file import connect
from cloud.intake.spool_schema import migrations
from edge_agent.journal import _connected


@cache
def folder() -> Path:
    """This process's files; in memory where the machine has such a place."""
    shared = Path("/dev/shm")  # noqa: S108  # a folder of its own is made in it
    made = Path(tempfile.mkdtemp(prefix="relight-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def journal_image() -> Path:
    """A journal that is nobody's yet."""
    path = folder() / "journal.image"
    _connected(path).close()  # the last connection that goes writes the log into the file
    return path


@cache
def spool_image() -> Path:
    """A spool without an id yet."""
    path = folder() / "spool.image"
    database = Database(connect(path))
    migrations.apply(database)
    database.close()
    return path

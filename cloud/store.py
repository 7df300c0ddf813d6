"""The ledger database as an engine: opening it, its durable settings, its migrations.

Rules kept here: SQLite runs in WAL with synchronous=FULL, so a commit that a receipt depends on
survives power loss; a write transaction takes the write lock when it begins (BEGIN IMMEDIATE), so
what it read is still true when it commits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Row, event

# A row as a query gives it: its columns are attributes, typed where they are used.
Found = Row[*tuple[Any, ...]]

BUSY_TIMEOUT_MS = 5_000  # how long a reader's or importer's lock may hold a writer up
CACHE_KIB = 65_536  # pages kept in memory: hot indexes of a large fleet


def open_store(url: str) -> Engine:
    """The database at `url` (`sqlite:///PATH`), with durable settings; no schema is made."""
    # Parameters hold consumers' payments; a failing statement must not carry them into a log.
    engine = sqlalchemy.create_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_durable)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to this release's version; does nothing when it is there already."""
    configuration = _configuration()
    with engine.connect() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        connection.commit()


def schema_versions() -> frozenset[str]:
    """Every schema version that this release can bring to its own."""
    scripts = ScriptDirectory.from_config(_configuration())
    return frozenset(one.revision for one in scripts.walk_revisions())


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(files("cloud") / "migrations"))
    return configuration


def sqlite_url(path: Path) -> str:
    """The address of a SQLite file."""
    return f"sqlite:///{path}"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads: on SQLite it never waits for the writer."""
    with engine.connect().execution_options(relight_reads_only=True) as connection:
        yield connection


def _set_durable(dbapi_connection: Any, _: object) -> None:
    dbapi_connection.isolation_level = None  # pysqlite must not begin transactions by itself
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        f"cache_size = -{CACHE_KIB}",
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("relight_reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

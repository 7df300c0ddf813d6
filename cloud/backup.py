"""`relight backup`: a whole, checked copy of a running ledger, with what a restore must know of it.

Rules kept here:
 * The copy is one moment of the ledger: SQLite's online backup in a single step reads one snapshot
   while the engine goes on writing.
 * It is checked before it has its name: pages, references, debits equal credits (I3).
 * Nothing is overwritten; file and facts belong to their owner alone (mode 0600), fsynced.
 * FILE.json beside it says of which installation, generation and schema it is, what it holds, and
   its digest: a copy that was cut short or changed is not restored.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cloud.ledger_file import LedgerUnsoundError, connect, demand_sound, digest_of, settle_on_disk

FORMAT = 1
FACTS_SUFFIX = ".json"
PART_SUFFIX = ".part"
_FACTS_MAX_BYTES = 65_536  # a JSON of thirty tables is 1 kB; more is another file
_SIDE_FILES = ("-wal", "-shm", "-journal")


class BackupError(ValueError):
    """No backup was made, or a file is none that can be restored; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """What stands beside a backup. `installation` and `sha256` are hex."""

    format: int
    installation: str
    generation_ms: int
    epoch: int
    made_at_ms: int
    schema: str
    rows: dict[str, int]
    size_bytes: int
    sha256: str


def facts_path(backup: Path) -> Path:
    """Where the facts of a backup stand."""
    return backup.with_name(backup.name + FACTS_SUFFIX)


def back_up(ledger: Path, target: Path, *, now_ms: int) -> BackupFacts:
    """Copy the ledger at `ledger` to `target` while it is in use.

    Raises:
        BackupError: the target exists, or the ledger itself is damaged.
        OSError: the target cannot be written.
    """
    for taken in (target, facts_path(target)):
        if os.path.lexists(taken):
            raise BackupError(f"{taken} exists: a backup overwrites nothing, choose another name")
    with part_file(target) as part:
        try:
            _copy(ledger, part)
            demand_sound(part)
            facts = _facts(part, now_ms, digest_of(part))
        except (sqlite3.Error, LedgerUnsoundError) as error:
            raise BackupError(
                f"{ledger} cannot be backed up: {error}; keep the file as it is, stop the engine"
                " and restore the last good backup"
            ) from None
        # The facts first: a crash in between leaves facts without a file, never a file that looks
        # like a backup and cannot be verified.
        with part_file(facts_path(target)) as facts_part:
            facts_part.write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="ascii")
            place_new(facts_part, facts_path(target))
        place_new(part, target)
    return facts


def read_backup(backup: Path) -> BackupFacts:
    """The facts of a backup, after its bytes, pages, references and money were checked.

    Raises:
        BackupError: it is none, was cut short, changed, or is damaged.
        OSError: it cannot be read.
    """
    facts = _read_facts(facts_path(backup))
    if not backup.is_file():
        raise BackupError(f"no backup {backup}: name the file that `relight backup` wrote")
    size = backup.stat().st_size
    if size != facts.size_bytes or digest_of(backup) != facts.sha256:
        raise BackupError(
            f"{backup} is not what {facts_path(backup)} tells of ({size} bytes, then"
            f" {facts.size_bytes}): it was cut short or changed; take another backup"
        )
    try:
        demand_sound(backup)
        held = _facts(backup, facts.made_at_ms, facts.sha256)
    except (sqlite3.Error, LedgerUnsoundError) as error:
        raise BackupError(f"{error}; take another backup") from None
    if held != facts:
        raise BackupError(f"{facts_path(backup)} does not tell of {backup}: take another backup")
    return facts


@contextmanager
def part_file(target: Path) -> Iterator[Path]:
    """An empty private file beside `target`; what is still there at the end is removed."""
    descriptor, name = tempfile.mkstemp(
        prefix=f"{target.name}.", suffix=PART_SUFFIX, dir=target.parent
    )  # mode 0600
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
    finally:
        for one in (part, *side_files(part)):
            one.unlink(missing_ok=True)


def side_files(path: Path) -> tuple[Path, ...]:
    """What SQLite may leave beside a database: it would be applied to whatever has that name."""
    return tuple(path.with_name(path.name + suffix) for suffix in _SIDE_FILES)


def place_new(part: Path, target: Path) -> None:
    """Give a finished file its name, durably, unless the name is taken.

    Raises:
        BackupError: somebody took the name meanwhile.
    """
    settle_on_disk(part)
    try:
        os.link(part, target)  # a rename would overwrite
    except FileExistsError:
        raise BackupError(f"{target} exists now: choose another name") from None
    except OSError:  # a share without hard links: nearly as good
        part.rename(target)
    part.unlink(missing_ok=True)
    settle_on_disk(target)


def single_file(path: Path) -> None:
    """Leave write-ahead logging: everything stands in the one file, nothing beside it.

    Raises:
        sqlite3.OperationalError: somebody else has the file open.
    """
    with closing(connect(path)) as connection:
        leave_wal(connection)


def leave_wal(connection: sqlite3.Connection) -> None:
    """Write the log into the file and remove it, which only the one connection of a file can.

    Raises:
        sqlite3.OperationalError: `database is locked`: somebody else has the file open.
    """
    connection.execute("PRAGMA journal_mode = DELETE")


def _copy(ledger: Path, part: Path) -> None:
    with closing(connect(ledger)) as source, closing(connect(part)) as copy:
        # All pages in one step: a copy in portions begins anew whenever the engine commits.
        source.backup(copy)
    single_file(part)


def _facts(path: Path, made_at_ms: int, digest: str) -> BackupFacts:
    with closing(connect(path, mode="ro")) as connection:
        row = connection.execute(
            "SELECT installation, generation_ms, epoch, version_num FROM ledger, alembic_version"
        ).fetchone()
        if row is None:
            raise LedgerUnsoundError(f"{path} has no row that says whose ledger it is")
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
        ).fetchall()
        rows = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[
                0
            ]  # names of the schema itself
            for (name,) in tables
        }
    return BackupFacts(
        format=FORMAT,
        installation=row[0].hex(),
        generation_ms=row[1],
        epoch=row[2],
        made_at_ms=made_at_ms,
        schema=row[3],
        rows=rows,
        size_bytes=path.stat().st_size,
        sha256=digest,
    )


def _read_facts(path: Path) -> BackupFacts:
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_FACTS_MAX_BYTES))
        if told["format"] != FORMAT:
            raise BackupError(f"{path} has format {told['format']}, this release reads {FORMAT}")
        return BackupFacts(**told)
    except FileNotFoundError:
        raise BackupError(
            f"no {path}: it stands beside every backup and says what it holds; copy both"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, BackupError):
            raise
        raise BackupError(f"{path} does not tell of a backup: {error}") from None

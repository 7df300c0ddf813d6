"""The databases of an installation, opened for reading only, as plain rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.audit.signatures import EvidenceError

Rows = sqlite3.Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the evidence stands; what is left out is not audited, and said so."""

    ledger: Path
    first_root: Path
    pin: str
    documents: tuple[Path, ...]  # `trust` documents, older ones too
    spools: tuple[Path, ...] = ()
    journals: tuple[Path, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that this process cannot change, in one snapshot.

    Raises:
        EvidenceError: there is none.
    """
    if not path.is_file():
        raise EvidenceError(f"no database {path}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as found:
        found.row_factory = sqlite3.Row
        found.execute("BEGIN")
        yield found

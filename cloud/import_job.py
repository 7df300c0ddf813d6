"""What every kind of import shares: the file asked for, what became of it, questions in batches.

Rules kept here: the ledger is asked and written in batches, never row by row.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Select, Table, insert

from cloud.import_rows import BadRow, BadRows
from cloud.rules import Policy
from cloud.store import Found

BATCH = 5_000  # keys per question and rows per statement: far below every database's limit

_Item = TypeVar("_Item")


class Kind(StrEnum):
    """What a file brings."""

    ACCOUNTS = "accounts"
    METERS = "meters"
    BILLS = "bills"
    CUTS = "cuts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFile:
    """A file somebody wants imported; a dry run does everything but commit."""

    kind: Kind
    path: Path
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What a file brought, or everything that is wrong with it."""

    file: ImportFile
    rows: int
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    imported_before_at_ms: int | None = None
    bad_count: int = 0
    bad: tuple[BadRow, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with the file; else nothing of it was imported."""
        return self.bad_count == 0

    def text(self) -> str:
        """The report for a person."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """One line per bad row, then what came of the file."""
        path, kind = self.file.path, self.file.kind
        told = [
            f"{path}:{one.line}: {one.field + ' ' if one.field else ''}{one.value!r} {one.reason}"
            for one in self.bad
        ]
        if self.bad_count > len(self.bad):
            told.append(f"{path}: and {self.bad_count - len(self.bad)} more")
        if not self.is_good:
            return [*told, f"{path}: {self.bad_count} faults, nothing imported: mend them all"]
        if self.imported_before_at_ms is not None:
            return [f"{path}: these {self.rows} {kind} were imported before, nothing changed"]
        return [
            f"{path}: {self.rows} {kind}: {self.added} added, {self.changed} changed,"
            f" {self.unchanged} were there already"
            + (" (dry run: nothing was written)" if self.file.is_dry_run else "")
        ]


@dataclass(slots=True, kw_only=True)
class Job:
    """One import under way."""

    file: ImportFile
    now_ms: int
    policy: Policy
    bad: BadRows
    added: int = 0
    changed: int = 0
    unchanged: int = 0


def batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """`items` in pieces of one statement each."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def found(
    transaction: Connection,
    query: Select[*tuple[Any, ...]],
    column: Column[str],
    keys: Collection[str],
) -> dict[str, Found]:
    """The rows of `query` whose `column`, its first, is one of `keys`."""
    rows: dict[str, Found] = {}
    for some in batches(list(set(keys))):
        for row in transaction.execute(query.where(column.in_(some))):
            rows[row[0]] = row
    return rows


def write(transaction: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert many rows; they are made as they are written, so that few are in memory."""
    waiting = iter(rows)
    while some := list(itertools.islice(waiting, BATCH)):
        transaction.execute(insert(table), some)


def refuse_repeats(named: Iterable[tuple[int, str]], name: str, job: Job) -> None:
    """Note every row that names what an earlier row named."""
    first: dict[str, int] = {}
    for line, value in named:
        if value in first:
            job.bad.add(line, name, value, f"stands in line {first[value]} already")
        else:
            first[value] = line


def refuse_unknown(named: Iterable[tuple[int, str]], known: Collection[str], job: Job) -> None:
    """Note every row that names an account the ledger does not have."""
    for line, value in named:
        if value not in known:
            job.bad.add(line, "account_id", value, "is no known account: import accounts first")


def count(
    job: Job, rows: Sequence[object], fresh: Sequence[object], changed: Sequence[object]
) -> None:
    """Note what becomes of a file's rows."""
    job.added, job.changed = len(fresh), len(changed)
    job.unchanged = len(rows) - len(fresh) - len(changed)

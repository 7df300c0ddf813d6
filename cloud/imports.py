"""Accounts, meters, bills and cuts come in as CSV files: a whole file or nothing of it.

Rules kept here:
 * Every bad row is listed; one bad row and nothing of the file is imported.
 * A file whose bytes were imported before changes nothing; a row that stands in the ledger already
   is left alone.
 * A meter does not go to another account while a command for it is under way: what is signed could
   light another house. It may go to another agent at any time: `cloud.moves` says what then.
 * Reading the file takes no lock; one write transaction does the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, bindparam, insert, select, update

from cloud import import_bills, import_cuts, moves
from cloud.import_job import (
    ImportFile,
    ImportReport,
    Job,
    Kind,
    batches,
    count,
    found,
    refuse_repeats,
    refuse_unknown,
    write,
)
from cloud.import_rows import BadRows, Columns, Fields, read_rows
from cloud.moves import Move
from cloud.rules import Policy
from cloud.schema import accounts, agents, commands, imported_files, meters
from cloud.store import Found
from cloud.vocabulary import CommandState


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One row of accounts."""

    line: int
    account_id: str
    zone: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One row of meters; its days begin at midnight in India."""

    line: int
    meter_id: str
    account_id: str
    agent_id: str
    serial: str | None
    installed_at_ms: int
    mapped_at_ms: int
    feeder: str
    transformer: str
    is_protected: int | None = None  # 0 or 1; None: the file does not say, so nothing changes
    old_roster_version: int | None = None  # of the agent it leaves: the first without the meter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """How one kind is read and stored."""

    columns: Columns
    make: Callable[[Fields], Any]
    store: Callable[[Connection, Sequence[Any], Job], None]


def import_file(  # noqa: PLR0913  # the command's own arguments, each named at its one call
    store: sqlalchemy.Engine,
    kind: str,
    path: Path,
    *,
    now_ms: int,
    is_dry_run: bool,
    policy: Policy,
) -> ImportReport:
    """Import one file, or say everything that is wrong with it.

    Args:
        store: the ledger.
        kind: a word of `Kind`: what the file brings.
        path: where it is.
        now_ms: the clock; nothing may have happened later.
        is_dry_run: do everything but commit.
        policy: how long a cut's quote lives.

    Raises:
        OSError: the file cannot be read.
    """
    file = ImportFile(kind=Kind(kind), path=path, is_dry_run=is_dry_run)
    how = _HOW[file.kind]
    job = Job(file=file, now_ms=now_ms, policy=policy, bad=BadRows())
    read = read_rows(file.path, how.columns, how.make, job.bad)
    with store.connect() as connection, connection.begin() as transaction:
        before = _imported_at_ms(connection, file.kind, read.digest)
        if before is None:
            how.store(connection, read.rows, job)
            _note_file(connection, job, read.digest, read.count)
        if before is not None or job.bad.count or file.is_dry_run:
            transaction.rollback()
    return ImportReport(
        file=file,
        rows=read.count,
        added=job.added,
        changed=job.changed,
        unchanged=job.unchanged,
        imported_before_at_ms=before,
        bad_count=job.bad.count,
        bad=tuple(sorted(job.bad.kept, key=lambda one: one.line)),
    )


def _imported_at_ms(connection: Connection, kind: Kind, digest: bytes) -> int | None:
    return connection.scalar(
        select(imported_files.c.imported_at_ms)
        .where(imported_files.c.kind == kind.value)
        .where(imported_files.c.digest == digest)
    )


def _note_file(connection: Connection, job: Job, digest: bytes, count: int) -> None:
    row = {
        "kind": job.file.kind.value,
        "name": job.file.path.name,
        "digest": digest,
        "rows": count,
        "imported_at_ms": job.now_ms,
    }
    connection.execute(insert(imported_files), row)


def _account(fields: Fields) -> Account:
    return Account(
        line=fields.line,
        account_id=fields.identifier("account_id"),
        zone=fields.shared_identifier("zone"),
        language=fields.language("language"),
    )


def _store_accounts(transaction: Connection, rows: Sequence[Account], job: Job) -> None:
    refuse_repeats(((row.line, row.account_id) for row in rows), "account_id", job)
    query = select(accounts.c.account_id, accounts.c.zone, accounts.c.language)
    known = found(transaction, query, accounts.c.account_id, [row.account_id for row in rows])
    fresh: list[dict[str, object]] = []
    changed: list[dict[str, object]] = []
    for row in rows:
        values: dict[str, object] = {"zone": row.zone, "language": row.language}
        held = known.get(row.account_id)
        if held is None:
            fresh.append({"account_id": row.account_id, **values})
        elif (held.zone, held.language) != (row.zone, row.language):
            changed.append({"of_row": row.account_id, **values})
    count(job, rows, fresh, changed)
    if job.bad.count:
        return
    write(transaction, accounts, fresh)
    for some in batches(changed):
        transaction.execute(
            update(accounts)
            .where(accounts.c.account_id == bindparam("of_row"))
            .values(zone=bindparam("zone"), language=bindparam("language")),
            list(some),
        )


def _meter(fields: Fields) -> Meter:
    return Meter(
        line=fields.line,
        meter_id=fields.identifier("meter_id"),
        account_id=fields.identifier("account_id"),
        agent_id=fields.shared_identifier("agent_id"),
        serial=fields.name("serial", is_optional=True) or None,
        installed_at_ms=fields.day("installed_on"),
        mapped_at_ms=fields.day("mapped_on"),
        feeder=fields.name("feeder"),
        transformer=fields.name("transformer"),
        is_protected=_yes_no(fields, "protected"),
        old_roster_version=fields.count("old_roster_version"),
    )


def _yes_no(fields: Fields, name: str) -> int | None:
    """1 for `yes`, 0 for `no`, None for an empty cell or no such column."""
    value = fields.text(name)
    if value not in ("yes", "no", ""):
        fields.refuse(name, "is neither yes nor no")
    return {"yes": 1, "no": 0}.get(value)


_METER_COLUMNS = (
    *("account_id", "agent_id", "serial", "installed_at_ms", "mapped_at_ms"),
    *("feeder", "transformer", "is_protected"),
)


def _store_meters(transaction: Connection, rows: Sequence[Meter], job: Job) -> None:
    refuse_repeats(((row.line, row.meter_id) for row in rows), "meter_id", job)
    named = [(row.line, row.account_id) for row in rows]
    known_accounts = found(
        transaction, select(accounts.c.account_id), accounts.c.account_id, [id_ for _, id_ in named]
    )
    refuse_unknown(named, known_accounts, job)
    query = select(meters.c.meter_id, *(meters.c[name] for name in _METER_COLUMNS))
    known = found(transaction, query, meters.c.meter_id, [row.meter_id for row in rows])
    busy = _under_way(transaction, list(known))
    fresh: list[Meter] = []
    changed: list[dict[str, object]] = []
    moved: list[Move] = []
    for row in rows:
        values = {name: getattr(row, name) for name in _METER_COLUMNS}
        held = known.get(row.meter_id)
        if row.is_protected is None:
            values["is_protected"] = 0 if held is None else held.is_protected
        if row.installed_at_ms > job.now_ms:
            job.bad.add(row.line, "installed_on", row.meter_id, "was fitted in the future")
        if held is None:
            fresh.append(row)
        elif any(getattr(held, name) != value for name, value in values.items()):
            _refuse_exchange(row, held, busy, job)
            moved += _move(row, held)
            changed.append({"of_row": row.meter_id} | {f"new_{n}": v for n, v in values.items()})
    count(job, rows, fresh, changed)
    if job.bad.count:
        return
    _store_agents(transaction, {row.agent_id for row in rows})
    names = ("meter_id", *_METER_COLUMNS)
    write(
        transaction,
        meters,
        (
            {name: getattr(row, name) for name in names} | {"is_protected": row.is_protected or 0}
            for row in fresh
        ),
    )
    for some in batches(changed):
        transaction.execute(
            update(meters)
            .where(meters.c.meter_id == bindparam("of_row"))
            .values({name: bindparam(f"new_{name}") for name in _METER_COLUMNS}),
            list(some),
        )
    for some_moves in batches(moved):
        moves.begin(transaction, some_moves, now_ms=job.now_ms)


def _move(row: Meter, held: Found) -> list[Move]:
    if row.agent_id == held.agent_id:
        return []
    return [
        Move(
            meter_id=row.meter_id,
            from_agent_id=held.agent_id,
            to_agent_id=row.agent_id,
            without_from_version=row.old_roster_version,
        )
    ]


def _under_way(transaction: Connection, meter_ids: Sequence[str]) -> set[str]:
    """Which meters have a command queued or live."""
    query = select(commands.c.meter_id).where(
        commands.c.state.in_(
            (
                CommandState.QUEUED.value,
                CommandState.HALF_SIGNED.value,
                CommandState.PUBLISHED.value,
            )
        )
    )
    return set(found(transaction, query, commands.c.meter_id, meter_ids))


def _refuse_exchange(row: Meter, held: Found, busy: set[str], job: Job) -> None:
    if row.account_id != held.account_id and row.meter_id in busy:
        job.bad.add(
            row.line,
            "meter_id",
            row.meter_id,
            f"goes from account {held.account_id} to {row.account_id} while a command for it is"
            " under way: import it again when that has ended",
        )


def _store_agents(transaction: Connection, agent_ids: set[str]) -> None:
    query = select(agents.c.agent_id)
    known = found(transaction, query, agents.c.agent_id, agent_ids)
    write(transaction, agents, [{"agent_id": one} for one in sorted(agent_ids - set(known))])


_HOW: dict[Kind, _Import] = {
    Kind.ACCOUNTS: _Import(
        columns=Columns(needed=("account_id", "zone", "language")),
        make=_account,
        store=_store_accounts,
    ),
    Kind.METERS: _Import(
        columns=Columns(
            needed=(
                *("meter_id", "account_id", "agent_id", "installed_on", "mapped_on"),
                *("feeder", "transformer"),
            ),
            optional=("serial", "old_roster_version", "protected"),
        ),
        make=_meter,
        store=_store_meters,
    ),
    Kind.BILLS: _Import(
        columns=import_bills.COLUMNS, make=import_bills.make, store=import_bills.store
    ),
    Kind.CUTS: _Import(columns=import_cuts.COLUMNS, make=import_cuts.make, store=import_cuts.store),
}

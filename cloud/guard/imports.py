"""The guard's own copy of accounts, meters, bills and proposals: a whole file or nothing of it.

Rules kept here:
 * The guard is told by files that a person hands to it, never by the ledger (R7); the digest of
   each is kept, and one whose bytes were imported before changes nothing.
 * Every bad row is named; one bad row and nothing of the file is imported.
 * A bill never changes. A protected meter stays protected until a file says `no` in so many words.
 * `payments` is for a guard that begins later than its ledger, or lost its store: what the
   providers' statements list as captured before. The ledger has no such import.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloud.guard.csv_rows import Cells, Columns, Fault, Faults, read_rows
from cloud.guard.file_kinds import (
    Account,
    Bill,
    EarlierPayment,
    Kind,
    Meter,
    ProposedOpen,
    account,
    bill,
    earlier_payment,
    meter,
    proposed_open,
)
from cloud.guard.store import Transaction, writing

_KEYS_MAX = 20_000  # ids in one question to the store: a megabyte of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a file."""

    kind: Kind
    name: str
    rows: int
    was_known: bool
    fault_count: int
    faults: tuple[Fault, ...]

    @property
    def is_good(self) -> bool:
        """Whether the guard knows now what the file says."""
        return not self.fault_count

    def text(self) -> str:
        """For people: the outcome, then every fault on a line of its own."""
        if self.fault_count:
            listed = [
                f"{self.name}:{one.line}: {one.column} {one.value!r} {one.reason}"
                for one in self.faults
            ]
            return "\n".join([f"nothing imported: {self.fault_count} faults", *listed])
        if self.was_known:
            return f"{self.name}: these bytes were imported before; nothing changed"
        return f"{self.name}: {self.rows} {self.kind} imported"


@dataclass(frozen=True, slots=True)
class _Job:
    transaction: Transaction
    faults: Faults
    file_id: int
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    columns: Columns
    make: Callable[[Cells], Any]
    store: Callable[[_Job, Sequence[Any]], None]


def import_file(store: sqlite3.Connection, kind: Kind, path: Path, *, now_ms: int) -> ImportReport:
    """Import one file, or say everything that is wrong with it.

    Raises:
        OSError: the file cannot be read.
    """
    how = _HOW[kind]
    faults = Faults()
    read = read_rows(path, how.columns, how.make, faults)
    was_known = False
    with suppress(_FaultyError), writing(store) as transaction:
        noted = transaction.execute(
            "INSERT INTO files (kind, name, digest, rows, imported_at_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING id",
            (kind.value, path.name, read.digest or bytes(32), read.count, now_ms),
        ).fetchone()
        was_known = noted is None
        if noted is not None:
            how.store(_Job(transaction, faults, noted[0], now_ms), read.rows)
        if faults.count:
            raise _FaultyError
    return ImportReport(
        kind=kind,
        name=path.name,
        rows=read.count,
        was_known=was_known,
        fault_count=faults.count,
        faults=tuple(sorted(faults.kept, key=lambda one: one.line)),
    )


class _FaultyError(Exception):
    """Nothing of the file stays."""


def _store_accounts(job: _Job, rows: Sequence[Account]) -> None:
    _refuse_repeats(job, "account_id", rows)
    _write(job, "INSERT INTO accounts VALUES (:account_id) ON CONFLICT DO NOTHING", rows)


def _store_meters(job: _Job, rows: Sequence[Meter]) -> None:
    _refuse_repeats(job, "meter_id", rows)
    _refuse_unknown(job, "accounts", "account_id", rows)
    _write(
        job,
        """INSERT INTO meters VALUES (:meter_id, :account_id, :agent_id, :feeder, :transformer,
            coalesce(:is_protected, 0))
        ON CONFLICT (meter_id) DO UPDATE SET account_id = excluded.account_id,
            agent_id = excluded.agent_id, feeder = excluded.feeder,
            transformer = excluded.transformer,
            is_protected = coalesce(:is_protected, is_protected)""",
        rows,
    )


def _store_bills(job: _Job, rows: Sequence[Bill]) -> None:
    _refuse_repeats(job, "bill_id", rows)
    _refuse_unknown(job, "accounts", "account_id", rows)
    for row in rows:
        if row.due_at_ms <= row.issued_at_ms:
            job.faults.add(row.line, "due_on", row.bill_id, "is due before it was issued")
        if row.issued_at_ms > job.now_ms:
            job.faults.add(row.line, "issued_on", row.bill_id, "was issued in the future")
    held = {
        bill_id: tuple(contents)
        for bill_id, *contents in _known(job, "bills", "bill_id", (row.bill_id for row in rows))
    }
    for row in rows:
        contents = (row.account_id, row.amount_paise, row.issued_at_ms, row.due_at_ms)
        if held.get(row.bill_id, contents) != contents:
            reason = "is there already with other contents: a correction is a new bill"
            job.faults.add(row.line, "bill_id", row.bill_id, reason)
    fresh = [row for row in rows if row.bill_id not in held]
    _write(
        job,
        "INSERT INTO bills"
        " VALUES (:bill_id, :account_id, :amount_paise, :issued_at_ms, :due_at_ms)",
        fresh,
    )


def _store_proposals(job: _Job, rows: Sequence[ProposedOpen]) -> None:
    _refuse_repeats(job, "meter_id", rows)
    _refuse_unknown(job, "meters", "meter_id", rows)
    account_of = {
        meter_id: account_id
        for meter_id, account_id, *_ in _known(
            job, "meters", "meter_id", (row.meter_id for row in rows)
        )
    }
    for row in rows:
        account_id = account_of.get(row.meter_id, row.account_id)
        if account_id != row.account_id:
            reason = f"is the meter's account no more, that is {account_id}"
            job.faults.add(row.line, "account_id", row.account_id, reason)
        if row.notice_served_at_ms > job.now_ms:
            reason = "a notice served in the future"
            job.faults.add(row.line, "notice_served_on", row.meter_id, reason)
    _write(
        job,
        f"""INSERT INTO proposals (meter_id, account_id, sum_paise, notice_served_at_ms,
            notice_proof, file_id)
        VALUES (:meter_id, :account_id, :sum_paise, :notice_served_at_ms, :notice_proof,
            {int(job.file_id)})""",
        rows,
    )


def _store_payments(job: _Job, rows: Sequence[EarlierPayment]) -> None:
    _refuse_repeats(job, "payment_id", rows)
    _refuse_unknown(job, "accounts", "account_id", rows)
    _write(
        job,
        """INSERT INTO items (raw, provider, kind, object_id, payment_id, account_hint,
            amount_paise, currency, happened_at_ms, received_at_ms, standing)
        VALUES (:raw, :provider, 'captured', :payment_id, :payment_id, :account_id,
            :amount_paise, 'INR', :captured_at_ms, :captured_at_ms,
            CASE WHEN EXISTS (SELECT 1 FROM items WHERE provider = :provider
                AND payment_id = :payment_id AND standing = 'counted'
                AND kind IN ('captured', 'realised'))
            THEN 'repeated' ELSE 'counted' END)""",
        rows,
    )
    _write(
        job,
        "INSERT INTO payment_accounts VALUES (:account_id, :provider, :payment_id)"
        " ON CONFLICT DO NOTHING",
        rows,
    )


def _write(job: _Job, statement: str, rows: Iterable[Any]) -> None:
    """All rows, once the whole file is good."""
    if not job.faults.count:
        job.transaction.executemany(statement, (asdict(row) for row in rows))


def _refuse_repeats(job: _Job, column: str, rows: Sequence[Any]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        value = getattr(row, column)
        if seen.setdefault(value, row.line) != row.line:
            job.faults.add(row.line, column, value, f"stands on line {seen[value]} already")


def _refuse_unknown(job: _Job, table: str, column: str, rows: Sequence[Any]) -> None:
    known = {one[0] for one in _known(job, table, column, (getattr(row, column) for row in rows))}
    for row in rows:
        value = getattr(row, column)
        if value not in known:
            reason = f"is not known to the guard: import its {table} first"
            job.faults.add(row.line, column, value, reason)


def _known(job: _Job, table: str, column: str, values: Iterable[str]) -> Iterator[Sequence[Any]]:
    """The rows of `table` that hold any of these values."""
    wanted = sorted(set(values))
    for begin in range(0, len(wanted), _KEYS_MAX):
        some = json.dumps(wanted[begin : begin + _KEYS_MAX])
        yield from job.transaction.execute(
            f"SELECT * FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (some,)
        )


_HOW: dict[Kind, _Import] = {
    Kind.ACCOUNTS: _Import(
        columns=Columns(needed=("account_id",), optional=("zone", "language")),
        make=account,
        store=_store_accounts,
    ),
    Kind.METERS: _Import(
        columns=Columns(
            needed=("meter_id", "account_id", "agent_id", "feeder", "transformer"),
            optional=("installed_on", "mapped_on", "serial", "old_roster_version", "protected"),
        ),
        make=meter,
        store=_store_meters,
    ),
    Kind.BILLS: _Import(
        columns=Columns(needed=("bill_id", "account_id", "amount", "issued_on", "due_on")),
        make=bill,
        store=_store_bills,
    ),
    Kind.PROPOSALS: _Import(
        columns=Columns(
            needed=("account_id", "meter_id", "sum", "notice_served_on", "notice_proof")
        ),
        make=proposed_open,
        store=_store_proposals,
    ),
    Kind.PAYMENTS: _Import(
        columns=Columns(needed=("provider", "payment_id", "account_id", "amount", "captured_on")),
        make=earlier_payment,
        store=_store_payments,
    ),
}

"""Bills come in once and never change: a correction is a new bill (I3).

Rules kept here: a bill's posting makes its account owe it, in the same transaction; it is due when
its due day ends in India.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud import ledger
from cloud.import_job import Job, batches, count, found, refuse_repeats, refuse_unknown, write
from cloud.import_rows import Columns, Fields
from cloud.schema import accounts, bills
from cloud.spelling import DAY_MS, rupees

COLUMNS = Columns(needed=("bill_id", "account_id", "amount", "issued_on", "due_on"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One row of bills; due when its due day ends in India."""

    line: int
    bill_id: str
    account_id: str
    amount_paise: int
    issued_at_ms: int
    due_at_ms: int


def make(fields: Fields) -> Bill:
    """One row, checked by itself."""
    return Bill(
        line=fields.line,
        bill_id=fields.identifier("bill_id"),
        account_id=fields.identifier("account_id"),
        amount_paise=fields.rupees("amount"),
        issued_at_ms=fields.day("issued_on"),
        due_at_ms=fields.day("due_on") + DAY_MS,
    )


_STORED = ("account_id", "amount_paise", "issued_at_ms", "due_at_ms")


def store(transaction: Connection, rows: Sequence[Bill], job: Job) -> None:
    """Check the rows against the ledger; write them if the whole file is good."""
    refuse_repeats(((row.line, row.bill_id) for row in rows), "bill_id", job)
    named = [(row.line, row.account_id) for row in rows]
    known_accounts = found(
        transaction, select(accounts.c.account_id), accounts.c.account_id, [id_ for _, id_ in named]
    )
    refuse_unknown(named, known_accounts, job)
    query = select(bills.c.bill_id, *(bills.c[name] for name in _STORED))
    known = found(transaction, query, bills.c.bill_id, [row.bill_id for row in rows])
    fresh: list[Bill] = []
    for row in rows:
        held = known.get(row.bill_id)
        if row.due_at_ms <= row.issued_at_ms:
            job.bad.add(row.line, "due_on", row.bill_id, "is due before it was issued")
        if row.issued_at_ms > job.now_ms:
            job.bad.add(row.line, "issued_on", row.bill_id, "was issued in the future")
        if held is None:
            fresh.append(row)
        elif any(getattr(held, name) != getattr(row, name) for name in _STORED):
            job.bad.add(
                row.line,
                "bill_id",
                row.bill_id,
                f"is there already, {rupees(held.amount_paise)} for {held.account_id}, with other"
                " contents: a bill never changes, a correction is a new bill",
            )
    count(job, rows, fresh, ())
    if job.bad.count:
        return
    write(
        transaction,
        bills,
        (
            {"bill_id": row.bill_id, **{name: getattr(row, name) for name in _STORED}}
            for row in fresh
        ),
    )
    for some in batches(fresh):
        postings = [
            ledger.bill_posting(one.bill_id, one.account_id, one.amount_paise) for one in some
        ]
        ledger.post(transaction, postings, now_ms=job.now_ms)

"""What one row of each kind of file says, as values.

The columns are those of the ledger's imports, so that the same files serve both; what the guard has
no use for is allowed and not looked at.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from cloud.guard.csv_rows import Cells
from cloud.spelling import DAY_MS


class Kind(StrEnum):
    """What a file brings."""

    ACCOUNTS = "accounts"
    METERS = "meters"
    BILLS = "bills"
    PROPOSALS = "proposals"
    PAYMENTS = "payments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One row of accounts: somebody who can owe."""

    line: int
    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One row of meters; `is_protected` None: the file does not say."""

    line: int
    meter_id: str
    account_id: str
    agent_id: str
    feeder: str
    transformer: str
    is_protected: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One row of bills; due when its due day ends in India."""

    line: int
    bill_id: str
    account_id: str
    amount_paise: int
    issued_at_ms: int
    due_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedOpen:
    """One row of proposals: an open that a notice went before."""

    line: int
    account_id: str
    meter_id: str
    sum_paise: int
    notice_served_at_ms: int
    notice_proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPayment:
    """One row of payments: captured before this guard began."""

    line: int
    provider: str
    payment_id: str
    account_id: str
    amount_paise: int
    captured_at_ms: int
    raw: bytes


def account(cells: Cells) -> Account:
    """Zone and language are the ledger's business."""
    return Account(line=cells.line, account_id=cells.identifier("account_id"))


def meter(cells: Cells) -> Meter:
    """Serial and dates are the ledger's business."""
    return Meter(
        line=cells.line,
        meter_id=cells.identifier("meter_id"),
        account_id=cells.identifier("account_id"),
        agent_id=cells.identifier("agent_id"),
        feeder=cells.name("feeder"),
        transformer=cells.name("transformer"),
        is_protected=cells.yes_no("protected"),
    )


def bill(cells: Cells) -> Bill:
    """One row, checked by itself."""
    return Bill(
        line=cells.line,
        bill_id=cells.identifier("bill_id"),
        account_id=cells.identifier("account_id"),
        amount_paise=cells.rupees("amount"),
        issued_at_ms=cells.day("issued_on"),
        due_at_ms=cells.day("due_on") + DAY_MS,  # due when its due day ends in India
    )


def proposed_open(cells: Cells) -> ProposedOpen:
    """One row, checked by itself."""
    return ProposedOpen(
        line=cells.line,
        account_id=cells.identifier("account_id"),
        meter_id=cells.identifier("meter_id"),
        sum_paise=cells.rupees("sum"),
        notice_served_at_ms=cells.day("notice_served_on"),
        notice_proof=cells.proof("notice_proof"),
    )


def earlier_payment(cells: Cells) -> EarlierPayment:
    """One row, checked by itself."""
    provider, payment_id = cells.identifier("provider"), cells.payment_id("payment_id")
    return EarlierPayment(
        line=cells.line,
        provider=provider,
        payment_id=payment_id,
        account_id=cells.identifier("account_id"),
        amount_paise=cells.rupees("amount"),
        captured_at_ms=cells.day("captured_on"),
        raw=sha256(f"{provider} {payment_id}".encode("utf-8", "replace")).digest(),
    )

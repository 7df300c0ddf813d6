"""Money that goes back, or is fought over: refunds, reversals, disputes.

Rules kept here: a return is a new posting, never a change of the old one (I3); it never opens a relay
(I10), it only takes the reason to close away; what comes before its capture waits for it.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select, tuple_, update

from cloud import ledger
from cloud.locks import clear_lock, place_lock
from cloud.schema import payment_items, payments
from cloud.store import Found
from cloud.vocabulary import LockKind
from wire.vocabulary import PaymentKind

RETURNS = frozenset(
    {
        PaymentKind.REFUNDED,
        PaymentKind.REVERSED,
        PaymentKind.DISPUTE_LOST,
        PaymentKind.BOUNCED,
    }
)
PaymentKey = tuple[str, str]  # provider, payment id


def apply_waiting(transaction: Connection, keys: Sequence[PaymentKey], *, now_ms: int) -> set[str]:
    """Apply what waits for the payments `keys` and is posted now; the accounts it touched."""
    if not keys:
        return set()
    waiting = transaction.execute(
        select(payment_items)
        .where(tuple_(payment_items.c.provider, payment_items.c.payment_id).in_(keys))
        .where(payment_items.c.is_applied == 0)
        .order_by(payment_items.c.stored_at_ms, payment_items.c.spool_id, payment_items.c.number)
    ).all()
    touched: set[str] = set()
    for row in waiting:
        account_id = _apply(transaction, row, now_ms)
        if account_id is not None:
            touched.add(account_id)
    return touched


def _apply(transaction: Connection, row: Found, now_ms: int) -> str | None:
    """Apply one fact to its payment; None while that is not posted to an account."""
    payment = transaction.execute(
        select(payments)
        .where(payments.c.provider == row.provider)
        .where(payments.c.payment_id == row.payment_id)
    ).one_or_none()
    if payment is None or payment.account_id is None:
        return None
    transaction.execute(
        update(payment_items)
        .where(payment_items.c.spool_id == row.spool_id)
        .where(payment_items.c.number == row.number)
        .values(is_applied=1)
    )
    account_id, kind = payment.account_id, PaymentKind(row.kind)
    name = f"{row.provider} {row.kind} {row.object_id}"
    # More than the payment can never go back: a provider's second report of one return stops here.
    paise = min(row.amount_paise, payment.amount_paise - payment.returned_paise)
    if kind in RETURNS and paise > 0:
        posting = ledger.return_posting(name, account_id, paise)
        ledger.post(transaction, [posting], now_ms=now_ms)
        transaction.execute(
            update(payments)
            .where(payments.c.provider == row.provider)
            .where(payments.c.payment_id == row.payment_id)
            .values(returned_paise=payments.c.returned_paise + paise)
        )
    if kind is PaymentKind.DISPUTED:
        place_lock(transaction, account_id, LockKind.PAYMENT_DISPUTED, name, now_ms=now_ms)
    elif kind in (PaymentKind.DISPUTE_WON, PaymentKind.DISPUTE_LOST):
        clear_lock(transaction, account_id, LockKind.PAYMENT_DISPUTED, name, now_ms=now_ms)
    return str(account_id)

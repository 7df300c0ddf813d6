"""Money that goes back, or is fought over: refunds, reversals, disputes.

Rules kept here: a return is a new posting, never a change of the old one (I3); it never opens a
relay (I10), it only takes the reason to close away; what comes before its capture waits for it;
a dispute's lock follows from all disputes of the account, so their order of arrival is nothing.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, exists, select, tuple_, update

from cloud import ledger
from cloud.locks import NewLock, clear_lock, place_lock
from cloud.schema import payment_items, payments
from cloud.store import Found
from cloud.vocabulary import LockKind
from wire.vocabulary import PaymentKind, ReceiptVerdict

RETURNS = frozenset(
    {
        PaymentKind.REFUNDED,
        PaymentKind.REVERSED,
        PaymentKind.DISPUTE_LOST,
        PaymentKind.BOUNCED,
    }
)
DECIDES_DISPUTE = frozenset({PaymentKind.DISPUTE_WON, PaymentKind.DISPUTE_LOST})
DISPUTES = DECIDES_DISPUTE | {PaymentKind.DISPUTED}
PaymentKey = tuple[str, str]  # provider, payment id

_WAITING = (
    select(payment_items)
    .where(
        tuple_(payment_items.c.provider, payment_items.c.payment_id).in_(
            bindparam("keys", expanding=True)
        )
    )
    .where(payment_items.c.is_applied == 0)
    .order_by(payment_items.c.stored_at_ms, payment_items.c.spool_id, payment_items.c.number)
)


def apply_waiting(transaction: Connection, keys: Sequence[PaymentKey], *, now_ms: int) -> set[str]:
    """Apply what waits for the payments `keys` and is posted now; the accounts it touched."""
    if not keys:
        return set()
    waiting = transaction.execute(_WAITING, {"keys": keys}).all()
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
    if kind in DISPUTES:
        _follow_disputes(transaction, account_id, name, now_ms)
    return str(account_id)


def _follow_disputes(transaction: Connection, account_id: str, name: str, now_ms: int) -> None:
    """The lock stands while any dispute of the account is undecided, in whatever order it came."""
    decided = payment_items.alias()
    is_decided = exists(
        select(decided.c.number)
        .where(decided.c.provider == payment_items.c.provider)
        .where(decided.c.payment_id == payment_items.c.payment_id)
        .where(decided.c.object_id == payment_items.c.object_id)
        .where(decided.c.kind.in_([kind.value for kind in DECIDES_DISPUTE]))
        .where(decided.c.is_applied == 1)
        .where(decided.c.verdict == ReceiptVerdict.STORED.value)
    )
    undecided = transaction.scalar(
        select(payment_items.c.object_id)
        .join(
            payments,
            (payments.c.provider == payment_items.c.provider)
            & (payments.c.payment_id == payment_items.c.payment_id),
        )
        .where(payments.c.account_id == account_id)
        .where(payment_items.c.kind == PaymentKind.DISPUTED.value)
        .where(payment_items.c.is_applied == 1)
        .where(payment_items.c.verdict == ReceiptVerdict.STORED.value)
        .where(~is_decided)
        .limit(1)
    )
    kind = LockKind.PAYMENT_DISPUTED
    if undecided is None:
        clear_lock(transaction, account_id, kind, name, now_ms=now_ms)
    else:
        lock = NewLock(account_id=account_id, kind=kind, document=name)
        place_lock(transaction, lock, now_ms=now_ms)

"""Each payment fact once, counted for whoever it may be for; and the fold over them.

Rules kept here (R18, R7):
 * A fact is one (provider, kind, object id); a payment has one capture. What repeats is not
   counted again; what contradicts is never counted, and stands in the way of an open for 72 hours.
 * A payment counts for the account of its hint and for the account of its order, when they differ
   for both: a wrong reason to leave somebody their light is better than a wrong one to take it.
 * What goes back (refund, reversal, lost dispute, bounced cheque) takes away what its capture
   brought and no more; it may come before its capture.
"""

import json
from collections.abc import Sequence

from cloud.guard.asked import OrderAccount
from cloud.guard.rules import NOT_FINAL_MS, Money
from cloud.guard.store import Transaction, raise_alarm
from wire.messages import Payment
from wire.vocabulary import PaymentKind

FUTURE_MAX_MS = 60_000  # how far an intake's clock may be ahead of ours
ORDERS_MAX = 512  # orders looked up in one look: milliseconds by their key
ORDER_AGAIN_MS = 3_600_000  # an order the engine did not know is asked for again after so long,
ORDER_AGE_MAX_MS = 72 * 3_600_000  # and no more when its payment was taken so long ago

_CAPTURES = f"('{PaymentKind.CAPTURED.value}', '{PaymentKind.REALISED.value}')"
_RETURNS = (
    f"('{PaymentKind.REFUNDED.value}', '{PaymentKind.REVERSED.value}',"
    f" '{PaymentKind.DISPUTE_LOST.value}', '{PaymentKind.BOUNCED.value}')"
)
_DECIDED = f"('{PaymentKind.DISPUTE_WON.value}', '{PaymentKind.DISPUTE_LOST.value}')"

_NUMBERS = """
    SELECT number, raw FROM items
    WHERE spool_id = ? AND number IN (SELECT value FROM json_each(?))"""
_TAKE = f"""
    INSERT INTO items (spool_id, number, raw, provider, kind, object_id, payment_id, account_hint,
        amount_paise, currency, happened_at_ms, received_at_ms, standing)
    VALUES (:spool_id, :number, :raw, :provider, :kind, :object_id, :payment_id, :account_hint,
        :amount_paise, :currency, :happened_at_ms, :received_at_ms,
        CASE
            WHEN :currency <> 'INR' OR :received_at_ms > :now_ms + {FUTURE_MAX_MS}
                THEN 'conflicting'
            WHEN EXISTS (SELECT 1 FROM items WHERE provider = :provider AND kind = :kind
                    AND object_id = :object_id AND standing = 'counted'
                    AND payment_id = :payment_id AND amount_paise = :amount_paise
                    AND account_hint IS :account_hint)
                THEN 'repeated'
            WHEN EXISTS (SELECT 1 FROM items WHERE provider = :provider AND kind = :kind
                    AND object_id = :object_id AND standing = 'counted')
                THEN 'conflicting'
            WHEN :kind IN {_CAPTURES} AND EXISTS (SELECT 1 FROM items
                    WHERE provider = :provider AND payment_id = :payment_id
                    AND kind IN {_CAPTURES} AND standing = 'counted')
                THEN 'conflicting'
            ELSE 'counted'
        END)
    ON CONFLICT (spool_id, number) DO NOTHING"""
_HINT = """
    INSERT INTO payment_accounts VALUES (:account_hint, :provider, :payment_id)
    ON CONFLICT DO NOTHING"""
_ORDER = """
    INSERT INTO orders (provider, order_id, payment_id, taken_at_ms)
    VALUES (:provider, :order_id, :payment_id, :now_ms) ON CONFLICT DO NOTHING"""
_TO_ASK = f"""
    SELECT DISTINCT provider, order_id FROM orders
    WHERE is_settled = 0 AND looked_at_ms < :now_ms - {ORDER_AGAIN_MS}
    ORDER BY looked_at_ms LIMIT {ORDERS_MAX}"""
_ORDER_IS_OF = """
    INSERT INTO payment_accounts
    SELECT :account_id, provider, payment_id FROM orders
    WHERE provider = :provider AND order_id = :order_id ON CONFLICT DO NOTHING"""
_ORDER_ANSWERED = f"""
    UPDATE orders SET looked_at_ms = :now_ms,
        is_settled = :is_known OR taken_at_ms < :now_ms - {ORDER_AGE_MAX_MS}
    WHERE provider = :provider AND order_id = :order_id"""

_MINE = """
    mine AS (SELECT provider, payment_id FROM payment_accounts WHERE account_id = :account_id),
    facts AS (SELECT items.* FROM mine JOIN items USING (provider, payment_id))"""
_PAID = f"""
    WITH {_MINE},
    returned AS (SELECT provider, payment_id, sum(amount_paise) AS paise FROM facts
        WHERE standing = 'counted' AND kind IN {_RETURNS} GROUP BY provider, payment_id),
    kept AS (SELECT facts.received_at_ms,
            max(0, facts.amount_paise - coalesce(returned.paise, 0)) AS paise
        FROM facts LEFT JOIN returned USING (provider, payment_id)
        WHERE facts.standing = 'counted' AND facts.kind IN {_CAPTURES})
    SELECT coalesce(sum(paise), 0),
        coalesce(sum(CASE WHEN received_at_ms >= :since_ms THEN paise END), 0)
    FROM kept"""
_DOUBTS = f"""
    WITH {_MINE}
    SELECT
        EXISTS (SELECT 1 FROM facts AS begun
            WHERE begun.standing = 'counted' AND begun.kind = '{PaymentKind.DISPUTED.value}'
            AND NOT EXISTS (SELECT 1 FROM facts AS decided
                WHERE decided.standing = 'counted' AND decided.kind IN {_DECIDED}
                AND decided.provider = begun.provider AND decided.object_id = begun.object_id)),
        EXISTS (SELECT 1 FROM facts AS loose
            WHERE loose.received_at_ms > :now_ms - {NOT_FINAL_MS}
            AND (loose.standing = 'conflicting' OR (loose.kind NOT IN {_CAPTURES}
                AND NOT EXISTS (SELECT 1 FROM facts AS whole
                    WHERE whole.provider = loose.provider AND whole.payment_id = loose.payment_id
                    AND whole.standing = 'counted' AND whole.kind IN {_CAPTURES}))))"""
_BILLED = """
    SELECT coalesce(sum(amount_paise), 0),
        coalesce(sum(CASE WHEN due_at_ms <= :now_ms THEN amount_paise END), 0)
    FROM bills WHERE account_id = :account_id"""
_CUTS = """
    SELECT count(DISTINCT day) FROM counted
    WHERE account_id = :account_id AND action = 'open' AND counted_at_ms < :since_ms"""


def take(transaction: Transaction, spool_id: int, payment: Payment, *, now_ms: int) -> None:
    """Store every item of a message; a number stored before is left as it was."""
    numbers = json.dumps([item.number for item in payment.items])
    held = dict(transaction.execute(_NUMBERS, (spool_id, numbers)))
    rows = []
    for item in payment.items:
        if item.number in held:
            if held[item.number] != item.raw:
                subject = f"{payment.intake} {item.number}"
                detail = f"payment {item.payment_id} under a number of another; not counted"
                raise_alarm(transaction, "number_reused", subject, detail, now_ms=now_ms)
            continue
        rows.append(
            {
                "spool_id": spool_id,
                "number": item.number,
                "raw": item.raw,
                "provider": payment.provider,
                "kind": item.kind.value,
                "object_id": item.object_id,
                "payment_id": item.payment_id,
                "account_hint": item.account_hint,
                "amount_paise": item.amount_paise,
                "currency": item.currency,
                "happened_at_ms": item.happened_at_ms,
                "received_at_ms": item.received_at_ms,
                "order_id": item.order,
                "now_ms": now_ms,
            }
        )
    transaction.executemany(_TAKE, rows)
    transaction.executemany(_HINT, [row for row in rows if row["account_hint"] is not None])
    transaction.executemany(_ORDER, [row for row in rows if row["order_id"] is not None])


def orders_to_ask(transaction: Transaction, *, now_ms: int) -> list[tuple[str, str]]:
    """Orders (provider, order id) of payments whose account the engine's table may name."""
    return transaction.execute(_TO_ASK, {"now_ms": now_ms}).fetchall()


def take_orders(transaction: Transaction, answered: Sequence[OrderAccount], *, now_ms: int) -> None:
    """Keep whose the orders are. What was ever said stays: it cannot be pointed elsewhere later."""
    rows = [
        {
            "provider": one.provider,
            "order_id": one.order_id,
            "account_id": one.account_id,
            "is_known": int(one.account_id is not None),
            "now_ms": now_ms,
        }
        for one in answered
    ]
    transaction.executemany(_ORDER_IS_OF, [row for row in rows if row["is_known"]])
    transaction.executemany(_ORDER_ANSWERED, rows)


def has_unasked_orders(transaction: Transaction) -> bool:
    """Whether a payment may be somebody's whom we were never told."""
    (found,) = transaction.execute(
        "SELECT EXISTS (SELECT 1 FROM orders WHERE is_settled = 0 AND looked_at_ms = 0)"
    ).fetchone()
    return bool(found)


def money_of(transaction: Transaction, account_id: str, *, since_ms: int, now_ms: int) -> Money:
    """An account's bills and payments, by the guard's own fold.

    Args:
        transaction: where it is read.
        account_id: whose.
        since_ms: when the notice was served: what came since is told apart.
        now_ms: the guard's clock.
    """
    asked = {"account_id": account_id, "since_ms": since_ms, "now_ms": now_ms}
    billed, due = transaction.execute(_BILLED, asked).fetchone()
    paid, paid_since = transaction.execute(_PAID, asked).fetchone()
    is_disputed, has_unsettled = transaction.execute(_DOUBTS, asked).fetchone()
    (cuts,) = transaction.execute(_CUTS, asked).fetchone()
    return Money(
        billed_paise=billed,
        due_paise=due,
        paid_paise=paid,
        paid_since_notice_paise=paid_since,
        is_disputed=bool(is_disputed),
        has_unsettled=bool(has_unsettled),
        cuts_before_notice=cuts,
    )

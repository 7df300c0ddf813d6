"""Step 3, continued: what happens to each numbered item an intake forwards.

Rules kept here (R18, I1, I2):
 * Every item ends in one verdict, stored with it: the engine's receipt says which.
 * A number seen with other bytes, a fact seen with other contents, a report dated too far from its
   arrival, or money that is not rupees is quarantined: never posted, an alarm for a person.
 * A capture is posted once, to the account its order's quote names, else to the hinted account,
   else it is misposted and waits for a person.
 * Refunds and disputes may come before their capture; they wait and are applied with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, insert, select, tuple_

from cloud import ledger
from cloud.alarms import raise_alarm
from cloud.returns import PaymentKey, apply_waiting
from cloud.rules import Policy
from cloud.schema import (
    accounts,
    episodes,
    orders,
    payment_items,
    payments,
    quotes,
)
from cloud.spools import advance, spool_row
from wire.messages import Payment, PaymentItem, ReceiptItem
from wire.vocabulary import PaymentKind, ReceiptVerdict

FUTURE_MAX_MS = 60_000  # how far an intake's clock may be ahead of ours
CAPTURES = frozenset({PaymentKind.CAPTURED, PaymentKind.REALISED})

_Fact = tuple[str, str, str]  # provider, kind, object id

_NUMBERS = select(payment_items.c.spool_id, payment_items.c.number, payment_items.c.raw).where(
    tuple_(payment_items.c.spool_id, payment_items.c.number).in_(
        bindparam("numbers", expanding=True)
    )
)
_FACTS = (
    select(payment_items)
    .where(
        tuple_(payment_items.c.provider, payment_items.c.kind, payment_items.c.object_id).in_(
            bindparam("facts", expanding=True)
        )
    )
    .where(
        payment_items.c.verdict.in_((ReceiptVerdict.STORED.value, ReceiptVerdict.MISPOSTED.value))
    )
)
_PAYMENTS = select(payments).where(
    tuple_(payments.c.provider, payments.c.payment_id).in_(bindparam("keys", expanding=True))
)
_ORDERS = (
    select(orders.c.provider, orders.c.order_id, episodes.c.account_id)
    .join(quotes, quotes.c.id == orders.c.quote_id)
    .join(episodes, episodes.c.id == quotes.c.episode_id)
    .where(tuple_(orders.c.provider, orders.c.order_id).in_(bindparam("orders", expanding=True)))
)
_OPEN_ACCOUNTS = (
    select(accounts.c.account_id)
    .where(accounts.c.account_id.in_(bindparam("hints", expanding=True)))
    .where(accounts.c.closed_at_ms.is_(None))
)
_EPISODES = (
    select(episodes.c.account_id, episodes.c.id)
    .where(episodes.c.account_id.in_(bindparam("account_ids", expanding=True)))
    .where(episodes.c.ended_at_ms.is_(None))
)
_INSERT_ITEMS = insert(payment_items)
_INSERT_PAYMENTS = insert(payments)
_FOR_A_PERSON = frozenset({ReceiptVerdict.QUARANTINED, ReceiptVerdict.MISPOSTED})


@dataclass(slots=True, kw_only=True)
class Taken:
    """What one batch of payment messages did."""

    receipts: dict[tuple[str, bytes], list[ReceiptItem]] = field(default_factory=dict)
    touched_accounts: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Arrived:
    """One item on its way to a verdict."""

    spool_id: int
    provider: str
    intake: str
    spool: bytes
    item: PaymentItem
    verdict: ReceiptVerdict = ReceiptVerdict.STORED
    reason: str | None = None
    is_known_number: bool = False

    @property
    def fact(self) -> _Fact:
        return (self.provider, self.item.kind.value, self.item.object_id)

    @property
    def payment(self) -> PaymentKey:
        return (self.provider, self.item.payment_id)

    def end(self, verdict: ReceiptVerdict, reason: str) -> None:
        self.verdict, self.reason = verdict, reason


def take(
    transaction: Connection, batch: Sequence[Payment], policy: Policy, *, now_ms: int
) -> Taken:
    """Store, judge and post every item of `batch`, in the caller's transaction."""
    arrived = _arrived(transaction, batch, now_ms)
    _judge_numbers(transaction, arrived, now_ms)
    fresh = [one for one in arrived if not one.is_known_number]
    for one in fresh:
        _judge_contents(one, policy, now_ms)
    # Contents first: what is quarantined must not make its repeat in the same turn a duplicate.
    _judge_facts(transaction, [one for one in fresh if one.verdict is ReceiptVerdict.STORED])
    taken = Taken()
    _post_captures(transaction, fresh, taken, now_ms)
    _store_items(transaction, fresh, now_ms)
    _raise_alarms(transaction, fresh, now_ms)
    stored = {one.payment for one in fresh if one.verdict is ReceiptVerdict.STORED}
    taken.touched_accounts |= apply_waiting(transaction, list(stored), now_ms=now_ms)
    advance(transaction, {one.spool_id for one in fresh})
    for one in arrived:
        taken.receipts.setdefault((one.intake, one.spool), []).append(
            ReceiptItem(number=one.item.number, raw16=one.item.raw[:16], verdict=one.verdict)
        )
    return taken


def _arrived(transaction: Connection, batch: Sequence[Payment], now_ms: int) -> list[_Arrived]:
    rows: dict[tuple[str, bytes], int] = {}
    arrived = []
    for message in batch:
        key = (message.intake, message.spool)
        if key not in rows:
            rows[key] = spool_row(transaction, *key, now_ms=now_ms)
        arrived += [
            _Arrived(rows[key], message.provider, message.intake, message.spool, item)
            for item in message.items
        ]
    return arrived


def _judge_numbers(transaction: Connection, arrived: Iterable[_Arrived], now_ms: int) -> None:
    """The same number again: the same bytes are a duplicate, other bytes a quarantine."""
    seen = {
        (spool_id, number): raw
        for spool_id, number, raw in transaction.execute(
            _NUMBERS, {"numbers": [(one.spool_id, one.item.number) for one in arrived]}
        )
    }
    for one in arrived:
        key = (one.spool_id, one.item.number)
        if key not in seen:
            seen[key] = one.item.raw
            continue
        one.is_known_number = True
        if seen[key] == one.item.raw:
            one.end(ReceiptVerdict.DUPLICATE, "number")
        else:
            one.end(ReceiptVerdict.QUARANTINED, "number_reused")
            subject = f"{one.intake} {one.item.number}"
            detail = (
                f"number was {seen[key].hex()}, now {one.item.raw.hex()}:"
                f" {' '.join(one.fact)} of payment {one.item.payment_id},"
                f" {one.item.amount_paise} paise, not posted"
            )
            raise_alarm(transaction, "number_reused", subject, detail, now_ms=now_ms)


def _judge_facts(transaction: Connection, fresh: Sequence[_Arrived]) -> None:
    """The same fact under another number: a duplicate if its contents agree, else quarantined."""
    seen: dict[_Fact, tuple[object, ...]] = {}
    for row in transaction.execute(_FACTS, {"facts": [one.fact for one in fresh]}):
        contents = (row.payment_id, row.amount_paise, row.currency, row.account_hint)
        seen[(row.provider, row.kind, row.object_id)] = contents
    for one in fresh:
        item = one.item
        contents = (item.payment_id, item.amount_paise, item.currency, item.account_hint)
        if one.fact not in seen:
            seen[one.fact] = contents
        elif seen[one.fact] == contents:
            one.end(ReceiptVerdict.DUPLICATE, "fact")
        else:
            one.end(ReceiptVerdict.QUARANTINED, "fact_changed")


def _judge_contents(one: _Arrived, policy: Policy, now_ms: int) -> None:
    item = one.item
    if item.currency != "INR":
        one.end(ReceiptVerdict.QUARANTINED, "currency")
    elif item.received_at_ms > now_ms + FUTURE_MAX_MS:
        one.end(ReceiptVerdict.QUARANTINED, "from_future")
    elif item.received_at_ms - item.happened_at_ms > policy.report_age_max_ms:
        # A recorded webhook sent again long after: a person confirms it with the provider first.
        one.end(ReceiptVerdict.QUARANTINED, "report_too_old")


def _raise_alarms(transaction: Connection, fresh: Iterable[_Arrived], now_ms: int) -> None:
    for one in fresh:
        if one.verdict in _FOR_A_PERSON and one.reason is not None:
            detail = f"{' '.join(one.fact)}, number {one.item.number} of {one.intake}"
            raise_alarm(transaction, one.reason, one.item.payment_id, detail, now_ms=now_ms)


def _post_captures(
    transaction: Connection, fresh: Sequence[_Arrived], taken: Taken, now_ms: int
) -> None:
    captures = [
        one for one in fresh if one.verdict is ReceiptVerdict.STORED and one.item.kind in CAPTURES
    ]
    if not captures:
        return
    posted = _payments(transaction, [one.payment for one in captures])
    owners = _owners(transaction, captures)
    open_episodes = _open_episodes(transaction, owners.values())
    rows, postings = [], []
    for one in captures:
        if one.payment in posted:
            one.end(ReceiptVerdict.QUARANTINED, "payment_posted_already")
            continue
        account_id = owners.get(one.fact)
        posted[one.payment] = (account_id, one.item.amount_paise)
        rows.append(
            {
                "provider": one.provider,
                "payment_id": one.item.payment_id,
                "account_id": account_id,
                "episode_id": open_episodes.get(account_id or ""),
                "amount_paise": one.item.amount_paise,
                "captured_at_ms": one.item.happened_at_ms,
                "posted_at_ms": now_ms,
            }
        )
        if account_id is None:
            one.end(ReceiptVerdict.MISPOSTED, "no_account")
            continue
        name = " ".join(one.fact)
        postings.append(ledger.payment_posting(name, account_id, one.item.amount_paise))
        taken.touched_accounts.add(account_id)
    if rows:
        transaction.execute(_INSERT_PAYMENTS, rows)
    ledger.post(transaction, postings, now_ms=now_ms)


def _open_episodes(transaction: Connection, account_ids: Iterable[str]) -> dict[str, int]:
    """The open episode of each account that has one."""
    given = {"account_ids": list(account_ids)}
    return dict(transaction.execute(_EPISODES, given).all())


def _payments(
    transaction: Connection, keys: Sequence[PaymentKey]
) -> dict[PaymentKey, tuple[str | None, int]]:
    """The posted payments among `keys`: their account and what is left of them."""
    return {
        (row.provider, row.payment_id): (row.account_id, row.amount_paise - row.returned_paise)
        for row in transaction.execute(_PAYMENTS, {"keys": keys})
    }


def _owners(transaction: Connection, captures: Sequence[_Arrived]) -> dict[_Fact, str]:
    """Whose money it is: order -> quote -> account; else the hinted account, if it is open."""
    wanted = [(one.provider, one.item.order) for one in captures if one.item.order is not None]
    by_order: dict[tuple[str, str], str] = {}
    if wanted:
        for provider, order_id, account_id in transaction.execute(_ORDERS, {"orders": wanted}):
            by_order[(provider, order_id)] = account_id
    owners: dict[_Fact, str] = {}
    hinted: list[tuple[_Fact, str]] = []
    for one in captures:
        ordered = by_order.get((one.provider, one.item.order or ""))
        if ordered is not None:
            owners[one.fact] = ordered
        elif one.item.account_hint is not None:
            hinted.append((one.fact, one.item.account_hint))
    if hinted:
        hints = {"hints": [hint for _, hint in hinted]}
        open_accounts = set(transaction.scalars(_OPEN_ACCOUNTS, hints))
        owners |= {fact: hint for fact, hint in hinted if hint in open_accounts}
    return owners


def _store_items(transaction: Connection, fresh: Sequence[_Arrived], now_ms: int) -> None:
    if not fresh:
        return
    waits = [
        one
        for one in fresh
        if one.verdict is ReceiptVerdict.STORED and one.item.kind not in CAPTURES
    ]
    waiting = {id(one) for one in waits}
    transaction.execute(
        _INSERT_ITEMS,
        [_item_row(one, now_ms, is_applied=id(one) not in waiting) for one in fresh],
    )


def _item_row(one: _Arrived, now_ms: int, *, is_applied: bool) -> dict[str, object]:
    item = one.item
    return {
        "spool_id": one.spool_id,
        "number": item.number,
        "raw": item.raw,
        "provider": one.provider,
        "kind": item.kind.value,
        "object_id": item.object_id,
        "payment_id": item.payment_id,
        "account_hint": item.account_hint,
        "order_id": item.order,
        "amount_paise": item.amount_paise,
        "currency": item.currency,
        "happened_at_ms": item.happened_at_ms,
        "received_at_ms": item.received_at_ms,
        "method": item.method,
        "verdict": one.verdict.value,
        "reason": one.reason,
        "stored_at_ms": now_ms,
        "is_applied": int(is_applied),
    }

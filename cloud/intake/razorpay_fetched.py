"""What Razorpay's fetch API lists, read as the webhooks are (pure).

Rules kept here (Razorpay's pages "Fetch all payments", "Fetch all refunds", "Auto-refunds"):
 * What was fetched becomes the same fact as its webhook would: same kind, ids, amount, hint.
 * Only captured money is a payment. A captured payment that was refunded since is one all the same:
   its refunds are facts of their own and go before it, so nothing is restored on returned money.
 * A refund of money that was never captured is the provider's own affair.
 * The raw bytes kept are the fetched entities in one canonical spelling: one report per state.
"""

from dataclasses import dataclass

from cloud.intake.facts import Irrelevant, Reading, Unreadable
from cloud.intake.razorpay import (
    PAYMENT_ID,
    REFUND_ID,
    created_at_ms,
    entity_of,
    make_fact,
)
from cloud.intake.strict_json import Object, ShapeError, canonical, parse, text_of, value_of
from wire.vocabulary import PaymentKind

# The lists say when a payment was created, not when it was captured. Below this age that is its
# time, in the consumer's favour; beyond it (late authorisation, or we were away) the time of the
# fetch counts: the provider's word is of now, no recording of then, and the engine holds anything
# reported a day after it happened for a person.
CREATED_COUNTS_MAX_MS = 23 * 3_600_000

_CAPTURED = frozenset({"captured", "refunded"})  # a full refund changes the status


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entity of a list, not yet judged.

    Attributes:
        entity_id: the provider's id; empty when there is none to read.
        payment_id: of a refund, what it returns; else empty.
        is_captured: a payment that looks like money that came.
        is_refunded: a payment of which something went back.
        has_failed: a refund that did not happen.
        text: the entity in its canonical spelling.
    """

    entity_id: str
    payment_id: str
    is_captured: bool
    is_refunded: bool
    has_failed: bool
    text: bytes


def read_list(answer: bytes) -> tuple[Listed, ...]:
    """The entities of one answer of a list.

    Raises:
        ShapeError: it is no list of entities.
    """
    collection = parse(answer)
    if collection.get("entity") != "collection":
        raise ShapeError("entity is not collection")
    items = value_of(collection, "items", list)
    # Cut off on the way, a long list must not pass for a short one.
    if collection.get("count") != len(items):
        raise ShapeError("count is not the number of items")
    if not all(isinstance(one, dict) for one in items):
        raise ShapeError("an item is no object")
    return tuple(_listed(one) for one in items)


def read_entity(answer: bytes) -> Listed:
    """The one entity of an answer.

    Raises:
        ShapeError: it is none.
    """
    return _listed(parse(answer))


def payment_report(payment: Listed) -> bytes:
    """The raw report that is kept of a fetched payment."""
    return _report(payment=payment.text)


def refund_report(refund: Listed, payment: Listed | None) -> bytes:
    """The raw report that is kept of a fetched refund; a failed one stands alone."""
    if payment is None:
        return _report(refund=refund.text)
    return _report(payment=payment.text, refund=refund.text)


def read_fetched(raw: bytes, fetched_at_ms: int) -> Reading:
    """What such a report says; never raises."""
    try:
        report = parse(raw)
        if "refund" in value_of(report, "payload", dict):
            return _refund(report, fetched_at_ms)
        return _payment(report, fetched_at_ms)
    except ShapeError as error:
        return Unreadable(str(error))


def _payment(report: Object, fetched_at_ms: int) -> Reading:
    payment = entity_of(report, "payment")
    if value_of(payment, "status", str) not in _CAPTURED or not value_of(payment, "captured", bool):
        return Irrelevant("not captured")
    payment_id = text_of(payment, "id", PAYMENT_ID)
    ids = (PaymentKind.CAPTURED, payment_id, payment_id)
    return (make_fact(payment, payment, ids, _happened_at_ms(payment, fetched_at_ms)),)


def _refund(report: Object, fetched_at_ms: int) -> Reading:
    refund = entity_of(report, "refund")
    if refund.get("status") == "failed":
        return Irrelevant("refund failed")
    payment = entity_of(report, "payment")
    if not value_of(payment, "captured", bool):
        return Irrelevant("refund of what was never captured")
    object_id = text_of(refund, "id", REFUND_ID)
    payment_id = text_of(refund, "payment_id", PAYMENT_ID)
    if payment.get("id") != payment_id:
        raise ShapeError("payload.payment is not the payment of payment_id")
    ids = (PaymentKind.REFUNDED, object_id, payment_id)
    return (make_fact(refund, payment, ids, _happened_at_ms(refund, fetched_at_ms)),)


def _happened_at_ms(entity: Object, fetched_at_ms: int) -> int:
    created = created_at_ms(entity)
    return created if fetched_at_ms - created <= CREATED_COUNTS_MAX_MS else fetched_at_ms


def _listed(entity: Object) -> Listed:
    status = entity.get("status")
    refunded = entity.get("amount_refunded")
    return Listed(
        entity_id=_word(entity.get("id")),
        payment_id=_word(entity.get("payment_id")),
        is_captured=entity.get("captured") is True or status == "captured",
        is_refunded=type(refunded) is int and refunded > 0,
        has_failed=status == "failed",
        text=canonical(entity),
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _report(**entities: bytes) -> bytes:
    parts = b",".join(
        b'"%b":{"entity":%b}' % (name.encode(), text) for name, text in sorted(entities.items())
    )
    return b'{"entity":"fetched","payload":{' + parts + b"}}"

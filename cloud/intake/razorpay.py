"""Razorpay's webhooks: is one genuine, and what does it say.

Rules kept here (docs/protocol.md, "payment"; Razorpay's pages "Validate and test webhooks" and
"Webhook payloads"):
 * The signature is over the raw bytes; nothing is parsed before it is found good. Two secrets may
   be live: after a change, retries of older reports still carry the old secret's signature.
 * Only final money is a payment: status `captured`, `captured` true, nothing refunded.
   `authorized` is a promise and `failed` may still become `captured`: both are irrelevant.
 * Amounts are integers of paise, never floats, strings or booleans.
 * The payment's `order_id` is the authority on what was paid; notes give a hint, no more.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cloud.intake.facts import Fact, Irrelevant, Reading, Unreadable
from cloud.intake.provider import SettingsError, Signature
from cloud.intake.strict_json import Object, ShapeError, integer, parse, text_of, value_of
from wire.fields import INTEGER_LIMIT, MILLISECOND_LIMIT, ProviderId
from wire.topics import is_id
from wire.vocabulary import PaymentKind

PROVIDER = ProviderId("RAZORPAY")
SECRETS_MAX = 2  # the live one, and the one before it for the 15 days in which replays are possible

# Reports that change nothing here, yet a person must look: money or a dispute hangs on each.
NEEDS_PERSON = frozenset(
    {"refunded already", "refund failed", "refund.failed", "payment.dispute.closed"}
)

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
# Prefix and letters of an id; with the prefix at most 64, the item's limit.
PAYMENT_ID = re.compile(r"pay_[A-Za-z0-9_]{1,50}")
_ORDER_ID = re.compile(r"order_[A-Za-z0-9_]{1,50}")
REFUND_ID = re.compile(r"rfnd_[A-Za-z0-9_]{1,50}")
_DISPUTE_ID = re.compile(r"disp_[A-Za-z0-9_]{1,50}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_METHOD = re.compile(r"[a-z_]{1,16}")  # upi, card, netbanking, wallet, emi, ...
_EVENT = re.compile(r"[a-z_.]{1,64}")


def is_genuine(raw: bytes, signature: str | None, secrets: Sequence[str]) -> bool:
    """Whether `signature` is the hex HMAC-SHA256 of `raw` under one of the live secrets."""
    if signature is None or _SIGNATURE.fullmatch(signature) is None:
        return False
    # compare_digest takes the same time wherever the first difference is.
    return any(
        hmac.compare_digest(hmac.digest(secret.encode(), raw, "sha256").hex(), signature)
        for secret in secrets
    )


def read_report(raw: bytes, merchant: str | None) -> Reading:
    """What a genuine report says; never raises.

    Args:
        raw: the body as received, already found genuine.
        merchant: our account id at the provider, `acc_...`; None takes any.
    """
    try:
        return _read(parse(raw), merchant)
    except ShapeError as error:
        return Unreadable(str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Razorpay:
    """Razorpay as the door sees it (`cloud.intake.provider`).

    Attributes:
        secrets: one or two webhook secrets, the live one first.
        merchant: our account id, `acc_...`; None takes reports of any account.
    """

    secrets: tuple[str, ...] = field(repr=False)
    merchant: str | None = None
    name: ProviderId = PROVIDER
    signature_header: bytes = b"x-razorpay-signature"
    event_id_header: bytes = b"x-razorpay-event-id"
    needs_person: frozenset[str] = NEEDS_PERSON

    def __post_init__(self) -> None:
        """Refuses secrets that could not keep anybody out.

        Raises:
            SettingsError: none, more than two, or an empty one.
        """
        if not 1 <= len(self.secrets) <= SECRETS_MAX or not all(self.secrets):
            raise SettingsError(
                f"razorpay_secrets: {len(self.secrets)} given; give the live secret and at most "
                "the one before it, none of them empty: anybody can sign with an empty one"
            )

    def judge(self, raw: bytes, signature: str, _now_ms: int, /) -> Signature:
        """Whether the signature is of `raw` under a live secret.

        Razorpay signs no time: a recording is told by its bytes, which are in the spool.
        """
        if not signature:
            return Signature.MISSING
        return Signature.GENUINE if is_genuine(raw, signature, self.secrets) else Signature.WRONG

    def read_report(self, raw: bytes) -> Reading:
        """What a genuine report says; never raises."""
        return read_report(raw, self.merchant)


def _read(report: Object, merchant: str | None) -> Reading:
    # Signed by our secret but of another merchant: one of the two settings is wrong, and money may
    # be behind it. A person must look.
    if merchant is not None and report.get("account_id") != merchant:
        raise ShapeError("account_id is not the configured merchant")
    event = text_of(report, "event", _EVENT)
    reader = _READERS.get(event)
    return Irrelevant(event) if reader is None else reader(report)


def _captured(report: Object) -> Reading:
    payment = entity_of(report, "payment")
    status = value_of(payment, "status", str)
    if status != "captured" or not value_of(payment, "captured", bool):
        return Irrelevant("not captured")
    refunded = payment.get("amount_refunded")
    if refunded is not None and integer(refunded, "amount_refunded", INTEGER_LIMIT) > 0:
        return Irrelevant("refunded already")
    payment_id = text_of(payment, "id", PAYMENT_ID)
    ids = (PaymentKind.CAPTURED, payment_id, payment_id)
    return (make_fact(payment, payment, ids, created_at_ms(report)),)


def _refunded(report: Object) -> Reading:
    refund = entity_of(report, "refund")
    if refund.get("status") == "failed":
        return Irrelevant("refund failed")
    return _about_payment(report, refund, PaymentKind.REFUNDED, REFUND_ID)


def _disputed(kind: PaymentKind, report: Object) -> Reading:
    return _about_payment(report, entity_of(report, "dispute"), kind, _DISPUTE_ID)


def _about_payment(
    report: Object, entity: Object, kind: PaymentKind, pattern: re.Pattern[str]
) -> Reading:
    """A fact of its own id about a payment; the payment itself may be beside it or not."""
    object_id = text_of(entity, "id", pattern)
    payment_id = text_of(entity, "payment_id", PAYMENT_ID)
    payment: Object = {}
    if "payment" in value_of(report, "payload", dict):
        payment = entity_of(report, "payment")
        if payment.get("id") != payment_id:
            raise ShapeError("payload.payment is not the payment of payment_id")
    return (make_fact(entity, payment, (kind, object_id, payment_id), created_at_ms(report)),)


_READERS: dict[str, Callable[[Object], Reading]] = {
    "payment.captured": _captured,
    "order.paid": _captured,
    "payment_link.paid": _captured,
    "refund.created": _refunded,
    "refund.processed": _refunded,
    "payment.dispute.created": partial(_disputed, PaymentKind.DISPUTED),
    "payment.dispute.won": partial(_disputed, PaymentKind.DISPUTE_WON),
    "payment.dispute.lost": partial(_disputed, PaymentKind.DISPUTE_LOST),
}


def make_fact(
    money: Object, payment: Object, ids: tuple[PaymentKind, str, str], happened_at_ms: int
) -> Fact:
    """The fact that `money` (a payment, refund or dispute) is, however it was heard of.

    Args:
        money: the entity whose amount it is.
        payment: the payment it is about; empty when it did not come with it.
        ids: kind, object id, payment id.
        happened_at_ms: when, as far as is known.

    Raises:
        ShapeError: a field is missing or wrong.
    """
    kind, object_id, payment_id = ids
    amount_paise = integer(money.get("amount"), "amount", INTEGER_LIMIT)
    if amount_paise == 0:
        raise ShapeError("amount is 0")
    return Fact(
        kind=kind,
        object_id=object_id,
        payment_id=payment_id,
        account_hint=_account_hint(payment.get("notes")),
        order=None if payment.get("order_id") is None else text_of(payment, "order_id", _ORDER_ID),
        amount_paise=amount_paise,
        currency=text_of(money, "currency", _CURRENCY),
        happened_at_ms=happened_at_ms,
        method=_method(payment.get("method")),
    )


def created_at_ms(holder: Object) -> int:
    """When a report or an entity was made.

    Raises:
        ShapeError: no epoch second.
    """
    return integer(holder.get("created_at"), "created_at", MILLISECOND_LIMIT // 1_000) * 1_000


def entity_of(report: Object, name: str) -> Object:
    """The entity of that name in a report's payload.

    Raises:
        ShapeError: there is none.
    """
    part: Object = value_of(value_of(report, "payload", dict), name, dict)
    entity: Object = value_of(part, "entity", dict)
    return entity


def _account_hint(notes: object) -> str | None:
    """The consumer number in the notes, which may be [], null or an object."""
    hint = notes.get("consumer_no") if isinstance(notes, dict) else None
    # ASCII first: the upper case of some other letters is ASCII, and would name somebody else.
    if not isinstance(hint, str) or not hint.isascii():
        return None
    hint = hint.strip().upper()
    return hint if is_id(hint) else None


def _method(method: object) -> str:
    return method if isinstance(method, str) and _METHOD.fullmatch(method) else ""

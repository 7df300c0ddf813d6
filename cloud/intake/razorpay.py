"""Razorpay's webhooks: is one genuine, and what does it say.

Rules kept here (docs/protocol.md, "payment"; Razorpay's pages "Validate and test webhooks" and
"Webhook payloads"):
 * The signature is over the raw bytes; nothing is parsed before it is found good. Two secrets may
   be live: after a change, retries of older reports still carry the old secret's signature.
 * Only final money is a payment: status `captured`, `captured` true, nothing refunded.
   `authorized` is a promise and `failed` may still become `captured`: both are irrelevant.
 * Amounts are integers of paise, never floats, strings or booleans.
 * The payment's `order_id` is the authority on what was paid; notes give a hint, no more.
 * One spelling: a key that stands twice, NaN, or anything but UTF-8 JSON is not read at all, since
   another reader could read it otherwise.
"""

import hmac
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from cloud.intake.facts import Fact, Irrelevant, Reading, Unreadable
from wire.fields import INTEGER_LIMIT, MILLISECOND_LIMIT, ProviderId
from wire.topics import is_id
from wire.vocabulary import PaymentKind

PROVIDER = ProviderId("RAZORPAY")
SECRETS_MAX = 2  # the live one, and the one before it for the 15 days in which replays are possible

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
# Prefix and letters of an id; with the prefix at most 64, the item's limit.
_PAYMENT_ID = re.compile(r"pay_[A-Za-z0-9_]{1,50}")
_ORDER_ID = re.compile(r"order_[A-Za-z0-9_]{1,50}")
_REFUND_ID = re.compile(r"rfnd_[A-Za-z0-9_]{1,50}")
_DISPUTE_ID = re.compile(r"disp_[A-Za-z0-9_]{1,50}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_METHOD = re.compile(r"[a-z_]{1,16}")  # upi, card, netbanking, wallet, emi, ...
_EVENT = re.compile(r"[a-z_.]{1,64}")

_Object = dict[str, Any]


class _ShapeError(ValueError):
    """The report is not of the documented shape; its text is the reason that is kept."""


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
        return _read(_parsed(raw), merchant)
    except _ShapeError as error:
        return Unreadable(str(error))


def _read(report: _Object, merchant: str | None) -> Reading:
    # Signed by our secret but of another merchant: one of the two settings is wrong, and money may
    # be behind it. A person must look.
    if merchant is not None and report.get("account_id") != merchant:
        raise _ShapeError("account_id is not the configured merchant")
    event = _id(report, "event", _EVENT)
    reader = _READERS.get(event)
    return Irrelevant(event) if reader is None else reader(report)


def _parsed(raw: bytes) -> _Object:
    try:
        report = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except _ShapeError:
        raise
    except UnicodeDecodeError:
        raise _ShapeError("not UTF-8") from None
    except RecursionError:
        raise _ShapeError("nested too deeply") from None
    except ValueError:  # the parser's own; also integers of more than 4,300 digits
        raise _ShapeError("not JSON") from None
    if not isinstance(report, dict):
        raise _ShapeError("not a JSON object")
    return report


def _unique(pairs: list[tuple[str, Any]]) -> _Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Two readers may each take another one of the two values.
        raise _ShapeError("a key stands twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _ShapeError("NaN or Infinity")


def _captured(report: _Object) -> Reading:
    payment = _entity(report, "payment")
    status = _value(payment, "status", str)
    if status != "captured" or not _value(payment, "captured", bool):
        return Irrelevant("not captured")
    refunded = payment.get("amount_refunded")
    if refunded is not None and _integer(refunded, "amount_refunded", INTEGER_LIMIT) > 0:
        return Irrelevant("refunded already")
    payment_id = _id(payment, "id", _PAYMENT_ID)
    return (_fact(report, payment, payment, (PaymentKind.CAPTURED, payment_id, payment_id)),)


def _refunded(report: _Object) -> Reading:
    refund = _entity(report, "refund")
    if refund.get("status") == "failed":
        return Irrelevant("refund failed")
    return _about_payment(report, refund, PaymentKind.REFUNDED, _REFUND_ID)


def _disputed(kind: PaymentKind, report: _Object) -> Reading:
    return _about_payment(report, _entity(report, "dispute"), kind, _DISPUTE_ID)


def _about_payment(
    report: _Object, entity: _Object, kind: PaymentKind, pattern: re.Pattern[str]
) -> Reading:
    """A fact of its own id about a payment; the payment itself may be beside it or not."""
    object_id = _id(entity, "id", pattern)
    payment_id = _id(entity, "payment_id", _PAYMENT_ID)
    payment: _Object = {}
    if "payment" in _value(report, "payload", dict):
        payment = _entity(report, "payment")
        if payment.get("id") != payment_id:
            raise _ShapeError("payload.payment is not the payment of payment_id")
    return (_fact(report, entity, payment, (kind, object_id, payment_id)),)


# Reports that change nothing here, yet a person must look: money or a dispute hangs on each.
NEEDS_PERSON = frozenset(
    {"refunded already", "refund failed", "refund.failed", "payment.dispute.closed"}
)
_READERS: dict[str, Callable[[_Object], Reading]] = {
    "payment.captured": _captured,
    "order.paid": _captured,
    "payment_link.paid": _captured,
    "refund.created": _refunded,
    "refund.processed": _refunded,
    "payment.dispute.created": partial(_disputed, PaymentKind.DISPUTED),
    "payment.dispute.won": partial(_disputed, PaymentKind.DISPUTE_WON),
    "payment.dispute.lost": partial(_disputed, PaymentKind.DISPUTE_LOST),
}


def _fact(
    report: _Object, money: _Object, payment: _Object, ids: tuple[PaymentKind, str, str]
) -> Fact:
    kind, object_id, payment_id = ids
    amount_paise = _integer(money.get("amount"), "amount", INTEGER_LIMIT)
    if amount_paise == 0:
        raise _ShapeError("amount is 0")
    created_at_s = _integer(report.get("created_at"), "created_at", MILLISECOND_LIMIT // 1_000)
    return Fact(
        kind=kind,
        object_id=object_id,
        payment_id=payment_id,
        account_hint=_account_hint(payment.get("notes")),
        order=None if payment.get("order_id") is None else _id(payment, "order_id", _ORDER_ID),
        amount_paise=amount_paise,
        currency=_id(money, "currency", _CURRENCY),
        happened_at_ms=created_at_s * 1_000,
        method=_method(payment.get("method")),
    )


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


def _entity(report: _Object, name: str) -> _Object:
    part: _Object = _value(_value(report, "payload", dict), name, dict)
    entity: _Object = _value(part, "entity", dict)
    return entity


def _value(holder: _Object, name: str, kind: type[Any]) -> Any:
    value = holder.get(name)
    if not isinstance(value, kind):
        raise _ShapeError(f"{name} is missing or of the wrong type")
    return value


def _id(holder: _Object, name: str, pattern: re.Pattern[str]) -> str:
    value = holder.get(name)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _ShapeError(f"{name} does not match {pattern.pattern}")
    return value


def _integer(value: object, name: str, limit: int) -> int:
    # `type`, not isinstance: in Python True is an int.
    if type(value) is not int or not 0 <= value < limit:
        raise _ShapeError(f"{name} is no integer of 0 to {limit - 1}")
    return value

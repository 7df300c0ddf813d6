"""How a payment world's facts are spelled and signed: Razorpay's webhooks, and signed ones.

Rules kept here: a report's bytes are spelled once; Razorpay signs bytes alone, the other source
signs each delivery anew with its own clock's time. Both spell more than is final money: promises,
failures, and words the intake does not know.
"""

import hmac
import json
from dataclasses import dataclass
from typing import Protocol

from cloud.intake.provider import Provider
from cloud.intake.razorpay import Razorpay
from cloud.intake.signed import Signed, signature_header
from wire.fields import ProviderId

RAZORPAY = "RAZORPAY"
COUNTERS = "COUNTERS"  # the company's own cash counters, reporting by signed webhooks
_MERCHANT = "acc_Simulated"
_SECRET = "secret of the simulated provider"


class Source(Protocol):
    """One way to spell and sign."""

    name: str

    def spell(self, event: str, entities: dict[str, dict], at_ms: int) -> bytes:
        """The bytes of a report."""

    def sign(self, raw: bytes, at_ms: int) -> str:
        """The signature header of one delivery."""


@dataclass(frozen=True, slots=True)
class RazorpaySource:
    """Razorpay's webhooks."""

    name: str = RAZORPAY

    def spell(self, event: str, entities: dict[str, dict], at_ms: int) -> bytes:
        """Entities in their wrappers."""
        told = {
            "entity": "event",
            "account_id": _MERCHANT,
            "event": event,
            "payload": {name: {"entity": entity} for name, entity in entities.items()},
            "created_at": at_ms // 1_000,
        }
        return json.dumps(told, separators=(",", ":")).encode()

    def sign(self, raw: bytes, at_ms: int) -> str:
        """Of the bytes alone."""
        return hmac.digest(_SECRET.encode(), raw, "sha256").hex()


# Which entity is the fact, and what it is called; what is not here is no final money.
_KINDS = {
    "payment.captured": ("payment", "captured"),
    "order.paid": ("payment", "captured"),
    "refund.processed": ("refund", "refunded"),
    "refund.created": ("refund", "refunded"),
    "payment.dispute.created": ("dispute", "disputed"),
    "payment.dispute.won": ("dispute", "dispute_won"),
}


@dataclass(frozen=True, slots=True)
class SignedSource:
    """Signed webhooks of exactly the documented keys (docs/webhooks.md)."""

    name: str = COUNTERS

    def spell(self, event: str, entities: dict[str, dict], at_ms: int) -> bytes:
        """One flat fact."""
        which, kind = _KINDS.get(event, ("payment", "promised"))
        entity = entities[which]
        if entity.get("status") == "authorized":
            kind = "promised"
        told = {
            "object_id": entity["id"],
            "kind": kind,
            "payment_id": entity.get("payment_id", entity["id"]),
            "amount_paise": entity["amount"],
            "currency": entity["currency"],
            "happened_at_ms": at_ms,
        }
        notes = entity.get("notes") or {}
        hint = notes.get("consumer_no", "").strip().upper()
        optional = {"account": hint}
        optional |= {"order": entity.get("order_id"), "method": entity.get("method")}
        told |= {name: value for name, value in optional.items() if value}
        return json.dumps(told).encode()

    def sign(self, raw: bytes, at_ms: int) -> str:
        """Of the bytes and the time of this delivery."""
        return signature_header(raw, _SECRET, at_ms // 1_000)


SOURCES: tuple[Source, ...] = (RazorpaySource(), SignedSource())
# The product's half: what the door asks.
DOORS: dict[str, Provider] = {
    RAZORPAY: Razorpay(secrets=(_SECRET,), merchant=_MERCHANT),
    COUNTERS: Signed(name=ProviderId(COUNTERS), secrets=(_SECRET,)),
}

"""Razorpay reports as the provider's own samples spell them, and the pieces of an intake."""

import hmac
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.intake.counting import Counters
from cloud.intake.facts import Report
from cloud.intake.forwarding import Forwarder, Sender
from cloud.intake.razorpay import PROVIDER, read_report
from cloud.intake.spool import Spool
from tests.wire.installation import INTAKE, NOW_MS, SPOOL, key, keyring

SECRET = "whsec_test_123"
OLD_SECRET = "whsec_before_it"
MERCHANT = "acc_BFQ7uQEaa7j2z7"
CREATED_AT_S = 1_567_675_356
PERSONAL = {
    "vpa": "gaurav.private@upi",
    "email": "gaurav.private@example.com",
    "contact": "+919900000001",
}

# The vector of docs/protocol.md: this body and SECRET give this signature.
VECTOR_BODY = (
    b'{"entity":"event","account_id":"acc_TEST","event":"payment.captured","contains":["payment"],'
    b'"payload":{"payment":{"entity":{"id":"pay_TEST0001","entity":"payment","amount":184250,'
    b'"currency":"INR","status":"captured","order_id":"order_TEST0001","captured":true,'
    b'"notes":{"consumer_no":"N3000000001"},"created_at":1760000000}}},"created_at":1760000001}'
)
VECTOR_SIGNATURE = "7b4bba6b00eb3867e05a14c2f4ddcc01727e1bd4835bd22ed1bc4d46cd93f3a1"


def signature(raw: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), raw, "sha256").hexdigest()


def payment(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pay_DESyzxuld02Zul",
        "entity": "payment",
        "amount": 184_250,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_DESxiijbl9xjDB",
        "invoice_id": None,
        "international": False,
        "method": "upi",
        "amount_refunded": 0,
        "refund_status": None,
        "captured": True,
        "description": "Gaurav Private, flat 12",
        "card_id": None,
        "bank": None,
        "wallet": None,
        **PERSONAL,
        "notes": {"consumer_no": "N3000000001", "name": "Gaurav Private"},
        "fee": 2,
        "tax": 0,
        "error_code": None,
        "acquirer_data": {"rrn": "0125836177"},
        "created_at": CREATED_AT_S - 4,
        **changes,
    }


def report(event: str, **entities: dict[str, Any]) -> dict[str, Any]:
    return {
        "entity": "event",
        "account_id": MERCHANT,
        "event": event,
        "contains": list(entities),
        "payload": {name: {"entity": entity} for name, entity in entities.items()},
        "created_at": CREATED_AT_S,
    }


def raw_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def captured(number: int, **changes: Any) -> bytes:
    """The raw report of the payment of that number."""
    return raw_of(report("payment.captured", payment=payment(id=f"pay_{number:014d}", **changes)))


def bank_fact(**changes: Any) -> dict[str, Any]:
    """A signed report's body, as docs/webhooks.md shows it."""
    return {
        "object_id": "UTR-1",
        "kind": "captured",
        "payment_id": "PAY-1",
        "account": "N3000000001",
        "order": "Q-77",
        "amount_paise": 184_250,
        "currency": "INR",
        "happened_at_ms": NOW_MS - 2_000,
        "method": "neft",
        **changes,
    }


def genuine(raw: bytes, *, at_ms: int = NOW_MS, event_id: str = "") -> Report:
    return Report(
        provider=PROVIDER,
        event_id=event_id,
        raw=raw,
        received_at_ms=at_ms,
        reading=read_report(raw, None),
    )


def open_spool(path: Path, *, spool_id: bytes = SPOOL) -> Spool:
    make_bytes: Callable[[int], bytes] = lambda size: spool_id[:size]  # noqa: E731
    return Spool.create_or_open(path, now_ms=NOW_MS, make_bytes=make_bytes)


def forwarder_of(spool: Spool, counters: Counters | None = None) -> Forwarder:
    sender = Sender(intake=INTAKE, key=key("intake"), ring=keyring())
    return Forwarder(spool, sender, counters or Counters(), random.Random(1))

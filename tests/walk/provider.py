"""Razorpay's side: webhooks as it documents them, signed as it signs them, over real HTTP."""

import hmac
import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

POSTING_MAX_S = 20  # for one answer; the provider itself would wait 5 s
AT_ONCE = 8  # webhooks under way together


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of the installation, cut and owing; ids follow from the number."""

    number: int
    agent: str

    @property
    def account(self) -> str:
        return f"N{self.number:010d}"

    @property
    def meter(self) -> str:
        return f"M-{self.number:04d}"

    @property
    def order(self) -> str:
        return f"order_WALK{self.number:04d}"

    @property
    def payment(self) -> str:
        return f"pay_WALK{self.number:04d}"


def captured(
    consumer: Consumer, amount_paise: int, *, payment: str = "", event: str = "payment.captured"
) -> bytes:
    """The body that tells of captured money, under any of the events that do."""
    at_s = int(time.time())
    entity = {
        "id": payment or consumer.payment, "entity": "payment", "amount": amount_paise,
        "currency": "INR", "status": "captured", "order_id": consumer.order, "method": "upi",
        "captured": True, "amount_refunded": 0, "refund_status": None, "vpa": "someone@upi",
        "notes": {"consumer_no": consumer.account}, "created_at": at_s,
    }  # fmt: skip
    payload: dict[str, object] = {"payment": {"entity": entity}}
    if event == "order.paid":
        order = {"id": consumer.order, "entity": "order", "amount_paid": amount_paise}
        payload["order"] = {"entity": order}
    body = {
        "entity": "event", "account_id": "acc_WALK", "event": event, "contains": list(payload),
        "payload": payload, "created_at": at_s,
    }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode("ascii")


@dataclass(slots=True)
class Provider:
    """Posts webhooks to one intake."""

    port: int
    secret: str = field(repr=False)
    events: int = 0

    def signature(self, body: bytes) -> str:
        return hmac.digest(self.secret.encode("ascii"), body, "sha256").hex()

    def post(self, body: bytes, *, signature: str | None = "", event_id: str = "") -> int:
        """Post one body; the status of the answer. `signature` None sends none."""
        self.events += 1
        headers = {
            "Content-Type": "application/json",
            "X-Razorpay-Event-Id": event_id or f"evt_WALK{self.events}",
        }
        if signature is not None:
            headers["X-Razorpay-Signature"] = signature or self.signature(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=POSTING_MAX_S)
        try:
            connection.request("POST", "/webhooks/razorpay", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def report(self, consumers: Sequence[Consumer], amount_paise: int) -> list[int]:
        """Report one payment of each, several at once; the statuses of the answers."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(lambda one: self.post(captured(one, amount_paise)), consumers))

    def report_and(
        self, meanwhile: Callable[[], None], consumers: Sequence[Consumer], amount_paise: int
    ) -> list[int]:
        """The same, doing something in the middle of it."""
        half = len(consumers) // 2
        with ThreadPoolExecutor(1) as thread:
            first = self.report(consumers[:half], amount_paise)
            rest = thread.submit(self.report, consumers[half:], amount_paise)
            meanwhile()
            return [*first, *rest.result()]

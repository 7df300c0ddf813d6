"""Webhooks as Razorpay sends them, posted over one kept-alive connection."""

import asyncio
import hmac
import json
import time
from dataclasses import dataclass

from cloud.configuration import Installation


def captured(payment_id: str, order_id: str, account: str, amount_paise: int) -> bytes:
    """A `payment.captured` webhook's body."""
    at_s = int(time.time())
    entity = {
        "id": payment_id, "entity": "payment", "amount": amount_paise, "currency": "INR",
        "status": "captured", "order_id": order_id, "method": "upi", "captured": True,
        "amount_refunded": 0, "refund_status": None, "notes": {"consumer_no": account},
        "created_at": at_s,
    }  # fmt: skip
    event = {
        "entity": "event", "account_id": "acc_BENCH", "event": "payment.captured",
        "contains": ["payment"], "payload": {"payment": {"entity": entity}}, "created_at": at_s,
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":")).encode("ascii")


def request(body: bytes, signature: str, number: int) -> bytes:
    """The whole HTTP request of a webhook."""
    head = (
        "POST /webhooks/razorpay HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\n"
        f"X-Razorpay-Signature: {signature}\r\n"
        f"X-Razorpay-Event-Id: evt_{number}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


@dataclass(slots=True)
class Poster:
    """One HTTP connection to the intake, with the secret the provider would have."""

    secret: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0

    @classmethod
    async def open(cls, installation: Installation, port: int) -> "Poster":
        """Connect to the intake on loopback."""
        (secret,) = installation.secrets(installation.intake.razorpay.secrets)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(secret.encode("utf-8"), reader, writer)

    async def post(self, body: bytes) -> int:
        """Post one signed webhook; the status it was answered."""
        self.number += 1
        signature = hmac.digest(self.secret, body, "sha256").hex()
        self.writer.write(request(body, signature, self.number))
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        await self.reader.readexactly(length)
        return int(answer.split(b" ", 2)[1])

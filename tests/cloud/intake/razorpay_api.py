"""Razorpay's fetch API as a small HTTP server on this machine, with faults to order.

It lists payments and refunds newest first by their creation, as the real one does, pages them by
`count` and `skip`, and demands the key.
"""

import asyncio
import base64
import json
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cloud.intake.reports import payment

KEY_ID, KEY_SECRET = "rzp_test_key", "key secret of the tests"
_TOKEN = base64.b64encode(f"{KEY_ID}:{KEY_SECRET}".encode()).decode()

Entity = dict[str, Any]


class FakeRazorpay:
    """What the provider holds, and how its API misbehaves next."""

    def __init__(self) -> None:
        self.payments: dict[str, Entity] = {}
        self.refunds: dict[str, Entity] = {}
        # Each is taken by one request: a status, a name of a fault, or something to happen before.
        self.faults: deque[int | str | Callable[[], None]] = deque()
        self.requests: list[str] = []
        self.port = 0
        self.retry_after = "7"
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    # What happens at the provider

    def pay(self, number: int, created_at_s: int, **changes: Any) -> Entity:
        """A payment, captured unless told otherwise."""
        name = f"pay_{number:014d}"
        entity = payment(**{"id": name, "created_at": created_at_s} | changes)
        self.payments[name] = entity
        return entity

    def attempt(self, number: int, created_at_s: int, status: str) -> Entity:
        """A payment that is not final."""
        return self.pay(number, created_at_s, status=status, captured=False)

    def capture(self, number: int) -> None:
        """It became final."""
        self.payments[f"pay_{number:014d}"] |= {"status": "captured", "captured": True}

    def refund(self, number: int, created_at_s: int, amount: int, **changes: Any) -> Entity:
        """Part or all of a payment goes back."""
        of = self.payments[f"pay_{number:014d}"]
        of["amount_refunded"] = (of["amount_refunded"] or 0) + amount
        if of["amount_refunded"] == of["amount"]:
            of["status"] = "refunded"
        entity = {
            "id": f"rfnd_{len(self.refunds):014d}",
            "entity": "refund",
            "amount": amount,
            "currency": "INR",
            "payment_id": of["id"],
            "notes": {"comment": "asked by Gaurav Private"},
            "status": "processed",
            "created_at": created_at_s,
            **changes,
        }
        self.refunds[entity["id"]] = entity
        return entity

    # The server

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.released.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        target = head.split()[1]
        self.requests.append(target)
        self.asked.set()
        fault = self.faults.popleft() if self.faults else None
        if callable(fault):
            fault()
        status, body = self._judge(head, target, fault)
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "content-type: json"]
        if status == 429:
            lines.append(f"Retry-After: {self.retry_after}")
        answer = "\r\n".join([*lines, "", ""]).encode() + body
        if fault == "no http":
            answer = b"220 this is no web server\r\n"
        if fault == "hang":
            await self.released.wait()
        writer.write(answer[: len(answer) // 2] if fault == "cut" else answer)
        await writer.drain()

    def _judge(self, head: str, target: str, fault: object) -> tuple[int, bytes]:
        if isinstance(fault, int):
            return fault, b'{"error":{}}'
        if f"authorization: basic {_TOKEN}".lower() not in head.lower():
            return 401, b'{"error":{}}'
        if fault == "nonsense":
            return 200, b"<html>"
        if fault == "huge":
            return 200, b'{"entity":"collection","count":1,"items":[{"id":"pay_1","x":1e999}]}'
        if fault == "deep":
            deep = b"[" * 900 + b"]" * 900
            return 200, b'{"entity":"collection","count":1,"items":[{"x":' + deep + b"}]}"
        if fault == "short":
            return 200, b'{"entity":"collection","count":2,"items":[]}'
        parts = urlsplit(target)
        query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        return self._found(parts.path.split("/")[2:], query)

    def _found(self, path: list[str], query: dict[str, int]) -> tuple[int, bytes]:
        match path:
            case ["payments"]:
                found = list(self.payments.values())
            case ["refunds"]:
                found = list(self.refunds.values())
            case ["payments", payment_id, "refunds"]:
                found = [one for one in self.refunds.values() if one["payment_id"] == payment_id]
            case ["payments", payment_id] if payment_id in self.payments:
                return 200, json.dumps(self.payments[payment_id]).encode()
            case _:
                return 400, b'{"error":{}}'
        first, last = query.get("from", 0), query.get("to", 2**40)
        listed = [one for one in found if first <= one["created_at"] <= last]
        listed.sort(key=lambda one: (one["created_at"], one["id"]), reverse=True)
        page = listed[query["skip"] :][: min(query["count"], 100)]
        body = {"entity": "collection", "count": len(page), "items": page}
        return 200, json.dumps(body).encode()

"""A bare HTTP/1.1 client over one socket: it can also say what no well-behaved client says."""

import asyncio
from dataclasses import dataclass

from tests.cloud.intake.reports import signature

PATH = "/webhooks/razorpay"


@dataclass(frozen=True)
class Heard:
    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(port: int, request: bytes) -> Heard:
    """Sends raw bytes on a new connection and reads one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Heard(int(head[0].split()[1]), headers, body)
    finally:
        writer.close()
        await writer.wait_closed()


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: intake"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def get(port: int, path: str) -> Heard:
    return await exchange(port, request("GET", path, {}))


async def post(port: int, raw: bytes, **headers: str) -> Heard:
    """Posts a webhook, signed unless another signature is given ("" leaves it out)."""
    given = {
        "content-length": str(len(raw)),
        "x-razorpay-signature": signature(raw),
        "x-razorpay-event-id": "evt_1",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await exchange(
        port, request("POST", PATH, {name: value for name, value in given.items() if value}, raw)
    )

"""A broker that does exactly what a test says, on loopback: the traps of gmqtt cannot be had from a
real one on demand. It speaks as much MQTT 5 as a link does."""

import asyncio
from dataclasses import dataclass, field

from wire.link import BrokerAddress, LinkSettings

_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE, _PINGREQ, _DISCONNECT = 0x10, 0x30, 0x40, 0x80, 0xC0, 0xE0
_CANARY_ID = 60_000  # the packet id under which a canary goes back


@dataclass
class Script:
    """What the broker answers; a test changes it between connections."""

    answers_connect: bool = True
    connack: int = 0
    session_present: int = 0
    receive_maximum: int = 512
    suback: int = 1
    puback: int | None = 0  # None: no PUBACK at all
    returns_canaries: bool = True
    answers_pings: bool = True


@dataclass
class Seen:
    """What came from links, in order."""

    connects: list[bytes] = field(default_factory=list)
    subscribes: list[bytes] = field(default_factory=list)
    publishes: list[tuple[str, bytes, int]] = field(default_factory=list)
    pubacks: list[int] = field(default_factory=list)
    disconnects: list[bytes] = field(default_factory=list)
    pings: int = 0


class ScriptedBroker:
    def __init__(self) -> None:
        self.script = Script()
        self.seen = Seen()
        self.writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def address(self) -> BrokerAddress:
        assert self._server is not None
        return BrokerAddress("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def settings(self, *subscriptions: str, **others: object) -> LinkSettings:
        defaults: dict[str, object] = {
            "client_id": "A1",
            "brokers": (self.address,),
            "tls": None,
            "subscriptions": subscriptions,
            "canary": "canary/A1",
            "retry_first_s": 0.01,
            "retry_cap_s": 0.05,
            "refused_retry_s": 0.05,
        }
        return LinkSettings(**(defaults | others))

    def write(self, frame: bytes) -> None:
        assert self.writer is not None
        self.writer.write(frame)

    def deliver(self, topic: str, payload: bytes, packet_id: int) -> None:
        self.write(publish_frame(topic, payload, packet_id))

    def drop(self) -> None:
        assert self.writer is not None
        self.writer.transport.abort()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writer = writer
        try:
            while True:
                first, body = await _packet(reader)
                self._take(first, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    def _take(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        script, kind = self.script, first & 0xF0
        if kind == _CONNECT:
            self.seen.connects.append(body)
            if not script.answers_connect:
                return
            window = script.receive_maximum.to_bytes(2, "big")
            answer = bytes((script.session_present, script.connack, 3, 0x21)) + window
            writer.write(bytes((0x20, len(answer))) + answer)
        elif kind == _SUBSCRIBE:
            self.seen.subscribes.append(body)
            count = len(_filters(body))
            writer.write(
                bytes((0x90, 3 + count)) + body[:2] + bytes((0, *([script.suback] * count)))
            )
        elif kind == _PUBLISH:
            self._take_publish(first, body, writer)
        elif kind == _PUBACK:
            packet_id = int.from_bytes(body[:2], "big")
            self.seen.pubacks += [packet_id] if packet_id != _CANARY_ID else []
        elif kind == _DISCONNECT:
            self.seen.disconnects.append(body)
        elif kind == _PINGREQ:
            self.seen.pings += 1
            if script.answers_pings:
                writer.write(b"\xd0\x00")

    def _take_publish(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        topic, is_acknowledged = body[2:end].decode(), bool(first & 2)
        packet_id = int.from_bytes(body[end : end + 2], "big") if is_acknowledged else 0
        payload = body[end + (3 if is_acknowledged else 1) :]
        if topic.startswith("canary/"):
            if self.script.returns_canaries:
                writer.write(publish_frame(topic, payload, _CANARY_ID))
            writer.write(b"\x40\x03" + packet_id.to_bytes(2, "big") + b"\x00")
            return
        self.seen.publishes.append((topic, payload, packet_id))
        if is_acknowledged and self.script.puback is not None:
            writer.write(b"\x40\x03" + packet_id.to_bytes(2, "big") + bytes((self.script.puback,)))


def publish_frame(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH at QoS 1, written as the standard says and not by our code."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big") + b"\x00" + payload
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return b"\x32" + bytes(length) + body


def _filters(body: bytes) -> list[str]:
    at, filters = 3 + body[2], []
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        filters.append(body[at + 2 : end].decode())
        at = end + 1
    return filters


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return first, await reader.readexactly(length)

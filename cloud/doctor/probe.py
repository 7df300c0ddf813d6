"""A small MQTT 5 client that can do wrong things on purpose; only the doctor uses it.

`wire.link` is built never to do what must be tried here: another's client id, a will on another's
topic, messages left unacknowledged, a line cut without a word. Bending it would weaken it.
One caller at a time; nothing runs in the background, and no call waits longer than ANSWER_MAX_S.
"""

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from wire.link import BrokerAddress, Will

ANSWER_MAX_S = 5.0  # seconds for one step: a busy broker answers within one
PACKET_BYTES_MAX = 1_048_576  # above anything that is tried here; more is no broker of ours
PUBLISHES_MAX = 200  # on the wire without PUBACK
KEEPALIVE_S = 60  # longer than any check
# CONNACK properties by identifier: bytes of a number, 0 for a text (MQTT 5, section 2.2.2.2).
_NUMBERS = {
    0x11: 4,
    0x13: 2,
    0x21: 2,
    0x22: 2,
    0x24: 1,
    0x25: 1,
    0x27: 4,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
}
_RECEIVE_MAXIMUM, _PACKET_SIZE_MAXIMUM = 0x21, 0x27
_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 13, 14


class NotLetInError(Exception):
    """No connection. `code`: the broker's word in CONNACK; None when it did not come so far."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class LineClosedError(Exception):
    """The broker ended the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What CONNECT says. `receive_maximum` 0: nothing of it."""

    client_id: str
    is_clean: bool = True
    session_expiry_s: int = 0
    receive_maximum: int = 0
    user_name: str | None = None
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that arrived."""

    topic: str
    payload: bytes
    is_retained: bool
    packet_id: int


@dataclass(slots=True, kw_only=True)
class Probe:
    """One connection. Made by `enter`; left by `async with`, which cuts the line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_session_present: bool = False
    announced: dict[int, int] = field(default_factory=dict)
    is_acknowledging: bool = True
    heard: list[Delivered] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)  # of PUBACK, by packet id
    _answers: set[int] = field(default_factory=set)  # packet types that came
    _last_id: int = 0

    @property
    def window(self) -> int:
        """Publishes the broker takes without PUBACK, as it announced."""
        return self.announced.get(_RECEIVE_MAXIMUM, 65_535)

    @property
    def packet_bytes_max(self) -> int | None:
        """The largest packet the broker takes, as it announced."""
        return self.announced.get(_PACKET_SIZE_MAXIMUM)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cut()

    async def subscribe(self, *topics: str) -> None:
        """Ask for topics at QoS 1. What SUBACK says proves nothing and is not kept."""
        body = b"".join(_text(topic) + b"\x01" for topic in topics)
        self._answers.discard(_SUBACK)
        self._write(0x82, struct.pack(">H", self._next_id()) + b"\x00" + body)
        await self._until(lambda: _SUBACK in self._answers)

    async def publish(self, topic: str, payload: bytes, *, is_retained: bool = False) -> int:
        """Publish at QoS 1 and wait for PUBACK; its code, which proves nothing either."""
        codes = await self.publish_all([(topic, payload)], is_retained=is_retained)
        return codes[0]

    async def publish_all(
        self, messages: Iterable[tuple[str, bytes]], *, is_retained: bool = False
    ) -> list[int]:
        """Publish at QoS 1, many at once, and wait for every PUBACK."""
        ids: list[int] = []
        room = min(self.window, PUBLISHES_MAX)
        for topic, payload in messages:
            ids.append(self._next_id())
            head = _text(topic) + struct.pack(">H", ids[-1]) + b"\x00"
            self._write(0x32 | is_retained, head + payload)
            if len(ids) >= room:  # the broker answers in order
                await self._until(lambda: ids[-room] in self.codes)
        await self._until(lambda: all(one in self.codes for one in ids))
        return [self.codes[one] for one in ids]

    async def hear(self, *, until: bytes) -> list[Delivered]:
        """Everything that arrives up to the message with this payload, which is left out."""
        looked_at = 0

        def is_there() -> bool:
            nonlocal looked_at
            fresh, looked_at = self.heard[looked_at:], len(self.heard)
            return any(one.payload == until for one in fresh)

        await self._until(is_there)
        heard, self.heard = self.heard, []
        return [one for one in heard if one.payload != until]

    async def hear_for(self, seconds: float, *, until: Callable[[Delivered], bool]) -> bool:
        """Whether such a message arrives within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._until(lambda: any(map(until, self.heard)))
        except TimeoutError:
            return False
        return True

    async def ping(self) -> None:
        """One round trip that carries nothing."""
        self._answers.discard(_PINGRESP)
        self._write(0xC0, b"")
        await self._until(lambda: _PINGRESP in self._answers)

    def acknowledge(self, delivered: Sequence[Delivered]) -> None:
        """PUBACK, for a probe that does not do it by itself."""
        for one in delivered:
            self._write(0x40, struct.pack(">H", one.packet_id))

    async def leave(self) -> None:
        """End as a good client does: no will is published."""
        self._write(0xE0, b"")
        await self.writer.drain()
        await self.cut()

    async def cut(self) -> None:
        """End without a word."""
        await _abort(self.writer)

    def _next_id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        self.codes.pop(self._last_id, None)
        return self._last_id

    def _write(self, first: int, body: bytes) -> None:
        self.writer.write(bytes([first]) + _varint(len(body)) + body)

    async def _until(self, is_there: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_MAX_S):
            while not is_there():
                self._take(*await _packet(self.reader))

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        self._answers.add(kind)
        if kind == _PUBLISH:
            one = _delivered(first, body)
            self.heard.append(one)
            if self.is_acknowledging and one.packet_id:
                self.acknowledge([one])
        elif kind == _PUBACK:
            (packet_id,) = struct.unpack_from(">H", body)
            self.codes[packet_id] = body[2] if len(body) > 2 else 0
        elif kind == _DISCONNECT:
            reason = body[0] if body else 0
            raise LineClosedError(f"disconnected with reason 0x{reason:02x}")


async def enter(address: BrokerAddress, tls: ssl.SSLContext | None, greeting: Greeting) -> Probe:
    """Connect.

    Raises:
        NotLetInError: refused by TLS, by CONNACK or by a closed line.
        OSError, TimeoutError: nobody is there.
    """
    async with asyncio.timeout(ANSWER_MAX_S):
        try:
            reader, writer = await asyncio.open_connection(*_at(address), ssl=tls)
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            raise NotLetInError(f"TLS: {error}") from None
        try:
            return await _greet(reader, writer, greeting)
        except BaseException:
            await _abort(writer)
            raise


async def _greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: Greeting
) -> Probe:
    body = _connect(greeting)
    writer.write(b"\x10" + _varint(len(body)) + body)
    try:
        first, answer = await _packet(reader)
    except LineClosedError as error:
        raise NotLetInError(str(error)) from None
    if first >> 4 != _CONNACK or len(answer) < 2:
        raise NotLetInError(f"answered 0x{first:02x}, which is no MQTT")
    if answer[1] != 0:
        raise NotLetInError(f"CONNACK 0x{answer[1]:02x}", answer[1])
    return Probe(
        reader=reader,
        writer=writer,
        is_session_present=bool(answer[0] & 1),
        announced=_announced(answer[2:]),
    )


def _connect(greeting: Greeting) -> bytes:
    flags = 0x02 if greeting.is_clean else 0
    properties = b"\x11" + struct.pack(">I", greeting.session_expiry_s)
    if greeting.receive_maximum:
        properties += b"\x21" + struct.pack(">H", greeting.receive_maximum)
    payload = _text(greeting.client_id)
    if greeting.will is not None:
        flags |= 0x04 | 0x08 | (0x20 if greeting.will.retain else 0)  # a will, at QoS 1
        message = greeting.will.payload
        payload += b"\x00" + _text(greeting.will.topic) + struct.pack(">H", len(message)) + message
    if greeting.user_name is not None:
        flags |= 0x80
        payload += _text(greeting.user_name)
    head = _text("MQTT") + bytes([5, flags]) + struct.pack(">H", KEEPALIVE_S)
    return head + _varint(len(properties)) + properties + payload


def _announced(properties: bytes) -> dict[int, int]:
    """The numbers of CONNACK; reading ends at the first text, which mosquitto puts last."""
    found: dict[int, int] = {}
    at = 1 if properties and properties[0] < 0x80 else 2
    while at < len(properties) and properties[at] in _NUMBERS:
        size = _NUMBERS[properties[at]]
        found[properties[at]] = int.from_bytes(properties[at + 1 : at + 1 + size], "big")
        at += 1 + size
    return found


def _delivered(first: int, body: bytes) -> Delivered:
    (length,) = struct.unpack_from(">H", body)
    at = 2 + length
    topic, packet_id = body[2:at].decode("utf-8"), 0
    if first & 0x06:
        (packet_id,) = struct.unpack_from(">H", body, at)
        at += 2
    # Nobody sends us properties longer than 127 bytes: their length is one byte.
    return Delivered(topic, body[at + 1 + body[at] :], bool(first & 1), packet_id)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 21:
                break
        if length > PACKET_BYTES_MAX:
            raise LineClosedError(f"a packet of {length} bytes, which is no MQTT of ours")
        return first, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise LineClosedError(f"closed: {error}") from None


def _at(address: BrokerAddress) -> tuple[str, int]:
    return address.host, address.port


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except (OSError, TimeoutError):  # how a line ends that was cut is nobody's concern
        return


def _text(value: str) -> bytes:
    octets = value.encode("utf-8")
    return struct.pack(">H", len(octets)) + octets


def _varint(value: int) -> bytes:
    octets = bytearray()
    while True:
        value, low = divmod(value, 128)
        octets.append(low | (0x80 if value else 0))
        if not value:
            return bytes(octets)

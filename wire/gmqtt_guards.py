"""One connection to a broker on gmqtt 0.8.0, with the measured traps of that version closed.

Used of gmqtt: stream reading and framing, the encoders of CONNECT and SUBSCRIBE, the property
table. Left aside, because of what was measured in it: its Client and its package handler.

* It leaks packet ids when a session is lost in flight, and then can never publish again
  (OverflowError). Here a connection owns nothing that outlives it; ids are the caller's.
* It stores publishes and replays them without DUP, or clears them silently. Nothing is stored here.
* It swallows PUBACK codes. Here every code goes to the receiver.
* It starts a task per message and acknowledges from that task, on whatever connection is then
  current, and never if the handler fails. Here a message is one call, and `puback` is explicit.
* It reads without back-pressure, and `pause_reading()` is undone by its StreamReader: the gate sits
  in front of `read`. While it is shut, silence is ours and not the peer's.
* It reconnects by itself after a fixed 6 s, or never again after some CONNACK codes. Here a
  connection ends once, and `wire/link.py` decides.
* Its close waits for a half-open peer to take the unsent bytes. `abort` does not wait.
* It buffers whatever length a packet announces. Here a packet above `PACKET_MAX` ends it.
"""

import asyncio
import asyncio.sslproto
import logging
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from gmqtt.client import Message
from gmqtt.mqtt.package import LoginPackageFactor, Package
from gmqtt.mqtt.property import Property
from gmqtt.mqtt.protocol import MQTTProtocol
from gmqtt.mqtt.utils import ConnectionState, unpack_variable_byte_integer
from gmqtt.subscription import Subscription

from wire.frames import (
    DISCONNECT,
    PINGREQ_FRAME,
    PUBACK,
    PUBLISH,
    disconnect_frame,
    parse_publish,
    puback_frames,
    publish_frame,
)
from wire.link_settings import BrokerAddress, LinkSettings

_LOG = logging.getLogger(__name__)

READ_BYTES = 65_536  # bytes per read: what gmqtt asks for; also the most that passes a shut gate
PACKET_MAX = 131_072  # bytes: twice the broker's own limit; the largest topic allows 49,152
TLS_READ_BYTES = 16_384  # bytes: one TLS record; asyncio's default of 262,144 is held for ever
UNSENT_MAX = 4_194_304  # bytes in the socket buffer above which unacknowledged kinds are refused
SUBSCRIBE_ID = 65_535  # the one packet id outside every publish window: one SUBSCRIBE at a time
_UNLIMITED = 65_535  # CONNACK without Receive Maximum (MQTT 5, 3.2.2.3.3)

_CONNACK, _SUBACK, _PINGRESP = 0x20, 0x90, 0xD0
_MALFORMED = (IndexError, ValueError, struct.error)  # what decoding a short or odd packet raises


class _IntoOurLog(logging.Handler):
    """gmqtt's own lines, kept at debug level: what matters is said by the link in its own words."""

    def emit(self, record: logging.LogRecord) -> None:
        _LOG.debug("gmqtt: %s", record.getMessage())


# Above its per-packet debug lines, which cost time on the hot path.
logging.getLogger("gmqtt").setLevel(logging.WARNING)
logging.getLogger("gmqtt").propagate = False
logging.getLogger("gmqtt").addHandler(_IntoOurLog())


class ConnectionRefusedByBrokerError(Exception):
    """The broker refused CONNECT or SUBSCRIBE; `code` is the MQTT 5 reason code."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: refused with reason code 0x{code:02x}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Accepted:
    """What CONNACK said. `is_resumed`: the broker kept the session, or claims so."""

    is_resumed: bool
    receive_maximum: int


class Receiver(Protocol):
    """Who is told what arrives on a connection."""

    def message_arrived(
        self, topic: str, payload: bytes, packet_id: int, *, is_retained: bool
    ) -> None:
        """One PUBLISH; packet_id 0 means that it needs no PUBACK."""

    def publish_answered(self, packet_id: int, code: int) -> None:
        """One PUBACK."""


class _OneSubscribeId:
    """Stands in for gmqtt's leaking id allocator; only SUBSCRIBE asks it."""

    def next_id(self) -> int:
        return SUBSCRIBE_ID


class _GuardedProtocol(MQTTProtocol):  # type: ignore[misc]  # gmqtt ships no types
    def __init__(self, connection: "BrokerConnection") -> None:
        super().__init__(
            READ_BYTES, connection_state=ConnectionState(), id_generator=_OneSubscribeId()
        )
        # Before the transport exists: gmqtt sets it after, and a loss in between raises inside it.
        self.set_connection(connection)
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, n: int = -1) -> bytes:
        await self.gate.wait()
        data: bytes = await self._stream_reader.read(n)
        self._connection.last_data_in = time.monotonic()
        if not data:
            self._transport.abort()
            raise ConnectionResetError("the broker closed the connection")
        return data

    def _read_packet(self, data: bytes) -> int:
        parsed: int = super()._read_packet(data)
        if parsed < 0 or len(data) - parsed > PACKET_MAX:
            # gmqtt only leaves its read loop here, and the socket would stay open, unread.
            self._connection.abort(f"a packet longer than {PACKET_MAX} bytes")
            return -1
        return parsed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.connection_ended(exc)


class BrokerConnection:
    """One TCP or TLS connection from CONNECT to its end; never reopened.

    gmqtt's protocol takes this object for its MQTTConnection: it calls `put_package` and sets
    `_last_data_out`.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._protocol = _GuardedProtocol(self)
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._answer: asyncio.Future[bytes] | None = None
        self.last_data_in = time.monotonic()
        self._last_data_out = self.last_data_in
        self.lost = asyncio.Event()
        self.end_reason = ""
        self.end_code = 0

    async def open(
        self, broker: BrokerAddress, tls: ssl.SSLContext | None, settings: LinkSettings
    ) -> Accepted:
        """Connects and says CONNECT. The caller bounds the time.

        Raises:
            OSError: no connection, no TLS, or lost before CONNACK.
            ConnectionRefusedByBrokerError: CONNACK says no.
        """
        # A class attribute, because asyncio builds the object itself; uvloop ignores it.
        asyncio.sslproto.SSLProtocol.max_size = TLS_READ_BYTES
        # Both loops set TCP_NODELAY; with Nagle the walk takes 40 ms instead of 0.3 ms.
        self._transport, _ = await self._loop.create_connection(
            lambda: self._protocol, broker.host, broker.port, ssl=tls
        )
        will = settings.will
        frame = LoginPackageFactor.build_package(
            settings.client_id,
            None,
            None,
            False,  # never a clean start: the broker keeps what arrives while we are away
            settings.keepalive_s,
            self._protocol,
            will_message=will and Message(will.topic, will.payload, qos=1, retain=will.retain),
            session_expiry_interval=settings.session_expiry_s,
            receive_maximum=settings.receive_window,
            maximum_packet_size=PACKET_MAX,
        )
        answer = await self._ask(bytes(frame))
        with _malformed_is_lost("CONNACK"):
            if answer[1] != 0:
                raise ConnectionRefusedByBrokerError(f"CONNECT as {settings.client_id}", answer[1])
            return Accepted(bool(answer[0] & 1), _receive_maximum(answer[2:]))

    async def subscribe(self, filters: tuple[str, ...]) -> None:
        """Subscribes to all filters at QoS 1 in one packet.

        Raises:
            OSError: lost before SUBACK.
            ConnectionRefusedByBrokerError: one of them was not granted. (mosquitto's acl_file
                grants everything and delivers nothing: the canary proves it.)
        """
        options = [Subscription(topic, qos=1) for topic in filters]
        self._protocol.send_subscribe_packet(options)
        answer = await self._ask(b"")
        with _malformed_is_lost("SUBACK"):
            length, codes = unpack_variable_byte_integer(answer[2:])
            answers = list(zip(filters, codes[length:], strict=True))
        for topic, code in answers:
            if code >= 0x80:
                raise ConnectionRefusedByBrokerError(f"SUBSCRIBE to {topic}", code)

    async def _ask(self, frame: bytes) -> bytes:
        self._answer = self._loop.create_future()
        if frame:
            self._write(frame)
        if self.lost.is_set():
            raise ConnectionResetError(self.end_reason)
        return await self._answer

    def publish(self, topic: str, payload: bytes, packet_id: int, *, retain: bool) -> None:
        """Writes one PUBLISH: QoS 1 under packet_id, QoS 0 when that is 0."""
        self._write(publish_frame(topic, payload, packet_id, retain=retain))

    def puback(self, packet_ids: list[int]) -> None:
        """Says to the broker that these messages are stored."""
        self._write(puback_frames(packet_ids))

    def ping(self) -> None:
        """Asks for a sign of life."""
        self._write(PINGREQ_FRAME)

    def hold_reading(self) -> None:
        """Shuts the gate: at most READ_BYTES more arrive."""
        self._protocol.gate.clear()

    def go_on_reading(self) -> None:
        """Opens the gate."""
        self._protocol.gate.set()

    @property
    def is_reading(self) -> bool:
        """Whether the gate is open."""
        return bool(self._protocol.gate.is_set())

    def silence_s(self) -> float:
        """Seconds since the peer was last heard; 0 while it is we who do not listen."""
        if not self.is_reading:
            self.last_data_in = time.monotonic()
        return time.monotonic() - self.last_data_in

    def idle_s(self) -> float:
        """Seconds since anything was written."""
        return time.monotonic() - self._last_data_out

    def has_room(self) -> bool:
        """Whether the socket still takes messages that nobody acknowledges."""
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() <= UNSENT_MAX

    def disconnect(self, code: int) -> None:
        """Says DISCONNECT (0: forget the will; 4: publish it) and closes once it is sent."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._write(disconnect_frame(code))
        self._flush()
        self.go_on_reading()  # else the end of the stream would wait behind the gate
        transport.close()

    def abort(self, reason: str) -> None:
        """Ends the connection now; what is unsent is dropped."""
        self.end_reason = self.end_reason or reason
        if self._transport is not None:
            self._transport.abort()

    def connection_ended(self, error: Exception | None) -> None:
        """Called by the protocol, once."""
        self.end_reason = self.end_reason or str(error or "closed by the broker")
        self.lost.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(self.end_reason))

    def put_package(self, package: Package) -> None:
        """Called by gmqtt's framing; an exception here would end its reading silently."""
        if self.end_reason:
            return  # given up, and its receiver listens to the next connection already
        try:
            self._take(package.cmd & 0xF0, package.cmd, package.data)
        except _MALFORMED as error:
            self.abort(f"packet 0x{package.cmd:02x} of the broker is malformed: {error}")

    def _take(self, kind: int, first: int, data: bytes) -> None:
        if kind == PUBLISH:
            topic, payload, packet_id = parse_publish(first, data)
            retained = bool(first & 1)
            self._receiver.message_arrived(topic, payload, packet_id, is_retained=retained)
        elif kind == PUBACK:
            code = data[2] if len(data) > 2 else 0
            self._receiver.publish_answered(data[0] << 8 | data[1], code)
        elif kind in (_CONNACK, _SUBACK):
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(data)
        elif kind == DISCONNECT:
            self.end_code = data[0] if data else 0
            if self.end_code:
                self.abort(f"the broker said DISCONNECT 0x{self.end_code:02x}")
        elif kind != _PINGRESP:
            raise ValueError("unexpected kind")

    def _write(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        if len(self._outgoing) == 1:
            # One write, one TLS record and one system call for all of this turn of the loop.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        frames, self._outgoing = self._outgoing, []
        if frames and self._transport is not None and not self._transport.is_closing():
            self._last_data_out = time.monotonic()
            self._transport.write(b"".join(frames))


@contextmanager
def _malformed_is_lost(what: str) -> Iterator[None]:
    try:
        yield
    except _MALFORMED as error:
        raise ConnectionResetError(f"{what} of the broker is malformed: {error}") from error


def _receive_maximum(properties: bytes) -> int:
    """The broker's Receive Maximum out of the properties of CONNACK."""
    if not properties:
        return _UNLIMITED
    length, rest = unpack_variable_byte_integer(properties)
    rest = rest[:length]
    while rest:
        known = Property.factory(id_=rest[0])
        if known is None:
            raise ValueError(f"unknown property {rest[0]}")
        values, rest = known.loads(rest[1:])
        if "receive_maximum" in values:
            return int(values["receive_maximum"])
    return _UNLIMITED

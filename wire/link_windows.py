"""What is under way on a link: publishes not yet answered, deliveries not yet stored.

* The publish window is ours, below the broker's Receive Maximum; what exceeds it waits in order,
  up to a bound. When the connection is lost everything in it fails with LinkLost, at once: nothing
  is kept for re-sending, because the caller's outbox decides what is sent again.
* A delivery belongs to one connection. Its PUBACK is written only on that connection: on the next
  one the same packet id names another message.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from wire.gmqtt_guards import BrokerConnection

NO_SUBSCRIBER = 0x10  # PUBACK: taken, and no session at all wants it
_DENIED_FROM = 0x80


class LinkError(Exception):
    """A message did not reach the broker, or nobody knows whether it did."""


class LinkLost(LinkError):  # noqa: N818  # the port's name: it says what happened
    """There is no connection, or it was lost before PUBACK: the broker may have it or not."""


class LinkFull(LinkError):  # noqa: N818  # the port's name: it says what happened
    """More waits to be sent than the link may hold; send again when earlier ones are answered."""


class PublishDenied(LinkError):  # noqa: N818  # the port's name: it says what happened
    """The broker answered a publish with a refusal.

    Attributes:
        topic: where it was published.
        code: the MQTT 5 reason code; 0x87 is "not authorised".
    """

    def __init__(self, topic: str, code: int) -> None:
        super().__init__(
            f"publish on {topic} denied with reason code 0x{code:02x}; does the broker's acl file "
            "grant it to the name in our certificate?"
        )
        self.topic = topic
        self.code = code


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The broker has it. `no_subscriber`: and no session, not even a sleeping one, wants it."""

    no_subscriber: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that arrived; the link's private fields say which PUBACK it waits for."""

    topic: str
    payload: bytes
    is_retained: bool
    connection_number: int = 0
    packet_id: int = 0


_TAKEN = PublishResult()
_TAKEN_BY_NOBODY = PublishResult(no_subscriber=True)

Answer = asyncio.Future[PublishResult]


class PublishWindow:
    """The publishes of one connection, and those waiting for room in it."""

    def __init__(self, connection: BrokerConnection, size: int, waiting_max: int) -> None:
        self._connection = connection
        self._waiting_max = waiting_max
        # Fresh ids with every connection: none can leak into the next one.
        self._free_ids = deque(range(1, size + 1))
        self._under_way: dict[int, tuple[str, Answer]] = {}
        self._waiting: deque[tuple[str, bytes, bool, Answer]] = deque()

    def send(self, topic: str, payload: bytes, answer: Answer, *, retain: bool) -> None:
        """Publishes at QoS 1, or waits for its turn."""
        if self._free_ids:
            self._publish(topic, payload, answer, retain=retain)
        elif len(self._waiting) < self._waiting_max:
            self._waiting.append((topic, payload, retain, answer))
        else:
            fail(answer, LinkFull(f"{self._waiting_max} publishes wait already"))

    def _publish(self, topic: str, payload: bytes, answer: Answer, *, retain: bool) -> None:
        packet_id = self._free_ids.popleft()
        self._under_way[packet_id] = (topic, answer)
        self._connection.publish(topic, payload, packet_id, retain=retain)

    def answered(self, packet_id: int, code: int) -> None:
        """Takes one PUBACK. One that we never asked for is ignored."""
        entry = self._under_way.pop(packet_id, None)
        if entry is None:
            return
        self._free_ids.append(packet_id)
        topic, answer = entry
        if code >= _DENIED_FROM:
            fail(answer, PublishDenied(topic, code))
        elif not answer.done():  # the caller may have given up waiting
            answer.set_result(_TAKEN_BY_NOBODY if code == NO_SUBSCRIBER else _TAKEN)
        while self._waiting and self._free_ids:
            topic, payload, retain, answer = self._waiting.popleft()
            if not answer.cancelled():
                self._publish(topic, payload, answer, retain=retain)

    def oldest(self) -> Answer | None:
        """The publish that waits longest for its PUBACK."""
        return next((answer for _, answer in self._under_way.values()), None)

    def lose(self, reason: str) -> None:
        """Fails everything: the connection is gone."""
        for _, answer in self._under_way.values():
            fail(answer, LinkLost(reason))
        for _, _, _, answer in self._waiting:
            fail(answer, LinkLost(reason))
        self._under_way.clear()
        self._waiting.clear()


def fail(answer: Answer, error: LinkError) -> None:
    """Fails a publish; reads the error back so that asyncio does not report it as unseen."""
    if not answer.done():
        answer.set_exception(error)
        answer.exception()


class ReceiveQueue:
    """What arrived and was not taken; and what was taken of the current connection, unstored.

    Bound: `maximum` messages and what one more read of 64 kB holds, because the gate shuts between
    reads; twice as many until SUBACK, which may stand behind the backlog of a session. What arrived
    on an older connection stays: the broker may have lost its copy.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._arrived: deque[Delivery] = deque()
        self._unacknowledged: set[int] = set()
        self._connection: BrokerConnection | None = None
        self._connection_number = 0
        self._hold_from = maximum
        self._is_held = False
        self.changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._arrived)

    def start(self, connection: BrokerConnection, number: int) -> None:
        """From now on deliveries belong to this connection; older ones cannot be acknowledged."""
        self._connection = connection
        self._connection_number = number
        self._unacknowledged.clear()
        self._is_held = False
        self._hold_from = 2 * self._maximum

    def connected(self) -> None:
        """SUBACK is here: the usual bound holds."""
        self._hold_from = self._maximum
        self._hold_if_full()

    def put(self, delivery: Delivery) -> None:
        """Takes one arrived message."""
        if delivery.packet_id:
            self._unacknowledged.add(delivery.packet_id)
        self._arrived.append(delivery)
        self._hold_if_full()
        self.changed.set()

    def _hold_if_full(self) -> None:
        if len(self._arrived) >= self._hold_from and not self._is_held and self._connection:
            self._is_held = True
            self._connection.hold_reading()

    def take(self, limit: int) -> list[Delivery]:
        """Hands out the oldest, up to limit."""
        arrived = self._arrived
        taken = [arrived.popleft() for _ in range(min(limit, len(arrived)))]
        if not arrived:
            self.changed.clear()
        # Half empty, so that the gate does not flap at each message.
        if self._is_held and len(arrived) <= self._maximum // 2 and self._connection:
            self._is_held = False
            self._connection.go_on_reading()
        return taken

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Writes the PUBACKs of this connection's deliveries, each once; drops all others."""
        number = self._connection_number
        packet_ids = []
        for delivery in deliveries:
            packet_id = delivery.packet_id
            if delivery.connection_number == number and packet_id in self._unacknowledged:
                self._unacknowledged.discard(packet_id)
                packet_ids.append(packet_id)
        if packet_ids and self._connection is not None:
            self._connection.puback(packet_ids)

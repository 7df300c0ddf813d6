"""The one durable MQTT session everybody uses: it moves bytes and knows no message.

* `run` keeps one connection for ever: a new try after a jittered, capped pause (`wire/retry.py`),
  with the next broker of the list after a try that failed.
* The session outlives connections (clean start false, session expiry). It subscribes on every
  connection all the same: a killed mosquitto says "session present" and restores a snapshot taken
  before the subscriptions. SUBACK proves nothing on mosquitto, so a canary goes round.
* PUBACK is not durability. `acknowledge` is called after the caller's commit and writes PUBACK
  then, on the connection of the delivery or not at all. A publish that was answered is *sent*,
  never *done*; what fails with LinkLost is sent again by the caller's outbox, never from here.
* A line that is up and swallows is given up (`wire/line_watch.py`).
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from functools import partial

from wire.gmqtt_guards import Accepted, BrokerConnection, ConnectionRefusedByBrokerError
from wire.line_watch import LineWatch
from wire.link_settings import BrokerAddress, LinkSettings, TlsFiles, Will, tls_context
from wire.link_windows import (
    Answer,
    Delivery,
    LinkError,
    LinkFull,
    LinkLost,
    PublishDenied,
    PublishResult,
    PublishWindow,
    ReceiveQueue,
    fail,
)
from wire.retry import RetryPauses, end_needs_person, refusal_needs_person

__all__ = [
    "BrokerAddress",
    "Delivery",
    "Link",
    "LinkError",
    "LinkFull",
    "LinkLost",
    "LinkSettings",
    "PublishDenied",
    "PublishResult",
    "TlsFiles",
    "Will",
]

_LOG = logging.getLogger(__name__)

_CLOSE_MAX_S = 2.0  # seconds a clean end may take before the socket is dropped
_CLEAN, _WITH_WILL = 0x00, 0x04


class Link:
    """One durable session. Start `run` as a task; everything else may be called at any time."""

    def __init__(self, settings: LinkSettings, *, randomness: random.Random) -> None:
        if settings.tls is not None:
            tls_context(settings.tls)  # wrong files are refused now, not at the first connection
        self._settings = settings
        self._randomness = randomness
        self._pauses = RetryPauses(settings, randomness)
        self._arrivals = ReceiveQueue(settings.receive_queue_max)
        self._connection: BrokerConnection | None = None
        self._window: PublishWindow | None = None
        self._watch: LineWatch | None = None
        self._attempt = 0
        self._number = 0
        self._broker = 0
        self._is_ready = False
        self._is_running = False
        self._is_stopping = False
        self._is_canary_denied = False
        self._deadline: asyncio.Timeout | None = None
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted us and our subscriptions."""
        return self._window is not None

    @property
    def connection_number(self) -> int:
        """Rises with each connection made; 0 before the first."""
        return self._number

    @property
    def broker(self) -> BrokerAddress:
        """The broker in use, or to be tried next."""
        return self._settings.brokers[self._broker]

    async def run(self) -> None:
        """Connects, and again whenever it is lost; ends by `stop` or cancellation only."""
        self._is_running = True
        try:
            while not self._is_stopping:
                self._hurry.clear()
                pause_s = await self._one_connection()
                await _wait(self._hurry, pause_s)
        finally:
            self._ended.set()
            self._arrivals.changed.set()
            self._announce()

    async def receive(self, limit: int, wait_ms: int | None = None) -> list[Delivery]:
        """Takes what has arrived, up to limit; waits for the first only. One caller at a time.

        Raises:
            LinkLost: the link has ended and nothing is left.
        """
        if limit < 1:
            raise ValueError(f"limit {limit}: must be at least 1")
        if not self._arrivals:
            await _wait(self._arrivals.changed, None if wait_ms is None else wait_ms / 1_000)
        if self._ended.is_set() and not self._arrivals:
            raise LinkLost("the link has ended")
        return self._arrivals.take(limit)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tells the broker that these are stored; call it after the commit.

        Deliveries of an older connection are dropped silently: the broker sends them again.
        """
        self._arrivals.acknowledge(deliveries)

    def send(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1
    ) -> asyncio.Future[PublishResult]:
        """Publishes without waiting; what becomes of it is in the future, which may be ignored.

        QoS 1 is answered by PUBACK; QoS 0 when it is written, or LinkFull when the socket is full.
        The future fails with PublishDenied, LinkLost or LinkFull.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        window, connection = self._window, self._connection
        if window is None or connection is None:
            fail(answer, LinkLost(f"{self._settings.client_id} has no connection to a broker"))
        elif qos == 1:
            window.send(topic, payload, answer, retain=retain)
        elif connection.has_room():
            connection.publish(topic, payload, 0, retain=retain)
            answer.set_result(PublishResult())
        else:
            fail(answer, LinkFull(f"the socket takes no more; {topic} not sent"))
        return answer

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1
    ) -> PublishResult:
        """Publishes and waits for the broker's answer.

        Who receives must not wait here between two calls of `receive`: PUBACKs come behind the
        messages that fill the queue. (The line is then given up after answer_timeout_s.)

        Raises:
            PublishDenied: the broker refused it.
            LinkLost: no connection, or lost before the answer.
            LinkFull: too many wait already.
        """
        return await self.send(topic, payload, retain=retain, qos=qos)

    async def until_ready(self) -> None:
        """Waits until connected, subscribed, and the canary has come back.

        The canary stands behind the backlog of the session, so somebody must be receiving.

        Raises:
            LinkLost: the link has ended.
        """
        await self._until(lambda: self._is_ready)

    async def next_connection(self, after: int) -> int:
        """Waits for a subscribed connection with a number above `after`; returns that number.

        Raises:
            LinkLost: the link has ended.
        """
        await self._until(lambda: self.connected and self._number > after)
        return self._number

    async def move_to_next_broker(self) -> None:
        """Leaves this broker, will published, for the next of the list, without a pause (R5.7)."""
        self._to_next_broker()
        self._leave(_WITH_WILL)

    async def stop(self) -> None:
        """Disconnects cleanly, the will forgotten, and waits for `run` to end."""
        self._is_stopping = True
        self._leave(_CLEAN)
        if self._is_running:
            await _wait(self._ended, 2 * _CLOSE_MAX_S)

    def message_arrived(
        self, topic: str, payload: bytes, packet_id: int, *, is_retained: bool
    ) -> None:
        """Called by the connection for each message."""
        watch = self._watch
        if watch is not None and not self._is_ready:
            watch.message_arrived(asyncio.get_running_loop().time())
        if topic != self._settings.canary:
            self._arrivals.put(Delivery(topic, payload, is_retained, self._attempt, packet_id))
            return
        if packet_id and self._connection is not None:
            self._connection.puback([packet_id])
        if watch is not None and watch.is_canary(payload):
            self._now_ready()

    def publish_answered(self, packet_id: int, code: int) -> None:
        """Called by the connection for each PUBACK."""
        if self._window is not None:
            self._window.answered(packet_id, code)

    async def _one_connection(self) -> float:
        """One connection from its first byte to its end; returns the pause in seconds after it."""
        self._attempt += 1
        connection = self._connection = BrokerConnection(self)
        self._arrivals.start(connection, self._attempt)
        self._is_canary_denied = False
        needs_person = False
        was_ready = False
        began_s = asyncio.get_running_loop().time()
        try:
            accepted = await self._connect(connection)
            await _attend(connection, self._begin(connection, accepted))
            was_ready, reason = self._is_ready, connection.end_reason
            needs_person = self._is_canary_denied or end_needs_person(connection.end_code)
        except ConnectionRefusedByBrokerError as error:
            reason, needs_person = str(error), refusal_needs_person(error.code)
        except ssl.SSLCertVerificationError as error:
            reason, needs_person = str(error), True
        except TimeoutError:
            reason = f"not connected within {self._settings.connect_timeout_s} s"
        except OSError as error:
            reason = str(error)
        finally:
            self._drop(connection)
        if was_ready and asyncio.get_running_loop().time() - began_s > self._settings.retry_cap_s:
            self._pauses.begin_anew()
        return self._pause_s(reason, needs_person=needs_person, was_ready=was_ready)

    async def _connect(self, connection: BrokerConnection) -> Accepted:
        settings = self._settings
        tls = None if settings.tls is None else tls_context(settings.tls)  # may have been renewed
        canary = () if settings.canary is None else (settings.canary,)
        self._deadline = asyncio.timeout(settings.connect_timeout_s)
        try:
            async with self._deadline:
                accepted = await connection.open(self.broker, tls, settings)
                if settings.subscriptions + canary:
                    await connection.subscribe(settings.subscriptions + canary)
        finally:
            self._deadline = None
        _LOG.info("%s connected to %s: %s", settings.client_id, self.broker, accepted)
        return accepted

    def _begin(self, connection: BrokerConnection, accepted: Accepted) -> LineWatch:
        settings = self._settings
        # Two below: mosquitto counts a publish until its own PUBACK has left.
        size = max(1, min(settings.publish_window, accepted.receive_maximum - 2))
        window = self._window = PublishWindow(connection, size, settings.send_queue_max)
        watch = self._watch = LineWatch(connection, window, settings)
        self._number += 1
        self._arrivals.connected()
        self._announce()
        if settings.canary is None:
            self._now_ready()
        else:
            now_s = asyncio.get_running_loop().time()
            answer = self.send(settings.canary, watch.new_canary(self._randomness, now_s))
            answer.add_done_callback(partial(self._canary_answered, connection))
        return watch

    def _canary_answered(self, connection: BrokerConnection, answer: Answer) -> None:
        error = answer.exception()
        if isinstance(error, PublishDenied):
            self._is_canary_denied = connection is self._connection
            connection.abort(str(error))
        elif error is None and answer.result().no_subscriber:
            connection.abort("SUBACK lied: the canary has no subscriber")

    def _drop(self, connection: BrokerConnection) -> None:
        connection.abort("left")
        window, self._window = self._window, None
        self._connection = self._watch = None
        self._is_ready = False
        if window is not None:
            window.lose(f"connection lost: {connection.end_reason}")
        self._announce()

    def _pause_s(self, reason: str, *, needs_person: bool, was_ready: bool) -> float:
        if self._is_stopping or self._hurry.is_set():
            return 0.0
        broker = self.broker
        pause_s = self._pauses.next_s(needs_person=needs_person)
        if not was_ready:
            self._to_next_broker()
        level = logging.ERROR if needs_person else logging.WARNING
        name = self._settings.client_id
        _LOG.log(level, "%s at %s: %s; next try in %.1f s", name, broker, reason, pause_s)
        return pause_s

    def _to_next_broker(self) -> None:
        self._broker = (self._broker + 1) % len(self._settings.brokers)

    def _leave(self, code: int) -> None:
        self._hurry.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())
        elif self._connection is not None:
            self._connection.disconnect(code)
            # A peer that is gone would keep the unsent bytes, and us, for minutes.
            asyncio.get_running_loop().call_later(
                _CLOSE_MAX_S, self._connection.abort, "not closed in time"
            )

    def _now_ready(self) -> None:
        self._is_ready = True
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            if self._ended.is_set():
                raise LinkLost("the link has ended")
            await self._changed.wait()


async def _attend(connection: BrokerConnection, watch: LineWatch) -> None:
    loop = asyncio.get_running_loop()
    while not connection.lost.is_set():
        await _wait(connection.lost, watch.look_s)
        watch.look(loop.time())


async def _wait(happened: asyncio.Event, longest_s: float | None) -> None:
    """Waits for the event, at most so many seconds."""
    try:
        async with asyncio.timeout(longest_s):
            await happened.wait()
    except TimeoutError:
        return

"""`relight intake`: the door, the spool and the link together, until it is stopped.

The rim: clock, sockets, threads and timers stand here; rules do not. The broker may be away for
days: reports are taken in all the same and wait in the spool. One new report is published right
after its answer, without waiting for a timer.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cloud.intake import razorpay
from cloud.intake.counting import Counted, Counters
from cloud.intake.forwarding import Forwarder, Outgoing, Sender
from cloud.intake.server import RazorpayDoor, application, listen, serve
from cloud.intake.spool import RETENTION_MS, Spool, StoreUnavailableError, Taken
from cloud.intake.writing import ReportWriter
from wire.checking import is_in_scope
from wire.fields import IntakeId
from wire.keys import SigningKey
from wire.link import (
    BrokerAddress,
    Link,
    LinkSettings,
    PublishDenied,
    PublishResult,
    TlsFiles,
)
from wire.topics import canary_topic, intake_subscriptions
from wire.trust import Authorities
from wire.vocabulary import Role

TICK_S = 0.25  # re-sends and watermarks are due on the second; receipts wait at most so long
RECEIVE_MAX = 256  # deliveries judged in one go: some 15 ms
TRIM_EVERY_S = 3_600.0
TRIM_PAUSE_S = 1.0  # between two portions, so that the door hardly notices

_LOG = logging.getLogger(__name__)


class SettingsError(ValueError):
    """The intake cannot work with these settings; the text says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """Everything the intake is told.

    Attributes:
        razorpay_secrets: one or two webhook secrets, the live one first.
        razorpay_merchant: our `acc_...`; None takes reports of any account.
        authorities: where the engine's receipt keys, and our own key, stand.
    """

    intake: IntakeId
    host: str
    port: int  # 0 takes a free one
    spool: Path
    razorpay_secrets: tuple[str, ...] = field(repr=False)
    razorpay_merchant: str | None
    key: SigningKey
    authorities: Authorities
    brokers: tuple[BrokerAddress, ...]
    tls: TlsFiles | None
    clock_ms: Callable[[], int]
    randomness: random.Random

    def __post_init__(self) -> None:
        """Refuses what could never work.

        Raises:
            SettingsError: with the name of the setting.
        """
        secrets = self.razorpay_secrets
        if not 1 <= len(secrets) <= razorpay.SECRETS_MAX or not all(secrets):
            raise SettingsError(
                f"razorpay_secrets: {len(secrets)} given; give the live secret and at most the one "
                "before it, none of them empty: anybody can sign with an empty one"
            )
        own = self.authorities.keyring().keys.get(self.key.key_id)
        if own is None or own.role is not Role.INTAKE or own.subject != self.intake:
            raise SettingsError(
                f"key {self.key.key_id.hex()} is not registered as intake {self.intake}: "
                "nobody would believe what it signs; have it put into the registry"
            )
        if not is_in_scope(own, razorpay.PROVIDER):
            raise SettingsError(
                f"the registry lets {self.intake} speak for {list(own.scope)}, "
                f"not for {razorpay.PROVIDER}: add it to the key's scope"
            )


class _Intake:
    """The parts of one running intake."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._clock_ms = settings.clock_ms
        self.counters = Counters()
        self._written = Spool.create_or_open(
            settings.spool, now_ms=settings.clock_ms(), make_bytes=os.urandom
        )
        self._read = Spool.beside(settings.spool)
        sender = Sender(
            intake=settings.intake, key=settings.key, ring=settings.authorities.keyring()
        )
        self.forwarder = Forwarder(self._read, sender, self.counters, settings.randomness)
        self.writer = ReportWriter(self._written, on_stored=self._stored)
        self.link = Link(_link_settings(settings), randomness=settings.randomness)
        self._denied_topics: set[str] = set()

    def close(self) -> None:
        """Writes the last receipts, closes the files."""
        self.writer.close()
        marks = self.forwarder.unsaved()
        if marks is not None:
            try:
                self._written.save(marks)
            except StoreUnavailableError as error:
                _LOG.warning("%d receipts not written: %s", len(marks.receipts), error)
        self._read.close()
        self._written.close()

    def health(self) -> dict[str, object]:
        """Backlog and counters; no secret, no body, no name."""
        return {
            "spool": self._read.spool_id.hex(),
            "generation_ms": self.forwarder.generation_ms,
            "made": self._read.made,
            "unreceipted": self.forwarder.unreceipted,
            "in_flight": self.forwarder.in_flight,
            "unreadable_kept": self._read.unreadable,
            "is_connected": self.link.connected,
            "counters": self.counters.by_name(),
        }

    async def keep_connected(self) -> None:
        """Offers everything in flight again on each new connection."""
        number = 0
        while True:
            number = await self.link.next_connection(number)
            self.forwarder.offer_again(self._clock_ms())
            self._send()

    async def hear(self) -> None:
        """Takes receipts as they come."""
        while True:
            deliveries = await self.link.receive(RECEIVE_MAX)
            self.forwarder.receive(deliveries, self._clock_ms())
            # A mark that is lost costs one re-send, so PUBACK does not wait for it.
            self.link.acknowledge(deliveries)
            if self.forwarder.must_save_first:
                await self._save()
            self._send()

    async def tend(self) -> None:
        """Re-sends, watermarks, and receipts into the spool."""
        while True:
            await asyncio.sleep(TICK_S)
            await self._save()
            self._send()

    async def trim(self) -> None:
        """Removes what reached its end 35 days ago."""
        while True:
            removed = 0
            trim = partial(self._written.trim, self._clock_ms() - RETENTION_MS)
            try:
                removed = await self.writer.alone(trim)
            except StoreUnavailableError as error:
                _LOG.warning("not trimmed: %s", error)
            await asyncio.sleep(TRIM_PAUSE_S if removed else TRIM_EVERY_S)

    def _stored(self, taken: list[Taken]) -> None:
        if any(one.items for one in taken):
            self.forwarder.stored()
            # Behind the answers that are ready to go: the provider waits, the engine does not know.
            asyncio.get_running_loop().call_soon(self._send)

    async def _save(self) -> None:
        marks = self.forwarder.unsaved()
        if marks is None:
            return
        try:
            await self.writer.alone(partial(self._written.save, marks))
        except StoreUnavailableError as error:
            _LOG.warning("%d receipts not written yet: %s", len(marks.receipts), error)
            return
        self.forwarder.saved(marks)

    def _send(self) -> None:
        if not self.link.connected:
            return  # nothing is lost: the next connection offers it
        now_ms = self._clock_ms()
        outgoing = self.forwarder.due(now_ms)
        watermark = self.forwarder.watermark(now_ms)
        for one in outgoing if watermark is None else [*outgoing, watermark]:
            self._publish(one)

    def _publish(self, one: Outgoing) -> None:
        answer = self.link.send(one.topic, one.payload)
        answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[PublishResult]) -> None:
        """PUBACK decides nothing; it is counted, and a denial is told once per topic."""
        error = None if answer.cancelled() else answer.exception()
        if error is None:
            self.counters.count(Counted.PUBLISHED)
        elif isinstance(error, PublishDenied):
            self.counters.count(Counted.PUBLISH_DENIED)
            if error.topic not in self._denied_topics:  # at most 16 shards and a watermark
                self._denied_topics.add(error.topic)
                _LOG.error("%s", error)
        else:
            self.counters.count(Counted.PUBLISH_LOST)


async def run_intake(
    settings: IntakeSettings, *, listening: asyncio.Future[int] | None = None
) -> None:
    """Runs until cancelled, then ends cleanly: requests answered, receipts written.

    Args:
        settings: everything it is told.
        listening: gets the port when reports are taken in.

    Raises:
        OSError: the address cannot be listened on, or a TLS file cannot be read.
        SpoolError: the spool is used by another intake, or is none.
    """
    with listen(settings.host, settings.port) as listener:
        intake = _Intake(settings)
        if listening is not None:
            listening.set_result(listener.getsockname()[1])
        try:
            await _run(intake, settings, listener)
        finally:
            intake.close()


async def _run(intake: _Intake, settings: IntakeSettings, listener: socket.socket) -> None:
    door = RazorpayDoor(
        secrets=settings.razorpay_secrets,
        merchant=settings.razorpay_merchant,
        writer=intake.writer,
        has_room=lambda: intake.forwarder.has_room,
        counters=intake.counters,
        clock_ms=settings.clock_ms,
    )
    async with asyncio.TaskGroup() as group:
        connected = group.create_task(intake.link.run())
        rest = [
            group.create_task(one)
            for one in (
                *(intake.writer.run(), intake.keep_connected(), intake.hear()),
                *(intake.tend(), intake.trim()),
            )
        ]
        try:
            await serve(application(door, intake.health), listener)
        finally:
            # The door is shut and everything it took is stored; the rest may end.
            for task in rest:
                task.cancel()
            await intake.link.stop()
            connected.cancel()


def _link_settings(settings: IntakeSettings) -> LinkSettings:
    return LinkSettings(
        client_id=settings.intake,
        brokers=settings.brokers,
        tls=settings.tls,
        subscriptions=intake_subscriptions(settings.intake),
        canary=canary_topic(settings.intake),
    )

"""`relight intake`: the doors, the poller, the spool and the link together, until it is stopped.

The rim: clock, sockets, threads and timers stand here; rules do not. The broker may be away for
days: reports are taken in all the same and wait in the spool. One new report is published right
after its answer, without waiting for a timer.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cloud.intake.counting import Counted, Counters
from cloud.intake.fetching import Fetch
from cloud.intake.forwarding import Forwarder, Outgoing, Sender
from cloud.intake.poll_plan import EVERY_MS, PollPlan
from cloud.intake.polling import Poller
from cloud.intake.provider import Provider, SettingsError
from cloud.intake.razorpay import PROVIDER as RAZORPAY
from cloud.intake.razorpay_poll import RazorpayLists
from cloud.intake.server import Door, application, listen, serve
from cloud.intake.spool import RETENTION_MS, Spool, StoreUnavailableError, Taken
from cloud.intake.spool_schema import Sweep
from cloud.intake.writing import ReportWriter
from cloud.trust_files import Believed, nothing_new, watch_trust
from wire.checking import WEBHOOK_ONLY_PREFIX, is_in_scope
from wire.fields import IntakeId, ProviderId
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
PROVIDERS_MAX = 16  # a watermark names at most so many
TRIM_PAUSE_S = 1.0  # between two portions, so that the door hardly notices

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RazorpayPoll:
    """Razorpay's fetch API, and how often each sweep of its lists begins."""

    fetch: Fetch = field(repr=False)
    every_ms: Mapping[Sweep, int] = field(default_factory=lambda: EVERY_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """Everything the intake is told.

    Attributes:
        providers: whose webhooks are taken in.
        razorpay_poll: how Razorpay's lists are fetched; None when they are not.
        authorities: where the engine's receipt keys, and our own key, stand.
        look: newer ones, if there are; called every ten seconds.
    """

    intake: IntakeId
    host: str
    port: int  # 0 takes a free one
    spool: Path
    providers: tuple[Provider, ...]
    razorpay_poll: RazorpayPoll | None = None
    key: SigningKey
    authorities: Authorities
    look: Callable[[], Believed | None] = nothing_new
    brokers: tuple[BrokerAddress, ...]
    tls: TlsFiles | None
    clock_ms: Callable[[], int]
    randomness: random.Random

    def __post_init__(self) -> None:
        """Refuses what could never work.

        Raises:
            SettingsError: with the name of the setting.
        """
        names = self.names
        if not names:
            raise SettingsError("no provider: configure [intake.razorpay] or [intake.signed.NAME]")
        if len(names) > PROVIDERS_MAX:
            raise SettingsError(f"{len(names)} providers: an intake has at most {PROVIDERS_MAX}")
        if len({one.name for one in self.providers}) != len(self.providers):
            raise SettingsError("two providers have one name: each needs its own")
        own = self.authorities.keyring().keys.get(self.key.key_id)
        if own is None or own.role is not Role.INTAKE or own.subject != self.intake:
            raise SettingsError(
                f"key {self.key.key_id.hex()} is not registered as intake {self.intake}: "
                "nobody would believe what it signs; have it put into the registry"
            )
        for name in names:
            if not is_in_scope(own, name):
                raise SettingsError(
                    f"the registry lets {self.intake} speak for {list(own.scope)}, "
                    f"not for {name}: add it to the key's scope"
                )
        for demanded in set(own.scope) - set(self.polled):
            if not demanded.startswith(WEBHOOK_ONLY_PREFIX):
                _LOG.warning(
                    "alarm: %s is not polled, so no relay is ever opened: configure its key, or "
                    "have it registered as %s%s",
                    *(demanded, WEBHOOK_ONLY_PREFIX, demanded),
                )

    @property
    def polled(self) -> tuple[ProviderId, ...]:
        """Providers whose lists are fetched."""
        return () if self.razorpay_poll is None else (RAZORPAY,)

    @property
    def names(self) -> tuple[ProviderId, ...]:
        """Every provider that this intake speaks for, each once."""
        return tuple(dict.fromkeys((*(one.name for one in self.providers), *self.polled)))


class _Intake:
    """The parts of one running intake."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._clock_ms = settings.clock_ms
        self.look = settings.look
        self.counters = Counters()
        self._written = Spool.create_or_open(
            settings.spool, now_ms=settings.clock_ms(), make_bytes=os.urandom
        )
        self._read = Spool.beside(settings.spool)
        sender = Sender(
            intake=settings.intake,
            key=settings.key,
            ring=settings.authorities.keyring(),
            polled=settings.polled,
        )
        self.forwarder = Forwarder(self._read, sender, self.counters, settings.randomness)
        self.writer = ReportWriter(self._written, on_stored=self._stored)
        self.link = Link(_link_settings(settings), randomness=settings.randomness)
        self._denied_topics: set[str] = set()
        self.doors = [self._door(provider) for provider in settings.providers]
        poll = settings.razorpay_poll
        self.poller = None if poll is None else self._poller(poll, settings.randomness)

    def _door(self, provider: Provider) -> Door:
        return Door(
            provider=provider,
            writer=self.writer,
            has_room=self._has_room,
            counters=self.counters,
            clock_ms=self._clock_ms,
        )

    def _poller(self, poll: RazorpayPoll, randomness: random.Random) -> Poller:
        marks = self._written.polled_through(RAZORPAY)
        return Poller(
            lists=RazorpayLists(poll.fetch, self._read, self._clock_ms),
            plan=PollPlan(marks, poll.every_ms, self._clock_ms()),
            writer=self.writer,
            written=self._written,
            has_room=self._has_room,
            counters=self.counters,
            clock_ms=self._clock_ms,
            randomness=randomness,
        )

    def _has_room(self) -> bool:
        return self.forwarder.has_room

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
            "complete_to_ms": {
                mark.provider: mark.complete_to_ms
                for mark in self.forwarder.complete(self._clock_ms())
            },
            "counters": self.counters.by_name(),
        }

    def believe(self, believed: Believed) -> None:
        """Judge by these keys from now on."""
        self.forwarder.believe(believed.authorities.keyring())

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
            await _run(intake, listener)
        finally:
            intake.close()


async def _run(intake: _Intake, listener: socket.socket) -> None:
    async with asyncio.TaskGroup() as group:
        connected = group.create_task(intake.link.run())
        rest = [
            group.create_task(one)
            for one in (
                *(intake.writer.run(), intake.keep_connected(), intake.hear()),
                *(intake.tend(), intake.trim(), watch_trust(intake.look, intake.believe)),
                *(() if intake.poller is None else (intake.poller.run(),)),
            )
        ]
        try:
            await serve(application(intake.doors, intake.health), listener)
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

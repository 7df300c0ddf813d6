"""Sealed payments until they are receipted, and watermarks that say how far the intake is.

Plain and synchronous; the clock is handed in. Rules kept here (docs/protocol.md, "payment",
"receipt", "watermark"):
 * I1: an item is sent at once, after 2, 10 and 60 s, then each minute, for ever, oldest first,
   until a receipt for exactly these bytes, of this spool, is verified. PUBACK means nothing here.
 * I13: at most 4,096 items are in flight; the others wait in the spool.
 * R13: a receipt of a higher generation comes from a restored ledger: all receipts of the former
   one are forgotten and everything retained is offered again. A lower one is ignored.
 * R1: `made` and `oldest_open` of a watermark speak of numbers that are durable, and so does
   `complete_to`; a provider that is not polled says nothing.
"""

import heapq
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cloud.intake.counting import Counted, Counters
from cloud.intake.spool import Marks, Receipted, Spool, Unreceipted
from cloud.intake.spool_schema import Sweep
from wire.checking import Delivered, Junk, check
from wire.decoding import encode
from wire.envelope import seal
from wire.fields import IntakeId, ProviderId, SpoolId
from wire.keys import SigningKey
from wire.messages import PAYMENT_ITEMS_MAX, Payment, ProviderMark, Receipt, ReceiptItem, Watermark
from wire.topics import SHAPES, MessageType, payment_topic, watermark_topic
from wire.trust import Keyring
from wire.vocabulary import ReceiptVerdict

IN_FLIGHT_MAX = 4_096  # items sent and not receipted; a re-send of all of them is 1.4 MB
# Reports may pile up while the engine is away for days; above this the door says "not now" and the
# provider keeps them, for 24 hours. A million items are 1.5 GB of spool.
UNRECEIPTED_MAX = 1_000_000
RESEND_AFTER_MS = (2_000, 8_000, 50_000)  # that is 2, 10 and 60 s after the first time
RESEND_EVERY_MS = 60_000
RESEND_JITTER = 0.2  # so that intakes do not beat in time with each other
WATERMARK_EVERY_MS = 30_000
BURST_WATERMARK_AFTER_MS = 1_000  # no open waits half a minute for the payments just forwarded

# Everything of a sealed payment but its items: envelope with one signature 83 B, body 83 B.
_MESSAGE_OVERHEAD_BYTES = 256
_ITEMS_BYTES_MAX = SHAPES[MessageType.PAYMENT].limit_bytes - _MESSAGE_OVERHEAD_BYTES
_LOG = logging.getLogger(__name__)


class Randomness(Protocol):
    """What the jitter is drawn from: a `random.Random`, seeded in a simulation."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who this intake is on the wire, whose receipts it believes, and which providers it polls."""

    intake: IntakeId
    key: SigningKey
    ring: Keyring
    polled: tuple[ProviderId, ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A sealed message to be published."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class _Flight:
    """An item in flight: how often it was sent and when it is sent again."""

    unreceipted: Unreceipted
    send_at_ms: int
    times_sent: int = 0


class Forwarder:
    """The items of one spool on their way to the engine; the only reader of `spool`."""

    def __init__(
        self, spool: Spool, sender: Sender, counters: Counters, randomness: Randomness
    ) -> None:
        self._spool = spool
        self._spool_id: SpoolId = spool.spool_id
        self._sender = sender
        self._counters = counters
        self._randomness = randomness
        self._generation_ms = spool.generation_ms
        self._made = spool.made
        self._closed = spool.trimmed + spool.count_receipts()  # items that reached their end
        # Every open number up to here is in flight; the flights stand in order of their numbers.
        self._loaded_through = 0
        self._flights: dict[int, _Flight] = {}
        self._calendar: list[tuple[int, int]] = []  # (send at, number), a heap; may hold old ones
        # Receipts not yet written: PUBACK need not wait for them, a lost one costs one re-send.
        self._unsaved: dict[int, Receipted] = {}
        self._unsaved_generation_ms: int | None = None
        self._next_watermark_at_ms = 0
        self._watermark_at_ms = 0

    def believe(self, ring: Keyring) -> None:
        """Judge receipts by these keys from now on."""
        self._sender = replace(self._sender, ring=ring)

    @property
    def unreceipted(self) -> int:
        """Items without a receipt, in flight or waiting."""
        return self._made - self._closed

    @property
    def in_flight(self) -> int:
        """Items sent, or about to be, without a receipt."""
        return len(self._flights)

    @property
    def has_room(self) -> bool:
        """Whether more reports may be taken in."""
        return self.unreceipted < UNRECEIPTED_MAX

    @property
    def generation_ms(self) -> int:
        """The ledger's generation as last heard; 0 before the first receipt."""
        return self._generation_ms

    @property
    def must_save_first(self) -> bool:
        """Whether a new generation must be written before anything more is sent."""
        return self._unsaved_generation_ms is not None

    def stored(self) -> None:
        """The writer stored new items."""
        self._made = self._spool.made

    def due(self, now_ms: int) -> list[Outgoing]:
        """What is to be published now, sealed; it counts as sent."""
        if self._load(now_ms):
            self._next_watermark_at_ms = min(
                self._next_watermark_at_ms, now_ms + BURST_WATERMARK_AFTER_MS
            )
        sent = []
        while self._calendar and self._calendar[0][0] <= now_ms:
            send_at_ms, number = heapq.heappop(self._calendar)
            flight = self._flights.get(number)
            if flight is not None and flight.send_at_ms == send_at_ms:
                self._plan_next(flight, now_ms)
                sent.append(flight.unreceipted)
        sent.sort(key=lambda one: one.number)
        return [self._sealed(group) for group in _messages(sent)]

    def offer_again(self, now_ms: int) -> None:
        """A new connection: what was in flight on the old one is due at once."""
        for flight in self._flights.values():
            flight.send_at_ms = now_ms
        self._calendar = [(now_ms, number) for number in self._flights]
        self._next_watermark_at_ms = now_ms

    def watermark(self, now_ms: int) -> Outgoing | None:
        """The signed watermark, if it is time for one."""
        if now_ms < self._next_watermark_at_ms or self.must_save_first:
            return None
        self._next_watermark_at_ms = now_ms + WATERMARK_EVERY_MS
        # Receivers take rising times only; a clock set back must not silence us.
        self._watermark_at_ms = max(now_ms, self._watermark_at_ms + 1)
        self._load(now_ms)
        # Read before `made`: what a provider is complete up to must be among those numbers.
        providers = self.complete(now_ms)
        body = Watermark(
            intake=self._sender.intake,
            spool=self._spool_id,
            generation_ms=self._generation_ms,
            made=self._spool.made,
            oldest_open=next(iter(self._flights), 0),
            at_ms=self._watermark_at_ms,
            providers=providers,
        )
        return self._signed(
            MessageType.WATERMARK, watermark_topic(self._sender.intake), encode(body)
        )

    def complete(self, now_ms: int) -> tuple[ProviderMark, ...]:
        """Up to when each polled provider was fetched; webhooks alone prove no completeness."""
        found = []
        for provider in self._sender.polled:
            complete_to_ms = self._spool.polled_through(provider).get(Sweep.RECENT)
            if complete_to_ms is not None:
                mark_ms = min(complete_to_ms, now_ms)
                found.append(ProviderMark(provider=provider, complete_to_ms=mark_ms))
        return tuple(found)

    def receive(self, deliveries: Iterable[Delivered], now_ms: int) -> None:
        """Judges what came back, and marks what it receipts."""
        for delivered in deliveries:
            checked = check(
                delivered, self._sender.ring, at_ms=now_ms, receiver=self._sender.intake
            )
            if isinstance(checked, Junk) or not isinstance(checked.message, Receipt):
                self._counters.count(Counted.RECEIPT_JUNK)
            elif checked.message.spool != self._spool_id:
                self._counters.count(Counted.RECEIPT_FOREIGN_SPOOL)
            elif checked.message.generation_ms < self._generation_ms:
                self._counters.count(Counted.RECEIPT_OLD_GENERATION)
            else:
                self._take_receipt(checked.message, now_ms)

    def unsaved(self) -> Marks | None:
        """What is to be written to the spool by its writer; None when nothing is."""
        if not self._unsaved and self._unsaved_generation_ms is None:
            return None
        return Marks(self._unsaved_generation_ms, tuple(self._unsaved.values()))

    def saved(self, marks: Marks) -> None:
        """The writer wrote these."""
        if marks.new_generation_ms == self._unsaved_generation_ms:
            self._unsaved_generation_ms = None
        for one in marks.receipts:
            if self._unsaved.get(one.number) is one:
                del self._unsaved[one.number]

    def _load(self, now_ms: int) -> bool:
        """Fills the flight from the spool, lowest numbers first; whether anything was added."""
        # Receipts that could not be written yet count: a full disk must not fill the memory.
        room = IN_FLIGHT_MAX - len(self._flights) - len(self._unsaved)
        if room <= 0 or self.must_save_first:
            return False
        rows = self._spool.unreceipted(after=self._loaded_through, limit=room)
        for row in rows:
            self._loaded_through = row.number
            self._made = max(self._made, row.number)
            if row.number not in self._unsaved:
                self._flights[row.number] = _Flight(row, now_ms)
                heapq.heappush(self._calendar, (now_ms, row.number))
        return bool(rows)

    def _plan_next(self, flight: _Flight, now_ms: int) -> None:
        if flight.times_sent < len(RESEND_AFTER_MS):
            pause_ms = RESEND_AFTER_MS[flight.times_sent]
        else:
            jitter = self._randomness.uniform(1 - RESEND_JITTER, 1 + RESEND_JITTER)
            pause_ms = int(RESEND_EVERY_MS * jitter)
        flight.times_sent += 1
        flight.send_at_ms = now_ms + pause_ms
        heapq.heappush(self._calendar, (flight.send_at_ms, flight.unreceipted.number))

    def _sealed(self, group: Sequence[Unreceipted]) -> Outgoing:
        shard, provider = group[0].shard, group[0].provider
        body = Payment(
            intake=self._sender.intake,
            spool=self._spool_id,
            provider=provider,
            items=tuple(one.item for one in group),
        )
        return self._signed(MessageType.PAYMENT, payment_topic(shard, provider), encode(body))

    def _signed(self, message_type: MessageType, topic: str, body: bytes) -> Outgoing:
        installation = self._sender.ring.installation
        return Outgoing(topic, seal(installation, message_type.value, body, [self._sender.key]))

    def _take_receipt(self, receipt: Receipt, now_ms: int) -> None:
        if receipt.generation_ms > self._generation_ms:
            self._adopt(receipt.generation_ms)
        raw16_of = self._raw16_of(receipt)
        self._made = self._spool.made
        for item in receipt.items:
            if item.number > self._made:
                self._counters.count(Counted.RECEIPT_UNKNOWN_NUMBER)
            elif item.number in self._unsaved or item.number not in raw16_of:
                self._counters.count(Counted.RECEIPT_REPEATED)
            elif raw16_of[item.number] != item.raw16:
                self._refuse_raw(item)
            else:
                self._mark(item, now_ms)

    def _raw16_of(self, receipt: Receipt) -> dict[int, bytes]:
        """Of the receipt's numbers that are open: those in flight, and those not loaded yet."""
        found: dict[int, bytes] = {}
        elsewhere = []
        for item in receipt.items:
            flight = self._flights.get(item.number)
            if flight is not None:
                found[item.number] = flight.unreceipted.item.raw[:16]
            elif item.number > self._loaded_through:
                elsewhere.append(item.number)
        # While a new generation is not written, the spool still speaks of the former one.
        if elsewhere and not self.must_save_first:
            found |= self._spool.raw16_of_open(elsewhere)
        return found

    def _mark(self, item: ReceiptItem, now_ms: int) -> None:
        self._flights.pop(item.number, None)
        self._unsaved[item.number] = Receipted(item.number, item.verdict, now_ms)
        self._closed += 1
        self._counters.count(Counted.RECEIPTED)
        if item.verdict in (ReceiptVerdict.QUARANTINED, ReceiptVerdict.MISPOSTED):
            _LOG.warning("item %d ended %s at the engine", item.number, item.verdict.value)

    def _refuse_raw(self, item: ReceiptItem) -> None:
        self._counters.count(Counted.RECEIPT_WRONG_RAW)
        _LOG.error(
            "a receipt for item %d speaks of other bytes (%s): was this spool restored or copied?",
            *(item.number, item.raw16.hex()),
        )

    def _adopt(self, generation_ms: int) -> None:
        is_first = self._generation_ms == 0
        self._counters.count(Counted.GENERATION_ADOPTED)
        self._generation_ms = self._unsaved_generation_ms = generation_ms
        self._next_watermark_at_ms = 0
        if is_first:
            return  # no receipt of another ledger can be here
        _LOG.warning("the ledger is of generation %d now: all retained is offered", generation_ms)
        self._unsaved.clear()
        self._flights.clear()
        self._calendar.clear()
        self._loaded_through = 0
        self._closed = self._spool.trimmed


def _messages(items: Iterable[Unreceipted]) -> list[list[Unreceipted]]:
    """Groups of one shard and provider, each within the count and the topic's size."""
    groups: list[list[Unreceipted]] = []
    latest: dict[tuple[int, ProviderId], list[Unreceipted]] = {}
    sizes: defaultdict[tuple[int, ProviderId], int] = defaultdict(int)
    for one in items:
        address = (one.shard, one.provider)
        group = latest.get(address)
        if (
            group is None
            or len(group) == PAYMENT_ITEMS_MAX
            or sizes[address] + one.size_bytes > _ITEMS_BYTES_MAX
        ):
            group = latest[address] = []
            groups.append(group)
            sizes[address] = 0
        group.append(one)
        sizes[address] += one.size_bytes
    return groups

"""One turn of the guard: what arrived is stored, then what is asked for is judged, row by row.

Rules kept here (R7):
 * The guard signs exactly `signed("command", body)` of a body the engine signed, and its own stops;
   nothing else, ever.
 * Counted first, on the disk; then signed; then answered. A guard that ends in between judges the
   command again, and gives the same signature or says no: never two answers.
 * What waits (`rules.WAITS`) gets no answer, what speaks against an open quarantines it, and a
   breach quarantines everything that is asked for, until two approvers lift it.
 * Clock, signer and the engine's rows are handed in; nothing here knows a network.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from sqlite3 import Connection
from typing import Protocol

from cloud.guard import facts as known
from cloud.guard import freezes, payments, watermarks
from cloud.guard.arrivals import Belief, remembered, take_all
from cloud.guard.asked import Asked, AskedRow, Opened, manifests_in_force, open_strictly
from cloud.guard.rules import WAITS, Reason, reasons_against
from cloud.guard.store import (
    USED_UP_MS,
    Transaction,
    raise_alarm,
    read_life,
    write_life,
    writing,
)
from cloud.guard.thresholds import breaches, limits
from wire import envelope
from wire.checking import Delivered, Junk
from wire.decoding import encode
from wire.documents import EdgePolicy, Manifest, Registry, Stop
from wire.envelope import Signature, signed_bytes
from wire.keys import KeyId
from wire.topics import MessageType
from wire.trust import Authorities, Keyring
from wire.vocabulary import Role

LIFE_EVERY_MS = 30_000  # how often the running time is written: a crash loses no more of it
STOP_EVERY_MS = 60_000  # how often our own stop is said again while it stands
_LOG = logging.getLogger(__name__)


class Signer(Protocol):
    """A key that signs: `wire.keys.SigningKey`, or a door to one."""

    @property
    def key_id(self) -> KeyId:
        """Its id."""

    def sign(self, signed: bytes) -> bytes:
        """The signature over these bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """What a guard is told once."""

    signer: Signer
    authorities: Authorities
    is_production: bool
    used_up_ms: int = USED_UP_MS  # of running, before a new or restored store signs


class Verdict(StrEnum):
    """What the guard says of a command."""

    SIGNED = "signed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row of `answers`, as it was written in this turn."""

    command_id: bytes
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Bytes to publish."""

    topic: str
    payload: bytes
    is_retained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """What a turn did."""

    answers: tuple[Answer, ...] = ()
    waits: tuple[Reason, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()


class Guard:
    """The second mind, on its own store."""

    def __init__(self, settings: GuardSettings, store: Connection) -> None:
        self._signer = settings.signer
        self._used_up_ms = settings.used_up_ms
        self._store = store
        held = Belief(authorities=settings.authorities, is_production=settings.is_production)
        self._hold(remembered(store, held))
        life = read_life(store)
        # A file imported before the first start made the store, and asked for the whole wait.
        until_ms = min(life.used_up_until_ms, life.running_ms + settings.used_up_ms)
        self._life = replace(life, used_up_until_ms=until_ms)
        self._life_written_at_ms = self._life.seen_at_ms
        self._stop_said_at_ms = 0
        self._told: tuple[str, ...] = ()
        self.junk: Counter[str] = Counter()

    def believe(self, authorities: Authorities) -> None:
        """Take a newer registry that came as a file."""
        if authorities.registry_version > self._belief.authorities.registry_version:
            self._hold(replace(self._belief, authorities=authorities))

    def orders_to_ask(self, *, now_ms: int) -> list[tuple[str, str]]:
        """Whose orders to look up in the engine's table, for the next `Asked`."""
        return payments.orders_to_ask(self._store, now_ms=now_ms)

    def turn(self, deliveries: Sequence[Delivered], asked: Asked | None, *, now_ms: int) -> Turned:
        """Store what arrived, then judge what is asked for.

        Args:
            deliveries: what the broker brought; may be acknowledged to it after this returns.
            asked: one look at the engine's ledger; None when it was not looked at.
            now_ms: the guard's own clock.

        Raises:
            sqlite3.Error: the store is locked or full; nothing was signed that was not counted.
        """
        self._live(now_ms)
        if deliveries:
            self._take_all(deliveries, now_ms)
        turned = Turned() if asked is None else self._answer_all(asked, now_ms)
        outgoing = self._stop_to_say(now_ms)
        return Turned(answers=turned.answers, waits=turned.waits, outgoing=outgoing)

    def _hold(self, belief: Belief) -> None:
        self._belief = belief
        self._ring = belief.ring

    def _live(self, now_ms: int) -> None:
        """Go on living; a gap, or a new start, is written at once."""
        life = self._life.at(now_ms, used_up_ms=self._used_up_ms)
        has_gap = life.used_up_until_ms != self._life.used_up_until_ms
        if has_gap or not 0 <= now_ms - self._life_written_at_ms < LIFE_EVERY_MS:
            with writing(self._store) as transaction:
                write_life(transaction, life)
                if has_gap:
                    detail = "not seen for over 10 min, or the clock was set: as good as restored"
                    raise_alarm(transaction, "store_gap", "store", detail, now_ms=now_ms)
            self._life_written_at_ms = now_ms
        self._life = life

    def _take_all(self, deliveries: Sequence[Delivered], now_ms: int) -> None:
        with writing(self._store) as transaction:
            took = take_all(transaction, deliveries, self._belief, now_ms=now_ms)
        self.junk.update(took.junk)
        if took.belief is not self._belief:
            self._hold(took.belief)

    # What is asked for

    def _answer_all(self, asked: Asked, now_ms: int) -> Turned:
        if asked.orders:
            with writing(self._store) as transaction:
                payments.take_orders(transaction, asked.orders, now_ms=now_ms)
        opened = self._open(asked.rows, now_ms)
        if not opened:
            return Turned()
        if freezes.read(self._store).is_breached:
            return Turned(answers=self._quarantine_all(opened, now_ms))
        registry = self._belief.authorities.registry
        waits = self._waits(asked, registry, now_ms)
        if waits or registry is None:
            return Turned(waits=waits)
        manifests = manifests_in_force(asked.manifests, self._ring, now_ms=now_ms)
        answers: list[Answer] = []
        waiting: set[Reason] = set()
        for place, one in enumerate(opened):
            manifest = manifests.get(one.command.manifest or b"")
            found = self._judge(one, manifest, registry.policy, now_ms)
            if found is None:  # a breach: it, and all behind it
                answers += self._quarantine_all(opened[place:], now_ms)
                break
            if isinstance(found, Answer):
                answers.append(found)
            else:
                waiting |= set(found)
        return Turned(answers=tuple(answers), waits=tuple(sorted(waiting)))

    def _open(self, rows: Sequence[AskedRow], now_ms: int) -> list[Opened]:
        """The rows that are the engine's and have no answer yet, each command once."""
        found: dict[bytes, Opened] = {}
        junk: set[str] = set()
        for row in rows:
            opened = open_strictly(row, self._ring, now_ms=now_ms)
            if isinstance(opened, Junk):
                junk.add(opened.reason)
            elif not self._is_answered(opened.command_id):
                found[opened.command_id] = opened
        if junk:
            # Somebody writes into the ledger and has no engine's key, or an ended one.
            detail = f"not the engine's bytes: {' '.join(sorted(junk))}"
            with writing(self._store) as transaction:
                raise_alarm(transaction, "junk_rows", "commands", detail, now_ms=now_ms)
        return list(found.values())

    def _is_answered(self, command_id: bytes) -> bool:
        found = self._store.execute("SELECT 1 FROM answers WHERE command_id = ?", (command_id,))
        return found.fetchone() is not None

    def _waits(self, asked: Asked, registry: Registry | None, now_ms: int) -> tuple[Reason, ...]:
        """Why nothing at all may be signed now."""
        missing = watermarks.why_not(
            self._store,
            watermarks.intakes_of(self._ring),
            generation_ms=asked.generation_ms,
            now_ms=now_ms,
        )
        found = {
            Reason.STOP: freezes.read(self._store).is_stopped,
            Reason.REGISTRY_EXPIRED: registry is None or registry.expires_at_ms <= now_ms,
            Reason.GUARD_KEY: not _may_sign(self._ring, self._signer.key_id, now_ms),
            Reason.THRESHOLDS_USED_UP: self._life.is_used_up,
            Reason.WATERMARKS: bool(missing),
            Reason.ORDERS: payments.has_unasked_orders(self._store),
        }
        waits = tuple(reason for reason, is_so in found.items() if is_so)
        if waits and waits != self._told:
            _LOG.warning("nothing is signed: %s", "; ".join([*waits, *missing]))
        self._told = waits
        return waits

    def _judge(
        self, opened: Opened, manifest: Manifest | None, policy: EdgePolicy, now_ms: int
    ) -> Answer | tuple[Reason, ...] | None:
        """One command: its answer, what it waits for, or None when a threshold is broken."""
        with writing(self._store) as transaction:
            facts = known.read_facts(transaction, opened, policy, now_ms=now_ms)
            facts = replace(facts, manifest=manifest)
            reasons = reasons_against(opened.command, facts)
            if reasons and set(reasons) <= WAITS:
                return reasons
            if reasons:
                return self._quarantine(transaction, opened, reasons, now_ms)
            if not known.is_counted(transaction, opened.command_id):
                if self._is_breach(transaction, opened, policy, now_ms):
                    return None
                known.count(transaction, opened, policy, now_ms=now_ms)
        # Counted, and on the disk. Only now is the key used.
        signed = signed_bytes(self._ring.installation, MessageType.COMMAND.value, opened.body)
        signature = self._signer.sign(signed)
        with writing(self._store) as transaction:
            transaction.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, '', ?)",
                (opened.command_id, self._signer.key_id, signature, Verdict.SIGNED.value, now_ms),
            )
        return Answer(command_id=opened.command_id, verdict=Verdict.SIGNED, reason="")

    def _quarantine(
        self,
        transaction: Transaction,
        opened: Opened,
        reasons: Sequence[Reason],
        now_ms: int,
    ) -> Answer:
        words = " ".join(dict.fromkeys(reasons))
        transaction.execute(
            "INSERT INTO answers VALUES (?, NULL, NULL, ?, ?, ?)",
            (opened.command_id, Verdict.QUARANTINED.value, words, now_ms),
        )
        raise_alarm(transaction, "quarantined", opened.command.meter, words, now_ms=now_ms)
        return Answer(command_id=opened.command_id, verdict=Verdict.QUARANTINED, reason=words)

    # Breaches

    def _is_breach(
        self, transaction: Transaction, opened: Opened, policy: EdgePolicy, now_ms: int
    ) -> bool:
        """Whether one more would be too many; then everything is stopped, by our own stop."""
        held = freezes.read(transaction)
        counts = known.read_counts(transaction, opened, policy, held.released_at_ms, now_ms)
        # Named and not in force was refused before.
        broken = breaches(counts, has_manifest=opened.command.manifest is not None)
        if not broken:
            return False
        number_ms = freezes.breach_number_ms(held, now_ms=now_ms)
        stop = Stop(number_ms=number_ms, note=f"guard: {' '.join(broken)}"[:64])
        sealed = self._sealed(MessageType.STOP, encode(stop))
        freezes.keep_breach(transaction, number_ms, sealed, now_ms=now_ms)
        allowed = limits(counts)
        words = " ".join(f"{one} over {allowed[one]}" for one in broken)
        raise_alarm(transaction, "breach", f"stop {number_ms}", words, now_ms=now_ms)
        self._stop_said_at_ms = 0
        return True

    def _quarantine_all(self, opened: Sequence[Opened], now_ms: int) -> tuple[Answer, ...]:
        with writing(self._store) as transaction:
            return tuple(
                self._quarantine(transaction, one, (Reason.BREACH,), now_ms) for one in opened
            )

    def _stop_to_say(self, now_ms: int) -> tuple[Outgoing, ...]:
        """Our own stop, while it stands: at once, then each minute, since a publish can be lost."""
        if 0 <= now_ms - self._stop_said_at_ms < STOP_EVERY_MS:
            return ()
        self._stop_said_at_ms = now_ms
        held = freezes.read(self._store)
        if not held.is_breached:
            return ()
        payload = freezes.breach_envelope(self._store, held.breach_ms)
        return (Outgoing(topic=MessageType.STOP.value, payload=payload, is_retained=True),)

    def _sealed(self, message_type: MessageType, body: bytes) -> bytes:
        signed = signed_bytes(self._ring.installation, message_type.value, body)
        signature = Signature(self._signer.key_id, self._signer.sign(signed))
        return envelope.pack(body, (signature,))


def _may_sign(ring: Keyring, key_id: KeyId, now_ms: int) -> bool:
    key = ring.keys.get(key_id)
    return key is not None and key.role is Role.GUARD and key.is_valid_at(now_ms)

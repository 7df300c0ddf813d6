"""A broker as bad as one can be: it loses, repeats, delays, reorders, replays and invents.

Rules kept here: it holds no key. What a party has not acknowledged comes again after a new
connection, unless the session was lost. A replay may come at any time, to anybody, with the
retained flag, on another topic, or with a bit turned.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Protocol

from cloud.outbox import LIFE_MS
from tests.simulation.plan import Plan
from tests.simulation.schedule import Schedule

SEEN_MAX = 3_000  # messages it remembers: more than any seed publishes in its safety phase
LATELY_OF_ONE = 6
LATELY = 40  # a replay is most dangerous while what it carries is young


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message as a party gets it; two deliveries of one message are two objects."""

    topic: str
    payload: bytes
    is_retained: bool = False


class Party(Protocol):
    """Whoever has a session."""

    def deliver(self, delivery: Delivery) -> None:
        """Something arrived."""

    def connected(self) -> None:
        """There is a new connection."""


@dataclass(slots=True)
class _Session:
    party: Party
    filters: tuple[tuple[str, ...], ...]
    is_connected: bool = False
    waiting: list[Delivery] = field(default_factory=list)
    unacknowledged: list[Delivery] = field(default_factory=list)


class Broker:
    """All sessions, and everything that was ever published."""

    def __init__(self, schedule: Schedule, randomness: Random, plan: Plan) -> None:
        self._schedule = schedule
        self._randomness = randomness
        self._plan = plan
        self._sessions: dict[str, _Session] = {}
        self._reach: dict[str, tuple[str, ...]] = {}  # topic -> sessions that subscribe to it
        self._seen: list[tuple[str, bytes]] = []
        self.origin: dict[bytes, str] = {}  # payload -> the topic it was published on
        self.is_healed = False

    def join(self, name: str, party: Party, filters: tuple[str, ...]) -> None:
        """Open a durable session."""
        self._reach.clear()
        self._sessions[name] = _Session(party, tuple(tuple(one.split("/")) for one in filters))

    def is_connected(self, name: str) -> bool:
        """Whether the party has a connection now."""
        return self._sessions[name].is_connected

    def connect(self, name: str) -> None:
        """A new connection: what waited and what was not acknowledged comes again."""
        session = self._sessions[name]
        if session.is_connected:
            return
        session.is_connected = True
        self._schedule.note(name, "connected")
        session.party.connected()
        again, session.waiting = session.unacknowledged + session.waiting, []
        session.unacknowledged = []
        for delivery in again:
            self._arrive(name, delivery)

    def disconnect(self, name: str) -> None:
        """The connection breaks; perhaps the session is lost with it."""
        session = self._sessions[name]
        if session.is_connected:
            self._schedule.note(name, "disconnected")
        session.is_connected = False
        if not self.is_healed and self._randomness.random() < self._plan.loses_sessions:
            self._schedule.note(name, "session lost")
            session.waiting, session.unacknowledged = [], []

    def acknowledge(self, name: str, deliveries: list[Delivery]) -> None:
        """The party has stored them."""
        session = self._sessions[name]
        done = set(map(id, deliveries))
        session.unacknowledged = [one for one in session.unacknowledged if id(one) not in done]

    def publish(self, sender: str, topic: str, payload: bytes) -> None:
        """Take a message from a party, and see what becomes of it."""
        if not self._sessions[sender].is_connected:
            return
        self._schedule.note(sender, "publishes", topic, sha256(payload).digest()[:4])
        self.origin.setdefault(payload, topic)
        if len(self._seen) < SEEN_MAX:
            self._seen.append((topic, payload))
        for name in self._subscribers(topic):
            copies = self._copies()
            for _ in range(copies):
                self._send(name, Delivery(topic, payload))
            if not copies and self._randomness.random() < 0.3:
                self._misdeliver(name, topic, payload)

    def _subscribers(self, topic: str) -> tuple[str, ...]:
        found = self._reach.get(topic)
        if found is None:
            levels = topic.split("/")
            found = self._reach[topic] = tuple(
                name
                for name, session in self._sessions.items()
                if any(_matches(one, levels) for one in session.filters)
            )
        return found

    def _copies(self) -> int:
        if self.is_healed:
            return 1
        if self._randomness.random() < self._plan.loses:
            return 0
        return 2 if self._randomness.random() < self._plan.repeats else 1

    def _send(self, name: str, delivery: Delivery) -> None:
        wait_ms = self._randomness.randint(0, 40)
        if not self.is_healed and self._randomness.random() < self._plan.delays:
            wait_ms = int(self._plan.delay_max_ms * self._randomness.random() ** 2)
            if delivery.topic.startswith("command/") and self._randomness.random() < 0.3:
                # Just before it expires: what is slow now, acts too late.
                wait_ms = LIFE_MS - self._randomness.randint(0, 25_000)
        self._schedule.after(wait_ms, lambda: self._arrive(name, delivery))

    def _arrive(self, name: str, delivery: Delivery) -> None:
        session = self._sessions[name]
        if not session.is_connected:
            session.waiting.append(delivery)
            return
        session.unacknowledged.append(delivery)
        session.party.deliver(delivery)

    # Malice

    def inject(self, topic: str, payload: bytes) -> None:
        """Publish what no party sent."""
        self.origin.setdefault(payload, topic)
        self._seen.append((topic, payload))
        for name in self._subscribers(topic):
            self._send(name, Delivery(topic, payload))

    def replay(self, topic_start: str = "", to: str | None = None) -> None:
        """Send something it saw, at least to one party, perhaps changed."""
        seen = self._seen if not topic_start else [
            one for one in self._seen if one[0].startswith(topic_start)
        ]  # fmt: skip
        if not seen:
            return
        lately = (
            seen[-(LATELY_OF_ONE if topic_start else LATELY) :]
            if self._randomness.random() < 0.7
            else seen
        )
        topic, payload = self._randomness.choice(lately)
        kind = self._randomness.choice(("same", "same", "same", "retained", "elsewhere", "turned"))
        if topic_start:
            kind = "same"
        if kind == "elsewhere":
            topic = self._elsewhere(topic)
        if kind == "turned":
            payload = self._turned(payload)
        delivery = Delivery(topic, payload, is_retained=kind == "retained")
        subscribers = self._subscribers(topic)
        for name, session in self._sessions.items():
            is_meant = name in subscribers
            is_wished = name == to if to else is_meant or self._randomness.random() < 0.1
            if is_wished and session.is_connected:
                self._schedule.note("broker", "replays", kind, topic, "to", name)
                self._arrive(name, delivery)

    def _misdeliver(self, name: str, topic: str, payload: bytes) -> None:
        """Instead of the message itself: on another topic of its kind, or as a retained one."""
        if self._randomness.random() < 0.5:
            delivery = Delivery(topic, payload, is_retained=True)
        else:
            delivery = Delivery(self._elsewhere(topic), payload)
        self._schedule.note("broker", "misdelivers", delivery.topic, "to", name)
        self._send(name, delivery)

    def _elsewhere(self, topic: str) -> str:
        """The topic of another message it saw, best of the same type."""
        levels = topic.split("/")
        alike = sorted({other for other, _ in self._seen if other.startswith(levels[0] + "/")})
        others = alike if len(alike) > 1 else sorted({other for other, _ in self._seen})
        return self._randomness.choice(others)

    def _turned(self, payload: bytes) -> bytes:
        place = self._randomness.randrange(len(payload))
        turned = bytearray(payload)
        turned[place] ^= 1 << self._randomness.randrange(8)
        return bytes(turned)


def _matches(levels: tuple[str, ...], topic: list[str]) -> bool:
    return len(levels) == len(topic) and all(
        one in ("+", other) for one, other in zip(levels, topic, strict=True)
    )

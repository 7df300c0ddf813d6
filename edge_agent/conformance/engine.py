"""The engine as a conformance run plays it: it welcomes, commands, files, and lies where it must.

Rules kept here: left alone it does what docs/protocol.md asks of an engine (trust before the
welcome, a floor for each new boot, sequences above the floor, `filed` for what is contiguous); two
switches, `welcomes` and `files`, let a case do that by hand.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_agent.conformance.installation import EPOCH, Installation
from edge_agent.conformance.record import Book, Record
from wire.checking import Delivered
from wire.decoding import encode
from wire.documents import Registry, Resume, Stop
from wire.fields import CommandId, MeterId
from wire.link import Link
from wire.messages import Command, Filed, Hello, Welcome
from wire.topics import MessageType, command_topic, directed_topic
from wire.vocabulary import TWO_KEY_ACTIONS, JournalVerdict

LIFE_MS = 300_000
GENERATION_MS = 1_750_000_000_000
NOTHING_MS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to publish."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Message):
    """A command with what identifies it."""

    command_id: CommandId
    command: Command


class Engine:
    """One life of the agent, seen from the engine."""

    def __init__(self, installation: Installation, link: Link, wall_ms: Callable[[], int]) -> None:
        self.installation = installation
        self._link = link
        self._wall_ms = wall_ms
        self.ahead_ms = 0  # how far this engine's clock is in front of the wall's
        self.record = Record(installation)
        self.registry = installation.registry(wall_ms())
        self.trust = installation.trust(self.registry)
        self.generation_ms = GENERATION_MS
        self.welcomes = True
        self.files = True
        self._last_ms = 0
        self._floor_ms = 0
        self._floors: dict[tuple[bytes, int], int] = {}
        self._filed: dict[bytes, int] = {}

    @property
    def now_ms(self) -> int:
        """This engine's time."""
        return self._wall_ms() + self.ahead_ms

    @property
    def agent(self) -> str:
        """The agent's id."""
        return self.installation.agent

    # Left alone

    def hear(self, delivered: Delivered) -> None:
        """Take one message of the agent, and answer it as an engine does."""
        known = len(self.record.hellos)
        self.record.take(delivered, now_ms=self.now_ms, at_s=time.monotonic())
        if len(self.record.hellos) > known and self.welcomes:
            self.greet(self.record.hellos[-1])
        if self.files:
            self.file()

    def greet(self, hello: Hello, **changes: Any) -> None:
        """Trust documents if it lacks them, then the welcome."""
        if hello.trust_version < self.registry.registry_version:
            self.send_trust()
        self.send(self.welcome(hello, **changes))

    def file(self) -> None:
        """Say `filed` of every journal whose contiguous end has grown."""
        for book in self.record.books.values():
            if book.through > self._filed.get(book.journal, 0):
                self._filed[book.journal] = book.through
                self.send(self.filed(book))

    # What it says

    def send(self, message: Message, *, retain: bool = False) -> None:
        """Publish; the broker keeps the order."""
        self._link.send(message.topic, message.payload, retain=retain)

    async def publish(self, message: Message, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        await self._link.publish(message.topic, message.payload, retain=retain)

    def send_trust(self, payload: bytes | None = None) -> None:
        """The newest trust documents, or others."""
        topic = directed_topic(MessageType.TRUST, self.installation.agent)
        self.send(Message(topic=topic, payload=self.trust if payload is None else payload))

    def new_registry(self, registry: Registry, *, roots: bytes = b"", signer: str = "root") -> None:
        """From now on this is the newest registry; nothing is sent yet."""
        self.registry = registry
        self.trust = self.installation.trust(registry, signer=signer, roots=roots)

    def welcome(self, hello: Hello, *, signer: str = "engine", **changes: object) -> Message:
        """The answer to a hello; the floor rises with each new boot."""
        book = self.record.book(hello.journal)
        boot = (bytes(hello.journal), hello.boot)
        if boot not in self._floors:
            self._floors[boot] = max(self.now_ms, self._last_ms)
        values: dict[str, object] = {
            "agent": self.agent,
            "nonce": hello.nonce,
            "generation_ms": self.generation_ms,
            "now_ms": self.now_ms,
            "floor_epoch": EPOCH,
            "floor_sequence": self._floors[boot],
            "verdict": JournalVerdict.KNOWN,
            "trust_version": self.registry.registry_version,
            "stop_ms": NOTHING_MS,
            "lifted_ms": NOTHING_MS,
            "through": self._filed.get(book.journal, 0),
            "head": book.heads[self._filed.get(book.journal, 0)],
        }
        said = Welcome(**{**values, **changes})  # type: ignore[arg-type]  # named fields
        self.record.welcomed.add(boot)
        if said.floor_epoch == EPOCH and said.floor_sequence <= said.now_ms + 60_000:
            self._floor_ms = max(self._floor_ms, said.floor_sequence)
        return self.directed(MessageType.WELCOME, encode(said), signer)

    def directed(self, message_type: MessageType, body: bytes, *signers: str) -> Message:
        """A sealed message on the agent's own topic of that type."""
        topic = directed_topic(message_type, self.installation.agent)
        return Message(topic=topic, payload=self.installation.seal(message_type, body, *signers))

    def next_sequence_ms(self) -> int:
        """A counter as R4 allocates it."""
        self._last_ms = max(self._last_ms + 1, self._floor_ms + 1, self.now_ms)
        return self._last_ms

    def body(self, action: str, meter: str, **changes: object) -> Command:
        """A command's body that an agent carries out, or one with these fields changed."""
        sequence_ms = changes.pop("sequence_ms", None)
        if sequence_ms is None:
            sequence_ms = self.next_sequence_ms()
        life_ms = changes.pop("life_ms", LIFE_MS)
        values: dict[str, object] = {
            "action": action,
            "agent": self.agent,
            "meter": meter,
            "epoch": EPOCH,
            "sequence_ms": sequence_ms,
            "expires_at_ms": sequence_ms + life_ms,  # type: ignore[operator]  # both are integers
            "evidence": bytes(32),
            "manifest": None,
        }
        return Command(**{**values, **changes})  # type: ignore[arg-type]  # named fields

    def command(self, action: str, meter: str, **changes: object) -> Sent:
        """A command, signed as its action demands unless `signers` says otherwise."""
        by_default = ("engine", "guard") if action in TWO_KEY_ACTIONS else ("engine",)
        signers = changes.pop("signers", by_default)
        return self.signed(self.body(action, meter, **changes), *signers)  # type: ignore[misc]

    def signed(self, command: Command, *signers: str) -> Sent:
        """The command as it is sent."""
        return self.sent(command, self.installation.seal("command", encode(command), *signers))

    def sent(self, command: Command, payload: bytes) -> Sent:
        """A command under an envelope of any kind."""
        command_id = CommandId(self.installation.id_of("command", encode(command)))
        self.record.actions[command_id] = command.action
        topic = command_topic(self.installation.agent, MeterId(command.meter))
        return Sent(topic=topic, payload=payload, command_id=command_id, command=command)

    def filed(self, book: Book, *, signer: str = "engine", **changes: object) -> Message:
        """`filed` through the contiguous end, or one with these fields changed."""
        through = changes.get("through", book.through)
        values: dict[str, object] = {
            "agent": self.agent,
            "journal": book.journal,
            "generation_ms": self.generation_ms,
            "through": through,
            "head": book.heads[min(int(str(through)), book.through)],
        }
        body = encode(Filed(**{**values, **changes}))  # type: ignore[arg-type]  # named fields
        return self.directed(MessageType.FILED, body, signer)

    def stop(self, number_ms: int, signer: str = "stop", *, is_directed: bool = True) -> Message:
        """Freezes every open."""
        body = encode(Stop(number_ms=number_ms, note="conformance"))
        directed = self.directed(MessageType.STOP, body, signer)
        return directed if is_directed else Message(topic="stop", payload=directed.payload)

    def resume(self, lifts_ms: int, *signers: str) -> Message:
        """Lifts every stop up to this one."""
        body = encode(Resume(lifts_ms=lifts_ms, note="conformance"))
        return self.directed(MessageType.RESUME, body, *signers)

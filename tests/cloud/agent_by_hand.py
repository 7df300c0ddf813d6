"""An agent played by hand: it keeps its journal's numbers and head, the test chooses its words."""

from dataclasses import dataclass, field
from typing import Any

from tests.wire.installation import INSTALLATION
from wire import envelope
from wire.chain import first_head, next_head
from wire.decoding import encode, raw_items
from wire.fields import AgentId, CommandId, JournalId, MeterId
from wire.keys import SigningKey
from wire.messages import (
    Acknowledgement,
    AlarmItem,
    Command,
    CommandItem,
    Hello,
    Item,
    ReceivedItem,
    RelayReading,
    StateItem,
)
from wire.topics import MessageType, acknowledgement_topic, hello_topic
from wire.vocabulary import Outcome, StateCause

OPEN = RelayReading(output=False, control_state=0, control_mode=4)
CLOSED = RelayReading(output=True, control_state=1, control_mode=4)
ARMED = RelayReading(output=False, control_state=2, control_mode=5)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a broker delivers it."""

    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that left the engine."""

    body: Command
    command_id: CommandId
    payload: bytes


@dataclass(slots=True)
class AgentByHand:
    """An agent whose every word the test chooses; it keeps its journal's numbers and head."""

    agent_id: AgentId
    key: SigningKey
    journal: JournalId
    boot: int = 1
    hellos: int = 0
    made: int = 0
    head: bytes = b""
    heads: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin(self.journal)

    def begin(self, journal: bytes) -> None:
        """A new, empty journal."""
        self.journal = JournalId(journal)
        self.made, self.head = 0, first_head(self.journal, self.agent_id)
        self.heads = {0: self.head}

    def hello(self, **changes: Any) -> Message:
        self.hellos += 1
        told: dict[str, Any] = {
            "agent": self.agent_id,
            "journal": self.journal,
            "boot": self.boot,
            "number": self.hellos,
            "nonce": self.hellos.to_bytes(16, "big"),
            "protocol": 1,
            "software": "by hand",
            "trust_version": 7,
            "roster_version": 0,
            "stop_ms": 0,
            "lifted_ms": 0,
            "generation_ms": 0,
            "made": self.made,
            "head": self.head,
            "window": 32,
            "meters": 1,
            "unfinished": (),
        }
        body = encode(Hello(**(told | changes)))
        return self.sealed(hello_topic(self.agent_id), MessageType.HELLO, body)

    def restart(self) -> None:
        self.boot, self.hellos = self.boot + 1, 0

    def take(self, item_type: type[Any], **facts: Any) -> Item:
        """The next numbered item of the journal."""
        item: Item = item_type(number=self.made + 1, **facts)
        self.made += 1
        self.head = next_head(self.head, encode(item))
        self.heads[self.made] = self.head
        return item

    def says(self, *items: Item, before: bytes | None = None) -> Message:
        """An acknowledgement of consecutive items."""
        body = Acknowledgement(
            agent=self.agent_id,
            journal=self.journal,
            boot=self.boot,
            before=self.heads[items[0].number - 1] if before is None else before,
            items=raw_items(encode(item) for item in items),
        )
        topic = acknowledgement_topic(self.agent_id)
        return self.sealed(topic, MessageType.ACKNOWLEDGEMENT, encode(body))

    def final(self, sent: Sent, outcome: Outcome, **changes: Any) -> Item:
        """The one final item of a command; by default with honest times and readings."""
        at_ms = sent.body.sequence_ms
        after = {Outcome.ARMED: ARMED, Outcome.CLOSED: CLOSED, Outcome.ALREADY_CLOSED: CLOSED}
        facts: dict[str, Any] = {
            "command": sent.command_id,
            "meter": sent.body.meter,
            "epoch": sent.body.epoch,
            "sequence_ms": sent.body.sequence_ms,
            "outcome": outcome,
            "reason": None,
            "before": OPEN,
            "after": after.get(outcome),
            "received_at_ms": at_ms + 10,
            "acted_at_ms": at_ms + 20 if outcome in after else None,
            "read_at_ms": at_ms + 30 if outcome in after else None,
            "highest": None,
        }
        return self.take(CommandItem, **(facts | changes))

    def state(self, meter: str, relay: RelayReading, at_ms: int) -> Item:
        return self.take(
            StateItem, meter=MeterId(meter), cause=StateCause.MOVED, relay=relay,
            read_at_ms=at_ms, invocation=None,
        )  # fmt: skip

    def received(self, sent: Sent) -> Item:
        return self.take(ReceivedItem, command=sent.command_id, meter=sent.body.meter)

    def alarm(self, code: str, at_ms: int) -> Item:
        return self.take(AlarmItem, code=code, meter=None, at_ms=at_ms)

    def sealed(self, topic: str, message_type: MessageType, body: bytes) -> Message:
        name = message_type.value
        return Message(topic, envelope.seal(INSTALLATION, name, body, [self.key]))

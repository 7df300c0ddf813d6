"""The topic of every message: the one place where topic strings are made and taken apart.

Rules kept here: a topic's first segment is the message type; ids obey one grammar; payment topics
are sharded by payment, agents' topics by agent, so that several engine workers can share the work
by plain filters; each type has its size limit, checked before anything else is looked at.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

from wire.fields import AgentId, IntakeId, MeterId, ProviderId

SHARDS = 16


class MessageType(StrEnum):
    """The type of a signed message; its value enters the signature."""

    PAYMENT = "payment"
    RECEIPT = "receipt"
    WATERMARK = "watermark"
    HELLO = "hello"
    WELCOME = "welcome"
    COMMAND = "command"
    ACKNOWLEDGEMENT = "acknowledgement"
    FILED = "filed"
    MANIFEST = "manifest"
    ROSTER = "roster"
    TRUST = "trust"
    STOP = "stop"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicShape:
    """One row of the topic table: what stands behind the type, its limit, retained or not."""

    segments: tuple[str, ...]
    limit_bytes: int
    may_be_retained: bool = False
    has_undirected_form: bool = False  # `stop` beside `stop/{agent}`


SHAPES: dict[MessageType, TopicShape] = {
    MessageType.PAYMENT: TopicShape(segments=("shard", "provider"), limit_bytes=16_384),
    MessageType.RECEIPT: TopicShape(segments=("intake",), limit_bytes=16_384),
    MessageType.WATERMARK: TopicShape(segments=("intake",), limit_bytes=1_024),
    MessageType.HELLO: TopicShape(segments=("shard", "agent"), limit_bytes=2_048),
    MessageType.WELCOME: TopicShape(segments=("agent",), limit_bytes=512),
    MessageType.COMMAND: TopicShape(segments=("agent", "meter"), limit_bytes=512),
    MessageType.ACKNOWLEDGEMENT: TopicShape(segments=("shard", "agent"), limit_bytes=16_384),
    MessageType.FILED: TopicShape(segments=("agent",), limit_bytes=512),
    MessageType.MANIFEST: TopicShape(segments=("agent",), limit_bytes=24_576),
    MessageType.ROSTER: TopicShape(segments=("agent",), limit_bytes=49_152),
    MessageType.TRUST: TopicShape(
        segments=("agent",), limit_bytes=32_768, may_be_retained=True, has_undirected_form=True
    ),
    MessageType.STOP: TopicShape(
        segments=("agent",), limit_bytes=512, may_be_retained=True, has_undirected_form=True
    ),
    MessageType.RESUME: TopicShape(
        segments=("agent",), limit_bytes=512, may_be_retained=True, has_undirected_form=True
    ),
}
_TYPES = {message_type.value: message_type for message_type in MessageType}

# The same grammar as fields.ID_PATTERN, for segments.
_ID = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")
_SHARD = re.compile(r"0[0-9]|1[0-5]")

LIVE_SUMMARY = "live/summary"
OTHER_ZONE = "OTHER"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart; the ids a type does not carry are None, the shard -1."""

    message_type: MessageType
    shard: int = -1
    provider: ProviderId | None = None
    intake: IntakeId | None = None
    agent: AgentId | None = None
    meter: MeterId | None = None


class NotATopicError(ValueError):
    """A topic that stands in no row of the table."""


def is_id(text: str) -> bool:
    """Whether `text` obeys the id grammar of topics, certificates and bodies."""
    return _ID.fullmatch(text) is not None


def parse(topic: str) -> Topic:
    """Take a topic apart.

    Raises:
        NotATopicError: unknown type, wrong number of segments, or a segment outside the grammar.
    """
    first, *rest = topic.split("/")
    message_type = _TYPES.get(first)
    if message_type is None:
        raise NotATopicError(f"topic {topic!r} is of no known type; see docs/protocol.md, Topics")
    shape = SHAPES[message_type]
    if not rest and shape.has_undirected_form:
        return Topic(message_type)
    if len(rest) != len(shape.segments):
        raise NotATopicError(f"topic {topic!r} needs {len(shape.segments)} segments behind {first}")
    values: dict[str, str | int] = {}
    for name, value in zip(shape.segments, rest, strict=True):
        if (_SHARD if name == "shard" else _ID).fullmatch(value) is None:
            raise NotATopicError(f"topic {topic!r}: {value!r} is no {name}")
        values[name] = int(value) if name == "shard" else value
    return Topic(message_type, **values)  # type: ignore[arg-type]  # the table names the fields


def payment_shard(provider: ProviderId, payment_id: str) -> int:
    """The shard of a payment: CRC-32 (IEEE) of `provider/payment_id`, mod 16."""
    return crc32(f"{provider}/{payment_id}".encode("ascii")) % SHARDS


def agent_shard(agent: AgentId) -> int:
    """The shard of an agent's hello and acknowledgement: CRC-32 (IEEE) of its id, mod 16."""
    return crc32(agent.encode("ascii")) % SHARDS


def payment_topic(shard: int, provider: ProviderId) -> str:
    """Where an intake publishes payments of one shard."""
    return f"payment/{shard:02d}/{provider}"


def receipt_topic(intake: IntakeId) -> str:
    """Where an intake hears which of its numbers are stored."""
    return f"receipt/{intake}"


def watermark_topic(intake: IntakeId) -> str:
    """Where an intake says how far it is."""
    return f"watermark/{intake}"


def hello_topic(agent: AgentId) -> str:
    """Where an agent says that it is here."""
    return f"hello/{agent_shard(agent):02d}/{agent}"


def acknowledgement_topic(agent: AgentId) -> str:
    """Where an agent reports its numbered items."""
    return f"acknowledgement/{agent_shard(agent):02d}/{agent}"


def command_topic(agent: AgentId, meter: MeterId) -> str:
    """The topic of one meter's commands."""
    return f"command/{agent}/{meter}"


def directed_topic(message_type: MessageType, agent: AgentId) -> str:
    """`welcome`, `filed`, `trust`, `stop`, `resume`, `manifest` or `roster` of one agent."""
    return f"{message_type.value}/{agent}"


def presence_topic(agent: AgentId) -> str:
    """An unsigned hint for the desk: `online` or `offline`; nothing decides on it."""
    return f"presence/{agent}"


def canary_topic(name: str) -> str:
    """Where a client proves to itself that its subscriptions deliver."""
    return f"canary/{name}"


def live_step_topic(zone: str) -> str:
    """One zone's steps of the walk, unsigned, for dashboards."""
    return f"live/step/{zone}"


def intake_subscriptions(intake: IntakeId) -> tuple[str, ...]:
    """What an intake listens to."""
    return (receipt_topic(intake),)


def agent_subscriptions(agent: AgentId) -> tuple[str, ...]:
    """What an agent listens to; the broker's ACL allows exactly these."""
    directed = (
        MessageType.WELCOME,
        MessageType.FILED,
        MessageType.MANIFEST,
        MessageType.ROSTER,
        MessageType.TRUST,
        MessageType.STOP,
        MessageType.RESUME,
    )
    return (
        f"command/{agent}/+",
        *(directed_topic(message_type, agent) for message_type in directed),
        *(MessageType.TRUST.value, MessageType.STOP.value, MessageType.RESUME.value),
    )


def engine_subscriptions() -> tuple[str, ...]:
    """What an engine that holds every shard listens to."""
    return (
        *("payment/+/+", "watermark/+", "hello/+/+", "acknowledgement/+/+"),
        *(MessageType.STOP.value, MessageType.RESUME.value),
    )

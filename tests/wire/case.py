"""One negative vector: a message, the receiver, and the verdict it must get."""

from dataclasses import dataclass, field
from typing import Any

from tests.wire.installation import AGENT, METER, NOW_MS
from wire.topics import (
    MessageType,
    acknowledgement_topic,
    command_topic,
    directed_topic,
    hello_topic,
    payment_shard,
    payment_topic,
    receipt_topic,
    watermark_topic,
)

COMMAND_TOPIC = command_topic(AGENT, METER)
PLAIN_TOPICS = {
    "command": command_topic,
    "acknowledgement": acknowledgement_topic,
    "hello": hello_topic,
    "payment": payment_topic,
    "receipt": receipt_topic,
    "watermark": watermark_topic,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A message as a broker delivers it, and what the receiver must make of it.

    `needs` is "nothing" (steps 1 to 7 and the keys of keys.json decide), "trust" (the documents
    held decide), or "agent", "engine", "intake": a state is needed, told in `given`.
    """

    name: str
    says: str
    topic: str = COMMAND_TOPIC
    payload: bytes
    verdict: dict[str, Any]
    needs: str = "nothing"
    receiver: str | None = AGENT
    at_ms: int = NOW_MS
    is_retained: bool = False
    given: dict[str, Any] = field(default_factory=dict)


def topic_of(type_name: str, body: Any) -> str:
    """Where a message of this body belongs."""
    if type_name == "payment":
        shard = payment_shard(body.provider, body.items[0].payment_id)
        return payment_topic(shard, body.provider)
    if type_name == "command":
        return command_topic(body.agent, body.meter)
    if type_name in ("stop", "resume", "trust"):
        return type_name
    if type_name in ("receipt", "watermark"):
        return PLAIN_TOPICS[type_name](body.intake)
    if type_name in ("hello", "acknowledgement"):
        return PLAIN_TOPICS[type_name](body.agent)
    return directed_topic(MessageType(type_name), body.agent)

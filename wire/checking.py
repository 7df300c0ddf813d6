"""Steps 1 to 7 of receiving any signed message, in their order, for every receiver.

 1. size within the topic's limit            5. all signatures verify, each key inside its life
 2. outer shape, nothing behind it           6. strict decode of the body
 3. topic parses; type is its first segment  7. ids equal the topic's and the receiver's; subject,
 4. key ids known, roles allowed for type       scope and epoch of the signers cover them
A failure of any step is *junk*: counted, never answered, nothing stored, no state changed. A
retained flag on a message that is never retained is junk too: somebody planted it.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, cast

from wire import envelope
from wire.decoding import BODY_TYPES, Message, decode_body, decode_item
from wire.documents import Manifest, Roster
from wire.envelope import MalformedError, signed_bytes
from wire.keys import KeyId, verifies
from wire.messages import (
    Acknowledgement,
    Command,
    Filed,
    Hello,
    Item,
    Payment,
    Receipt,
    Watermark,
    Welcome,
)
from wire.topics import (
    SHAPES,
    MessageType,
    NotATopicError,
    Topic,
    agent_shard,
    parse,
    payment_shard,
)
from wire.trust import SIGNER_ROLES, Key, Keyring
from wire.vocabulary import Role

# A provider that cannot be polled is listed in an intake's scope with this prefix (R1).
WEBHOOK_ONLY_PREFIX = "WEBHOOK:"


class Delivered(Protocol):
    """What a broker delivers: `link.Delivery`, or a simulation's message."""

    @property
    def topic(self) -> str:
        """The topic it came on."""

    @property
    def payload(self) -> bytes:
        """The bytes as published."""

    @property
    def is_retained(self) -> bool:
        """Whether the broker kept it from before."""


@dataclass(frozen=True, slots=True)
class Junk:
    """Why a message is not worth an answer: the step that failed, and a word for the counters."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A message that passed steps 1 to 7."""

    topic: Topic
    message: Message
    body: bytes
    digest: bytes
    signers: tuple[Key, ...]
    items: tuple[Item, ...] = ()  # an acknowledgement's, decoded; their bytes are in the message

    @property
    def roles(self) -> frozenset[Role]:
        """The roles that signed."""
        return frozenset(key.role for key in self.signers)


def check(
    delivered: Delivered, ring: Keyring, *, at_ms: int | None, receiver: str | None = None
) -> Checked | Junk:
    """Judge a message by steps 1 to 7.

    Args:
        delivered: topic, payload and retained flag as the broker gave them.
        ring: the keys known now.
        at_ms: the latest time it can be; None while none is known: key lives are then judged
            later, by the rules that need a time.
        receiver: the agent or intake that this process is; None for an engine.
    """
    payload = delivered.payload
    try:
        parsed = parse(delivered.topic)
    except NotATopicError:
        return Junk(3, "topic")
    message_type = parsed.message_type
    shape = SHAPES[message_type]
    if len(payload) > shape.limit_bytes:
        return Junk(1, "oversize")
    if delivered.is_retained and not shape.may_be_retained:
        return Junk(3, "retained")
    try:
        opened = envelope.unpack(payload)
    except MalformedError:
        return Junk(2, "envelope")
    signers = _signers(opened, ring)
    if signers is None or not _roles_may_sign(signers, message_type):
        return Junk(4, "signers")
    signed = signed_bytes(ring.installation, message_type.value, opened.body)
    for key, one in zip(signers, opened.signatures, strict=True):
        if not verifies(key.public, one.signature, signed):
            return Junk(5, "signature")
    try:
        message = decode_body(BODY_TYPES[message_type], opened.body)
        items = _items_of(message)
    except MalformedError:
        return Junk(6, "body")
    # A welcome brings the time itself, so its key is judged by the time it brings.
    judged_at_ms = message.now_ms if isinstance(message, Welcome) else at_ms
    if judged_at_ms is not None and not all(key.is_valid_at(judged_at_ms) for key in signers):
        return Junk(5, "key_life")
    if not _ids_agree(parsed, message, signers, ring, receiver):
        return Junk(7, "ids")
    return Checked(
        topic=parsed,
        message=message,
        body=opened.body,
        digest=sha256(signed).digest(),
        signers=signers,
        items=items,
    )


def _items_of(message: Message) -> tuple[Item, ...]:
    """An acknowledgement's items, which its own type keeps as raw bytes, held to the same step."""
    if not isinstance(message, Acknowledgement):
        return ()
    items = tuple(decode_item(bytes(item)) for item in message.items)
    if any(later.number != earlier.number + 1 for earlier, later in itertools.pairwise(items)):
        raise MalformedError("an acknowledgement's items have consecutive numbers")
    return items


def _signers(opened: envelope.Envelope, ring: Keyring) -> tuple[Key, ...] | None:
    found = tuple(ring.keys.get(KeyId(one.key_id)) for one in opened.signatures)
    return None if None in found else cast("tuple[Key, ...]", found)


def _roles_may_sign(signers: tuple[Key, ...], message_type: MessageType) -> bool:
    roles = tuple(sorted((key.role for key in signers), key=_role_order))
    if roles not in SIGNER_ROLES.get(message_type, frozenset()):
        return False
    subjects = [key.subject for key in signers if key.role is Role.APPROVER]
    return len(set(subjects)) == len(subjects)  # two keys of one person are one person


_ROLE_ORDER = {role: place for place, role in enumerate(Role)}


def _role_order(role: Role) -> int:
    return _ROLE_ORDER[role]


def _ids_agree(
    topic: Topic, message: Message, signers: tuple[Key, ...], ring: Keyring, receiver: str | None
) -> bool:
    directed_to = topic.agent or topic.intake
    if receiver is not None and directed_to not in (None, receiver):
        return False
    engines = [key for key in signers if key.role in (Role.ENGINE, Role.TIME)]
    if any(key.epoch < ring.epoch_floor for key in engines):
        return False
    judge = _ID_RULES.get(topic.message_type)
    return judge is None or judge(topic, message, signers)


def _payment_ids(topic: Topic, message: Message, signers: tuple[Key, ...]) -> bool:
    payment = cast("Payment", message)
    shards = {payment_shard(payment.provider, item.payment_id) for item in payment.items}
    return (
        payment.provider == topic.provider
        and payment.intake == signers[0].subject
        and is_in_scope(signers[0], payment.provider)
        and shards == {topic.shard}
    )


def _watermark_ids(topic: Topic, message: Message, signers: tuple[Key, ...]) -> bool:
    watermark = cast("Watermark", message)
    return watermark.intake == topic.intake == signers[0].subject and all(
        is_in_scope(signers[0], mark.provider) for mark in watermark.providers
    )


def _agent_speaks(topic: Topic, message: Message, signers: tuple[Key, ...]) -> bool:
    agent = cast("Hello | Acknowledgement", message).agent
    return agent == topic.agent == signers[0].subject and topic.shard == agent_shard(agent)


def _agent_is_spoken_to(topic: Topic, message: Message, _: tuple[Key, ...]) -> bool:
    return cast("Welcome | Filed | Roster", message).agent == topic.agent


def _manifest_ids(topic: Topic, message: Message, signers: tuple[Key, ...]) -> bool:
    manifest = cast("Manifest", message)
    return (
        manifest.agent == topic.agent
        # Whoever asks for a mass open is not one of the two who allow it.
        and manifest.requester not in {key.subject for key in signers}
        and all(earlier < later for earlier, later in itertools.pairwise(manifest.meters))
    )


def _receipt_ids(topic: Topic, message: Message, _: tuple[Key, ...]) -> bool:
    return cast("Receipt", message).intake == topic.intake


def _command_ids(topic: Topic, message: Message, signers: tuple[Key, ...]) -> bool:
    command = cast("Command", message)
    epochs = {key.epoch for key in signers if key.role is Role.ENGINE}
    return (
        command.agent == topic.agent and command.meter == topic.meter and epochs == {command.epoch}
    )


_ID_RULES: dict[MessageType, Callable[[Topic, Message, tuple[Key, ...]], bool]] = {
    MessageType.PAYMENT: _payment_ids,
    MessageType.WATERMARK: _watermark_ids,
    MessageType.HELLO: _agent_speaks,
    MessageType.ACKNOWLEDGEMENT: _agent_speaks,
    MessageType.WELCOME: _agent_is_spoken_to,
    MessageType.FILED: _agent_is_spoken_to,
    MessageType.MANIFEST: _manifest_ids,
    MessageType.ROSTER: _agent_is_spoken_to,
    MessageType.RECEIPT: _receipt_ids,
    MessageType.COMMAND: _command_ids,
}


def is_in_scope(key: Key, provider: str) -> bool:
    """Whether an intake's key may speak for `provider`."""
    return provider in key.scope or WEBHOOK_ONLY_PREFIX + provider in key.scope

"""From bytes to bodies and back: one encoder, and decoding that accepts one spelling only.

Decoding is strict: types, ranges and lengths are checked, and the decoded value encoded again must
give the same bytes. What passes here has one meaning and one spelling.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from wire.documents import Identity, Manifest, Registry, Resume, Root, Roster, Stop, Trust
from wire.envelope import MalformedError
from wire.fields import Array
from wire.messages import (
    Acknowledgement,
    AlarmItem,
    Command,
    CommandItem,
    Filed,
    Hello,
    Item,
    ManifestItem,
    Payment,
    PaymentItem,
    Receipt,
    ReceivedItem,
    StateItem,
    Watermark,
    Welcome,
)
from wire.topics import SHAPES, MessageType

Message = (
    Payment | Receipt | Watermark | Hello | Welcome | Command | Acknowledgement | Filed
    | Manifest | Roster | Trust | Stop | Resume
)  # fmt: skip
BODY_TYPES: dict[MessageType, type[Message]] = {
    MessageType.PAYMENT: Payment,
    MessageType.RECEIPT: Receipt,
    MessageType.WATERMARK: Watermark,
    MessageType.HELLO: Hello,
    MessageType.WELCOME: Welcome,
    MessageType.COMMAND: Command,
    MessageType.ACKNOWLEDGEMENT: Acknowledgement,
    MessageType.FILED: Filed,
    MessageType.MANIFEST: Manifest,
    MessageType.ROSTER: Roster,
    MessageType.TRUST: Trust,
    MessageType.STOP: Stop,
    MessageType.RESUME: Resume,
}
ITEM_TYPES: dict[str, type[Item]] = {
    "command": CommandItem,
    "received": ReceivedItem,
    "state": StateItem,
    "manifest": ManifestItem,
    "alarm": AlarmItem,
}

_Decoded = TypeVar("_Decoded", bound=Array)
_encoder = msgspec.msgpack.Encoder()
_canonical = msgspec.msgpack.Encoder(order="deterministic")
_decoders: dict[type[Array], msgspec.msgpack.Decoder[Array]] = {
    body_type: msgspec.msgpack.Decoder(body_type)
    for body_type in (
        *(*BODY_TYPES.values(), *ITEM_TYPES.values()),
        *(PaymentItem, Root, Registry, Identity),
    )
}


def encode(value: Array) -> bytes:
    """The one spelling of a body or an item."""
    return _encoder.encode(value)


def raw_items(items: Iterable[bytes]) -> tuple[msgspec.Raw, ...]:
    """Items as an acknowledgement carries them: the exact bytes that the chain is over."""
    return tuple(msgspec.Raw(item) for item in items)


def decode_body(body_type: type[_Decoded], body: bytes) -> _Decoded:
    """Decode a body or an item strictly.

    Raises:
        MalformedError: wrong type, range, length, version, or not the shortest spelling.
    """
    try:
        value = _decoders[body_type].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec 0.22 lets UnicodeDecodeError through for a str that is not UTF-8.
        raise MalformedError(f"not a {body_type.__name__}: {error}") from None
    if _encoder.encode(value) != body:
        raise MalformedError(f"a {body_type.__name__} must be in its shortest spelling")
    return value  # type: ignore[return-value]  # the table pairs each type with its decoder


def canonical(value: object) -> bytes:
    """Plain values, enums and dataclasses as one spelling of msgpack: what digests are taken of."""
    return _canonical.encode(value)


def decode_trust(payload: bytes) -> Trust:
    """Decode a `trust` message, which is no envelope: its documents are judged by `trust.accept`.

    Raises:
        MalformedError: over the topic's limit, or not strictly its shape.
    """
    if len(payload) > SHAPES[MessageType.TRUST].limit_bytes:
        raise MalformedError(f"a trust message of {len(payload)} B is over its limit")
    return decode_body(Trust, payload)


def decode_item(item: bytes) -> Item:
    """Decode one item of an acknowledgement by the kind in its second field.

    Raises:
        MalformedError: unknown kind, or not strictly that kind's shape.
    """
    kind = _kind_of(item)
    item_type = ITEM_TYPES.get(kind)
    if item_type is None:
        raise MalformedError(f"an item of unknown kind {kind!r}")
    return decode_body(item_type, item)


def _kind_of(item: bytes) -> str:
    """The second field of an item whose first is an integer, read from its first bytes."""
    if len(item) < 3 or not 0x90 <= item[0] <= 0x9F:
        raise MalformedError("an item is an array of its number, its kind and more")
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(item[1], 0)
    at = 2 + width
    if at >= len(item) or not 0xA0 <= item[at] <= 0xBF:
        raise MalformedError("an item's second field is its kind")
    return item[at + 1 : at + 1 + (item[at] & 0x1F)].decode("ascii", "replace")

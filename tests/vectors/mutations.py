"""Seeded garbage made from the genuine messages of the vectors.

Two kinds. *Broken* messages are junk by construction: their bytes were changed behind the
signatures. *Signed* messages have a changed body under new signatures of the test keys: some are
junk, some are genuine and odd, as an engine or agent with a mistake, or a thief of one key, may
send them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgpack

from tests.wire import vectors
from tests.wire.spelling import envelope, signed
from tests.wire.vectors import Message
from wire.envelope import unpack

# Numbers at the edges of what a field may hold, and beyond.
EDGES = (0, 1, 2, 64, 65, 255, 256, 65_535, 65_536, 2**32, 2**48 - 1, 2**48, 2**53 - 1, 2**53)
SIGNER_SETS = (
    ("engine",),
    ("engine", "guard"),
    ("agent",),
    ("intake",),
    ("stop",),
    ("approver-1", "approver-2"),
    ("enrol",),
    ("engine-epoch-4",),
    ("time",),
)


@dataclass(frozen=True, slots=True)
class Genuine:
    """One positive vector, taken apart."""

    topic: str
    type_name: str
    payload: bytes
    body: bytes
    signers: tuple[str, ...]


def genuine() -> list[Genuine]:
    return [
        Genuine(
            row["topic"],
            row["type"],
            row["payload"],
            unpack(row["payload"]).body,
            tuple(row["signers"]),
        )
        for row in vectors.envelopes()
        if row["topic"]
    ]


# Broken: the bytes under a signature, or those around them, were changed.


def _flip(random: Random, one: Genuine, _: Genuine) -> bytes:
    changed = bytearray(one.payload)
    for _place in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(random: Random, one: Genuine, _: Genuine) -> bytes:
    return one.payload[: random.randrange(len(one.payload))]


def _extend(random: Random, one: Genuine, _: Genuine) -> bytes:
    return one.payload + random.randbytes(random.randint(1, 40))


def _splice(random: Random, one: Genuine, other: Genuine) -> bytes:
    cut = random.randrange(1, len(one.payload))
    return one.payload[:cut] + other.payload[random.randrange(len(other.payload)) :]


def _swap_body(_: Random, one: Genuine, other: Genuine) -> bytes:
    pairs = [(bytes(pair.key_id), pair.signature) for pair in unpack(one.payload).signatures]
    return envelope(other.body, pairs)


def _noise(random: Random, one: Genuine, _: Genuine) -> bytes:
    return random.randbytes(random.randrange(len(one.payload)))


BREAKERS: tuple[Callable[[Random, Genuine, Genuine], bytes], ...] = (
    _flip, _flip, _flip, _truncate, _extend, _splice, _swap_body, _noise,
)  # fmt: skip


def broken(random: Random, count: int) -> Iterator[Message]:
    """Messages that no signature covers as they are."""
    known = genuine()
    good = {one.payload for one in known}
    while count:
        one, other = random.choice(known), random.choice(known)
        payload = random.choice(BREAKERS)(random, one, other)
        if payload in good:
            continue
        count -= 1
        yield Message(one.topic, payload, is_retained=random.random() < 0.05)


# Signed: a changed body under signatures that hold.


def resigned(random: Random, count: int) -> Iterator[Message]:
    """Messages with changed bodies and good signatures, on their own or another topic."""
    known = genuine()
    for _ in range(count):
        one, other = random.choice(known), random.choice(known)
        names = one.signers if random.random() < 0.9 else random.choice(SIGNER_SETS)
        topic = one.topic if random.random() < 0.95 else other.topic
        yield Message(topic, signed(one.type_name, _body(random, one, other), *names))


def _body(random: Random, one: Genuine, other: Genuine) -> bytes:
    choice = random.random()
    if choice < 0.05:
        return other.body
    if choice < 0.15:
        changed = bytearray(one.body)
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        return bytes(changed)
    fields = msgpack.unpackb(one.body, use_list=True)
    for _ in range(random.randint(1, 2)):
        _change(random, fields)
    return bytes(msgpack.packb(fields))


def _change(random: Random, fields: list[Any]) -> None:
    """Another value in one place, or one place more or less."""
    if not fields or random.random() < 0.03:
        fields.append(random.choice(EDGES))
        return
    place = random.randrange(len(fields))
    value = fields[place]
    if isinstance(value, list) and random.random() < 0.8:
        _change(random, value)
    elif random.random() < 0.03:
        del fields[place]
    else:
        fields[place] = _other(random, value)


def _other(random: Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, max(0, value - 1), value + 1_000, *EDGES))
    if isinstance(value, bytes):
        size = len(value) if random.random() < 0.9 else random.randrange(70)
        return random.randbytes(size)
    if isinstance(value, str):
        letters = "abcXYZ019-:/ '%"
        return random.choice(
            (value + "X", value[1:], "", "".join(random.choices(letters, k=random.randrange(80))))
        )
    return random.choice((None, 0, b"", "", random.randbytes(16)))

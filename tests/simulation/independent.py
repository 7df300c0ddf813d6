"""A second reader of the wire that shares no code with the first: msgpack and `cryptography`.

What the checks believe of a message is read here, never by the product's own decoder or keys.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.simulation.installation import EPOCH, INSTALLATION, REGISTRY, identities

# key id -> (public key, role, subject): from the documents, ids computed anew.
_KNOWN = {
    sha256(one.public).digest()[:8]: (one.public, one.role.value, one.subject)
    for one in REGISTRY.keys
} | {
    sha256(one.public).digest()[:8]: (one.public, "agent", one.subject)
    for one in identities().values()
}
ENGINE_EPOCH = EPOCH


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope taken apart; nothing is verified yet."""

    type_name: str
    body: list
    digest: bytes
    signed: bytes
    signatures: tuple[tuple[bytes, bytes], ...]


@lru_cache(maxsize=4_096)
def taken_apart(topic: str, payload: bytes) -> Sealed:
    """The message as it would be on this topic."""
    type_name = topic.partition("/")[0]
    _, body, signatures = msgpack.unpackb(payload, raw=False, strict_map_key=True)
    name = type_name.encode("ascii")
    signed = b"".join(
        (b"RELIGHT1", INSTALLATION, bytes([len(name)]), name, len(body).to_bytes(4, "big"), body)
    )
    return Sealed(
        type_name=type_name,
        body=msgpack.unpackb(body, raw=False),
        digest=sha256(signed).digest(),
        signed=signed,
        signatures=tuple((bytes(key_id), bytes(one)) for key_id, one in signatures),
    )


@lru_cache(maxsize=4_096)
def signers(topic: str, payload: bytes) -> tuple[tuple[str, str], ...] | None:
    """(role, subject) of every signature, or None if one of them is not good."""
    sealed = taken_apart(topic, payload)
    found = []
    for key_id, signature in sealed.signatures:
        if key_id not in _KNOWN:
            return None
        public, role, subject = _KNOWN[key_id]
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, sealed.signed)
        except InvalidSignature:
            return None
        found.append((role, subject))
    return tuple(sorted(found))


def read_item(item: bytes) -> list:
    """An item of a journal as a list."""
    return msgpack.unpackb(item, raw=False)


def items_of(payload: bytes) -> list[tuple[list, bytes]]:
    """An acknowledgement's items beside their exact bytes, which the chain is over."""
    body = msgpack.unpackb(payload, raw=False)[1]
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(body)
    unpacker.read_array_header()
    for _ in range(5):
        unpacker.skip()
    found = []
    for _ in range(unpacker.read_array_header()):
        begin = unpacker.tell()
        unpacker.skip()
        raw = body[begin : unpacker.tell()]
        found.append((read_item(raw), raw))
    return found


def head_behind(journal: bytes, agent: str, items: list[bytes]) -> bytes:
    """The head of a journal behind these items, from its first on."""
    head = sha256(b"RELIGHT1 journal" + journal + agent.encode("ascii")).digest()
    for item in items:
        head = sha256(head + sha256(item).digest()).digest()
    return head

"""Envelopes, root, registry and identities, judged by another library than the product's.

Rules kept here: signed(type, body) = "RELIGHT1" + installation + u8 + type + u32 + body; a document
under the root needs the root's threshold; a key counts for its role, inside its life.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloud.audit.unpacking import SpellingError, unpack, unpack_array


class EvidenceError(ValueError):
    """A document the audit stands on cannot be believed: nothing else can be said."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope taken apart."""

    body: bytes
    signatures: tuple[tuple[bytes, bytes], ...]  # key id, signature


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that may have signed."""

    public: bytes
    role: str
    subject: str
    epoch: int
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the pinned root vouches for."""

    installation: bytes
    keys: Mapping[bytes, KnownKey]
    policy: tuple[Any, ...]  # the registry's edge policy, as it stands
    registry_version: int


def open_envelope(data: bytes) -> Sealed:
    """Body and signatures.

    Raises:
        SpellingError: no envelope.
    """
    version, body, signatures = unpack_array(data, 3)
    if version != 1 or not isinstance(body, bytes) or not isinstance(signatures, list):
        raise SpellingError("no envelope of version 1")
    pairs = tuple((cast("list[bytes]", one)[0], cast("list[bytes]", one)[1]) for one in signatures)
    ids = [name for name, _ in pairs]
    if sorted(set(ids)) != ids:
        raise SpellingError("key ids are not strictly ascending")
    return Sealed(body, pairs)


def signed_bytes(installation: bytes, type_name: str, body: bytes) -> bytes:
    """What a signature is made over."""
    name = type_name.encode("ascii")
    size = len(body).to_bytes(4, "big")
    return b"RELIGHT1" + installation + bytes([len(name)]) + name + size + body


def digest(installation: bytes, type_name: str, body: bytes) -> bytes:
    """The one identity of a message."""
    return sha256(signed_bytes(installation, type_name, body)).digest()


def is_signature(public: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether `public` signed."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(public: bytes) -> bytes:
    """SHA-256(public)[0:8]."""
    return sha256(public).digest()[:8]


def trusted(first_root: bytes, pin: bytes, documents: Iterable[bytes]) -> Trusted:
    """What root document 1 and the `trust` documents under it vouch for, the newest last.

    Keys of every one of the documents count, each in its own life: what was signed under a registry
    that was replaced since is still to be verified.

    Raises:
        EvidenceError: the pin is another document's, or a document is not signed as it must be.
    """
    try:
        sealed = open_envelope(first_root)
        root = unpack_array(sealed.body, 6)
        installation = cast("bytes", root[1])
        if digest(installation, "root", sealed.body) != pin:
            raise EvidenceError("root document 1 is not the pinned one")
        _demand(sealed, installation, "root", root)
        keys: dict[bytes, KnownKey] = {}
        newest: list[Any] | None = None
        for one in documents:
            registry = _registry(one, installation, root)
            keys |= {key_id(key.public): key for key in map(_key, registry[6])}
            if newest is None or registry[1] > newest[1]:
                newest = registry
    except (SpellingError, TypeError, IndexError) as error:
        raise EvidenceError(f"the trust documents: {error}") from None
    if newest is None:
        raise EvidenceError("no registry: give the trust documents")
    return Trusted(installation, keys, tuple(newest[7]), newest[1])


def _registry(document: bytes, installation: bytes, first_root: list[Any]) -> list[Any]:
    _, roots, registry = unpack_array(document, 3)
    root = first_root
    for one in cast("list[bytes]", roots):
        sealed = open_envelope(one)
        following = cast("list[Any]", unpack_array(sealed.body, 6))
        if following[1] != installation or following[2] != root[2] + 1:
            raise EvidenceError(f"root {following[2]} does not follow root {root[2]}")
        _demand(sealed, installation, "root", root)
        _demand(sealed, installation, "root", following)
        root = following
    sealed = open_envelope(cast("bytes", registry))
    _demand(sealed, installation, "registry", root)
    found = cast("list[Any]", unpack_array(sealed.body, 8))
    if found[2] != root[2]:
        raise EvidenceError(f"registry {found[1]} names root {found[2]}, held is {root[2]}")
    return found


def _demand(sealed: Sealed, installation: bytes, name: str, root: list[Any]) -> None:
    signed = signed_bytes(installation, name, sealed.body)
    holders = {key_id(public): public for public, _ in root[5]}
    good = sum(
        one in holders and is_signature(holders[one], signature, signed)
        for one, signature in sealed.signatures
    )
    if good < root[4]:
        raise EvidenceError(f"{name}: {good} root keys signed it, {root[4]} are needed")


def _key(entry: list[Any]) -> KnownKey:
    public, role, subject, _scope, epoch, not_before_ms, not_after_ms, _mark = entry
    return KnownKey(public, role, subject, epoch, not_before_ms, not_after_ms)


def signers(
    data: bytes, type_name: str, trust: Trusted, *, at_ms: int
) -> tuple[Sealed, tuple[KnownKey, ...]]:
    """An envelope and the keys that signed it.

    Raises:
        SpellingError: no envelope, an unknown key, one out of its life, or a bad signature.
    """
    sealed = open_envelope(data)
    signed = signed_bytes(trust.installation, type_name, sealed.body)
    found = []
    for name, signature in sealed.signatures:
        key = trust.keys.get(name)
        if key is None:
            raise SpellingError(f"key {name.hex()} stands in no registry that was given")
        if not key.not_before_ms <= at_ms < key.not_after_ms:
            raise SpellingError(f"key {name.hex()} of {key.subject} was out of its life")
        if not is_signature(key.public, signature, signed):
            raise SpellingError(f"the signature of {key.subject} does not verify")
        found.append(key)
    return sealed, tuple(found)


def unpacked(data: bytes) -> list[Any]:
    """A body or item as a list.

    Raises:
        SpellingError: none.
    """
    value = unpack(data)
    if not isinstance(value, list):
        raise SpellingError("no array")
    return cast("list[Any]", value)

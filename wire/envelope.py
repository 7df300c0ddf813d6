"""What a signature covers, and the envelope that carries it: seal and open.

Rules kept here:
 * signed(type, body) = "RELIGHT1" + installation + u8(len type) + type + u32be(len body) + body.
   The installation id is inside, so a message of one company, or of a test copy of it, is noise in
   another; the type is inside, so no message can be shown as another.
 * Bytes are verified as received and decoded afterwards; nothing is re-encoded to verify it.
 * A message is identified by its digest, never by envelope or signature bytes, which another
   library may vary.
 * Key ids stand in strictly ascending order, so two signatures of one key cannot count twice.
"""

import itertools
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from wire.fields import Bytes8, Bytes64, InstallationId
from wire.keys import SigningKey

_PREFIX = b"RELIGHT1"
SIGNATURES_MAX = 4


class MalformedError(ValueError):
    """Bytes that are not what the protocol page says they must be."""


class Signature(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One signature of an envelope."""

    key_id: Bytes8
    signature: Bytes64


class Envelope(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`[1, body, [[key id, signature], ...]]`."""

    version: Annotated[int, Meta(ge=1, le=1)]
    body: bytes
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=SIGNATURES_MAX)]


_decoder = msgspec.msgpack.Decoder(Envelope)
_encoder = msgspec.msgpack.Encoder()


def signed_bytes(installation: InstallationId, type_name: str, body: bytes) -> bytes:
    """The exact bytes a signature is made over."""
    name = type_name.encode("ascii")
    return b"".join(
        (_PREFIX, installation, bytes((len(name),)), name, len(body).to_bytes(4, "big"), body)
    )


def digest(installation: InstallationId, type_name: str, body: bytes) -> bytes:
    """SHA-256 of the signed bytes: the one identity of a message."""
    return sha256(signed_bytes(installation, type_name, body)).digest()


def seal(
    installation: InstallationId, type_name: str, body: bytes, keys: Sequence[SigningKey]
) -> bytes:
    """The envelope of `body`, signed by each of `keys` (1 to 4, all different)."""
    signed = signed_bytes(installation, type_name, body)
    signatures = (Signature(key.key_id, key.sign(signed)) for key in keys)
    return pack(body, tuple(signatures))


def pack(body: bytes, signatures: Sequence[Signature]) -> bytes:
    """An envelope of signatures that were made elsewhere, put in ascending order of key id."""
    ordered = tuple(sorted(signatures, key=lambda one: one.key_id))
    return _encoder.encode(Envelope(1, body, ordered))


def unpack(payload: bytes) -> Envelope:
    """Take an envelope apart; nothing is verified yet.

    Raises:
        MalformedError: wrong shape, long forms, anything behind it, or key ids not ascending.
    """
    try:
        envelope = _decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError(f"not an envelope: {error}") from None
    if _encoder.encode(envelope) != payload:
        raise MalformedError("an envelope's integers and lengths must be in their shortest form")
    ids = [one.key_id for one in envelope.signatures]
    if any(earlier >= later for earlier, later in itertools.pairwise(ids)):
        raise MalformedError("key ids must be strictly ascending")
    return envelope

"""A document of several signers on its way between them: the body, and the signatures so far.

Rules kept here: a draft is one JSON file, so it can travel on any medium; its body never changes,
each holder adds a signature; a signature that does not verify is refused when the draft is read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from wire import envelope
from wire.decoding import decode_body, encode
from wire.documents import Registry, Resume, Root
from wire.envelope import MalformedError, Signature
from wire.fields import InstallationId
from wire.keys import SigningKey
from wire.topics import MessageType
from wire.trust import REGISTRY_TYPE, ROOT_TYPE

FORMAT = "relight-draft-1"


class DraftError(ValueError):
    """A draft that cannot be read or signed."""


class DocumentKind(StrEnum):
    """What is being signed; the value is the signed type's name."""

    ROOT = ROOT_TYPE
    REGISTRY = REGISTRY_TYPE
    RESUME = MessageType.RESUME.value


Document = Root | Registry | Resume
_BODIES: Mapping[DocumentKind, type[Document]] = {
    DocumentKind.ROOT: Root,
    DocumentKind.REGISTRY: Registry,
    DocumentKind.RESUME: Resume,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document before enough people signed it."""

    kind: DocumentKind
    installation: InstallationId
    body: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> bytes:
        """What holders compare by telephone before they sign."""
        return envelope.digest(self.installation, self.kind.value, self.body)

    @property
    def document(self) -> Document:
        """The body as values."""
        return decode_body(_BODIES[self.kind], self.body)

    def envelope(self) -> bytes:
        """The document with the signatures it has.

        Raises:
            DraftError: nobody has signed it.
        """
        if not self.signatures:
            raise DraftError(f"nobody has signed this {self.kind}")
        return envelope.pack(self.body, self.signatures)


def draft_of(document: Document, installation: InstallationId) -> Draft:
    """A document nobody has signed yet."""
    kind = next(kind for kind, body in _BODIES.items() if isinstance(document, body))
    return Draft(kind=kind, installation=installation, body=encode(document))


def signed(draft: Draft, key: SigningKey) -> Draft:
    """The draft with one more signature.

    Raises:
        DraftError: this key has signed, or as many have as an envelope can carry.
    """
    if any(one.key_id == key.key_id for one in draft.signatures):
        raise DraftError(f"key {key.key_id.hex()} has signed this {draft.kind} already")
    if len(draft.signatures) == envelope.SIGNATURES_MAX:
        raise DraftError(f"this {draft.kind} has {envelope.SIGNATURES_MAX} signatures: enough")
    over = envelope.signed_bytes(draft.installation, draft.kind.value, draft.body)
    fresh = Signature(key.key_id, key.sign(over))
    return replace(draft, signatures=(*draft.signatures, fresh))


def to_json(draft: Draft) -> str:
    """The file."""
    return json.dumps(
        {
            "format": FORMAT,
            "kind": draft.kind.value,
            "installation": draft.installation.hex(),
            "body": draft.body.hex(),
            "signatures": [[one.key_id.hex(), one.signature.hex()] for one in draft.signatures],
        },
        indent=1,
    )


def from_json(text: str) -> Draft:
    """Read a draft's file.

    Raises:
        DraftError: no draft, or a body that is no such document.
    """
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise DraftError(f"format {found['format']!r}, not {FORMAT}")
        draft = Draft(
            kind=DocumentKind(found["kind"]),
            installation=InstallationId(bytes.fromhex(found["installation"])),
            body=bytes.fromhex(found["body"]),
            signatures=tuple(
                Signature(bytes.fromhex(name), bytes.fromhex(signature))
                for name, signature in found["signatures"]
            ),
        )
        _ = draft.document
    except (KeyError, TypeError, ValueError, MalformedError) as error:
        raise DraftError(f"no draft of a root, registry or resume: {error}") from None
    return draft

"""How an agent comes to belong to an installation: a one-time token, and the request it allows.

Rules kept here (R12): the token names root document 1 by its digest, out of band, so an agent
accepts no other root; the agent makes its own key and shows, by the token's secret, that it is the
one the token was meant for; a token ends by its use or its time. Both are JSON files, for any
medium. Pure.
"""

import hmac
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from wire.fields import AgentField, AgentId, InstallationId, Milliseconds
from wire.keys import KeyId, is_acceptable_public_key, key_id
from wire.trust import TrustRefusedError, anchor

SECRET_BYTES = 32
_PROOF_PREFIX = b"RELIGHT1 enrol"
_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z", max_length=32_768)]
_Read = TypeVar("_Read", "Token", "Request")


class EnrolmentError(ValueError):
    """A token or a request that cannot be used."""


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a concentrator is handed at its commissioning; secret until it was used."""

    format: Literal["relight-token-1"] = "relight-token-1"
    agent: AgentField
    brokers: tuple[str, ...]
    pin: _Hex32  # digest of root document 1
    root_document: _Hex  # that document: public, checked against the pin
    secret: _Hex32
    expires_at_ms: Milliseconds


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent's key, with the proof that who made it held the token's secret."""

    format: Literal["relight-request-1"] = "relight-request-1"
    agent: AgentField
    public: _Hex32
    proof: _Hex32

    @property
    def public_bytes(self) -> bytes:
        """The key itself."""
        return bytes.fromhex(self.public)

    @property
    def key_id(self) -> KeyId:
        """The id of the key."""
        return key_id(self.public_bytes)


def request_of(token: Token, public: bytes) -> Request:
    """The request of the agent that made the key `public`."""
    proof = _proof(bytes.fromhex(token.secret), token.agent, public)
    return Request(agent=token.agent, public=public.hex(), proof=proof.hex())


def is_proven(request: Request, secret: bytes) -> bool:
    """Whether a holder of the secret made the request."""
    expected = _proof(secret, request.agent, request.public_bytes)
    return hmac.compare_digest(expected.hex(), request.proof)


def installation_of(token: Token) -> InstallationId:
    """The installation of the token's root document, which is the one its pin names.

    Raises:
        EnrolmentError: another document, or none.
    """
    try:
        authorities = anchor(bytes.fromhex(token.root_document), bytes.fromhex(token.pin))
    except TrustRefusedError as error:
        raise EnrolmentError(f"the token's root document: {error}") from None
    return authorities.root.installation


def to_json(one: Token | Request) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(one), indent=1) + b"\n"


def token_from_json(text: bytes) -> Token:
    """Read a token's file.

    Raises:
        EnrolmentError: no token, or a root document that is not the pinned one.
    """
    token = _decoded(text, Token)
    installation_of(token)
    return token


def request_from_json(text: bytes) -> Request:
    """Read a request's file.

    Raises:
        EnrolmentError: no request, or a key that cannot be one.
    """
    request = _decoded(text, Request)
    if not is_acceptable_public_key(request.public_bytes):
        raise EnrolmentError(f"the request of {request.agent} holds no usable public key")
    return request


def _decoded(text: bytes, kind: type[_Read]) -> _Read:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EnrolmentError(f"no {kind.__name__.lower()} of an enrolment: {error}") from None


def _proof(secret: bytes, agent: AgentId, public: bytes) -> bytes:
    return hmac.digest(secret, _PROOF_PREFIX + agent.encode("ascii") + public, "sha256")

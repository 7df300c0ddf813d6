"""The commissioning desk: hands out one-time tokens and signs the identity of who comes back.

Rules kept here (R12, R16): a token serves one agent once, within its time; the desk keeps its
secret in a file of mode 0600 and takes it away by use; the new identity has the next serial, so an
agent on new hardware takes its name over and the old hardware's key is worth nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wire import envelope
from wire.decoding import decode_body, encode
from wire.documents import Identity
from wire.enrolment import (
    SECRET_BYTES,
    EnrolmentError,
    Request,
    Token,
    installation_of,
    is_proven,
    to_json,
    token_from_json,
)
from wire.envelope import MalformedError
from wire.fields import AgentId
from wire.key_files import PRIVATE_MODE, write_whole
from wire.keys import SigningKey
from wire.trust import IDENTITY_TYPE

DAY_MS = 86_400_000
TOKEN_LIFE_MS = 7 * DAY_MS  # from the desk to the pole
IDENTITY_LIFE_MS = (
    3_650 * DAY_MS
)  # as long as a concentrator stays; a lost one is replaced by serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What it hands out with every token, and where it keeps tokens and identities."""

    first_root: bytes  # root document 1, and its digest in hex
    pin: str
    brokers: tuple[str, ...]
    tokens: Path
    identities: Path

    def _token_path(self, agent: AgentId) -> Path:
        return self.tokens / f"{agent}.token"

    def hand_out(
        self, agent: AgentId, *, now_ms: int, random_bytes: Callable[[int], bytes]
    ) -> Token:
        """A token for one agent; one that was handed out before is worth nothing from now on."""
        token = Token(
            agent=agent,
            brokers=self.brokers,
            pin=self.pin,
            root_document=self.first_root.hex(),
            secret=random_bytes(SECRET_BYTES).hex(),
            expires_at_ms=now_ms + TOKEN_LIFE_MS,
        )
        installation_of(token)
        write_whole(self._token_path(agent), to_json(token), mode=PRIVATE_MODE)
        return token

    def take(self, request: Request, key: SigningKey, *, now_ms: int) -> Identity:
        """Sign the identity of an agent that proved it holds its token, and end the token.

        Args:
            request: what the agent made of its token.
            key: of the role enrol.
            now_ms: the desk's clock.

        Raises:
            EnrolmentError: no open token of this agent, out of time, or not proven.
        """
        path = self._token_path(request.agent)
        try:
            token = token_from_json(path.read_bytes())
        except FileNotFoundError:
            raise EnrolmentError(
                f"no open token of {request.agent}: it was used, or never handed out; hand out"
                " another with `relight agents enrol`"
            ) from None
        if now_ms >= token.expires_at_ms:
            raise EnrolmentError(f"the token of {request.agent} is out of time: hand out another")
        if not is_proven(request, bytes.fromhex(token.secret)):
            raise EnrolmentError(
                f"the request of {request.agent} was not made with its token: it may be another's"
            )
        identity = Identity(
            agent=request.agent,
            public=request.public_bytes,
            issued_at_ms=now_ms,
            not_after_ms=now_ms + IDENTITY_LIFE_MS,
            serial=self._next_serial(request.agent),
        )
        sealed = envelope.seal(installation_of(token), IDENTITY_TYPE, encode(identity), [key])
        # The token goes first: a crash between the two costs another token, never a second use.
        path.unlink()
        name = f"{request.agent}-{identity.serial}.identity"
        write_whole(self.identities / name, sealed)
        return identity

    def _next_serial(self, agent: AgentId) -> int:
        highest = 0
        for path in self.identities.glob("*.identity"):
            try:
                held = decode_body(Identity, envelope.unpack(path.read_bytes()).body)
            except MalformedError:
                continue  # the engine leaves it out and tells of it
            if held.agent == agent:
                highest = max(highest, held.serial)
        return highest + 1

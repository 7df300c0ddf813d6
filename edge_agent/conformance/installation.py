"""The runner's own little installation: keys, root and registry documents, and sealing with them.

Rules kept here: keys are made anew for each run from the randomness that is handed in; every
document is one that a conforming agent accepts unless a case asks for another on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from wire.decoding import encode
from wire.documents import (
    UTC_OFFSET_BIAS_MINUTES,
    EdgePolicy,
    OpenWindow,
    Registry,
    RegistryKey,
    Root,
    RootKey,
    Trust,
)
from wire.envelope import digest, seal, unpack
from wire.fields import AgentId, InstallationId
from wire.keys import SEED_BYTES, SigningKey
from wire.trust import REGISTRY_TYPE, ROOT_TYPE, Key, Keyring
from wire.vocabulary import Role

EPOCH = 3
NEXT_EPOCH = 4
DAY_MS = 86_400_000
REGISTRY_LIFE_MS = 30 * DAY_MS
FOR_EVER_MS = 2**47

# name -> (role, subject, epoch): the keys that stand in the first registry.
_IN_REGISTRY: dict[str, tuple[Role, str, int]] = {
    "enrol": (Role.ENROL, "commissioning-desk", 0),
    "engine": (Role.ENGINE, "engine-host-1", EPOCH),
    "engine-second": (Role.ENGINE, "engine-host-2", EPOCH),
    "engine-next": (Role.ENGINE, "engine-host-1", NEXT_EPOCH),
    "engine-over": (Role.ENGINE, "engine-host-3", EPOCH),
    "time": (Role.TIME, "engine-host-1", EPOCH),
    "guard": (Role.GUARD, "guard-host", 0),
    "stop": (Role.STOP, "control-room", 0),
    "anna": (Role.APPROVER, "A. Joshi", 0),
    "anna-second": (Role.APPROVER, "A. Joshi", 0),
    "bala": (Role.APPROVER, "B. Rao", 0),
    "intake": (Role.INTAKE, "INTAKE-1", 0),
}
_ELSEWHERE = ("root", "root-next", "stranger", "agent")


def policy(*windows: OpenWindow) -> EdgePolicy:
    """No dwell and no hours but these, so that what decides is what a case is about."""
    return EdgePolicy(
        per_mille=20,
        small=1,
        ceiling=20,
        per_meter_opens=2,
        utc_offset_minutes=UTC_OFFSET_BIAS_MINUTES,
        windows=windows,
        closed_days=(),
        dwell_ms=0,
    )


ALWAYS = policy(OpenWindow(weekdays=127, from_minute=0, to_minute=1_440))
NEVER = policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything that signs in one run."""

    agent: AgentId
    installation: InstallationId
    keys: dict[str, SigningKey] = field(repr=False)

    def seal(self, type_name: str, body: bytes, *names: str) -> bytes:
        """The envelope of `body`, signed by the keys of these names."""
        return seal(self.installation, type_name, body, [self.keys[name] for name in names])

    def id_of(self, type_name: str, body: bytes) -> bytes:
        """The id that this message has for ever."""
        return digest(self.installation, type_name, body)[:16]

    def first_root(self) -> bytes:
        """Root document 1, the one that is handed over with its pin."""
        return self.seal(ROOT_TYPE, encode(self._root(1, "root")), "root")

    def next_root(self) -> bytes:
        """Root document 2: the key is renewed, and both sign."""
        return self.seal(ROOT_TYPE, encode(self._root(2, "root-next")), "root", "root-next")

    def pin(self) -> bytes:
        """The digest of root document 1."""
        return digest(self.installation, ROOT_TYPE, unpack(self.first_root()).body)

    def _root(self, version: int, name: str) -> Root:
        return Root(
            installation=self.installation,
            root_version=version,
            issued_at_ms=0,
            threshold=1,
            keys=(RootKey(public=self.keys[name].public, holder="R. Joshi"),),
        )

    def registry(self, now_ms: int, **changes: object) -> Registry:
        """Registry 1, or one with these fields changed."""
        values: dict[str, object] = {
            "registry_version": 1,
            "root_version": 1,
            "issued_at_ms": now_ms - DAY_MS,
            "expires_at_ms": now_ms - DAY_MS + REGISTRY_LIFE_MS,
            "epoch_floor": 0,
            "keys": tuple(self.registry_key(name, now_ms) for name in _IN_REGISTRY),
            "policy": ALWAYS,
        }
        return Registry(**{**values, **changes})  # type: ignore[arg-type]  # named fields

    def registry_key(self, name: str, now_ms: int, **changes: object) -> RegistryKey:
        """One row of the registry; the life of `engine-over` ended an hour ago."""
        role, subject, epoch = _IN_REGISTRY[name]
        values: dict[str, object] = {
            "public": self.keys[name].public,
            "role": role,
            "subject": subject,
            "scope": ("PAYCO",) if role is Role.INTAKE else (),
            "epoch": epoch,
            "not_before_ms": 0,
            "not_after_ms": now_ms - 3_600_000 if name == "engine-over" else FOR_EVER_MS,
            "mark": "",
        }
        return RegistryKey(**{**values, **changes})  # type: ignore[arg-type]  # named fields

    def trust(self, registry: Registry, *, signer: str = "root", roots: bytes = b"") -> bytes:
        """The trust message of a registry; `roots`: root document 2, if it is there."""
        sealed = self.seal(REGISTRY_TYPE, encode(registry), signer)
        return encode(Trust(roots=(roots,) if roots else (), registry=sealed))

    def agent_ring(self) -> Keyring:
        """The keys that the cloud knows of this agent."""
        own = self.keys["agent"]
        key = Key(
            key_id=own.key_id,
            public=own.public,
            role=Role.AGENT,
            subject=self.agent,
            not_after_ms=FOR_EVER_MS,
        )
        return Keyring(installation=self.installation, epoch_floor=0, keys={own.key_id: key})

    def elsewhere(self, random_bytes: Callable[[int], bytes]) -> "Installation":
        """The same keys under another installation id: a test copy of the same company."""
        return replace(self, installation=InstallationId(random_bytes(16)))


def new_installation(agent: AgentId, random_bytes: Callable[[int], bytes]) -> Installation:
    """An installation with fresh keys."""
    names = (*_IN_REGISTRY, *_ELSEWHERE)
    return Installation(
        agent=agent,
        installation=InstallationId(random_bytes(16)),
        keys={name: SigningKey(random_bytes(SEED_BYTES)) for name in names},
    )

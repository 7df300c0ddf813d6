"""Root and registry documents: which keys there are, and which roles may sign what.

Rules kept here (docs/protocol.md, "Trust"; R12):
 * The first root document is pinned by its digest, handed over out of band. Version k+1 is accepted
   only while k is held, with enough signatures of k's keys and of k+1's.
 * A registry is accepted only under the current root, with a rising version, and whole.
 * An expired registry stops opens, never closes: whoever accepts documents keeps the expiry as a
   fact, and the rule on opens looks at it.
 * Thresholds of the online roles are constants here, not data in a document.
Agents' keys are not in the registry: `identity` statements of the enrol role, held by the cloud.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wire import envelope
from wire.decoding import decode_body
from wire.documents import Identity, Registry, RegistryKey, Root, Trust
from wire.envelope import Envelope, MalformedError, signed_bytes
from wire.fields import InstallationId
from wire.keys import KeyId, is_acceptable_public_key, key_id, verifies
from wire.topics import MessageType
from wire.vocabulary import Role

ROOT_TYPE = "root"
REGISTRY_TYPE = "registry"
IDENTITY_TYPE = "identity"
REGISTRY_LIFE_MAX_MS = 60 * 86_400_000
DEVELOPMENT_MARK = "development"
_Document = TypeVar("_Document", Root, Registry, Identity)

# Which sets of roles may sign a type, in the order of the enum's values; anything else is junk.
# Two signatures of one role count only where the row says so (two approvers).
SIGNER_ROLES: dict[MessageType, frozenset[tuple[Role, ...]]] = {
    MessageType.PAYMENT: frozenset({(Role.INTAKE,)}),
    MessageType.WATERMARK: frozenset({(Role.INTAKE,)}),
    MessageType.RECEIPT: frozenset({(Role.ENGINE,)}),
    MessageType.HELLO: frozenset({(Role.AGENT,)}),
    MessageType.ACKNOWLEDGEMENT: frozenset({(Role.AGENT,)}),
    MessageType.WELCOME: frozenset({(Role.ENGINE,), (Role.TIME,)}),
    MessageType.FILED: frozenset({(Role.ENGINE,)}),
    MessageType.COMMAND: frozenset({(Role.ENGINE,), (Role.ENGINE, Role.GUARD)}),
    MessageType.MANIFEST: frozenset({(Role.APPROVER, Role.APPROVER)}),
    MessageType.ROSTER: frozenset({(Role.ENROL,), (Role.ENROL, Role.GUARD)}),
    MessageType.STOP: frozenset({(Role.STOP,), (Role.APPROVER,), (Role.GUARD,), (Role.ENGINE,)}),
    MessageType.RESUME: frozenset({(Role.APPROVER, Role.APPROVER)}),
}


class TrustRefusedError(ValueError):
    """A document that may not be believed; what was held before stays in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key that may sign: whose, what for, for how long."""

    key_id: KeyId
    public: bytes
    role: Role
    subject: str
    scope: tuple[str, ...] = ()
    epoch: int = 0
    not_before_ms: int = 0
    not_after_ms: int = 0
    mark: str = ""

    def is_valid_at(self, at_ms: int) -> bool:
        """Whether `at_ms` lies in the key's life."""
        return self.not_before_ms <= at_ms < self.not_after_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Every key a receiver knows at this moment, and the lowest engine epoch still in force."""

    installation: InstallationId
    epoch_floor: int
    keys: Mapping[KeyId, Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """What a process believes: its root, and the newest registry accepted under it, if any."""

    root: Root
    first_root: bytes  # the envelope of root document 1
    later_roots: tuple[bytes, ...] = ()
    registry: Registry | None = None
    registry_envelope: bytes = b""

    @property
    def registry_version(self) -> int:
        """0 while no registry was accepted."""
        return self.registry.registry_version if self.registry else 0

    def keyring(self, identities: Mapping[KeyId, Key] | None = None) -> Keyring:
        """The keys in force; the cloud adds its agents' identities."""
        registry_keys = self.registry.keys if self.registry else ()
        keys = {key_id(one.public): _key(one) for one in registry_keys}
        return Keyring(
            installation=self.root.installation,
            epoch_floor=self.registry.epoch_floor if self.registry else 0,
            keys={**keys, **(identities or {})},
        )

    def documents(self) -> Trust:
        """The `trust` message that brings another holder of root 1 to this state."""
        return Trust(roots=self.later_roots, registry=self.registry_envelope)


def anchor(first_root: bytes, pin: bytes) -> Authorities:
    """Begin to trust: root document 1, whose digest was handed over out of band (32 bytes).

    Raises:
        TrustRefusedError: another document than the pinned one, or not signed by its own keys.
    """
    root, opened = _root(first_root)
    found = envelope.digest(root.installation, ROOT_TYPE, opened.body)
    if found != pin:
        raise TrustRefusedError(f"root document has digest {found.hex()}, the pin is {pin.hex()}")
    if root.root_version != 1:
        raise TrustRefusedError(f"the first root document has version {root.root_version}, not 1")
    _demand_threshold(root, opened, also_known=root)
    return Authorities(root=root, first_root=first_root)


def accept(
    held: Authorities, documents: Trust, *, latest_ms: int | None, is_production: bool
) -> Authorities:
    """The authorities after `documents`, or `held` itself when they bring nothing new.

    Args:
        held: what is believed now.
        documents: all root documents after version 1, then a registry.
        latest_ms: the latest time it can be; None while no time is known (judged later).
        is_production: a production process refuses keys with the development mark.

    Raises:
        TrustRefusedError: with what is wrong; `held` stays in force.
    """
    root, later = held.root, held.later_roots
    for candidate in documents.roots[len(later) :]:
        root = _next_root(root, candidate)
        later = (*later, candidate)
    opened = _unpacked(documents.registry, "registry")
    registry = _decoded(Registry, opened)
    if registry.root_version != root.root_version:
        raise TrustRefusedError(
            f"registry {registry.registry_version} names root {registry.root_version},"
            f" the current root is {root.root_version}"
        )
    _demand_threshold(root, opened, also_known=root, type_name=REGISTRY_TYPE)
    if held.registry is not None and not _is_newer(registry, held, opened):
        return held
    _demand_whole(registry, latest_ms, is_production=is_production)
    _demand_no_root_key(registry, root)
    return Authorities(
        root=root,
        first_root=held.first_root,
        later_roots=later,
        registry=registry,
        registry_envelope=documents.registry,
    )


def open_identity(authorities: Authorities, statement: bytes) -> Identity:
    """An agent's identity, if enrol signed it while its key was valid.

    The enrol key is judged at the time the statement was issued: what it signed stays valid after
    its end, for as long as the registry lists it. A stolen enrol key is taken out of the registry.

    Raises:
        TrustRefusedError: malformed, not signed by a valid enrol key, or a small-order key.
    """
    opened = _unpacked(statement, "identity")
    identity = _decoded(Identity, opened)
    issued_at_ms = identity.issued_at_ms
    ring = authorities.keyring()
    signed = signed_bytes(ring.installation, IDENTITY_TYPE, opened.body)
    for one in opened.signatures:
        key = ring.keys.get(KeyId(one.key_id))
        if key is None or key.role is not Role.ENROL or not key.is_valid_at(issued_at_ms):
            raise TrustRefusedError(f"identity of {identity.agent}: no valid enrol key signed it")
        if not verifies(key.public, one.signature, signed):
            raise TrustRefusedError(f"identity of {identity.agent}: the signature does not verify")
    if not is_acceptable_public_key(identity.public):
        raise TrustRefusedError(f"identity of {identity.agent}: not a usable public key")
    return identity


def identity_key(identity: Identity) -> Key:
    """The key an identity speaks of."""
    return Key(
        key_id=key_id(identity.public),
        public=identity.public,
        role=Role.AGENT,
        subject=identity.agent,
        not_before_ms=identity.issued_at_ms,
        not_after_ms=identity.not_after_ms,
    )


def _key(entry: RegistryKey) -> Key:
    return Key(
        key_id=key_id(entry.public),
        public=entry.public,
        role=entry.role,
        subject=entry.subject,
        scope=entry.scope,
        epoch=entry.epoch,
        not_before_ms=entry.not_before_ms,
        not_after_ms=entry.not_after_ms,
        mark=entry.mark,
    )


def _unpacked(document: bytes, name: str) -> Envelope:
    try:
        return envelope.unpack(document)
    except MalformedError as error:
        raise TrustRefusedError(f"{name} document: {error}") from None


def _decoded(body_type: type[_Document], opened: Envelope) -> _Document:
    try:
        return decode_body(body_type, opened.body)
    except MalformedError as error:
        raise TrustRefusedError(str(error)) from None


def _root(document: bytes) -> tuple[Root, Envelope]:
    opened = _unpacked(document, "root")
    root = _decoded(Root, opened)
    if not _all_different([key.public for key in root.keys]):
        raise TrustRefusedError(f"root {root.root_version} lists one key twice")
    if not all(is_acceptable_public_key(key.public) for key in root.keys):
        raise TrustRefusedError(f"root {root.root_version} lists an unusable public key")
    return root, opened


def _next_root(held: Root, document: bytes) -> Root:
    root, opened = _root(document)
    if root.root_version != held.root_version + 1:
        raise TrustRefusedError(
            f"root {root.root_version} cannot follow root {held.root_version}: one step at a time"
        )
    if root.installation != held.installation:
        raise TrustRefusedError(f"root {root.root_version} is of another installation")
    _demand_threshold(held, opened, also_known=root)
    _demand_threshold(root, opened, also_known=held)
    return root


def _demand_threshold(
    root: Root, opened: Envelope, *, also_known: Root, type_name: str = ROOT_TYPE
) -> None:
    """Every signature is of a known key and verifies; enough of them are of `root`'s keys."""
    signed = signed_bytes(root.installation, type_name, opened.body)
    mine = {key_id(key.public): key.public for key in root.keys}
    known = {key_id(key.public): key.public for key in also_known.keys} | mine
    for one in opened.signatures:
        public = known.get(KeyId(one.key_id))
        if public is None or not verifies(public, one.signature, signed):
            raise TrustRefusedError(
                f"{type_name} document: signature {one.key_id.hex()} is no good"
            )
    count = sum(one.key_id in mine for one in opened.signatures)
    if count < root.threshold:
        raise TrustRefusedError(
            f"{type_name} document: {count} of root {root.root_version}'s keys signed,"
            f" {root.threshold} are needed"
        )


def _is_newer(registry: Registry, held: Authorities, opened: Envelope) -> bool:
    if registry.registry_version > held.registry_version:
        return True
    if registry.registry_version < held.registry_version:
        raise TrustRefusedError(
            f"registry {registry.registry_version} is older than {held.registry_version}, held now"
        )
    if opened.body != envelope.unpack(held.registry_envelope).body:
        raise TrustRefusedError(
            f"registry {registry.registry_version} exists in two versions: ask the root's holders"
        )
    return False


def _demand_whole(registry: Registry, latest_ms: int | None, *, is_production: bool) -> None:
    version = registry.registry_version
    if latest_ms is not None and registry.expires_at_ms <= latest_ms:
        raise TrustRefusedError(f"registry {version} expired at {registry.expires_at_ms} ms")
    if registry.expires_at_ms - registry.issued_at_ms > REGISTRY_LIFE_MAX_MS:
        raise TrustRefusedError(f"registry {version} lives longer than 60 days")
    publics = [key.public for key in registry.keys]
    if not _all_different(publics) or not _all_different([key_id(public) for public in publics]):
        raise TrustRefusedError(f"registry {version} lists one key twice")
    for key in registry.keys:
        name = key_id(key.public).hex()
        if not key.subject:
            raise TrustRefusedError(f"registry {version}: key {name} names no person or host")
        if key.role in (Role.ROOT, Role.AGENT):
            raise TrustRefusedError(f"registry {version}: {key.role} keys do not stand in it")
        if not is_acceptable_public_key(key.public):
            raise TrustRefusedError(f"registry {version}: key {name} is unusable")
        if is_production and key.mark == DEVELOPMENT_MARK:
            raise TrustRefusedError(f"registry {version}: key {name} is marked development")


def _demand_no_root_key(registry: Registry, root: Root) -> None:
    # Root keys are used offline, a few times a year; an online one would be there to be stolen.
    offline = {key_id(key.public) for key in root.keys}
    for key in registry.keys:
        if key_id(key.public) in offline:
            raise TrustRefusedError(
                f"registry {registry.registry_version}: key {key_id(key.public).hex()} of"
                f" {key.subject} is a key of root {root.root_version}: make another for {key.role}"
            )


def _all_different(values: Sequence[bytes]) -> bool:
    return len(set(values)) == len(values)

"""The installation every vector speaks of: published test seeds, ids, times, trust documents.

Nothing here is secret and nothing is random: a seed is SHA-256 of "Relight test seed: " and the
key's name, so anyone can make the same keys. Every key carries the mark `development`; a
production process refuses the registry that lists them.
"""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from wire.decoding import encode
from wire.documents import (
    EdgePolicy,
    Identity,
    OpenWindow,
    Registry,
    RegistryKey,
    Root,
    RootKey,
    Trust,
)
from wire.envelope import digest, seal
from wire.fields import AgentId, InstallationId, IntakeId, JournalId, MeterId, ProviderId, SpoolId
from wire.keys import SigningKey
from wire.trust import Authorities, Key, Keyring, accept, anchor, identity_key
from wire.vocabulary import Role

NOW_MS = 1_789_972_800_000  # 2026-09-21T06:00:00Z, Monday 11:30 in Indore
MINUTE_MS = 60_000
DAY_MS = 86_400_000
EPOCH = 3

AGENT = AgentId("AG-INDORE-0417")
OTHER_AGENT = AgentId("AG-INDORE-0418")
METER = MeterId("MET-40017712")
OTHER_METER = MeterId("MET-40017713")
FOREIGN_METER = MeterId("MET-59990001")  # stands in no roster of AGENT
INTAKE = IntakeId("INTAKE-1")
PROVIDER = ProviderId("RAZORPAY")
WEBHOOK_PROVIDER = ProviderId("BBPS-BANK")
FOREIGN_PROVIDER = ProviderId("PAYTM")


def made_up(name: str, size: int) -> bytes:
    """Bytes that look random and are the same on every machine."""
    return sha256(b"Relight test vectors: " + name.encode("ascii")).digest()[:size]


INSTALLATION = InstallationId(made_up("installation", 16))
OTHER_INSTALLATION = InstallationId(made_up("another installation", 16))
JOURNAL = JournalId(made_up("journal", 8))
OTHER_JOURNAL = JournalId(made_up("another journal", 8))
SPOOL = SpoolId(made_up("spool", 8))
NONCE = made_up("nonce of hello 9", 16)
NEXT_NONCE = made_up("nonce of the next boot", 16)
EVIDENCE = made_up("decision", 32)
GENERATION_MS = NOW_MS - 30 * DAY_MS


@cache
def key(name: str) -> SigningKey:
    """The signing key of that name, from its published seed."""
    return SigningKey(sha256(b"Relight test seed: " + name.encode("ascii")).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the registry says of one key."""

    role: Role
    subject: str
    scope: tuple[str, ...] = ()
    epoch: int = 0
    not_before_ms: int = NOW_MS - 10 * DAY_MS
    not_after_ms: int = NOW_MS + 40 * DAY_MS


_ENGINE = Entry(role=Role.ENGINE, subject="engine-host-1", epoch=EPOCH)
REGISTERED: dict[str, Entry] = {
    "enrol": Entry(role=Role.ENROL, subject="commissioning-desk"),
    "engine": _ENGINE,
    "engine-second-worker": replace(_ENGINE, subject="engine-host-2"),
    "engine-epoch-2": replace(_ENGINE, epoch=2),  # below the registry's floor
    "engine-epoch-4": replace(_ENGINE, epoch=4),  # the spare
    "engine-expired": replace(_ENGINE, not_after_ms=NOW_MS - MINUTE_MS),
    "engine-not-yet": replace(_ENGINE, not_before_ms=NOW_MS + DAY_MS),
    "time": Entry(role=Role.TIME, subject="engine-host-1", epoch=EPOCH),
    "guard": Entry(role=Role.GUARD, subject="guard-host-1"),
    "approver-1": Entry(role=Role.APPROVER, subject="A. Verma"),
    "approver-1-second-key": Entry(role=Role.APPROVER, subject="A. Verma"),
    "approver-2": Entry(role=Role.APPROVER, subject="S. Khan"),
    "stop": Entry(role=Role.STOP, subject="control-room-1"),
    "intake": Entry(
        role=Role.INTAKE, subject=INTAKE, scope=(PROVIDER, f"WEBHOOK:{WEBHOOK_PROVIDER}")
    ),
}
ROOTS: dict[str, str] = {  # name -> holder
    "root-1": "R. Joshi",
    "root-2-a": "R. Joshi",
    "root-2-b": "P. Iyer",
    "root-3": "P. Iyer",
}
AGENT_KEYS: dict[str, AgentId] = {"agent": AGENT, "other-agent": OTHER_AGENT}
STRANGER = "stranger"  # in no document
ALL_KEYS = (*ROOTS, *REGISTERED, *AGENT_KEYS, STRANGER)

POLICY = EdgePolicy(
    per_mille=20,
    small=25,
    ceiling=20,
    per_meter_opens=2,
    utc_offset_minutes=1_050,  # +05:30
    windows=(OpenWindow(weekdays=0b0001_1111, from_minute=660, to_minute=840),),
    closed_days=(20_728,),  # 2026-10-02
    dwell_ms=60_000,
)


def root(version: int, threshold: int, *names: str) -> Root:
    """Root document `version` with these keys."""
    return Root(
        installation=INSTALLATION,
        root_version=version,
        issued_at_ms=NOW_MS - (400 - 100 * version) * DAY_MS,
        threshold=threshold,
        keys=tuple(RootKey(public=key(name).public, holder=ROOTS[name]) for name in names),
    )


def registry_key(name: str, entry: Entry) -> RegistryKey:
    """One row of the registry."""
    return RegistryKey(
        public=key(name).public,
        role=entry.role,
        subject=entry.subject,
        scope=entry.scope,
        epoch=entry.epoch,
        not_before_ms=entry.not_before_ms,
        not_after_ms=entry.not_after_ms,
        mark="development",
    )


ROOT_1 = root(1, 1, "root-1")
ROOT_2 = root(2, 2, "root-2-a", "root-2-b")
ROOT_3 = root(3, 1, "root-3")
REGISTRY = Registry(
    registry_version=7,
    root_version=2,
    issued_at_ms=NOW_MS - 10 * DAY_MS,
    expires_at_ms=NOW_MS + 35 * DAY_MS,
    epoch_floor=EPOCH,
    keys=tuple(registry_key(name, entry) for name, entry in REGISTERED.items()),
    policy=POLICY,
)


def sealed(type_name: str, body: bytes, *names: str) -> bytes:
    """An envelope of this installation, signed by the keys of these names."""
    return seal(INSTALLATION, type_name, body, [key(name) for name in names])


ROOT_1_ENVELOPE = sealed("root", encode(ROOT_1), "root-1")
ROOT_2_ENVELOPE = sealed("root", encode(ROOT_2), "root-1", "root-2-a", "root-2-b")
# Signed as a successor of root 1 would be, so that only the missing step speaks against it.
ROOT_3_ENVELOPE = sealed("root", encode(ROOT_3), "root-1", "root-3")
REGISTRY_ENVELOPE = sealed("registry", encode(REGISTRY), "root-2-a", "root-2-b")
TRUST = Trust(roots=(ROOT_2_ENVELOPE,), registry=REGISTRY_ENVELOPE)
ROOT_PIN = digest(INSTALLATION, "root", encode(ROOT_1))


def identity(name: str) -> Identity:
    """Enrol's statement of an agent's key."""
    return Identity(
        agent=AGENT_KEYS[name],
        public=key(name).public,
        issued_at_ms=NOW_MS - 10 * DAY_MS,
        not_after_ms=NOW_MS + 700 * DAY_MS,
        serial=1,
    )


@cache
def authorities() -> Authorities:
    """What a receiver that followed the roots and took the registry believes."""
    begun = anchor(ROOT_1_ENVELOPE, ROOT_PIN)
    return accept(begun, TRUST, latest_ms=NOW_MS, is_production=False)


@cache
def keyring() -> Keyring:
    """Registry keys and agents' keys: what an engine knows; an agent needs the first part only."""
    agents: list[Key] = [identity_key(identity(name)) for name in AGENT_KEYS]
    return authorities().keyring({one.key_id: one for one in agents})

"""The installation of the simulated world: keys from published seeds, trust documents, ids.

Nothing is secret or random here: every process makes the same installation once.
"""

from functools import cache
from hashlib import sha256

from tests.simulation.plan import AGENTS
from tests.simulation.sources import COUNTERS, RAZORPAY
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
from wire.fields import AgentId, InstallationId, IntakeId
from wire.keys import KeyId, SigningKey
from wire.trust import Authorities, Key, accept, anchor, identity_key
from wire.vocabulary import Role

START_MS = 1_789_972_800_000  # 2026-09-21T06:00:00Z, Monday 11:30 in Indore: opens are allowed
DAY_MS = 86_400_000
EPOCH = 3
INTAKE = IntakeId("INTAKE-1")
INSTALLATION = InstallationId(sha256(b"Relight simulation").digest()[:16])


@cache
def key(name: str) -> SigningKey:
    """The signing key of that name."""
    return SigningKey(sha256(b"Relight simulation: " + name.encode("ascii")).digest())


def _entry(name: str, role: Role, subject: str, epoch: int = 0) -> RegistryKey:
    return RegistryKey(
        public=key(name).public,
        role=role,
        subject=subject,
        scope=(RAZORPAY, COUNTERS) if role is Role.INTAKE else (),
        epoch=epoch,
        not_before_ms=START_MS - DAY_MS,
        not_after_ms=START_MS + 30 * DAY_MS,
        mark="development",
    )


ROOT = Root(
    installation=INSTALLATION,
    root_version=1,
    issued_at_ms=START_MS - DAY_MS,
    threshold=1,
    keys=(RootKey(public=key("root").public, holder="the root's holder"),),
)
ROOT_ENVELOPE = seal(INSTALLATION, "root", encode(ROOT), [key("root")])
ROOT_PIN = digest(INSTALLATION, "root", encode(ROOT))
REGISTRY = Registry(
    registry_version=1,
    root_version=1,
    issued_at_ms=START_MS - DAY_MS,
    expires_at_ms=START_MS + 30 * DAY_MS,
    epoch_floor=EPOCH,
    keys=(
        _entry("engine", Role.ENGINE, "engine-host", EPOCH),
        _entry("guard", Role.GUARD, "guard-host"),
        _entry("enrol", Role.ENROL, "desk"),
        _entry("intake", Role.INTAKE, INTAKE),
    ),
    policy=EdgePolicy(
        per_mille=1_000,
        small=1,
        ceiling=20,
        per_meter_opens=2,
        utc_offset_minutes=1_050,
        windows=(OpenWindow(weekdays=127, from_minute=0, to_minute=1_440),),
        closed_days=(),
        dwell_ms=60_000,
    ),
)
TRUST = Trust(roots=(), registry=seal(INSTALLATION, "registry", encode(REGISTRY), [key("root")]))


@cache
def authorities() -> Authorities:
    """What the cloud believes."""
    return accept(anchor(ROOT_ENVELOPE, ROOT_PIN), TRUST, latest_ms=START_MS, is_production=False)


@cache
def identities() -> dict[KeyId, Key]:
    """The agents' keys."""
    found = {}
    for agent in AGENTS:
        one = identity_key(
            Identity(
                agent=AgentId(agent),
                public=key(agent).public,
                issued_at_ms=START_MS - DAY_MS,
                not_after_ms=START_MS + 300 * DAY_MS,
                serial=1,
            )
        )
        found[one.key_id] = one
    return found

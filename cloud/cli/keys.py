"""Development keys: a root, a registry marked `development`, identities, all in one folder.

Rules kept here: every key bears the mark that a production process refuses; private keys have mode
0600; nothing that exists is overwritten. Production keys come from a ceremony, not from here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wire import envelope
from wire.decoding import encode
from wire.documents import (
    UTC_OFFSET_BIAS_MINUTES,
    EdgePolicy,
    Identity,
    OpenWindow,
    Registry,
    RegistryKey,
    Root,
    RootKey,
    Trust,
)
from wire.fields import AgentId, InstallationId
from wire.key_files import write_signing_key, write_whole
from wire.keys import SEED_BYTES, SigningKey
from wire.topics import is_id
from wire.trust import DEVELOPMENT_MARK, IDENTITY_TYPE, REGISTRY_TYPE, ROOT_TYPE
from wire.vocabulary import Role

DAY_MS = 86_400_000
REGISTRY_LIFE_MS = 59 * DAY_MS  # the protocol allows 60
KEY_LIFE_MS = 365 * DAY_MS
FIRST_EPOCH = 1
INDIA_OFFSET_MINUTES = 330

# The edge's limits as in docs/protocol.md, but `small` 1, so that a demo of 20 meters may open one.
DEVELOPMENT_POLICY = EdgePolicy(
    per_mille=20,
    small=1,
    ceiling=20,
    per_meter_opens=2,
    utc_offset_minutes=INDIA_OFFSET_MINUTES + UTC_OFFSET_BIAS_MINUTES,
    windows=(OpenWindow(weekdays=0b11111, from_minute=11 * 60, to_minute=14 * 60),),
    closed_days=(),
    dwell_ms=60_000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """Who gets a development key. `intakes`: name and the scope of its key."""

    folder: Path
    engines: Sequence[str]
    intakes: Mapping[str, tuple[str, ...]]
    guards: Sequence[str]
    agents: Sequence[str]
    approvers: Sequence[str] = ()
    stops: Sequence[str] = ()  # who can freeze, and nothing else


class KeysExistError(ValueError):
    """The folder holds keys already."""


class KeyNameError(ValueError):
    """A party's name that can stand neither in a topic nor in a file's name, or stands twice."""


def check_keys(plan: KeyPlan) -> tuple[str, ...]:
    """Everybody who gets a key, if this plan can be carried out; nothing is written.

    Raises:
        KeysExistError: the folder holds a root, or keys, already.
        KeyNameError: a name is no id, or stands twice.
    """
    # The keys too: after a crash in the middle there may be keys, trusted elsewhere, and no root.
    if any((plan.folder / one).exists() for one in ("root-1", "keys")):
        raise KeysExistError(f"{plan.folder} holds keys already: choose another folder")
    parties = (*plan.engines, *plan.intakes, *plan.guards, *plan.agents)
    names = ("ROOT", "ENROL", *parties, *plan.approvers, *plan.stops)
    for place, name in enumerate(names):
        if not is_id(name):
            raise KeyNameError(f"{name!r} is no id: use 1 to 32 of A-Z, 0-9 and -, not first a -")
        if name in names[:place]:
            raise KeyNameError(
                f"{name!r} stands twice: every party has a name and a key of its own"
            )
    return names


def make_development_keys(
    plan: KeyPlan, *, now_ms: int, random_bytes: Callable[[int], bytes]
) -> str:
    """Write keys, root, registry and identities; the pin of root document 1, in hex.

    Files: `root-1`, `pin`, `documents`, `keys/NAME.key`, `identities/AGENT.identity`.

    Raises:
        KeysExistError: the folder holds a root, or keys, already.
        KeyNameError: a name is no id, or stands twice.
    """
    names = check_keys(plan)
    installation = InstallationId(random_bytes(16))
    made = {name: SigningKey(random_bytes(SEED_BYTES)) for name in names}
    for name, key in made.items():
        write_signing_key(plan.folder / "keys" / f"{name}.key", key)
    root = Root(
        installation=installation,
        root_version=1,
        issued_at_ms=now_ms,
        threshold=1,
        keys=(RootKey(public=made["ROOT"].public, holder="development"),),
    )
    root_body = encode(root)
    root_1 = envelope.seal(installation, ROOT_TYPE, root_body, [made["ROOT"]])
    registry = envelope.seal(
        installation, REGISTRY_TYPE, encode(_registry(plan, made, now_ms)), [made["ROOT"]]
    )
    pin = envelope.digest(installation, ROOT_TYPE, root_body).hex()
    write_whole(plan.folder / "root-1", root_1)
    write_whole(plan.folder / "pin", f"{pin}\n".encode("ascii"))
    write_whole(plan.folder / "documents", encode(Trust(roots=(), registry=registry)))
    for agent in plan.agents:
        statement = Identity(
            agent=AgentId(agent),
            public=made[agent].public,
            issued_at_ms=now_ms,
            not_after_ms=now_ms + KEY_LIFE_MS,
            serial=1,
        )
        sealed = envelope.seal(installation, IDENTITY_TYPE, encode(statement), [made["ENROL"]])
        write_whole(plan.folder / "identities" / f"{agent}.identity", sealed)
    return pin


def _registry(plan: KeyPlan, made: Mapping[str, SigningKey], now_ms: int) -> Registry:
    # Keys count from a day ago: the first thing a newcomer meets must not be clock skew.
    from_ms = now_ms - DAY_MS

    def entry(name: str, role: Role, scope: tuple[str, ...] = (), epoch: int = 0) -> RegistryKey:
        return RegistryKey(
            public=made[name].public,
            role=role,
            subject=name,
            scope=scope,
            epoch=epoch,
            not_before_ms=from_ms,
            not_after_ms=now_ms + KEY_LIFE_MS,
            mark=DEVELOPMENT_MARK,
        )

    return Registry(
        registry_version=1,
        root_version=1,
        issued_at_ms=now_ms,
        expires_at_ms=now_ms + REGISTRY_LIFE_MS,
        epoch_floor=FIRST_EPOCH,
        keys=(
            entry("ENROL", Role.ENROL),
            *(entry(name, Role.ENGINE, epoch=FIRST_EPOCH) for name in plan.engines),
            *(entry(name, Role.GUARD) for name in plan.guards),
            *(entry(name, Role.INTAKE, scope) for name, scope in plan.intakes.items()),
            *(entry(name, Role.APPROVER) for name in plan.approvers),
            *(entry(name, Role.STOP) for name in plan.stops),
        ),
        policy=DEVELOPMENT_POLICY,
    )

"""The test installation: keys, root and registry, and sealing with them."""

from dataclasses import dataclass

from wire.decoding import encode
from wire.documents import EdgePolicy, OpenWindow, Registry, RegistryKey, Root, RootKey, Trust
from wire.envelope import digest, seal, unpack
from wire.fields import AgentId, CommandId, InstallationId
from wire.keys import SigningKey
from wire.topics import MessageType
from wire.vocabulary import Role

AGENT = AgentId("AGENT-1")
INSTALLATION = InstallationId(bytes(range(16)))
DAY_MS = 86_400_000
# A Wednesday, 12:00 in India; the policy's window is 11:00 to 14:00 on working days.
NOON_MS = 1_760_509_800_000
EPOCH = 3


def key(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 32)


ROOT, ENGINE, GUARD, STOPPER, ANNA, BALA, AGENT_KEY, STRANGER, NEXT_ENGINE = map(key, range(1, 10))
ENROL = key(10)

POLICY = EdgePolicy(
    per_mille=20,
    small=1,
    ceiling=20,
    per_meter_opens=2,
    utc_offset_minutes=720 + 330,
    windows=(OpenWindow(weekdays=0b0011111, from_minute=660, to_minute=840),),
    closed_days=(),
    dwell_ms=60_000,
)


@dataclass(frozen=True, slots=True)
class Delivered:
    topic: str
    payload: bytes
    is_retained: bool = False


def root_document() -> bytes:
    body = encode(
        Root(
            installation=INSTALLATION,
            root_version=1,
            issued_at_ms=0,
            threshold=1,
            keys=(RootKey(public=ROOT.public, holder="Root One"),),
        )
    )
    return seal(INSTALLATION, "root", body, [ROOT])


def root_pin() -> bytes:
    document = root_document()
    return digest(INSTALLATION, "root", anchor_body(document))


def anchor_body(document: bytes) -> bytes:
    return unpack(document).body


def registry_key(
    signing: SigningKey, role: Role, subject: str, *, epoch: int = 0, mark: str = ""
) -> RegistryKey:
    return RegistryKey(
        public=signing.public,
        role=role,
        subject=subject,
        scope=(),
        epoch=epoch,
        not_before_ms=0,
        not_after_ms=2**47,
        mark=mark,
    )


def registry(
    *,
    version: int = 1,
    policy: EdgePolicy = POLICY,
    expires_at_ms: int = NOON_MS + 30 * DAY_MS,
    mark: str = "",
    more: tuple[RegistryKey, ...] = (),
) -> Registry:
    return Registry(
        registry_version=version,
        root_version=1,
        issued_at_ms=expires_at_ms - 50 * DAY_MS,
        expires_at_ms=expires_at_ms,
        epoch_floor=0,
        keys=(
            registry_key(ENGINE, Role.ENGINE, "engine-host", epoch=EPOCH, mark=mark),
            registry_key(GUARD, Role.GUARD, "guard-host"),
            registry_key(STOPPER, Role.STOP, "desk-host"),
            registry_key(ENROL, Role.ENROL, "commissioning"),
            registry_key(ANNA, Role.APPROVER, "Anna"),
            registry_key(BALA, Role.APPROVER, "Bala"),
            *more,
        ),
        policy=policy,
    )


def trust_message(document: Registry) -> Delivered:
    envelope = seal(INSTALLATION, "registry", encode(document), [ROOT])
    return Delivered(f"trust/{AGENT}", encode(Trust(roots=(), registry=envelope)))


def sealed(message_type: MessageType, body: bytes, *signers: SigningKey, topic: str) -> Delivered:
    return Delivered(topic, seal(INSTALLATION, message_type, body, signers))


def command_id(delivered: Delivered) -> CommandId:
    return CommandId(digest(INSTALLATION, "command", anchor_body(delivered.payload))[:16])

"""What people sign for an agent: manifests and rosters."""

from edge_agent.caps import COOL_OFF_MS
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import (
    AGENT,
    ANNA,
    BALA,
    ENROL,
    INSTALLATION,
    Delivered,
    anchor_body,
    sealed,
)
from wire.decoding import encode
from wire.documents import Manifest, Roster, RosterEntry
from wire.envelope import digest
from wire.topics import MessageType, directed_topic


def manifest(world: World, *meters: str, **changes: object) -> Delivered:
    """Two approvers allow these meters to be opened within the next four hours."""
    signers = changes.pop("signers", (ANNA, BALA))
    values: dict[str, object] = {
        "batch": bytes(16),
        "agent": AGENT,
        "requester": "Chitra",
        "total": len(meters),
        "batch_digest": bytes(32),
        "reason": "a list of the day",
        "expires_at_ms": world.now_ms + 4 * 3_600_000,
        "meters": meters,
    }
    body = encode(Manifest(**{**values, **changes}))  # type: ignore[arg-type]
    topic = directed_topic(MessageType.MANIFEST, AGENT)
    return sealed(MessageType.MANIFEST, body, *signers, topic=topic)  # type: ignore[misc]


def manifest_id(delivered: Delivered) -> bytes:
    return digest(INSTALLATION, "manifest", anchor_body(delivered.payload))[:16]


def entry(meter: str, *, serial: str = "S", flags: int = 0) -> RosterEntry:
    return RosterEntry(meter=meter, serial=serial, flags=flags, invocation=None, line="")


def roster(version: int, *meters: RosterEntry, **changes: object) -> Delivered:
    """One part of the list of an agent's meters; the only one, unless `changes` says otherwise."""
    signers = changes.pop("signers", (ENROL,))
    values: dict[str, object] = {
        "agent": AGENT,
        "roster_version": version,
        "part": 1,
        "parts": 1,
        "meters": meters,
    }
    body = encode(Roster(**{**values, **changes}))  # type: ignore[arg-type]
    topic = directed_topic(MessageType.ROSTER, AGENT)
    return sealed(MessageType.ROSTER, body, *signers, topic=topic)  # type: ignore[misc]


def cooled_off(world: World, *meters: str) -> bytes:
    """The id of a manifest that was held for long enough; its expiry is still hours away."""
    held = manifest(world, *meters)
    world.receive(held)
    world.pass_time(COOL_OFF_MS)
    world.greet()
    return manifest_id(held)

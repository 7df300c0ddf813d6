"""A manifest of two approvers lets one agent's share be exceeded, and nothing else (R10)."""

import pytest

from cloud.guard.asked import ShownManifest
from tests.cloud.guard.guarded import MINUTE_MS
from tests.cloud.guard.test_breaches import spread
from tests.wire.installation import INSTALLATION, sealed
from wire.decoding import encode
from wire.documents import Manifest
from wire.envelope import digest
from wire.fields import AgentId, MeterId

HOMES = range(10, 35)
TWO = ("approver-1", "approver-2")


def manifest(world, *, by=TWO, homes=HOMES, agent="AG-0", **changes):
    """What is shown, and its id."""
    told = {
        "batch": b"b" * 16,
        "agent": AgentId(agent),
        "requester": "R. Sharma",
        "total": len(homes),
        "batch_digest": b"d" * 32,
        "reason": "a test",
        "expires_at_ms": world.now_ms + 60 * MINUTE_MS,
        "meters": tuple(MeterId(f"M-{home}") for home in homes),
    }
    body = encode(Manifest(**(told | changes)))
    shown = ShownManifest(agent_id=agent, envelope=sealed("manifest", body, *by))
    return shown, digest(INSTALLATION, "manifest", body)[:16]


def words(turned):
    return [one.reason or one.verdict.value for one in turned.answers]


def test_agents_share_is_exceeded_only_with_a_manifest(world):
    spread(world, range(10, 36), 1, meters=10_000)
    shown, named = manifest(world)
    rows = [world.row(home, agent="AG-0", manifest=named) for home in HOMES]
    assert words(world.ask(*rows, manifests=[shown])) == ["signed"] * len(HOMES)
    assert world.verdict(world.row(35, agent="AG-0")) == "breach"


@pytest.mark.parametrize(
    "changes",
    [
        {"by": ("approver-1",)},
        {"by": ("approver-1", "approver-1-second-key")},
        {"by": ("approver-1", "guard")},
        {"by": ("engine",)},
        {"requester": "S. Khan"},
        {"agent": "AG-2"},
        {"homes": range(2, 4)},
        {"expires_at_ms": 1},
    ],
)
def test_manifest_that_is_not_in_force_for_the_meter_is_no_manifest(world, changes):
    shown, named = manifest(world, **({"agent": "AG-1", "homes": range(1, 2)} | changes))
    row = world.row(1, manifest=named)
    assert world.verdict(row, manifests=[shown]) == "manifest_unknown"


def test_manifest_that_nobody_shows_is_not_known(world):
    _, named = manifest(world, agent="AG-1", homes=range(1, 2))
    assert world.verdict(world.row(1, manifest=named)) == "manifest_unknown"


def test_manifest_lifts_no_other_threshold(world):
    world.homes(range(4, 20))
    shown, named = manifest(world, agent="AG-1", homes=range(1, 8))
    rows = [world.row(home, manifest=named) for home in range(1, 8)]
    assert words(world.ask(*rows, manifests=[shown])) == ["signed"] * 5 + ["breach"] * 2

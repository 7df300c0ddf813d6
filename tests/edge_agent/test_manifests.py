"""Manifests at the edge (R10): two people lift the agent's cap, after a cool-off it counts."""

import sqlite3
from dataclasses import replace

import pytest

from edge_agent.caps import COOL_OFF_MS
from edge_agent.command_rows import Step
from edge_agent.documents import MANIFEST_ANSWERED_MS, MANIFESTS_MAX
from edge_agent.journal import RETENTION_MS
from tests.edge_agent.documents_by_hand import cooled_off, manifest, manifest_id
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import ANNA, BALA, ENGINE, GUARD, STRANGER
from wire.fields import CommandId, MeterId
from wire.messages import AlarmItem, ManifestItem
from wire.vocabulary import JournalVerdict

HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path) -> World:
    """Three meters reached: one open in 24 h, unless two people say more."""
    world = World(path=tmp_path / "journal.db")
    world.greet()
    world.age_and_reach()
    return world


def answers(world: World) -> list[tuple[str, str | None]]:
    return [(one.verdict, one.reason) for one in world.told() if isinstance(one, ManifestItem)]


def opened(world: World, meter: str, manifest: bytes | None = None) -> str:
    """What becomes of an open."""
    item = world.outcome(world.command("open", meter, manifest=manifest))
    return item.reason or item.outcome


def test_manifest_is_answered_once_with_the_running_time_it_is_held_from(world):
    held = manifest(world, "M-3")
    for _ in range(2):
        world.receive(held)
        world.pass_time(60_000)
    assert answers(world) == [("held", None)]
    (item,) = [one for one in world.told() if isinstance(one, ManifestItem)]
    assert item.manifest == manifest_id(held)
    assert item.running_ms == world.agent._greeting.running_ms() - 120_000


@pytest.mark.parametrize(
    ("expires_in_ms", "reason"),
    [(4 * HOUR_MS + 60_000, "life_too_long"), (-1, "manifest_expired")],
)
def test_manifest_outside_its_four_hours_is_refused_for_ever(world, expires_in_ms, reason):
    refused = manifest(world, "M-3", expires_at_ms=world.now_ms + expires_in_ms)
    world.receive(refused)
    world.pass_time(COOL_OFF_MS)
    world.greet()
    world.receive(refused)
    assert answers(world) == [("refused", reason)]
    assert opened(world, "M-3", manifest_id(refused)) == "manifest_unknown"


def test_manifest_before_the_first_welcome_of_a_boot_is_left_to_the_next_sending(world):
    held = manifest(world, "M-3")
    world.crash()
    world.connect()
    world.receive(held)
    world.greet()
    assert answers(world) == []
    world.receive(held)
    assert answers(world) == [("held", None)]


@pytest.mark.parametrize(
    "signers", [(ANNA,), (ENGINE, GUARD), (ANNA, GUARD), (ANNA, STRANGER), (ANNA, ANNA)]
)
def test_manifest_of_anybody_but_two_approvers_is_junk(world, signers):
    world.receive(manifest(world, "M-3", signers=signers))
    assert answers(world) == []
    assert world.agent.junk.total() == 1


@pytest.mark.parametrize(
    "changes", [{"requester": "Anna"}, {"meters": ("M-3", "M-1")}, {"agent": "AGENT-2"}]
)
def test_manifest_of_its_requester_or_unsorted_or_for_another_is_junk(world, changes):
    world.receive(manifest(world, "M-3", **changes, signers=(ANNA, BALA)))
    assert answers(world) == []
    assert world.agent.junk.total() == 1


def test_manifest_lifts_the_cap_of_the_agent_for_its_meters_and_its_opens_count(world):
    world.outcome(world.command("close", "M-1"))
    held = cooled_off(world, "M-1", "M-3")
    assert [opened(world, meter, held) for meter in ("M-1", "M-3")] == ["opened", "opened"]
    world.outcome(world.command("close", "M-2"))
    world.pass_time(60_000)
    assert opened(world, "M-2") == "cap_agent"


def test_cool_off_counts_running_time_over_restarts_and_no_message_shortens_it(world):
    held = manifest(world, "M-3")
    world.receive(held)
    world.pass_time(COOL_OFF_MS // 2)
    world.crash()
    world.greet(now_ms=world.now_ms + 60_000)
    world.receive(held)
    # A crash loses up to a minute of running time: the agent waits longer, never shorter.
    world.pass_time(COOL_OFF_MS // 2 - 2_000)
    assert opened(world, "M-3", manifest_id(held)) == "manifest_cooling"
    world.pass_time(120_000)
    assert opened(world, "M-3", manifest_id(held)) == "opened"


def test_manifest_is_asked_for_again_immediately_before_the_move(world):
    """Two opens of one meter, both accepted, and a manifest that ends meanwhile."""
    held = manifest(world, "M-3", expires_at_ms=world.now_ms + COOL_OFF_MS + 30_000)
    world.receive(held)
    world.pass_time(COOL_OFF_MS)
    world.greet()
    command = world.command("open", "M-3", manifest=manifest_id(held))
    jobs = world.receive(command).jobs
    world.pass_time(30_000)
    world.run(jobs)
    assert world.final_item(command).reason == "manifest_expired"
    assert world.is_closed("M-3")


def test_meter_is_opened_once_under_a_manifest_whatever_came_between(world):
    held = cooled_off(world, "M-3")
    assert opened(world, "M-3", held) == "opened"
    world.outcome(world.command("close", "M-3"))
    world.crash()
    world.greet()
    world.pass_time(60_000)
    assert opened(world, "M-3", held) == "manifest_used"


def test_journal_itself_lets_no_meter_be_used_twice_under_one_manifest(world):
    """I6: the rule stands in the file, whatever the program thinks."""
    held = cooled_off(world, "M-3")
    opened(world, "M-3", held)
    execute = world.agent.journal._execute
    (one,) = execute("SELECT manifest FROM steps WHERE manifest IS NOT NULL").fetchall()
    assert one[0] == held
    again = Step(
        command_id=CommandId(bytes(16)), step="received", meter=MeterId("M-3"), action="open",
        at_ms=0, expires_at_ms=0, body=b"-",
    )  # fmt: skip
    write = world.agent.journal.commands.write
    write(again, 0)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        write(replace(again, step="actuating", body=None, manifest=held), 0)
    with pytest.raises(sqlite3.IntegrityError, match="only added to"):
        execute("UPDATE manifests SET running_ms = 0")
    with pytest.raises(sqlite3.IntegrityError, match="35 days"):
        execute("DELETE FROM manifests")


def test_new_journal_holds_no_manifest(world):
    held = cooled_off(world, "M-3")
    world.receive(world.welcome(world.connect(), verdict=JournalVerdict.RETIRED))
    assert not world.agent.journal.manifests.is_known(held)


def test_what_was_answered_is_remembered_for_35_days(world):
    world.receive(manifest(world, "M-3"))
    world.age(RETENTION_MS)
    assert world.agent.journal.manifests.count() == 1
    world.age(2 * HOUR_MS)
    world.pass_time(HOUR_MS)
    assert world.agent.journal.manifests.count() == 0


def test_manifest_that_expired_so_long_ago_that_its_row_may_be_gone_is_not_answered(world):
    """Whoever replays it every minute makes no items."""
    over = world.now_ms - MANIFEST_ANSWERED_MS
    world.receive(manifest(world, "M-3", expires_at_ms=over - 1_000))
    assert answers(world) == []
    world.receive(manifest(world, "M-3", expires_at_ms=over + 1_000))
    assert answers(world) == [("refused", "manifest_expired")]


def test_more_manifests_than_people_sign_are_not_held_but_told(world):
    journal = world.agent.journal
    with journal.transaction(journal.standing.running_ms):
        journal._connection.executemany(
            "INSERT INTO manifests VALUES (?, NULL, ?, 0)",
            ((one.to_bytes(16), journal.standing.running_ms) for one in range(MANIFESTS_MAX)),
        )
    world.receive(manifest(world, "M-3"))
    assert answers(world) == []
    codes = [one.code for one in world.told() if isinstance(one, AlarmItem)]
    assert codes == ["manifests_full"]

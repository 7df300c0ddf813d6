"""The roster over the wire (R11): enrol alone says which meters; it takes two to unprotect one."""

import sqlite3

import pytest

from edge_agent.roster import Roster, RosterMeter
from tests.edge_agent.documents_by_hand import entry, roster
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import ENGINE, ENROL, GUARD
from wire.messages import AlarmItem
from wire.vocabulary import JournalVerdict

PROTECTED = 1
FILE_VERSION = 7  # of the commissioning file of `World`


@pytest.fixture
def world(tmp_path) -> World:
    world = World(path=tmp_path / "journal.db", protected=frozenset({"M-3"}))
    world.greet()
    return world


def held(world: World) -> tuple[int, list[str], list[str]]:
    """Version, meters and protected meters, as a process that starts now finds them too."""
    before = _in_force(world)
    world.crash()
    world.greet()
    assert _in_force(world) == before
    return before


def _in_force(world: World) -> tuple[int, list[str], list[str]]:
    found = world.agent._greeting._roster
    protected = [meter for meter, one in found.meters.items() if one.is_protected]
    return found.version, sorted(found.meters), sorted(protected)


def alarms(world: World) -> list[str]:
    return [item.code for item in world.told() if isinstance(item, AlarmItem)]


def test_file_of_commissioning_is_in_force_until_a_newer_version_is_signed(world):
    world.receive(roster(FILE_VERSION, entry("M-9")))
    assert held(world) == (7, ["M-1", "M-2", "M-3"], ["M-3"])
    world.receive(roster(FILE_VERSION + 1, entry("M-9")))
    assert held(world) == (8, ["M-9"], [])
    assert world.outcome(world.command("read", "M-9")).outcome == "unreachable"
    assert world.outcome(world.command("read", "M-1")).reason == "unknown_meter"


def test_newer_roster_is_shown_by_a_hello_at_once(world):
    world.receive(roster(8, entry("M-1"), entry("M-2")))
    world.pass_time(0)
    assert (world.hellos[-1].roster_version, world.hellos[-1].meters) == (8, 2)


def test_roster_is_used_when_all_its_parts_are_here_in_whatever_order(world):
    parts = [roster(9, entry(f"M-{one}"), part=one, parts=3) for one in (3, 1, 2)]
    world.receive(parts[0], parts[1], parts[0])
    assert held(world)[0] == FILE_VERSION
    world.receive(*parts)
    assert held(world) == (9, ["M-1", "M-2", "M-3"], ["M-3"])


def test_newer_version_ends_one_that_never_became_complete(world):
    world.receive(roster(8, entry("M-1"), part=1, parts=2))
    world.receive(roster(9, entry("M-5"), part=2, parts=2))
    world.receive(roster(8, entry("M-2"), part=2, parts=2))
    world.receive(roster(9, entry("M-4"), part=1, parts=2))
    assert held(world)[:2] == (9, ["M-4", "M-5"])


def test_version_below_the_one_in_force_changes_nothing(world):
    """A recorded roster replayed: the meter that left does not come back."""
    world.receive(roster(9, entry("M-1")))
    world.receive(roster(8, entry("M-1"), entry("M-2")))
    assert held(world)[:2] == (9, ["M-1"])


@pytest.mark.parametrize("signers", [(ENGINE,), (GUARD,), (ENGINE, GUARD), (ENGINE, ENROL)])
def test_roster_of_anybody_but_enrol_is_junk(world, signers):
    world.receive(roster(8, entry("M-9"), signers=signers))
    assert world.agent.junk.total() == 1
    assert held(world)[0] == FILE_VERSION


def test_roster_before_the_first_welcome_of_a_boot_is_left_to_the_next_sending(world):
    world.crash()
    world.connect()
    world.receive(roster(8, entry("M-9")))
    world.greet()
    assert held(world)[0] == FILE_VERSION


def test_protected_meter_is_cleared_by_enrol_and_guard_only(world):
    world.receive(roster(8, entry("M-1", flags=PROTECTED), entry("M-3")))
    assert held(world) == (8, ["M-1", "M-3"], ["M-1", "M-3"])
    world.receive(roster(9, entry("M-1"), entry("M-3"), signers=(ENROL, GUARD)))
    assert held(world) == (9, ["M-1", "M-3"], [])


def test_guard_clears_what_the_part_it_signed_names_and_nothing_else(world):
    flagged = [entry(f"M-{one}", flags=PROTECTED) for one in (1, 2)]
    world.receive(roster(8, *flagged))
    world.receive(
        roster(9, entry("M-1"), part=1, parts=2, signers=(ENROL, GUARD)),
        roster(9, entry("M-2"), part=2, parts=2),
    )
    assert held(world) == (9, ["M-1", "M-2"], ["M-2"])


def test_part_that_the_guard_signed_later_counts_as_signed_by_both(world):
    """The same bytes have the same digest, whoever signed them."""
    world.receive(roster(8, entry("M-3"), part=1, parts=2))
    world.receive(roster(8, entry("M-3"), part=1, parts=2, signers=(ENROL, GUARD)))
    world.receive(roster(8, entry("M-3"), part=1, parts=2))
    world.receive(roster(8, entry("M-1"), part=2, parts=2))
    assert held(world) == (8, ["M-1", "M-3"], [])


def test_protected_meter_that_leaves_and_comes_back_is_protected(world):
    world.receive(roster(8, entry("M-1")))
    world.receive(roster(9, entry("M-1"), entry("M-3")))
    assert held(world) == (9, ["M-1", "M-3"], ["M-3"])


def test_newer_file_of_commissioning_is_in_force_and_unprotects_nothing_that_was_signed(world):
    world.receive(roster(8, entry("M-1", flags=PROTECTED), entry("M-2")))
    world.agent._commissioned = Roster(
        version=9, meters=dict.fromkeys(["M-1"], RosterMeter(serial="S"))
    )
    world.agent._begin_life({})
    assert _in_force(world) == (9, ["M-1"], ["M-1"])


def test_protected_meter_is_not_opened_after_a_roster_of_enrol_alone(world):
    world.age_and_reach()
    world.receive(roster(8, *(entry(meter) for meter in world.meters)))
    assert world.outcome(world.command("open", "M-3")).reason == "protected"


def test_counter_of_a_meter_that_left_is_kept(world):
    """I7: a recorded close is refused when the meter is back."""
    recorded = world.command("close", "M-1")
    world.do(world.command("close", "M-1"))
    world.receive(roster(8, entry("M-2")))
    world.receive(roster(9, entry("M-1")))
    world.receive(recorded)
    assert world.final_item(recorded).reason == "low_counter"


def test_serial_follows_the_newest_roster_of_enrol(world):
    world.receive(roster(8, entry("M-1", serial="NEW")))
    assert world.agent._greeting._roster.meters["M-1"].serial == "NEW"


def test_two_rosters_of_one_version_are_an_alarm_and_neither_is_used(world):
    world.receive(roster(8, entry("M-1"), part=1, parts=2))
    world.receive(roster(8, entry("M-9"), part=1, parts=2))
    world.receive(roster(8, entry("M-2"), part=2, parts=2))
    assert alarms(world) == ["roster_forked"]
    assert held(world)[0] == FILE_VERSION
    world.receive(roster(8, entry("M-1"), part=1, parts=2), roster(8, part=3, parts=3))
    assert held(world)[0] == FILE_VERSION


@pytest.mark.parametrize(
    ("meters", "changes"),
    [
        (("M-1",), {"part": 0}),
        (("M-1",), {"part": 2}),
        (("M-1",), {"part": 1, "parts": 11}),
        (("M-1", "M-1"), {}),
    ],
)
def test_roster_that_no_list_can_be_is_an_alarm(world, meters, changes):
    world.receive(roster(8, *map(entry, meters), **changes))
    assert alarms(world) == ["roster_unusable"]
    assert held(world)[0] == FILE_VERSION


def test_unknown_flag_is_an_alarm_because_it_could_be_a_protection(world):
    world.receive(roster(8, entry("M-1", flags=4)))
    assert alarms(world) == ["roster_unusable"]


def test_new_journal_takes_roster_and_protection_over(world):
    world.receive(roster(8, entry("M-1", flags=PROTECTED)))
    world.receive(world.welcome(world.connect(), verdict=JournalVerdict.RETIRED))
    world.greet()
    assert held(world) == (8, ["M-1"], ["M-1"])


def test_journal_itself_lets_no_version_fall(world):
    """I7: also under another program."""
    world.receive(roster(8, entry("M-1")))
    with pytest.raises(sqlite3.IntegrityError, match="I7"):
        world.agent.journal._execute("UPDATE standing SET roster_version = 7")

"""The numbered items: sent until filed, chained, removed behind a checkpoint only."""

import pytest

from edge_agent.filing import IN_FLIGHT_MAX_BYTES
from edge_agent.journal import FILING_STEP_MS, RETENTION_MS
from meter_sim.meters import PopulationPlan
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import DAY_MS
from wire.messages import AlarmItem


@pytest.fixture
def world(tmp_path) -> World:
    world = World(path=tmp_path / "journal.db")
    world.greet()
    return world


def acknowledgements(world: World) -> list[int]:
    """Sizes of the acknowledgements sent since the last time."""
    sizes = [len(payload) for topic, payload in world.sent if topic.startswith("acknowledgement")]
    world.sent.clear()
    return sizes


def alarms(world: World) -> list[str]:
    return [item.code for item in world.told() if isinstance(item, AlarmItem)]


def reads(world: World, count: int) -> None:
    """Make items: refused reads of a meter that does not exist."""
    world.receive(*[world.command("read", "M-99") for _ in range(count)])


def test_unfiled_items_are_sent_again_after_2_10_and_60_seconds_then_each_minute(world):
    reads(world, 3)
    assert len(acknowledgements(world)) == 1
    for wait_ms in (2_000, 10_000, 60_000, 60_000):
        world.pass_time(wait_ms - 1)
        assert acknowledgements(world) == []
        world.pass_time(1)
        assert len(acknowledgements(world)) == 1


def test_filed_items_are_not_sent_again(world):
    reads(world, 3)
    acknowledgements(world)
    world.receive(world.filed(3))
    assert world.agent.journal.standing.filed == 3
    world.pass_time(70_000)
    assert acknowledgements(world) == []
    world.greet(through=3, head=world.head(3))
    assert acknowledgements(world) == []


def test_after_a_partial_filed_only_the_rest_is_sent_again(world):
    reads(world, 5)
    world.receive(world.filed(3))
    world.items.clear()
    world.pass_time(2_000)
    assert sorted(world.items) == [4, 5]


def test_consecutive_items_travel_in_lists_of_64(world):
    reads(world, 130)
    assert len(acknowledgements(world)) == 3


def test_at_most_64_kilobytes_are_under_way(world):
    """I13: the rest waits for `filed`."""
    for _ in range(20):
        reads(world, 64)
    sizes = acknowledgements(world)
    assert IN_FLIGHT_MAX_BYTES <= sum(sizes) < IN_FLIGHT_MAX_BYTES + 16_384
    assert max(sizes) <= 16_384
    highest = max(world.items)
    assert highest < world.agent.journal.made
    world.receive(world.filed(highest))
    assert max(world.items) > highest


def test_welcome_makes_everything_unfiled_go_again_oldest_first(world):
    reads(world, 4)
    world.receive(world.filed(1))
    world.items.clear()
    world.greet(through=1, head=world.head(1))
    assert sorted(world.items) == [2, 3, 4]


def test_restart_remembers_what_is_filed(world):
    reads(world, 4)
    world.receive(world.filed(3))
    world.crash()
    world.items.clear()
    world.greet()
    assert sorted(world.items) == [4]


def test_filed_of_another_journal_is_ignored(world):
    reads(world, 2)
    world.receive(world.filed(2, journal=b"JOURNAL9"))
    assert world.agent.journal.standing.filed == 0
    assert alarms(world) == []


def test_filed_of_an_older_ledger_is_ignored(world):
    reads(world, 2)
    world.receive(world.filed(2, generation_ms=999))
    assert world.agent.journal.standing.filed == 0


def test_filed_with_a_wrong_head_is_an_alarm_and_marks_nothing(world):
    """I3: history was forked; nothing is removed on the word of who does not know it."""
    reads(world, 2)
    for _ in range(3):
        world.receive(world.filed(2, head=bytes(32)))
    assert world.agent.journal.standing.filed == 0
    assert alarms(world) == ["history_forked"]


def test_filed_beyond_what_was_made_is_an_alarm(world):
    reads(world, 2)
    world.receive(world.filed(9, head=world.head(2)))
    assert (world.agent.journal.standing.filed, alarms(world)) == (0, ["history_forked"])


def test_filed_that_comes_late_does_not_take_back_a_later_one(world):
    reads(world, 3)
    late = world.filed(1)
    world.receive(world.filed(3))
    world.receive(late)
    assert world.agent.journal.standing.filed == 3


def test_filed_before_a_welcome_changes_nothing(world):
    reads(world, 2)
    filed = world.filed(2)
    world.crash()
    world.receive(filed)
    assert world.agent.journal.standing.filed == 0


@pytest.mark.parametrize("by", ["filed", "welcome"])
def test_restored_ledger_is_offered_everything_again(world, by):
    """R13: a higher generation forgets every mark."""
    reads(world, 3)
    world.receive(world.filed(3))
    world.items.clear()
    world.generation_ms = 2_000
    if by == "filed":
        world.receive(world.filed(0, head=bytes(32)))
    else:
        world.greet()
    assert sorted(world.items) == [1, 2, 3]
    assert world.agent.journal.standing.generation_ms == 2_000


def test_restored_ledger_has_its_own_35_days(world):
    """R13: what the old ledger filed long ago may not be in the new one's backup."""
    reads(world, 3)
    world.receive(world.filed(3))
    world.pass_time(RETENTION_MS - DAY_MS)
    world.generation_ms = 2_000
    world.receive(world.filed(3))
    world.pass_time(2 * DAY_MS)
    assert (world.agent.journal.standing.filed, world.agent.journal.checkpoint) == (3, 0)


def test_filed_prefix_is_removed_after_35_days_behind_a_checkpoint_that_keeps_counters(world):
    """I3 and I7: only what is filed, as a prefix, and never a counter."""
    closes = [world.command("close", meter) for meter in ("M-1", "M-2")]
    world.do(*closes)
    reads(world, 3)
    world.receive(world.filed(4))
    counters = world.agent.journal.commands.counters()
    head, last = world.head(4), world.head(5)
    world.pass_time(RETENTION_MS - 1)
    assert world.agent.journal.checkpoint == 0
    world.pass_time(FILING_STEP_MS)
    journal = world.agent.journal
    assert (journal.checkpoint, journal.made) == (4, 5)
    assert (journal.head_at(4), journal.head_at(5)) == (head, last)
    assert journal.commands.counters() == counters
    world.crash()
    assert world.agent.journal.head == last
    world.items.clear()
    hello = world.connect()
    assert (hello.made, hello.head) == (5, last)
    world.greet(through=4, head=head)
    assert 5 in world.items
    assert 4 not in world.items
    late = world.command("close", sequence_ms=world.now_ms - 36 * DAY_MS, life_ms=900_000)
    world.receive(late)
    assert world.final_item(late).reason == "low_counter"


def test_more_than_one_portion_is_removed_within_seconds(world, monkeypatch):
    """I13: a full journal is emptied faster than an hour at a time."""
    monkeypatch.setattr("edge_agent.journal.TRIM_MAX", 2)
    monkeypatch.setattr("edge_agent.agent.TRIM_MAX", 2)
    reads(world, 5)
    world.receive(world.filed(5))
    world.pass_time(RETENTION_MS + FILING_STEP_MS)
    assert world.agent.journal.checkpoint == 2
    world.pass_time(1_000)
    assert world.agent.journal.checkpoint == 4


def test_each_item_is_kept_35_days_from_its_own_filing(world):
    reads(world, 2)
    world.receive(world.filed(1))
    world.pass_time(2 * FILING_STEP_MS)
    world.receive(world.filed(2))
    world.pass_time(RETENTION_MS - FILING_STEP_MS)
    assert world.agent.journal.checkpoint == 1
    world.pass_time(2 * FILING_STEP_MS)
    assert world.agent.journal.checkpoint == 2


def test_unfiled_items_are_never_removed(world):
    """I3."""
    reads(world, 3)
    world.pass_time(3 * RETENTION_MS)
    assert world.agent.journal.checkpoint == 0


def test_refusal_that_could_be_replayed_is_kept_past_35_days(world):
    """I6: a command from the future stays refused until it has expired."""
    far = world.command("close", sequence_ms=world.now_ms + 60 * DAY_MS)
    world.receive(far)
    reads(world, 2)
    world.receive(world.filed(3))
    world.pass_time(RETENTION_MS + FILING_STEP_MS)
    world.greet()
    world.pass_time(FILING_STEP_MS)
    assert world.agent.journal.checkpoint == 0
    world.receive(far)
    assert world.final_item(far).reason == "from_future"


def test_running_time_is_stored_at_least_every_minute(world):
    before = world.agent.journal.standing.running_ms
    world.pass_time(60_000)
    assert world.agent.journal.standing.running_ms == before + 60_000
    world.elapsed_ms += 59_000  # lost with the power
    world.crash()
    assert world.agent.journal.standing.running_ms == before + 60_000


def test_next_due_names_the_earliest_thing_to_do():
    world = World(plan=PopulationPlan())
    world.greet()
    world.receive(world.command("close"))
    assert world.agent.next_due_ms() == world.elapsed_ms + 5_000
    reads(world, 1)
    assert world.agent.next_due_ms() == world.elapsed_ms + 2_000

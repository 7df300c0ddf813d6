"""The new life of a restored ledger: nothing is lost, nothing acts on what it forgot (R13, R3)."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.outbox import LAPSE_MS, LIFE_MS
from cloud.restore import RestoreError, resumable
from cloud.schema import agents, alarms, filed_items, ledger, locks, meters
from cloud.store import Found, reading
from cloud.vocabulary import LockKind
from tests.cloud.engine_world import MINUTE_MS, QUOTE_PAISE, World, bodies, sent, welcome
from tests.cloud.restoring import back_up_now, restored
from tests.wire.installation import EPOCH, GENERATION_MS, INTAKE, OTHER_INSTALLATION
from wire.topics import MessageType
from wire.vocabulary import Outcome


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


# The new life


def test_restore_begins_a_generation_above_all_it_knows_and_freezes_opens(
    world: World, target: Path
):
    back_up_now(world, target)
    world.now_ms += MINUTE_MS
    done = restored(world, target, epoch=EPOCH + 1)
    row = world.one(select(ledger))
    assert row.generation_ms == done.generation_ms == world.now_ms
    assert row.restored_at_ms == row.opens_frozen_since_ms == world.now_ms
    assert row.locks_wait_until_ms == world.now_ms + LIFE_MS + LAPSE_MS
    assert row.epoch == EPOCH + 1


def test_generation_rises_also_when_the_clock_went_back(world: World, target: Path):
    back_up_now(world, target)
    world.put(ledger, generation_ms=world.now_ms + MINUTE_MS)
    assert restored(world, target).generation_ms == world.now_ms + MINUTE_MS + 1
    world.now_ms = GENERATION_MS
    world.put(ledger, generation_ms=1)
    with pytest.raises(RestoreError):
        restored(world, target)


def test_every_standing_lock_is_pending_until_no_forgotten_close_can_act(
    world: World, target: Path
):
    """R3, I15: what was published since the backup is forgotten, and lives up to 15 minutes."""
    world.lock(1, LockKind.SAFETY)
    back_up_now(world, target)
    restored(world, target)
    world.start()

    def effective() -> Sequence[Found]:
        return world.rows(select(locks).where(locks.c.effective_at_ms.is_not(None)))

    assert effective() == []
    world.later(LIFE_MS + LAPSE_MS - 1)
    assert effective() == []
    world.later(1_001)
    assert {row.kind for row in effective()} == {"non_payment", "safety"}


def test_lock_that_was_cleared_stays_as_it_was(world: World, target: Path):
    world.pay()
    back_up_now(world, target)
    before = world.rows(select(locks))
    restored(world, target)
    assert world.rows(select(locks)) == before


# Nothing is lost


def test_payment_after_the_backup_is_posted_again_and_its_relay_not_moved_twice(
    world: World, target: Path
):
    """F26: everything retained is offered again; counters stay above all that was accepted (I7)."""
    agent = world.agents["AG-1"]
    back_up_now(world, target)
    item = world.item()
    (first,) = sent(world.pay(item))
    outcome = agent.final(first, Outcome.CLOSED)
    world.turn(agent.says(outcome))
    assert world.episode().ended_at_ms is not None

    world.now_ms += MINUTE_MS
    done = restored(world, target)
    world.start()
    told = world.turn(world.watermark(made=1))
    (receipt,) = bodies(told, MessageType.RECEIPT)
    assert (receipt.generation_ms, receipt.items) == (done.generation_ms, ())
    answer = welcome(world.turn(agent.hello(generation_ms=GENERATION_MS)))
    assert answer.generation_ms == done.generation_ms
    assert answer.through == 0

    (second,) = sent(world.pay(item))
    assert second.body.sequence_ms > first.body.sequence_ms
    world.turn(agent.says(outcome))  # an orphan now: its command is forgotten
    (orphan,) = world.rows(select(filed_items))
    assert orphan.command_id == first.command_id
    assert world.value(select(meters.c.output)) == 1  # but what it read counts
    assert world.episode().ended_at_ms is None
    world.turn(agent.says(agent.final(second, Outcome.ALREADY_CLOSED)))
    assert world.episode().ended_at_ms is not None
    assert world.owed() == 0
    assert world.alarm_codes() == []


def test_command_published_before_the_backup_ends_by_the_item_offered_again(
    world: World, target: Path
):
    agent = world.agents["AG-1"]
    (only,) = sent(world.pay())
    back_up_now(world, target)
    outcome = agent.final(only, Outcome.CLOSED)
    world.turn(agent.says(outcome))
    restored(world, target)
    world.start()
    world.turn(agent.hello(), agent.says(outcome))
    assert world.command().outcome == Outcome.CLOSED.value
    assert world.episode().ended_at_ms is not None
    assert world.later(LIFE_MS + LAPSE_MS + 60_000) == []


def test_command_queued_before_the_backup_gets_a_counter_above_all_given_since(
    world: World, target: Path
):
    """I4, I7: it has neither counter nor bytes; its decision stands in the restored rows."""
    world.put(agents, window=0)  # as full as a window can be: nothing is published
    assert sent(world.pay()) == []
    back_up_now(world, target)
    world.put(agents, window=32)
    (given,) = sent(world.later(1_001))
    world.now_ms += MINUTE_MS
    restored(world, target)
    world.start()
    (again,) = sent(world.turn(world.agents["AG-1"].hello()))
    assert again.body.sequence_ms > given.body.sequence_ms
    assert again.body.evidence == given.body.evidence
    assert len(world.commands()) == 1


def test_money_that_went_back_since_drops_the_close_when_it_is_offered_again(
    world: World, target: Path
):
    world.put(agents, window=0)
    item = world.item()
    world.pay(item)
    back_up_now(world, target)
    restored(world, target)
    world.start()
    refund = world.item(kind="refunded", object_id="rfnd_1", amount_paise=QUOTE_PAISE)
    world.pay(refund)
    world.put(agents, window=32)
    assert sent(world.turn(world.agents["AG-1"].hello())) == []
    assert world.command().state == "dropped"


@pytest.mark.parametrize("outcome", [Outcome.OPENED, Outcome.DISARMED])
def test_open_that_the_ledger_forgot_is_a_persons_work(
    world: World, target: Path, outcome: Outcome
):
    agent = world.agents["AG-1"]
    back_up_now(world, target)
    (given,) = sent(world.pay())
    taken = agent.final(given, outcome)
    restored(world, target)
    world.start()
    world.turn(agent.hello(), agent.says(taken))
    (alarm,) = world.rows(select(alarms))
    assert (alarm.code, alarm.subject) == ("orphan_open", "M-1")
    assert outcome.value in alarm.detail


# A copy for tests


def test_copy_for_tests_is_bound_to_its_own_root_and_old_signatures_are_over(
    world: World, target: Path
):
    """R23: nothing signed under the old installation is sent or waited for."""
    world.pay()
    back_up_now(world, target)
    (old,) = world.commands()
    restored(world, target, installation=OTHER_INSTALLATION, is_new_installation=True, epoch=EPOCH)
    assert world.one(select(ledger)).installation == OTHER_INSTALLATION
    world.start()
    left = world.later(1_001)
    assert old.envelope not in {one.payload for one in left}
    assert world.commands()[0].state == "lapsed"
    assert world.commands()[-1].state == "queued"  # decided anew, on the ladder


def test_copy_for_tests_may_have_a_key_of_a_lower_epoch(world: World, target: Path):
    back_up_now(world, target)
    changes = {"installation": OTHER_INSTALLATION, "is_new_installation": True}
    restored(world, target, **changes, epoch=EPOCH - 1)
    assert world.one(select(ledger)).epoch == EPOCH - 1


# Who may open again


def why_not(world: World, intakes: Sequence[str] | None = (INTAKE,)) -> tuple[str, ...]:
    with reading(world.store) as connection:
        return resumable(connection, intakes)


def test_ledger_that_was_never_restored_waits_for_nobody(world: World):
    assert why_not(world) == ()


def test_nobody_opens_before_every_intake_and_the_agents_know_the_new_generation(
    world: World, target: Path
):
    agent = world.agents["AG-1"]
    world.turn(world.watermark())
    back_up_now(world, target)
    generation_ms = restored(world, target).generation_ms
    world.start()
    assert (
        why_not(world)
        == why_not(world, None)
        == (
            f"intake {INTAKE} has not spoken to the restored ledger yet",
            "0 of 1 agents have said hello to the restored ledger, 99 % are needed",
        )
    )
    world.now_ms += 1
    world.turn(world.watermark(), agent.hello(generation_ms=GENERATION_MS))
    assert len(why_not(world)) == 2
    world.now_ms += 1
    world.turn(world.watermark(generation_ms=generation_ms))
    assert len(why_not(world)) == 1
    world.turn(agent.hello(generation_ms=generation_ms))
    assert why_not(world) == why_not(world, None) == ()
    assert why_not(world, [INTAKE, "INTAKE-2"]) == (
        "intake INTAKE-2 has not spoken to the restored ledger yet",
    )


def test_one_silent_agent_in_a_hundred_does_not_hold_up_the_others(world: World, target: Path):
    for number in range(2, 101):
        world.add_agent(f"AG-{number}")
        world.add_home(number, f"AG-{number}")
    world.put(agents, heard_at_ms=world.now_ms)
    back_up_now(world, target)
    generation_ms = restored(world, target).generation_ms

    def told(number: int) -> None:
        names = [f"AG-{one}" for one in range(1, number + 1)]
        world.execute(
            agents.update().where(agents.c.agent_id.in_(names)).values(generation_ms=generation_ms)
        )

    told(98)
    assert why_not(world, ()) == (
        "98 of 100 agents have said hello to the restored ledger, 99 % are needed",
    )
    told(99)
    assert why_not(world, ()) == ()


def test_agent_without_meters_is_not_waited_for(world: World, target: Path):
    world.add_agent("AG-2")
    world.put(agents, heard_at_ms=world.now_ms)
    back_up_now(world, target)
    generation_ms = restored(world, target).generation_ms
    world.start()
    world.turn(world.agents["AG-1"].hello(generation_ms=generation_ms))
    assert why_not(world, ()) == ()

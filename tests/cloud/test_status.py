"""What operators see: what is stuck and why, and how fast the rest is; read, never written."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from cloud.cli.status import as_object, frame, render
from cloud.schema import agents, commands, crew_tickets, episodes, journals, ledger, locks
from cloud.status import Status, read_status
from cloud.status_stuck import STUCK_SHOWN
from cloud.vocabulary import LockKind
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, sent
from tests.cloud.status_schema import SCHEMA, faults
from tests.wire.installation import GENERATION_MS, PROVIDER
from wire.messages import ProviderMark
from wire.vocabulary import Outcome, PaymentKind

HOUR_MS = 60 * MINUTE_MS


def status(world: World) -> Status:
    return read_status(world.store, now_ms=world.now_ms)


def step(found: Status, name: str) -> Any:
    return next(one for one in found.funnel.steps if one.step == name)


@pytest.fixture
def busy(world: World) -> World:
    """Home 1 has its light back; home 2 is paid and dark for an hour, home 3 locked."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += SECOND_MS
    word = agent.final(
        close,
        Outcome.CLOSED,
        received_at_ms=close.body.sequence_ms + 40,
        acted_at_ms=close.body.sequence_ms + 50,
        read_at_ms=close.body.sequence_ms + 200,
    )
    world.turn(agent.says(word))
    world.add_agent("AG-2")
    world.add_home(2, "AG-2")
    world.cut(2)
    world.add_home(3)
    world.lock(3, LockKind.THEFT)
    world.pay(
        world.item("pay_2", account_hint="A-2"),
        world.item("pay_3", currency="USD"),
    )
    return world


# The object


def test_object_has_exactly_the_documented_names_and_kinds(busy: World):
    busy.turn(
        busy.watermark(
            made=3, providers=(ProviderMark(provider=PROVIDER, complete_to_ms=busy.now_ms),)
        )
    )
    assert faults(json.loads(as_object(status(busy))), SCHEMA) == []


def test_reading_the_status_changes_nothing(busy: World):
    before = busy.everything()
    render(status(busy))
    assert busy.everything() == before


def test_status_is_told_while_the_engine_is_down_with_its_last_turn(busy: World):
    last_ms = busy.now_ms
    busy.now_ms += 5 * MINUTE_MS
    found = status(busy)
    assert found.last_turn_at_ms == last_ms
    assert "engine: last turn 5 min 00 s ago: it does not run" in render(found)


def test_ledger_without_anything_is_told_too(empty: World):
    found = status(empty)
    assert (found.last_turn_at_ms, found.paid_but_dark, found.stuck) == (None, 0, ())
    lines = render(found).splitlines()
    assert lines[0] == "paid but dark: 0"
    assert lines[1] == "engine: last turn never: it does not run, or nobody speaks to it"


# Paid but dark


def test_first_line_says_how_many_are_paid_but_dark_since_when_and_why(busy: World):
    busy.later(HOUR_MS)
    found = status(busy)
    assert found.paid_but_dark == 1
    (one,) = found.stuck
    assert (one.account_id, one.meter_id, one.agent_id) == ("A-2", "M-2", "AG-2")
    assert (one.stage, one.reason, one.ticket) == ("queued", "its agent was never heard", 1)
    assert render(found).splitlines()[0] == (
        "paid but dark: 1, the oldest for 1 h 00 min (queued: its agent was never heard)"
    )


def stuck(world: World) -> tuple[str, str]:
    (one,) = status(world).stuck
    return one.stage, one.reason


def test_stage_follows_the_close_from_published_to_the_next_try(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += 5 * SECOND_MS
    assert stuck(world) == (
        "published",
        "no word on the close of 4.999 s ago; its agent was last heard 5.000 s ago",
    )
    world.turn(agent.says(agent.received(close)))
    world.now_ms += SECOND_MS
    assert stuck(world) == (
        "received",
        "its agent has the close for 1.000 s, the meter has not answered",
    )
    word = agent.final(close, Outcome.REFUSED, reason="before_welcome")
    world.turn(agent.says(word))
    assert stuck(world) == (
        "waiting",
        "the next try is in 15.000 s; the last try was refused (before welcome)",
    )


def test_what_the_rules_or_a_lock_hold_says_which(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    word = agent.final(close, Outcome.REFUSED_BY_METER, reason="load_voltage")
    world.turn(agent.says(word))
    assert stuck(world) == (
        "held",
        "the meter itself refused: people must look (load voltage)",
    )
    world.pay(world.item(kind=PaymentKind.DISPUTED, object_id="d_1"))
    stage, reason = stuck(world)
    assert stage == "held"
    assert reason.startswith("another lock stands; ")
    assert "payment disputed" in reason


def test_only_the_oldest_are_listed_and_all_are_counted(world: World):
    for number in range(2, STUCK_SHOWN + 5):
        world.add_home(number)
        world.cut(number, state="paid", paid_at_ms=world.now_ms - number)
    found = status(world)
    assert found.paid_but_dark == STUCK_SHOWN + 3
    ages = [world.now_ms - one.paid_at_ms for one in found.stuck]
    assert ages == [STUCK_SHOWN + 4 - n for n in range(STUCK_SHOWN)]
    assert {one.reason for one in found.stuck} == {"it was never decided"}


# The last hour


def test_funnel_counts_each_step_once_for_an_episode_with_its_times(busy: World):
    found = status(busy)
    counts = {one.step: one.count for one in found.funnel.steps}
    assert counts == {
        "reported": 3,
        "posted": 2,
        "decided": 2,
        "published": 1,
        "received": 1,
        "closed": 1,
    }
    assert step(found, "reported").p50_ms == SECOND_MS
    assert step(found, "posted").p99_ms == SECOND_MS
    assert step(found, "decided").p50_ms == 0
    assert step(found, "published").p50_ms == 1  # its counter is one above the agent's floor
    assert step(found, "received").p50_ms == 40
    assert step(found, "closed").p50_ms == SECOND_MS - 41
    assert found.funnel.captured_to_closed.p90_ms == 3 * SECOND_MS
    assert not found.funnel.is_capped


def test_funnel_forgets_what_is_older_than_an_hour(busy: World):
    busy.now_ms += HOUR_MS + 1
    found = status(busy)
    assert {one.count for one in found.funnel.steps} == {0}
    assert {one.p50_ms for one in found.funnel.steps} == {None}


def test_money_that_goes_back_is_not_counted_as_reported(busy: World):
    before = status(busy).funnel.steps[:2]
    busy.pay(busy.item(kind=PaymentKind.REFUNDED, amount_paise=1))
    assert [one.count for one in status(busy).funnel.steps[:2]] == [one.count for one in before]


def test_armed_is_told_apart_from_closed(world: World):
    """I8."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    found = status(world)
    assert (found.funnel.armed, step(found, "closed").count) == (1, 0)
    assert "; 1 armed, waiting for the button" in render(found)


# Who is there, what waits


def test_backlog_tells_due_later_and_published_apart_and_the_worst_agent(busy: World):
    agent = busy.agents["AG-1"]
    for number in (4, 5):
        busy.add_home(number)
        busy.cut(number)
    fourth, fifth = (busy.item(f"pay_{n}", account_hint=f"A-{n}") for n in (4, 5))
    (close,) = sent(busy.pay(fourth))
    busy.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    assert len(sent(busy.pay(fifth))) == 1
    busy.now_ms += 4 * SECOND_MS
    found = status(busy).backlog
    assert (found.queued_due, found.queued_later, found.live) == (1, 1, 1)
    assert found.oldest_due_at_ms == busy.now_ms - 4 * SECOND_MS
    assert [(one.agent_id, one.queued_due) for one in found.worst_agents] == [
        ("AG-2", 1),
        ("AG-1", 0),
    ]
    assert found.worst_agents[0].heard_at_ms is None


def test_withdrawal_is_due_since_ever_and_is_not_the_oldest(busy: World):
    queued = update(commands).where(commands.c.state == "queued")
    busy.execute(queued.values(action="withdraw", due_at_ms=0))
    found = status(busy).backlog
    assert (found.queued_due, found.oldest_due_at_ms) == (1, None)


@pytest.mark.parametrize(
    ("ago_ms", "recent", "today"),
    [(MINUTE_MS, 1, 1), (11 * MINUTE_MS, 0, 1), (25 * HOUR_MS, 0, 0)],
)
def test_agent_without_a_hello_for_a_day_is_silent(
    world: World, ago_ms: int, recent: int, today: int
):
    world.execute(update(agents).values(heard_at_ms=world.now_ms - ago_ms))
    world.add_agent("AG-9")
    found = status(world).agents
    assert (found.known, found.heard_10_min, found.heard_24_h) == (2, recent, today)
    assert found.silent == 2 - today


def test_versions_forks_and_suspensions_are_counted(world: World):
    world.execute(update(agents).values(suspended_at_ms=1))
    world.execute(update(journals).values(forked_at_ms=1))
    world.add_agent("AG-9")  # never heard: its versions are not known
    found = status(world).agents
    assert (found.suspended, found.forked_journals) == (1, 1)
    assert [(one.version, one.agents) for one in found.software] == [("by hand", 1)]
    assert [(one.version, one.agents) for one in found.trust] == [("7", 1)]


def test_intake_tells_what_it_made_and_what_is_stored_without_a_gap(world: World):
    world.pay(world.item(number=1))
    world.pay(world.item("pay_3", number=3))
    world.turn(world.watermark(made=5))
    (found,) = status(world).intakes
    assert (found.made, found.stored, found.watermark_at_ms) == (5, 1, world.now_ms)
    assert "5 made, 1 stored, 4 under way" in render(status(world))


# Locks, tickets, alarms, the ledger


def test_pending_locks_are_told_apart_from_effective_ones(busy: World):
    row = {"account_id": "A-2", "owner": "o", "document": "d", "placed_at_ms": 1}
    busy.execute(insert(locks), row | {"kind": "theft"})
    found = {one.kind: (one.pending, one.effective) for one in status(busy).locks}
    assert found == {"theft": (1, 1)}
    assert "locks: theft 1 and 1 pending" in render(status(busy))


def test_open_tickets_are_counted_with_the_oldest(busy: World):
    row = {"episode_id": 1, "reasons": "dark_too_long"}
    busy.execute(insert(crew_tickets), row | {"opened_at_ms": 5, "closed_at_ms": 6})
    busy.execute(insert(crew_tickets), row | {"opened_at_ms": busy.now_ms - MINUTE_MS})
    found = status(busy)
    assert (found.tickets.open, found.tickets.oldest_opened_at_ms) == (1, busy.now_ms - MINUTE_MS)
    assert "crew tickets: 1 open, the oldest since 1 min 00 s" in render(found)


def test_alarms_of_the_last_day_are_counted_by_code(busy: World):
    busy.pay(busy.item("pay_9", currency="USD"))
    assert {one.code: one.count for one in status(busy).alarms_24_h} == {"currency": 2}
    busy.now_ms += 25 * HOUR_MS
    assert status(busy).alarms_24_h == ()


def test_ledgers_life_is_told(world: World):
    world.execute(
        update(ledger).values(
            restored_at_ms=world.now_ms - MINUTE_MS,
            opens_frozen_since_ms=world.now_ms,
            locks_wait_until_ms=world.now_ms + 1,
        )
    )
    found = status(world)
    assert found.ledger.generation_ms == GENERATION_MS
    told = render(found).splitlines()[-1]
    assert told.startswith(f"ledger: generation {GENERATION_MS}, epoch 3; restored 1 min 00 s ago")
    assert "; locks wait until 2026-" in told
    assert "; opens frozen since 2026-" in told


def test_episode_numbers_of_the_stuck_are_their_own(busy: World):
    (one,) = status(busy).stuck
    assert busy.one(select(episodes).where(episodes.c.id == one.episode_id)).account_id == "A-2"


# The screen


def test_frame_is_drawn_over_the_one_before_and_fits_the_screen():
    drawn = frame("abcdef\nb\nc\nd", columns=3, lines=4)
    assert drawn == "\x1b[Habc\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J"

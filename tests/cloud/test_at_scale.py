"""Long lines, many agents, many live commands: what a turn reads is bounded by what it does (I13).

No test here looks at a clock: they count what left, and read the plans of the statements.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import LargeBinary, cast, event, func, insert, select, text, update

from cloud.engine import RESEND_BATCH_MAX
from cloud.lines import FILL_MAX
from cloud.outbox import LAPSE_MAX, LAPSE_MS, LIFE_MS
from cloud.schema import agents, commands, journals, meters
from tests.cloud.agent_by_hand import Sent
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, sent
from tests.wire.installation import EPOCH
from wire.vocabulary import Outcome, PaymentKind

_METERS = text("""
    WITH RECURSIVE line(place) AS (SELECT 1 UNION ALL SELECT place + 1 FROM line
        WHERE place < :count)
    INSERT INTO meters (meter_id, account_id, agent_id, feeder, transformer, installed_at_ms,
        mapped_at_ms)
    SELECT :agent || '-' || place, 'A-1', :agent, 'F', 'T', 0, 0 FROM line""")
_COMMANDS = text("""
    INSERT INTO commands (action, meter_id, agent_id, decision, state, queued_at_ms, due_at_ms)
    SELECT 'arm', meter_id, agent_id, :decision, 'queued', :due_at_ms, :due_at_ms FROM meters
    WHERE agent_id = :agent AND meter_id LIKE :agent || '-%' ORDER BY meters.rowid""")


@pytest.fixture
def crowd(world: World) -> World:
    """The world of the other tests, with a decision to hang commands on and nothing under way."""
    world.pay(world.item("pay_0", amount_paise=1))
    world.later(SECOND_MS)
    return world


def add_agents(world: World, count: int, window: int = 32) -> list[str]:
    """Agents that said hello."""
    names = [f"B-{number:04d}" for number in range(count)]
    journal = {"standing": "current", "boot": 1, "hello_number": 1, "hello_nonce": b"n" * 16}
    with world.transaction() as transaction:
        transaction.execute(insert(agents), [{"agent_id": one, "window": window} for one in names])
        transaction.execute(
            insert(journals),
            [journal | {"agent_id": one, "journal": one.encode(), "head": b""} for one in names],
        )
    return names


def let_wait(world: World, agent: str, count: int, due_at_ms: int = 1) -> None:
    """So many meters of the agent, each with one command that waits."""
    decision = world.decision().digest
    given = {"agent": agent, "count": count, "due_at_ms": due_at_ms, "decision": decision}
    with world.transaction() as transaction:
        transaction.execute(_METERS, given)
        transaction.execute(_COMMANDS, given)


def let_live(world: World, agent: str, count: int, **of_all: object) -> None:
    """So many meters of the agent, each with one live command; its bytes are not real."""
    let_wait(world, agent, count)
    number = commands.c.id
    world.execute(
        update(commands)
        .where(commands.c.agent_id == agent)
        .values(
            **{
                "state": "published",
                "command_id": cast(func.printf("%016d", number), LargeBinary),
                "epoch": EPOCH,
                "sequence_ms": number,
                "envelope": b"",
                "sends": 1,
                "resend_at_ms": world.now_ms,
                "expires_at_ms": world.now_ms + LIFE_MS,
                **of_all,
            }
        )
    )


def agents_of(left: Sequence[Sent]) -> dict[str, int]:
    """How many commands left for each agent."""
    counts: dict[str, int] = {}
    for one in left:
        counts[one.body.agent] = counts.get(one.body.agent, 0) + 1
    return counts


@contextmanager
def plans(world: World) -> Iterator[list[str]]:
    """The plan's lines of every statement that runs within the block."""
    ran: dict[str, Any] = {}
    found: list[str] = []

    def note(_: object, __: object, statement: str, given: object, *___: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "WITH", "DELETE")):
            ran[statement] = given[0] if isinstance(given, list) else given

    event.listen(world.store, "before_cursor_execute", note)
    yield found
    event.remove(world.store, "before_cursor_execute", note)
    with world.store.connect() as connection:
        for statement, given in ran.items():
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, given)
            found += [f"{row.detail}: {statement}" for row in rows]


# Whose turn it is


def test_a_hundred_thousand_that_wait_for_one_agent_hold_up_nobody(crowd: World):
    others = add_agents(crowd, 40)
    let_wait(crowd, "AG-1", 100_000, due_at_ms=1)
    for name in others:
        let_wait(crowd, name, 3, due_at_ms=2)
    left = agents_of(sent(crowd.later(SECOND_MS)))
    assert left == {"AG-1": 32} | dict.fromkeys(others, 3)


def test_each_of_more_agents_than_a_turn_signs_for_has_its_turn_in_the_next(crowd: World):
    names = add_agents(crowd, FILL_MAX + 100)
    for name in names:
        let_wait(crowd, name, 2)
    first = agents_of(sent(crowd.later(SECOND_MS)))
    assert len(first) == FILL_MAX
    assert set(first.values()) == {1}
    second = agents_of(sent(crowd.later(SECOND_MS)))
    assert first.keys() | second.keys() == set(names)


def test_agents_share_a_turn_alike_when_more_would_fit(crowd: World):
    names = add_agents(crowd, 100, window=64)
    for name in names:
        let_wait(crowd, name, 64)
    left = agents_of(sent(crowd.later(SECOND_MS)))
    assert left == dict.fromkeys(names, FILL_MAX // 100)


def test_silent_agents_with_full_windows_do_not_hold_up_one_that_answers(crowd: World):
    silent = add_agents(crowd, 200, window=1)
    for name in silent:
        let_wait(crowd, name, 100)
    assert agents_of(sent(crowd.later(SECOND_MS))) == dict.fromkeys(silent, 1)
    let_wait(crowd, "AG-1", 1, due_at_ms=crowd.now_ms)
    assert agents_of(sent(crowd.later(SECOND_MS))) == {"AG-1": 1}


def test_command_whose_meter_is_taken_does_not_hold_up_the_line_behind_it(crowd: World):
    """R14: it waits for the end of the live one, and nobody waits for it."""
    add_agents(crowd, 1)
    let_live(crowd, "B-0000", 31, resend_at_ms=None)
    crowd.execute(
        insert(commands),
        [
            {"action": "arm", "meter_id": f"B-0000-{place}", "agent_id": "B-0000",
             "decision": crowd.decision().digest, "state": "queued", "queued_at_ms": 1,
             "due_at_ms": 1}
            for place in range(1, 32)
        ],
    )  # fmt: skip
    crowd.add_home(7, "B-0000")
    crowd.cut(7)
    (close,) = sent(crowd.pay(crowd.item("pay_7", account_hint="A-7")))
    assert close.body.meter == "M-7"


# Timers of many


def test_everything_due_again_has_its_turn_before_anything_has_a_second(crowd: World):
    """R14: what was sent first is due first again; it must not come before those behind it."""
    count = 12 * RESEND_BATCH_MAX
    let_live(crowd, "AG-1", count)
    topics = [one.topic for _ in range(12) for one in crowd.later(SECOND_MS) if not one.payload]
    assert len(set(topics)) == len(topics) == count


def test_a_fleet_that_was_away_lapses_over_several_sweeps(crowd: World):
    let_live(crowd, "AG-1", LAPSE_MAX + 1, expires_at_ms=crowd.now_ms, resend_at_ms=None)
    lapsed = select(func.count()).where(commands.c.state == "lapsed")
    crowd.later(LAPSE_MS + 1)
    assert crowd.value(lapsed) == LAPSE_MAX
    crowd.later(SECOND_MS)
    assert crowd.value(lapsed) == LAPSE_MAX + 1


# What is read


@contextmanager
def instructions(world: World) -> Iterator[list[int]]:
    """How many instructions of SQLite's machine run within the block.

    Each of them: a coarser count goes on from where a statement's last run left it.
    """
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 1)

    event.listen(world.store, "checkout", watch)
    yield counted
    event.remove(world.store, "checkout", watch)


def test_work_of_a_turn_does_not_grow_with_what_waits(crowd: World):
    """Neither that of a sweep that finds every window full, nor of a word that makes room."""
    few = work_at(crowd, 100)
    many = work_at(crowd, 100_000)
    assert many[0] <= few[0] + 100  # one more agent with a line
    assert many[1] <= few[1] + 100


def work_at(world: World, count: int) -> tuple[int, int]:
    """The instructions of both, when so many wait for a new agent."""
    agent = world.add_agent(f"AG-{count}")
    let_wait(world, agent.agent_id, count)
    world.start()
    (arm,) = sent(world.turn(agent.hello(window=1)))
    world.later(SECOND_MS)
    with instructions(world) as sweep:
        assert sent(world.later(SECOND_MS)) == []
    with instructions(world) as turn:
        assert len(sent(world.turn(agent.says(agent.final(arm, Outcome.UNREACHABLE))))) == 1
    return sweep[0], turn[0]


def test_no_turn_reads_the_whole_of_a_table_that_grows(crowd: World):
    """Each statement of each kind of turn finds its rows by an index."""
    agent = crowd.agents["AG-1"]
    with plans(crowd) as found:
        (close,) = sent(crowd.pay())
        crowd.turn(agent.hello())
        crowd.turn(agent.says(agent.received(close)))
        crowd.pay(crowd.item(kind=PaymentKind.REFUNDED))
        crowd.turn(agent.says(agent.final(close, Outcome.CLOSED)))
        crowd.later(LIFE_MS + LAPSE_MS + MINUTE_MS)
    assert len(found) > 30
    # Locks that are pending are few, and an index holds them alone.
    found = [line for line in found if "USING INDEX pending_locks" not in line]
    growing = ("commands", "meters", "accounts", "episodes", "decisions", "entries",
               "payment_items", "payments", "filed_items", "quotes", "locks")  # fmt: skip
    whole = [line for line in found if line.startswith(tuple(f"SCAN {name}" for name in growing))]
    assert whole == []
    assert meters.name in " ".join(found)

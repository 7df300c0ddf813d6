"""A backup under load, an engine that dies, the old ledger restored: nothing is lost (R13, F26)."""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.cli.processes import clock_ms
from cloud.schema import commands, filed_items, journals, ledger, spools
from tests.walk.conftest import FAST, SLOW, made
from tests.walk.facts import (
    commands_of,
    demand_posted_once,
    ended,
    rows,
    until_closed,
    waiting_for,
)
from tests.walk.installation import LONGEST_WAIT_S, OWED_PAISE, AgentPlan, Walk, program
from tests.walk.provider import Consumer

PLAN = {
    FAST: AgentPlan(meters=16),
    SLOW: AgentPlan(meters=10, latency_ms=(100, 200), actuation_ms=2_500),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Walk]:
    """An installation of its own: its ledger goes back in time."""
    yield from made(tmp_path_factory.mktemp("restore") / "i", PLAN, made_at_ms=clock_ms())


@pytest.fixture
def walk(running: Walk) -> Iterator[Walk]:
    yield running
    assert running.traces() == []


def refused(walk: Walk, *arguments: str) -> str:
    """What a command says that must not do what it is asked."""
    done = subprocess.run(
        [program("relight"), *arguments, "--config", str(walk.config)],
        capture_output=True, text=True, check=False, timeout=LONGEST_WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    return done.stderr


def counters(path: Path) -> dict[str, set[int]]:
    """Every counter that a ledger gave, by meter."""
    given: dict[str, set[int]] = {}
    with closing(sqlite3.connect(path)) as connection:
        for meter, sequence_ms in connection.execute(
            "SELECT meter_id, sequence_ms FROM commands WHERE sequence_ms IS NOT NULL"
        ):
            given.setdefault(meter, set()).add(sequence_ms)
    return given


def demand_moved_once(walk: Walk, consumers: Sequence[Consumer]) -> None:
    """I6: what the agents journaled before a relay moved, whichever ledger had asked for it."""
    moved: Counter[str] = Counter()
    for agent in PLAN:
        address = f"file:{walk.journal(agent)}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            moved.update(
                meter
                for (meter,) in connection.execute(
                    "SELECT meter FROM steps WHERE step = 'actuating'"
                )
            )
    assert moved == {one.meter: 1 for one in consumers}


def test_ledger_restored_from_before_the_last_payments_learns_everything_again(walk: Walk):
    closed, acting, later = walk.take(FAST, 5), walk.take(SLOW, 10), walk.take(FAST, 6)
    everybody = [*closed, *acting, *later]
    assert set(walk.provider.report(closed, OWED_PAISE)) == {200}
    until_closed(walk, closed)
    assert set(walk.provider.report(acting, OWED_PAISE)) == {200}
    walk.until("published commands", waiting_for(walk, commands_of(acting), 1))
    backup = walk.folder / "backup"
    walk.relight("backup", str(backup))
    assert len(rows(walk, ended(acting))) < len(acting)  # else it was made behind the work
    assert set(walk.provider.report(later, OWED_PAISE)) == {200}
    until_closed(walk, everybody)

    before = walk.folder / "ledger.db"
    assert "in use by an engine" in refused(walk, "restore", str(backup))
    assert "one at a time" in refused(walk, "engine")
    walk.kill("engine")
    given = counters(before)
    walk.relight("restore", str(backup))
    assert len(rows(walk, ended(everybody))) < len(everybody)
    assert rows(walk, ended(later)) == []
    walk.start("engine")

    until_closed(walk, everybody)
    demand_posted_once(walk, everybody)
    demand_moved_once(walk, everybody)
    for meter, all_given in counters(before).items():
        fresh = all_given - given.get(meter, set())
        assert all(one > max(given[meter]) for one in fresh), meter

    (life,) = rows(walk, select(ledger))
    offered = select(spools).where(spools.c.watermark_generation_ms == life.generation_ms)
    walk.until("watermark of the new generation", waiting_for(walk, offered, 1))
    (spool,) = rows(walk, select(spools))
    assert spool.through == len(everybody)
    demand_every_item_filed(walk)


def demand_every_item_filed(walk: Walk) -> None:
    """I3: the agents offered their whole journals again; what was forgotten became orphans."""
    for agent in PLAN:
        address = f"file:{walk.journal(agent)}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            (made_items,) = connection.execute("SELECT count(*) FROM items").fetchone()
        stored = (
            select(filed_items)
            .join(journals, journals.c.id == filed_items.c.journal_id)
            .where(journals.c.agent_id == agent)
        )
        walk.until(f"every item of {agent}", waiting_for(walk, stored, made_items))
    known = select(commands.c.command_id).where(commands.c.command_id.is_not(None))
    orphans = select(filed_items).where(
        filed_items.c.kind == "command", filed_items.c.command_id.not_in(known)
    )
    assert rows(walk, orphans) != []

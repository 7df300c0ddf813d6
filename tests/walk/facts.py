"""What is true afterwards, read from the ledger and from an agent's journal."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Select, func, select

from cloud.schema import (
    commands,
    entries,
    episodes,
    filed_items,
    journals,
    payment_items,
    payments,
)
from cloud.store import Found, reading
from cloud.vocabulary import EntryHead
from tests.walk.installation import Walk
from tests.walk.provider import Consumer

SUCCESSES = ("closed", "already_closed")


def rows(walk: Walk, query: Select) -> list[Found]:
    ledger = walk.ledger()
    try:
        with reading(ledger) as connection:
            return list(connection.execute(query).all())
    finally:
        ledger.dispose()


def count_of(walk: Walk, query: Select) -> int:
    return len(rows(walk, query))


def ended(consumers: Sequence[Consumer]) -> Select:
    """The episodes of these consumers that ended."""
    return (
        select(episodes.c.account_id)
        .where(episodes.c.account_id.in_([one.account for one in consumers]))
        .where(episodes.c.ended_at_ms.is_not(None))
    )


def posted(consumers: Sequence[Consumer]) -> Select:
    """The payments posted to these consumers."""
    return select(payments).where(payments.c.account_id.in_([one.account for one in consumers]))


def items_of(consumers: Sequence[Consumer]) -> Select:
    """What the engine stored of reports about these consumers."""
    hints = [one.account for one in consumers]
    return select(payment_items).where(payment_items.c.account_hint.in_(hints))


def commands_of(consumers: Sequence[Consumer]) -> Select:
    meters = [one.meter for one in consumers]
    return select(commands).where(commands.c.meter_id.in_(meters)).order_by(commands.c.id)


def final_items(consumers: Sequence[Consumer]) -> Select:
    """The final acknowledgements filed about the commands of these consumers."""
    ids = select(commands.c.command_id).where(
        commands.c.meter_id.in_([one.meter for one in consumers])
    )
    return (
        select(filed_items)
        .where(filed_items.c.kind == "command")
        .where(filed_items.c.command_id.in_(ids))
    )


def waiting_for(walk: Walk, query: Select, count: int) -> Callable[[], bool]:
    """Whether the query finds that many rows by now."""
    ledger = walk.ledger()
    counting = select(func.count()).select_from(query.subquery())

    def is_there() -> bool:
        with reading(ledger) as connection:
            is_reached = (connection.scalar(counting) or 0) >= count
        if is_reached:
            ledger.dispose()
        return is_reached

    return is_there


def until_closed(walk: Walk, consumers: Sequence[Consumer]) -> None:
    walk.until(
        f"end of {len(consumers)} episodes", waiting_for(walk, ended(consumers), len(consumers))
    )


def demand_posted_once(walk: Walk, consumers: Sequence[Consumer]) -> None:
    """I2: one payment each, posted once; bill, charges and payment leave nothing owed."""
    found = rows(walk, posted(consumers))
    assert sorted(one.account_id for one in found) == sorted(one.account for one in consumers)
    query = select(entries).where(entries.c.account_id.in_([one.account for one in consumers]))
    lines = rows(walk, query)
    held = Counter(one.account_id for one in lines if one.head == EntryHead.PROVIDER)
    assert held == {one.account: 1 for one in consumers}
    owed: Counter[str] = Counter()
    for one in lines:
        owed[one.account_id] += one.amount_paise if one.head == EntryHead.RECEIVABLE else 0
    assert set(owed.values()) == {0}


def demand_closed_once(walk: Walk, consumers: Sequence[Consumer]) -> None:
    """I6: each relay was closed by one command, whose one final word is filed."""
    given = rows(walk, commands_of(consumers))
    succeeded = Counter(one.meter_id for one in given if one.outcome in SUCCESSES)
    assert succeeded == {one.meter: 1 for one in consumers}
    filed = Counter(one.command_id for one in rows(walk, final_items(consumers)))
    assert set(filed.values()) == {1}
    assert {one.command_id for one in given if one.outcome is not None} == set(filed)


def demand_one_command_each(walk: Walk, consumers: Sequence[Consumer]) -> None:
    """Nothing was decided twice: one command per episode, and it is the one that closed."""
    given = Counter(one.meter_id for one in rows(walk, commands_of(consumers)))
    assert given == {one.meter: 1 for one in consumers}


@dataclass(frozen=True, slots=True)
class JournalSteps:
    """The steps in an agent's journal: command id, step, attempt."""

    steps: tuple[tuple[bytes, str, int], ...]
    journal_id: bytes
    boot: int

    @classmethod
    def read(cls, path: Path) -> "JournalSteps":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT command_id, step, attempt FROM steps").fetchall()
            ((journal_id, boot),) = connection.execute("SELECT journal_id, boot FROM standing")
        return cls(tuple(found), journal_id, boot)

    def of(self, step: str, attempt: int = 1) -> set[bytes]:
        return {one for one, name, at in self.steps if (name, at) == (step, attempt)}

    @property
    def acting(self) -> set[bytes]:
        """Commands whose relay was told to move and of which nothing more is known."""
        return self.of("actuating") - self.of("outcome")


def until_heard(walk: Walk, *names: str) -> None:
    """Until the engine has handled a hello of each agent's present boot."""
    for name in names:
        mine = JournalSteps.read(walk.journal(name))
        heard = (
            select(journals)
            .where(journals.c.journal == mine.journal_id)
            .where(journals.c.boot >= mine.boot)
        )
        walk.until(f"hello of {name}", waiting_for(walk, heard, 1))

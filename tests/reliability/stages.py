"""How far each payment came, read from spool, ledger, journal and meters by plain SQL.

Nothing of the product is used to read: what a file says is judged by another reader than the one
that wrote it. Files are opened for reading only, also while their owner runs or is dead.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.walk.provider import Consumer


class Stage(StrEnum):
    """What a payment passes, in this order when nothing dies."""

    ASKED = "its webhook was sent"
    SPOOLED = "its report is in the spool"
    ANSWERED = "its webhook was answered 2xx"
    POSTED = "it is posted in the ledger"
    COMMANDED = "its command is fixed in the ledger"
    RECEIPTED = "its receipt is in the spool"
    RECEIVED = "its command is `received` in the journal"
    ACTING = "its command is `actuating` in the journal"
    TOLD = "its meter was told to close"
    FINISHED = "its command has an outcome in the journal"
    FILED = "its outcome is filed in the ledger"
    MARKED = "its journal knows that it is filed"
    NEVER = "never"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of a database file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        yield connection


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with reading(path) as connection:
        return connection.execute(query).fetchall()


def reports(spool: Path) -> list[tuple[str, bytes, bool]]:
    """Of each stored report: its payment, its bytes, and whether every item has a receipt."""
    found = rows(
        spool,
        """SELECT raw, NOT EXISTS (SELECT 1 FROM items LEFT JOIN receipts USING (number)
            WHERE items.report_id = reports.id AND receipts.number IS NULL) FROM reports""",
    )
    return [(_payment(raw), raw, bool(is_receipted)) for raw, is_receipted in found]


def _payment(raw: bytes) -> str:
    return str(json.loads(raw)["payload"]["payment"]["entity"]["id"])


def told(movements: Path) -> list[tuple[int, str]]:
    """When which meter was told to close, from the meters' own log."""
    if not movements.exists():
        return []
    lines = (line.split() for line in movements.read_text(encoding="ascii").splitlines())
    return [(int(at_ms), meter) for at_ms, meter in lines]


class Files:
    """The durable files of one installation."""

    def __init__(self, folder: Path, agents: Collection[str]) -> None:
        self.spool = folder / "spool.db"
        self.ledger = folder / "ledger.db"
        self.journals = {one: folder / "agents" / one / "journal.db" for one in agents}
        self.movements = {one: folder / "agents" / one / "movements" for one in agents}

    def reached(self, stage: Stage, consumers: Iterable[Consumer]) -> set[Consumer]:
        """Who of these came as far, by what the files say (not ASKED, ANSWERED)."""
        by_payment = {one.payment: one for one in consumers}
        by_meter = {one.meter: one for one in by_payment.values()}
        match stage:
            case Stage.SPOOLED:
                found = [by_payment.get(one) for one, _, _ in reports(self.spool)]
            case Stage.RECEIPTED:
                found = [by_payment.get(one) for one, _, is_done in reports(self.spool) if is_done]
            case Stage.POSTED:
                listed = rows(self.ledger, "SELECT payment_id FROM payments")
                found = [by_payment.get(one) for (one,) in listed]
            case _:
                found = [by_meter.get(one) for one in self._meters(stage)]
        return {one for one in found if one is not None}

    def count_commands(self, consumers: Iterable[Consumer]) -> int:
        """How many commands these consumers took."""
        meters = {one.meter for one in consumers}
        given = rows(self.ledger, "SELECT meter_id FROM commands WHERE command_id IS NOT NULL")
        return sum(one in meters for (one,) in given)

    def _meters(self, stage: Stage) -> Iterator[str]:
        match stage:
            case Stage.COMMANDED:
                listed = rows(
                    self.ledger, "SELECT meter_id FROM commands WHERE command_id IS NOT NULL"
                )
                yield from (one for (one,) in listed)
            case Stage.FILED:
                listed = rows(
                    self.ledger,
                    "SELECT meter_id FROM filed_items JOIN commands USING (command_id)"
                    " WHERE kind = 'command'",
                )
                yield from (one for (one,) in listed)
            case Stage.TOLD:
                for path in self.movements.values():
                    yield from (meter for _, meter in told(path))
            case Stage.NEVER:
                return
            case _:
                for path in self.journals.values():
                    yield from (one for (one,) in rows(path, _IN_JOURNAL[stage]))


_IN_JOURNAL = {
    Stage.RECEIVED: "SELECT meter FROM steps WHERE step = 'received'",
    Stage.ACTING: "SELECT meter FROM steps WHERE step = 'actuating'",
    Stage.FINISHED: "SELECT meter FROM steps WHERE step = 'outcome'",
    Stage.MARKED: "SELECT meter FROM steps, standing WHERE step = 'outcome' AND item <= filed",
}

"""The rows of an agent's journal that speak of commands and meters: what was received and done.

Steps are only added; a meter's counter only rises (`journal_schema` enforces both). Every writer
here takes part in the transaction that `journal.Journal.transaction` opened.
"""

import sqlite3
from dataclasses import dataclass

from wire.fields import CommandId, MeterId
from wire.messages import Counter

_NEVER = -1
REACHED_STEP_MS = 3_600_000  # a meter's last reading is remembered to the hour; the base takes days


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of what became of a command."""

    command_id: CommandId
    step: str  # received, actuating, outcome
    meter: MeterId
    action: str
    at_ms: int
    expires_at_ms: int
    attempt: int = 1
    body: bytes | None = None
    item: int | None = None
    manifest: bytes | None = None  # what allowed an open that is about to move


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A command that was journaled and has no outcome yet."""

    command_id: CommandId
    body: bytes
    received_at_ms: int
    acted_at_ms: int | None
    attempts: int  # 0: received only


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A command that stands in the journal; `item` is its final item's number, if it ended."""

    item: int | None


class CommandRows:
    """The steps and meters of one open journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def write(self, step: Step, running_ms: int) -> None:
        """Add one step of a command."""
        self._execute(
            "INSERT INTO steps (command_id, step, attempt, meter, action, at_ms, running_ms, body,"
            " item, expires_at_ms, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                step.command_id, step.step, step.attempt, step.meter, step.action, step.at_ms,
                running_ms, step.body, step.item, step.expires_at_ms, step.manifest,
            ),
        )  # fmt: skip

    def known(self, command_id: CommandId) -> Known | None:
        """What the journal says of a command id."""
        row = self._execute(
            "SELECT count(*), max(item) FROM steps WHERE command_id = ?", (command_id,)
        ).fetchone()
        return Known(item=row[1]) if row[0] else None

    def begun(self) -> list[Begun]:
        """Every command without outcome, in the order of being received."""
        rows = self._execute(
            "SELECT r.command_id, r.body, r.at_ms, max(a.at_ms), count(a.step) FROM steps r"
            " LEFT JOIN steps a ON a.command_id = r.command_id AND a.step = 'actuating'"
            " WHERE r.step = 'received' AND NOT EXISTS (SELECT 1 FROM steps o"
            " WHERE o.command_id = r.command_id AND o.step = 'outcome')"
            " GROUP BY r.command_id ORDER BY r.running_ms, r.at_ms, r.command_id"
        )
        return [
            Begun(command_id=row[0], body=row[1], received_at_ms=row[2], acted_at_ms=row[3],
                  attempts=row[4])
            for row in rows
        ]  # fmt: skip

    def highest(self, meter: MeterId) -> Counter | None:
        """The highest counter accepted for a meter."""
        row = self._execute(
            "SELECT epoch, sequence_ms FROM meters WHERE meter = ?", (meter,)
        ).fetchone()
        return Counter(epoch=row[0], sequence_ms=row[1]) if row else None

    def raise_highest(self, meter: MeterId, counter: Counter) -> None:
        """Believe a higher counter."""
        self._execute(
            "INSERT INTO meters (meter, epoch, sequence_ms) VALUES (?, ?, ?) ON CONFLICT (meter)"
            " DO UPDATE SET epoch = excluded.epoch, sequence_ms = excluded.sequence_ms",
            (meter, counter.epoch, counter.sequence_ms),
        )

    def counters(self) -> list[tuple[str, int, int]]:
        """(meter, epoch, sequence) of every meter that ever had a command."""
        return self._execute(
            "SELECT meter, epoch, sequence_ms FROM meters ORDER BY meter"
        ).fetchall()

    def note_reached(self, meter: MeterId, running_ms: int) -> None:
        """The meter was read through the door."""
        self._execute(
            "INSERT INTO meters (meter, epoch, sequence_ms, reached_ms) VALUES (?, 0, 0, ?)"
            " ON CONFLICT (meter) DO UPDATE SET reached_ms = excluded.reached_ms"
            f" WHERE reached_ms < excluded.reached_ms - {REACHED_STEP_MS} OR reached_ms = {_NEVER}",
            (meter, running_ms),
        )

    def note_closed(self, meter: MeterId, running_ms: int) -> None:
        """A close of this meter may have moved its relay now; opens keep their distance."""
        self._execute("UPDATE meters SET closed_ms = ? WHERE meter = ?", (running_ms, meter))

    def closed_ms(self, meter: MeterId) -> int | None:
        """The running time of the meter's last close by this agent."""
        row = self._execute("SELECT closed_ms FROM meters WHERE meter = ?", (meter,)).fetchone()
        return None if row is None or row[0] == _NEVER else row[0]

    def opens_since(self, running_ms: int, meter: MeterId) -> tuple[int, int]:
        """(of the agent, of the meter): opens and disarms about to move behind `running_ms`."""
        row = self._execute(
            "SELECT count(*), coalesce(sum(meter = ?), 0) FROM steps"
            " WHERE step = 'actuating' AND action IN ('open', 'disarm') AND running_ms > ?",
            (meter, running_ms),
        ).fetchone()
        return row[0], row[1]

    def reached_since(self, running_ms: int) -> int:
        """How many meters were read behind `running_ms`."""
        row = self._execute(
            "SELECT count(*) FROM meters WHERE reached_ms >= ?", (max(0, running_ms),)
        ).fetchone()
        return int(row[0])

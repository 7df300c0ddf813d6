"""What the ledger owes to consumers and to the owners of locks, after every turn: I9 and I10.

Judged from the ledger's file and from what people and providers did, not from what the engine says.
"""

import sqlite3
from typing import TYPE_CHECKING

from cloud.tickets import FIRST_TRY_MS, TICKET_AFTER_MS
from tests.simulation.schedule import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

# An idle engine looks at its timers each two minutes here; in production each second.
SLACK_MS = 180_000
_NO_OTHER_LOCK = """NOT EXISTS (SELECT 1 FROM locks WHERE locks.account_id = episodes.account_id
    AND cleared_at_ms IS NULL AND kind <> 'non_payment')"""
_NO_TICKET = """NOT EXISTS (SELECT 1 FROM crew_tickets WHERE episode_id = episodes.id
    AND closed_at_ms IS NULL)"""
_FORGOTTEN = f"""SELECT id, meter_id FROM episodes WHERE state = 'paid'
    AND {_NO_OTHER_LOCK} AND {_NO_TICKET}
    AND NOT EXISTS (SELECT 1 FROM commands WHERE episode_id = episodes.id AND action = 'close'
        AND state IN ('queued', 'published'))"""
_LATE = f"""SELECT id, meter_id FROM episodes WHERE state = 'paid' AND paid_at_ms < ?1 - {
    TICKET_AFTER_MS + SLACK_MS
} AND {_NO_OTHER_LOCK} AND {_NO_TICKET}
    AND NOT EXISTS (SELECT 1 FROM decisions WHERE episode_id = episodes.id
        AND decided_at_ms > ?1 - {FIRST_TRY_MS + SLACK_MS})"""
_OTHERS = """SELECT account_id, kind, max(cleared_at_ms IS NULL), max(cleared_at_ms IS NOT NULL)
    FROM locks WHERE kind <> 'non_payment' GROUP BY account_id, kind"""


class LawfulChecks:
    """The checks of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._standing: set[tuple[str, str]] = set()  # other locks that stood after some turn

    def engine_turned(self, reader: sqlite3.Connection) -> None:
        """Both invariants, at each commit."""
        self._nobody_forgotten(reader)
        self._locks_are_their_owners(reader)
        self._nothing_opens(reader)

    def restored(self) -> None:
        """An older ledger was put in place."""
        self._standing.clear()

    def _nobody_forgotten(self, reader: sqlite3.Connection) -> None:
        """I9: who paid has a close on its way or a crew; after an hour in the dark, a crew."""
        forgotten = reader.execute(_FORGOTTEN).fetchall()
        if forgotten:
            raise Violation(f"I9: paid and forgotten, neither close nor ticket: {forgotten}")
        late = reader.execute(_LATE, (self._world.engine.clock_ms,)).fetchall()
        if late:
            raise Violation(f"I9: paid and dark for more than an hour, no crew ticket: {late}")

    def _locks_are_their_owners(self, reader: sqlite3.Connection) -> None:
        """I10: a lock other than non-payment ends by its owner's word alone, never by money."""
        for account, kind, stands, was_cleared in reader.execute(_OTHERS):
            lock = (account, kind)
            if was_cleared and not self._may_end(lock):
                raise Violation(f"I10: the {kind} lock of {account} was cleared; nobody asked")
            if stands:
                self._standing.add(lock)
            elif lock in self._standing and not was_cleared:
                raise Violation(f"I10: the {kind} lock of {account} is gone")

    def _may_end(self, lock: tuple[str, str]) -> bool:
        if lock[1] == "payment_disputed":
            return lock[0] in self._world.provider.disputes_decided
        return lock in self._world.people.cleared

    def _nothing_opens(self, reader: sqlite3.Connection) -> None:
        """I10: money that goes back takes the reason to close away; it never opens a relay."""
        opens = reader.execute("SELECT meter_id FROM commands WHERE action = 'open'").fetchall()
        if opens:
            raise Violation(f"I10: the engine opens relays by itself: {opens}")

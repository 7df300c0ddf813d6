"""The part of an engine's turn that is about opens: cheap when there are none, and never first.

Rules kept here: what the money or the locks of this turn speak against is taken back before
anything is signed; opens are signed after every close; the guard is asked four times a second only
while something waits for it.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from cloud import cosigning, opening, publisher
from cloud.cosigning import AskGuard
from cloud.decisions import DecisionContext
from cloud.opening import Gate
from cloud.opening_ends import settle_silent
from cloud.opening_recall import recall
from cloud.publisher import Outgoing, Signer
from cloud.timers import Due


class OpeningTurn:
    """One engine's opens; it remembers only whether there may be any."""

    def __init__(self, signer: Signer, ask_guard: AskGuard) -> None:
        self._signer = signer
        self._ask_guard = ask_guard
        # Not known before the first sweep: perhaps an earlier engine left some.
        self._may_be_out = True
        self._waits_for_guard = True
        self._looked_at_ms = 0

    def is_due(self, now_ms: int) -> bool:
        """Whether the guard is to be asked now."""
        return self._waits_for_guard and now_ms - self._looked_at_ms >= cosigning.LOOK_EVERY_MS

    def take_back(
        self, transaction: Connection, context: DecisionContext, account_ids: Collection[str]
    ) -> set[str]:
        """Money or disputes of these accounts came; the agents that are told to stop."""
        if not self._may_be_out or not account_ids:
            return set()
        return recall(transaction, context, account_ids)

    def sweep(
        self, transaction: Connection, due: Due, context: DecisionContext, gate: Gate
    ) -> set[str]:
        """Once a second, before anything is published; the agents that have something to hear."""
        if due.is_known:
            self._may_be_out = due.opens
        if not due.opens:
            return set()
        agents = settle_silent(transaction, context)
        return agents | opening.flow(transaction, context, gate).agents_with_work

    def sign(
        self, transaction: Connection, due: Due, context: DecisionContext, gate: Gate
    ) -> Sequence[Outgoing]:
        """After every close: half-sign what was queued, take in what the guard signed."""
        now_ms = context.now_ms
        if due.opens:
            publisher.half_sign(transaction, self._signer, now_ms=now_ms)
            self._waits_for_guard = True  # asked at least once a second: a turn may have failed
        if not self.is_due(now_ms):
            return ()
        self._looked_at_ms = now_ms
        found = cosigning.look(transaction, self._ask_guard, gate.ring, now_ms=now_ms)
        self._waits_for_guard = found.still_waits
        return found.outgoing

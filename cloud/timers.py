"""What the clock has made due in the ledger: one look each second, not one statement per kind.

Rules kept here: a look decides nothing; it says which of the steps with a timer of their own have
work, so that a second in which nothing is due costs one statement.
"""

from dataclasses import dataclass

from sqlalchemy import BindParameter, Connection, bindparam, exists, or_, select

from cloud.outbox import IS_LIVE, IS_QUEUED, LAPSE_MS, NOT_OVERTAKEN
from cloud.schema import (
    batches,
    commands,
    episodes,
    freezes,
    locks,
    moves,
    proposals,
    requests,
)
from cloud.schema.columns import holds
from cloud.tickets import TICKET_AFTER_MS
from cloud.vocabulary import BatchState, EpisodeState, ProposalState
from wire.vocabulary import Action

_NOW: BindParameter[int] = bindparam("now_ms")
# In the order of the fields of `Due`, behind the first; a partial index answers each.
_DUE = select(
    exists(
        select(commands.c.id)
        .where(IS_QUEUED)
        .where(commands.c.due_at_ms <= _NOW)
        .where(~holds(commands.c.action, Action.OPEN))
    ),
    exists(
        select(commands.c.id)
        .where(IS_LIVE)
        .where(NOT_OVERTAKEN)
        .where(commands.c.resend_at_ms <= _NOW)
    ),
    exists(select(commands.c.id).where(IS_LIVE).where(commands.c.expires_at_ms < _NOW - LAPSE_MS)),
    exists(
        select(locks.c.id)
        .where(locks.c.effective_at_ms.is_(None))
        .where(locks.c.cleared_at_ms.is_(None))
    ),
    exists(select(requests.c.id).where(requests.c.handled_at_ms.is_(None))),
    exists(
        select(episodes.c.id)
        .where(episodes.c.ended_at_ms.is_(None))
        .where(holds(episodes.c.state, EpisodeState.PAID))
        .where(episodes.c.paid_at_ms <= _NOW - TICKET_AFTER_MS)
    ),
    exists(select(moves.c.id).where(moves.c.released_at_ms.is_(None))),
    exists(select(freezes.c.id)),
    or_(
        exists(
            select(batches.c.id).where(
                or_(
                    holds(batches.c.state, BatchState.CANARY),
                    holds(batches.c.state, BatchState.FLOWING),
                )
            )
        ),
        exists(select(proposals.c.id).where(holds(proposals.c.state, ProposalState.SENT))),
    ),
)


@dataclass(frozen=True, slots=True)
class Due:
    """Which steps have work now; nothing is known of them between two looks."""

    is_known: bool = False
    commands_wait: bool = False
    resends: bool = False
    lapsed: bool = False
    pending_locks: bool = False
    requests: bool = False
    dark_too_long: bool = False
    moves: bool = False
    freezes: bool = False  # there were stops: somebody may not have been told of the newest
    opens: bool = False  # a batch may flow, or an open that was sent has not ended


NOT_LOOKED = Due()


def look(transaction: Connection, *, now_ms: int) -> Due:
    """What is due at `now_ms`."""
    return Due(True, *map(bool, transaction.execute(_DUE, {"now_ms": now_ms}).one()))

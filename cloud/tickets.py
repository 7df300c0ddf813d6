"""Crew tickets: a paid episode that no command can light goes to people, and none is forgotten.

Rules kept here (I9, domain rules 30 to 36; docs/operations.md explains each word to an operator):
 * A ticket is opened in the transaction of its cause: the retry ladder is used up, the rules forbid
   a remote close although it is paid, or it is dark for an hour since the money was captured.
   Retries go on beside it, one an hour.
 * Whoever owns another lock acts on it, so no ticket stands beside one; nor when money went back.
 * An armed relay waits for its consumer, not for a crew.
 * One ticket is open per episode (the database enforces it); what is learned later is added to it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from cloud.outbox import LADDER_MS
from cloud.rules import Conclusion, Reason
from cloud.schema import accounts, crew_tickets, decisions, episodes, locks, meters
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import EpisodeState, LockKind, Verdict

TICKET_AFTER_MS = 3_600_000  # domain rule 36: by then everything that is paid and dark has one
# A payment reported late, or a lock just cleared: the first close may act before a crew drives.
FIRST_TRY_MS = 300_000
OVERDUE_SCAN_MAX = 1_000  # episodes looked at per sweep: some 4 ms, however many are dark


class TicketReason(StrEnum):
    """Why no command will do, besides the rules' own words."""

    LADDER_USED_UP = "ladder_used_up"
    DARK_TOO_LONG = "dark_too_long"


class TicketEnd(StrEnum):
    """Why a ticket is closed; a crew's word has name and note behind it."""

    CLOSED = "closed"  # the relay was read back closed
    ARMED = "armed"
    OTHER_LOCK = "other_lock"
    MONEY_WENT_BACK = "money_went_back"
    CREW = "crew"


# The rules forbid a remote close although the money side is settled: people must go.
FORBIDDING = frozenset(
    {
        Reason.NOT_CUT_REMOTELY,
        Reason.OUTSIDE_PHASE,
        Reason.MAPPING_CHANGED,
        Reason.OFF_TOO_LONG,
        Reason.METER_REFUSED,
    }
)

_IS_OPEN = crew_tickets.c.closed_at_ms.is_(None)
_OPEN_OF_EPISODES = (
    select(crew_tickets.c.id, crew_tickets.c.episode_id, crew_tickets.c.reasons)
    .where(crew_tickets.c.episode_id.in_(bindparam("episode_ids", expanding=True)))
    .where(_IS_OPEN)
)
_INSERT = insert(crew_tickets)
_LEARN = (
    update(crew_tickets)
    .where(crew_tickets.c.id == bindparam("row_id"))
    .values(reasons=bindparam("all_reasons"))
)
_CLOSE = (
    update(crew_tickets)
    .where(crew_tickets.c.episode_id.in_(bindparam("episode_ids", expanding=True)))
    .where(_IS_OPEN)
    .values(closed_at_ms=bindparam("at_ms"), closed_because=bindparam("why"))
)
_HAS_TICKET = exists().where(crew_tickets.c.episode_id == episodes.c.id).where(_IS_OPEN)
_HAS_OTHER_LOCK = (
    exists()
    .where(locks.c.account_id == episodes.c.account_id)
    .where(locks.c.kind != LockKind.NON_PAYMENT.value)
    .where(locks.c.cleared_at_ms.is_(None))
)
_IS_FIRST_TRY = and_(
    episodes.c.attempts <= 1,
    exists()
    .where(decisions.c.episode_id == episodes.c.id)
    .where(decisions.c.decided_at_ms > bindparam("tried_since_ms")),
)
_OVERDUE = (
    select(
        episodes.c.id,
        episodes.c.paid_at_ms,
        not_(or_(_HAS_TICKET, _HAS_OTHER_LOCK, _IS_FIRST_TRY)).label("needs_crew"),
    )
    .where(episodes.c.ended_at_ms.is_(None))
    .where(holds(episodes.c.state, EpisodeState.PAID))
    .where(episodes.c.paid_at_ms <= bindparam("paid_until_ms"))
    .where(
        tuple_(episodes.c.paid_at_ms, episodes.c.id)
        > tuple_(bindparam("after_ms"), bindparam("after_id"))
    )
    .order_by(episodes.c.paid_at_ms, episodes.c.id)
    .limit(OVERDUE_SCAN_MAX)
)
_LISTED = (
    select(
        crew_tickets.c.id, crew_tickets.c.reasons, crew_tickets.c.opened_at_ms,
        crew_tickets.c.episode_id, episodes.c.account_id, episodes.c.meter_id,
        episodes.c.paid_at_ms, episodes.c.held_because, accounts.c.zone, meters.c.agent_id,
        meters.c.feeder, meters.c.transformer,
    )
    .join(episodes, episodes.c.id == crew_tickets.c.episode_id)
    .join(accounts, accounts.c.account_id == episodes.c.account_id)
    .join(meters, meters.c.meter_id == episodes.c.meter_id)
    .where(_IS_OPEN)
    .order_by(crew_tickets.c.opened_at_ms, crew_tickets.c.id)
    .limit(bindparam("at_most"))
)  # fmt: skip
_COUNT = select(func.count()).select_from(crew_tickets).where(_IS_OPEN)


@dataclass(slots=True, kw_only=True)
class TicketChanges:
    """What one round of deciding means for tickets: reasons to open one, ends of others."""

    opened: dict[int, str] = field(default_factory=dict)
    closed: dict[TicketEnd, list[int]] = field(default_factory=dict)

    def weigh(
        self, episode_id: int, conclusion: Conclusion, *, was_covered: bool, tries: int
    ) -> None:
        """Note what a conclusion means for the episode's ticket.

        Args:
            episode_id: the episode decided.
            conclusion: what the rules said.
            was_covered: whether its quote was covered before this decision.
            tries: closes tried before the one this decision queues; 0 when it queues none.
        """
        if not conclusion.is_covered:
            if was_covered:
                self.closed.setdefault(TicketEnd.MONEY_WENT_BACK, []).append(episode_id)
        elif conclusion.other_locks:
            self.closed.setdefault(TicketEnd.OTHER_LOCK, []).append(episode_id)
        elif conclusion.verdict is Verdict.CLOSE:
            if tries >= len(LADDER_MS):
                self.opened[episode_id] = TicketReason.LADDER_USED_UP.value
        elif Reason.ARMED not in conclusion.reasons:
            against = [reason.value for reason in conclusion.reasons if reason in FORBIDDING]
            if against:
                self.opened[episode_id] = " ".join(against)


def apply_changes(transaction: Connection, changes: TicketChanges, *, now_ms: int) -> None:
    """Open and close tickets, in the transaction that stores the decisions."""
    open_tickets(transaction, changes.opened, now_ms=now_ms)
    for end, episode_ids in changes.closed.items():
        close_tickets(transaction, episode_ids, end.value, now_ms=now_ms)


def open_tickets(transaction: Connection, reasons: Mapping[int, str], *, now_ms: int) -> None:
    """Open a ticket for each episode, or add to the open one what it does not say yet.

    Args:
        transaction: the caller's.
        reasons: space-separated words by episode.
        now_ms: the engine's clock.
    """
    if not reasons:
        return
    given = {"episode_ids": list(reasons)}
    standing = {row.episode_id: row for row in transaction.execute(_OPEN_OF_EPISODES, given)}
    rows = [
        {"episode_id": episode_id, "reasons": words, "opened_at_ms": now_ms}
        for episode_id, words in reasons.items()
        if episode_id not in standing
    ]
    learned = [
        {"row_id": row.id, "all_reasons": told}
        for episode_id, row in standing.items()
        if (told := _joined(row.reasons, reasons[episode_id])) != row.reasons
    ]
    if rows:
        transaction.execute(_INSERT, rows)
    if learned:
        transaction.execute(_LEARN, learned)


def _joined(known: str, fresh: str) -> str:
    return " ".join(dict.fromkeys((*known.split(), *fresh.split())))


def close_tickets(
    transaction: Connection, episode_ids: Collection[int], because: str, *, now_ms: int
) -> None:
    """Close the open tickets of these episodes; those that have none are left as they are."""
    if episode_ids:
        given = {"episode_ids": list(episode_ids), "at_ms": now_ms, "why": because}
        transaction.execute(_CLOSE, given)


@dataclass(slots=True)
class OverdueWatch:
    """Walks the paid and dark, oldest first, a bounded part each sweep, then from the beginning.

    Its place is no fact: after a restart, or a turn that failed, everything is looked at again.
    """

    _after: tuple[int, int] = (0, 0)  # captured at, episode

    def look(self, transaction: Connection, *, now_ms: int) -> None:
        """Open tickets for what is dark too long and has none."""
        given = {
            "paid_until_ms": now_ms - TICKET_AFTER_MS,
            "tried_since_ms": now_ms - FIRST_TRY_MS,
            "after_ms": self._after[0],
            "after_id": self._after[1],
        }
        rows = transaction.execute(_OVERDUE, given).all()
        is_more = len(rows) == OVERDUE_SCAN_MAX
        self._after = (rows[-1].paid_at_ms, rows[-1].id) if is_more else (0, 0)
        overdue = {row.id: TicketReason.DARK_TOO_LONG.value for row in rows if row.needs_crew}
        open_tickets(transaction, overdue, now_ms=now_ms)


def listed_tickets(connection: Connection, *, at_most: int) -> Sequence[Found]:
    """The open tickets with where and why, oldest first."""
    return connection.execute(_LISTED, {"at_most": at_most}).all()


def count_open(connection: Connection) -> int:
    """How many tickets are open."""
    return connection.scalar(_COUNT) or 0

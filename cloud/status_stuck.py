"""What is paid and dark the longest, how far each came on its walk, and what it waits for."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Select, func, select

from cloud.schema import accounts, agents, commands, crew_tickets, decisions, episodes, meters
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.trace_steps import duration, tell_decision, tell_reasons
from cloud.vocabulary import CommandState, EpisodeState, Verdict
from wire.vocabulary import Action

STUCK_SHOWN = 10

_PAID_BUT_DARK = episodes.c.ended_at_ms.is_(None) & holds(episodes.c.state, EpisodeState.PAID)
_COUNT = select(func.count()).select_from(episodes).where(_PAID_BUT_DARK)
_OLDEST = (
    select(
        episodes.c.id, episodes.c.account_id, episodes.c.meter_id, episodes.c.paid_at_ms,
        episodes.c.held_because, accounts.c.zone, meters.c.agent_id, agents.c.heard_at_ms,
    )
    .join(accounts, accounts.c.account_id == episodes.c.account_id)
    .join(meters, meters.c.meter_id == episodes.c.meter_id)
    .join(agents, agents.c.agent_id == meters.c.agent_id)
    .where(_PAID_BUT_DARK)
    .order_by(episodes.c.paid_at_ms, episodes.c.id)
    .limit(STUCK_SHOWN)
)  # fmt: skip


class Stage(StrEnum):
    """How far the newest try came."""

    HELD = "held"  # the rules or a lock forbid it
    WAITING = "waiting"  # for the next try of the ladder
    QUEUED = "queued"  # due, not yet published
    PUBLISHED = "published"  # not one word of its agent
    RECEIVED = "received"  # its agent has it, its meter has not answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """One episode that is paid and dark; `ticket` is the number of its open crew ticket."""

    episode_id: int
    zone: str
    account_id: str
    meter_id: str
    agent_id: str
    paid_at_ms: int
    stage: str
    reason: str
    ticket: int | None


def read_stuck(connection: Connection, *, now_ms: int) -> tuple[int, tuple[Stuck, ...]]:
    """How many are paid and dark, and the oldest of them."""
    rows = connection.execute(_OLDEST).all()
    ids = [row.id for row in rows]
    decided = {row.episode_id: row for row in connection.execute(_newest_decisions(ids))}
    tried = {row.episode_id: row for row in connection.execute(_newest_closes(ids))}
    failed = {row.episode_id: row for row in connection.execute(_newest_closes(ids, answered=True))}
    tickets: dict[int, int] = dict(
        connection.execute(
            select(crew_tickets.c.episode_id, crew_tickets.c.id)
            .where(crew_tickets.c.episode_id.in_(ids))
            .where(crew_tickets.c.closed_at_ms.is_(None))
        ).all()
    )
    stuck = []
    for row in rows:
        stage, reason = _stage(row, decided.get(row.id), tried.get(row.id), now_ms)
        last = failed.get(row.id)
        if last is not None and stage is not Stage.HELD:
            why = f" ({last.reason.replace('_', ' ')})" if last.reason else ""
            reason = f"{reason}; the last try was {last.outcome.replace('_', ' ')}{why}"
        stuck.append(
            Stuck(
                episode_id=row.id,
                zone=row.zone,
                account_id=row.account_id,
                meter_id=row.meter_id,
                agent_id=row.agent_id,
                paid_at_ms=row.paid_at_ms,
                stage=stage.value,
                reason=reason,
                ticket=tickets.get(row.id),
            )
        )
    return connection.scalar(_COUNT) or 0, tuple(stuck)


def _newest_decisions(ids: list[int]) -> Select[tuple[int, str, str]]:
    newest = (
        select(decisions.c.episode_id, func.max(decisions.c.decided_at_ms).label("at_ms"))
        .where(decisions.c.episode_id.in_(ids))
        .group_by(decisions.c.episode_id)
        .subquery()
    )
    return select(decisions.c.episode_id, decisions.c.verdict, decisions.c.reasons).join(
        newest,
        (newest.c.episode_id == decisions.c.episode_id)
        & (newest.c.at_ms == decisions.c.decided_at_ms),
    )


def _newest_closes(ids: list[int], *, answered: bool = False) -> Select[tuple[int, ...]]:
    newest = (
        select(func.max(commands.c.id))
        .where(commands.c.episode_id.in_(ids))
        .where(commands.c.action == Action.CLOSE.value)
        .group_by(commands.c.episode_id)
    )
    if answered:
        newest = newest.where(commands.c.outcome.is_not(None))
    return select(
        commands.c.episode_id, commands.c.state, commands.c.due_at_ms, commands.c.sequence_ms,
        commands.c.received_at_ms, commands.c.sends, commands.c.outcome, commands.c.reason,
    ).where(commands.c.id.in_(newest))  # fmt: skip


def _stage(
    row: Found, decision: Found | None, close: Found | None, now_ms: int
) -> tuple[Stage, str]:
    if decision is None:
        return Stage.HELD, "it was never decided"
    is_under_way = close is not None and close.state in (
        CommandState.QUEUED.value,
        CommandState.PUBLISHED.value,
    )
    if close is None or not is_under_way or decision.verdict == Verdict.WITHDRAW.value:
        held = f" ({row.held_because.replace('_', ' ')})" if row.held_because else ""
        is_none = decision.verdict == Verdict.NONE.value
        told = tell_reasons(decision.reasons)
        return Stage.HELD, (told if is_none else tell_decision(f"{decision.verdict} {told}")) + held
    heard = "was never heard"
    if row.heard_at_ms is not None:
        heard = f"was last heard {duration(now_ms - row.heard_at_ms)} ago"
    if close.state == CommandState.QUEUED.value:
        if close.due_at_ms > now_ms:
            return Stage.WAITING, f"the next try is in {duration(close.due_at_ms - now_ms)}"
        return Stage.QUEUED, f"its agent {heard}"
    if close.received_at_ms is not None:
        since = duration(now_ms - close.received_at_ms)
        return Stage.RECEIVED, f"its agent has the close for {since}, the meter has not answered"
    since = duration(now_ms - close.sequence_ms)
    return Stage.PUBLISHED, f"no word on the close of {since} ago; its agent {heard}"

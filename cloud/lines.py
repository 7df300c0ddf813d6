"""Whose command goes next: each agent's line of waiting commands, and how much room it has.

Rules kept here:
 * R14: an agent holds at most its window of outstanding commands; they are filled in turn, every
   agent's first before anybody's second. Withdrawals go first and are not counted.
 * A line goes by the time its commands were due. One whose meter is taken, by a live command it
   may not overtake or by a move, waits, and nobody waits behind it.
 * Opens go last: an agent's only when no close of its waits and its window has room.
 * Nothing goes to an agent that never said hello: it would drop it.
 * I13: what is read is bounded by the agents and by what leaves, never by what waits: one agent's
   line of 100,000 costs no other turn anything (tests/cloud/test_at_scale.py counts it).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    select,
    true,
    tuple_,
)

from cloud import outbox
from cloud.schema import agents, commands, journals, meters, moves
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState, JournalStanding
from wire.vocabulary import Action

OPENS_MAX = 64  # opens signed per sweep: what the guard looks at in one turn
FILL_MAX = 2_048  # commands signed per turn: bounds one transaction to some tens of milliseconds

_SOME_AGENTS = agents.c.agent_id.in_(bindparam("agent_ids", expanding=True))
_HAS_JOURNAL = exists(
    select(journals.c.id)
    .where(journals.c.agent_id == agents.c.agent_id)
    .where(holds(journals.c.standing, JournalStanding.CURRENT))
)


def rooms(
    transaction: Connection, agent_ids: Collection[str] | None, *, now_ms: int
) -> dict[str, int]:
    """How many more commands each agent takes that has one waiting; None asks for all agents."""
    if agent_ids is None:
        rows = transaction.execute(_ROOMS_OF_ALL, {"now_ms": now_ms})
    else:
        given = {"now_ms": now_ms, "agent_ids": list(agent_ids)}
        rows = transaction.execute(_ROOMS_OF_SOME, given)
    return {row.agent_id: row.room for row in rows}


def candidates(
    transaction: Connection, room_of: Mapping[str, int], *, now_ms: int
) -> Sequence[Found]:
    """Withdrawals, then as much of every line as a turn may sign, in the order of their turn.

    When more would fit than one turn signs, all agents get the same share. An agent's line may be
    given further than its room: the caller takes what there is room for.
    """
    found = list(transaction.execute(_WITHDRAWALS, {"now_ms": now_ms}))
    if room_of:
        share = max(1, FILL_MAX // len(room_of))
        places = min(share, max(room_of.values()))
        given = {"now_ms": now_ms, "agent_ids": list(room_of), "places": places}
        found += transaction.execute(_LINES, given)
    return found[:FILL_MAX]


def opens(transaction: Connection, *, now_ms: int) -> Sequence[Found]:
    """Queued opens whose turn it is, with the `room` that their agent has for them."""
    return transaction.execute(_OPENS, {"now_ms": now_ms}).all()


def _is_due(waiting: FromClause) -> ColumnElement[bool]:
    """It waits and its time has come."""
    return and_(
        holds(waiting.c.state, CommandState.QUEUED),
        waiting.c.due_at_ms <= bindparam("now_ms"),
    )


def _is_moving(waiting: FromClause) -> ColumnElement[bool]:
    """Its meter is between two agents (R16). A withdrawal goes out all the same, to the old one."""
    return exists(
        select(moves.c.id)
        .where(moves.c.meter_id == waiting.c.meter_id)
        .where(moves.c.released_at_ms.is_(None))
    )


def _select_next(waiting: FromClause, column: ColumnElement[Any]) -> Select[tuple[Any]]:
    """A column of the due command that goes next when there is room and its meter is free."""
    standing = commands.alias()
    is_blocked = exists(
        select(standing.c.id)
        .where(outbox.is_standing(standing, waiting.c.meter_id))
        .where(~holds(waiting.c.action, Action.READ))
        .where(~outbox.may_overtake(waiting, standing))
    )
    return (
        select(column)
        .where(_is_due(waiting))
        .where(~holds(waiting.c.action, Action.WITHDRAW))
        .where(~holds(waiting.c.action, Action.OPEN))
        .where(~_is_moving(waiting))
        .where(~is_blocked)
        .order_by(waiting.c.due_at_ms, waiting.c.id)
        .limit(1)
    )


def _select_rooms(of_agents: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Agents with room and a command to fill it, and how much room.

    Those that hold least come first: who had nothing in this turn has its share in the next. Of
    each agent it reads the entries of its window and the head of its line, in indexes alone: a
    whole fleet is a few milliseconds, however much waits.
    """
    live, waiting = commands.alias(), commands.alias()
    outstanding = (
        select(func.count())
        .select_from(live)
        .where(live.c.agent_id == agents.c.agent_id)
        .where(holds(live.c.state, CommandState.PUBLISHED))
        .where(~holds(live.c.action, Action.WITHDRAW))
        .scalar_subquery()
    )
    head = _select_next(waiting, waiting.c.due_at_ms).where(waiting.c.agent_id == agents.c.agent_id)
    looked_at = (
        select(
            agents.c.agent_id,
            agents.c.window,
            outstanding.label("held"),
            head.scalar_subquery().label("since_ms"),
        )
        .where(of_agents)
        .where(outstanding < agents.c.window)
        .where(_HAS_JOURNAL)
        .subquery()
    )
    return (
        select(looked_at.c.agent_id, (looked_at.c.window - looked_at.c.held).label("room"))
        .where(looked_at.c.since_ms.is_not(None))
        .order_by(looked_at.c.held, looked_at.c.since_ms, looked_at.c.agent_id)
        .limit(FILL_MAX)
    )


def _select_lines() -> Select[*tuple[Any, ...]]:
    """The first `places` commands of each agent's line, everybody's first before any second.

    A recursive walk, one look into the index per command: a limit per agent has no other form that
    both databases answer so, and ranking would read each line to its end.
    """
    waiting, behind, last = commands.alias(), commands.alias(), commands.alias()
    first = _select_next(waiting, waiting.c.id).where(waiting.c.agent_id == agents.c.agent_id)
    line = (
        select(agents.c.agent_id, literal(1).label("place"), first.scalar_subquery().label("id"))
        .where(_SOME_AGENTS)
        .cte("line", recursive=True)
    )
    following = (
        _select_next(behind, behind.c.id)
        .where(behind.c.agent_id == line.c.agent_id)
        .where(tuple_(behind.c.due_at_ms, behind.c.id) > tuple_(last.c.due_at_ms, last.c.id))
    )
    line = line.union_all(
        select(line.c.agent_id, line.c.place + 1, following.scalar_subquery())
        .join(last, last.c.id == line.c.id)
        .where(line.c.place < bindparam("places"))
    )
    found = commands.alias()
    return (
        _with_facts(found)
        .join(line, line.c.id == found.c.id)
        .order_by(line.c.place, found.c.due_at_ms, found.c.id)
    )


def _select_withdrawals() -> Select[*tuple[Any, ...]]:
    """Due withdrawals, of whichever agents: they wait for no room."""
    waiting, found = commands.alias(), commands.alias()
    due = (
        select(waiting.c.id)
        .where(_is_due(waiting))
        .where(holds(waiting.c.action, Action.WITHDRAW))
        .order_by(waiting.c.due_at_ms)
        .limit(FILL_MAX)
        .subquery()
    )
    return (
        _with_facts(found)
        .join(due, due.c.id == found.c.id)
        .where(_HAS_JOURNAL)
        .order_by(found.c.due_at_ms, found.c.id)
    )


def _select_opens() -> Select[*tuple[Any, ...]]:
    """Due opens of agents for which no close waits; a live command on the meter holds one back."""
    found, close, standing = commands.alias(), commands.alias(), commands.alias()
    held = commands.alias()
    outstanding = (
        select(func.count())
        .select_from(held)
        .where(held.c.agent_id == agents.c.agent_id)
        .where(~holds(held.c.action, Action.WITHDRAW))
        .where(
            holds(held.c.state, CommandState.PUBLISHED)
            | holds(held.c.state, CommandState.HALF_SIGNED)
        )
        .scalar_subquery()
    )
    close_waits = exists(
        select(close.c.id)
        .where(close.c.agent_id == found.c.agent_id)
        .where(_is_due(close))
        .where(holds(close.c.action, Action.CLOSE))
    )
    is_busy = exists(select(standing.c.id).where(outbox.is_standing(standing, found.c.meter_id)))
    return (
        _with_facts(found)
        .add_columns((agents.c.window - outstanding).label("room"))
        .where(_is_due(found))
        .where(holds(found.c.action, Action.OPEN))
        .where(~close_waits)
        .where(~is_busy)
        .where(~_is_moving(found))
        .where(_HAS_JOURNAL)
        .order_by(found.c.due_at_ms, found.c.id)
        .limit(OPENS_MAX)
    )


def _with_facts(found: FromClause) -> Select[*tuple[Any, ...]]:
    """What fixing the bytes of a command needs, and the live command of its meter, if any."""
    standing = commands.alias()
    return (
        select(
            found.c.id, found.c.action, found.c.meter_id, found.c.agent_id, found.c.decision,
            agents.c.floor_epoch, agents.c.floor_sequence,
            meters.c.last_epoch, meters.c.last_sequence, standing.c.id.label("standing_id"),
        )
        .select_from(found)
        .join(agents, agents.c.agent_id == found.c.agent_id)
        .join(meters, meters.c.meter_id == found.c.meter_id)
        .outerjoin(standing, outbox.is_standing(standing, found.c.meter_id))
    )  # fmt: skip


_ROOMS_OF_ALL = _select_rooms(true())
_ROOMS_OF_SOME = _select_rooms(_SOME_AGENTS)
_LINES = _select_lines()
_WITHDRAWALS = _select_withdrawals()
_OPENS = _select_opens()

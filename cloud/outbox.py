"""Step 5, queue: the whole lifecycle of a command, as a table and the one function that applies it.

Rules kept here:
 * R14: one live command per meter (the database enforces it). *Re-send* = the same bytes, it
   repairs lost messages. *Retry* = a new command under a new decision, spaced by the ladder.
 * A queued command has no counter and no bytes; its reason may go away, then it is dropped.
 * R7: an open is half-signed first, and published only with the guard's signature: until then it
   may be dropped like a queued one, or lapses when the guard does not answer.
 * A command ends by its final acknowledgement, else 120 s after it expired (lapsed), else when its
   agent restarted without it (void). A late acknowledgement is still taken as a fact.
 * I4: a command row names the decision that was committed with it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Update,
    and_,
    bindparam,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from cloud.schema import commands
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState
from wire.vocabulary import Action

LIFE_MS = 900_000  # of a close; renewed by new commands while its episode waits
LAPSE_MS = 120_000  # after expiry: the longest an answer may be under way
# Commands ended per sweep, each decided anew and others sent in its place: some 200 ms of one turn
# each second when a whole fleet was away.
LAPSE_MAX = 512
RESEND_AFTER_MS = (5_000, 10_000, 45_000)  # pauses: 5, 15, 60 s after the first; then each minute
RESEND_EVERY_MS = 60_000
RESEND_LEAST_LIFE_MS = 60_000  # no re-send when less life remains: it would arrive expired
LADDER_MS = (0, 15_000, 60_000, 180_000, 600_000, 1_800_000)  # design: retries, then hourly
LADDER_THEN_MS = 3_600_000


class Event(StrEnum):
    """What can happen to a command."""

    FIXED = "fixed"  # counter, bytes and signature stored; published right after
    ENGINE_SIGNED = "engine_signed"  # the same of an open: the guard's signature is awaited
    COSIGNED = "cosigned"  # both signatures stored; published right after
    GUARD_REFUSED = "guard_refused"
    REASON_GONE = "reason_gone"
    FINAL_ITEM = "final_item"
    TIME_UP = "time_up"
    AGENT_RESTARTED = "agent_restarted"


TRANSITIONS: dict[tuple[CommandState, Event], CommandState] = {
    (CommandState.QUEUED, Event.FIXED): CommandState.PUBLISHED,
    (CommandState.QUEUED, Event.ENGINE_SIGNED): CommandState.HALF_SIGNED,
    (CommandState.QUEUED, Event.REASON_GONE): CommandState.DROPPED,
    (CommandState.HALF_SIGNED, Event.COSIGNED): CommandState.PUBLISHED,
    (CommandState.HALF_SIGNED, Event.GUARD_REFUSED): CommandState.DROPPED,
    (CommandState.HALF_SIGNED, Event.REASON_GONE): CommandState.DROPPED,
    (CommandState.HALF_SIGNED, Event.TIME_UP): CommandState.LAPSED,
    (CommandState.PUBLISHED, Event.FINAL_ITEM): CommandState.ACKNOWLEDGED,
    (CommandState.PUBLISHED, Event.TIME_UP): CommandState.LAPSED,
    (CommandState.PUBLISHED, Event.AGENT_RESTARTED): CommandState.VOID,
    (CommandState.LAPSED, Event.FINAL_ITEM): CommandState.ACKNOWLEDGED,
    (CommandState.VOID, Event.FINAL_ITEM): CommandState.ACKNOWLEDGED,
}

# Which live commands a queued one may overtake instead of waiting for their end (R14).
MAY_OVERTAKE: dict[Action, frozenset[Action]] = {
    Action.CLOSE: frozenset({Action.OPEN, Action.WITHDRAW}),
    Action.WITHDRAW: frozenset(Action),
}


IS_QUEUED = holds(commands.c.state, CommandState.QUEUED)
IS_LIVE = holds(commands.c.state, CommandState.PUBLISHED)
NOT_OVERTAKEN = commands.c.is_overtaken == literal_column("0")
_INSERT = insert(commands)
_OF_EPISODES = commands.c.episode_id.in_(bindparam("episode_ids", expanding=True))
_STANDING = (
    select(
        commands.c.id, commands.c.episode_id, commands.c.meter_id, commands.c.agent_id,
        commands.c.action, commands.c.state,
    )
    .where(_OF_EPISODES)
    .where(IS_QUEUED | IS_LIVE)
    .where(NOT_OVERTAKEN)
)  # fmt: skip
_WAITING = select(commands.c.id).where(_OF_EPISODES).where(IS_QUEUED)
_LIVE = select(commands.c.id, commands.c.episode_id).where(IS_LIVE)
_LAPSED = (
    # The constant stands beside the parameter: only the bare column is looked up in an index.
    _LIVE.where(commands.c.expires_at_ms < bindparam("now_ms") - LAPSE_MS)
    .order_by(commands.c.expires_at_ms)
    .limit(LAPSE_MAX)
)
_NOT_NAMED = _LIVE.where(commands.c.agent_id == bindparam("of_agent")).where(
    commands.c.command_id.not_in(bindparam("unfinished", expanding=True))
)
_RESENDABLE = (
    select(
        commands.c.id, commands.c.agent_id, commands.c.meter_id,
        commands.c.envelope, commands.c.sends, commands.c.expires_at_ms,
    )
    .where(IS_LIVE)
    # An overtaken close must not come back behind, or ahead of, what withdraws it (R3).
    .where(NOT_OVERTAKEN)
    .where(commands.c.expires_at_ms >= bindparam("now_ms") + RESEND_LEAST_LIFE_MS)
    .limit(bindparam("at_most"))
)  # fmt: skip
# The longest due first: while more is due than one sweep sends, everything still has its turn.
_RESEND_BY_TIMER = _RESENDABLE.where(commands.c.resend_at_ms <= bindparam("now_ms")).order_by(
    commands.c.resend_at_ms
)
_RESEND_TO_AGENT = _RESENDABLE.where(commands.c.agent_id == bindparam("of_agent")).order_by(
    commands.c.id
)
# By its own id, the agent beside it: a pair in a list is looked up in no index of SQLite (3.40).
_NAMED = select(commands.c.meter_id, commands.c.agent_id, commands.c.command_id).where(
    commands.c.command_id.in_(bindparam("command_ids", expanding=True))
)
_NOTE_RECEIVED = (
    update(commands)
    .where(commands.c.command_id == bindparam("of_command"))
    .where(commands.c.agent_id == bindparam("of_agent"))
    .values(received_at_ms=bindparam("at_ms"), resend_at_ms=None)
)
_RESENT = (
    update(commands)
    .where(commands.c.id == bindparam("row_id"))
    .values(resend_at_ms=bindparam("at_ms"), sends=bindparam("count"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A command to be sent when its time comes."""

    action: Action
    meter_id: str
    agent_id: str
    episode_id: int | None
    decision: bytes
    due_at_ms: int
    proposal_id: int | None = None  # of an open, and of what takes it back or asks after it


def is_standing(live: FromClause, meter_id: ColumnElement[str]) -> ColumnElement[bool]:
    """`live`, a name for `commands`, is the one live command of the meter (R14)."""
    return and_(
        live.c.meter_id == meter_id,
        holds(live.c.state, CommandState.PUBLISHED),
        live.c.is_overtaken == literal_column("0"),
        ~holds(live.c.action, Action.READ),
    )


def may_overtake(waiting: FromClause, live: FromClause) -> ColumnElement[bool]:
    """`MAY_OVERTAKE` as a condition on two names for `commands`."""
    return or_(
        *(
            holds(waiting.c.action, action) & live.c.action.in_([one.value for one in over])
            for action, over in MAY_OVERTAKE.items()
        )
    )


def retry_delay_ms(attempts: int) -> int:
    """How long to wait before attempt number `attempts` + 1."""
    return LADDER_MS[attempts] if attempts < len(LADDER_MS) else LADDER_THEN_MS


def sources(event: Event) -> list[CommandState]:
    """The states in which `event` can happen."""
    return [state for (state, one) in TRANSITIONS if one is event]


def apply(
    transaction: Connection,
    event: Event,
    rows: Sequence[dict[str, object]],
    *,
    columns: Iterable[str],
) -> None:
    """Apply one event to many commands; a command in another state is left as it is.

    Args:
        transaction: the caller's.
        event: what happened to all of them.
        rows: per command `row_id` and the values of `columns`.
        columns: what changes besides the state.
    """
    if not rows:
        return
    names = {name: f"new_{name}" for name in columns}
    transaction.execute(
        _transition(event, tuple(names)),
        [
            {"row_id": row["row_id"]} | {new: row[name] for name, new in names.items()}
            for row in rows
        ],
    )


@cache
def _transition(event: Event, columns: tuple[str, ...]) -> Update:
    targets = {target for (_, one), target in TRANSITIONS.items() if one is event}
    (target,) = targets  # the table gives each event one end
    return (
        update(commands)
        .where(commands.c.id == bindparam("row_id"))
        # No IN: SQLAlchemy 2.1 refuses its expanding parameter when many rows are given.
        .where(or_(*(holds(commands.c.state, source) for source in sources(event))))
        .values(state=target.value, **{name: bindparam(f"new_{name}") for name in columns})
    )


def queue(transaction: Connection, wanted: Sequence[Queued], *, now_ms: int) -> None:
    """Queue commands, in the transaction that stores their decisions."""
    if wanted:
        transaction.execute(
            _INSERT,
            [
                {
                    "action": one.action.value,
                    "meter_id": one.meter_id,
                    "agent_id": one.agent_id,
                    "episode_id": one.episode_id,
                    "proposal_id": one.proposal_id,
                    "decision": one.decision,
                    "state": CommandState.QUEUED.value,
                    "queued_at_ms": now_ms,
                    "due_at_ms": one.due_at_ms,
                }
                for one in wanted
            ],
        )


def standing(transaction: Connection, episode_ids: Sequence[int]) -> list[Found]:
    """The queued and the live, not overtaken commands of some episodes."""
    return list(transaction.execute(_STANDING, {"episode_ids": episode_ids}).all())


def drop(transaction: Connection, row_ids: Sequence[int], *, now_ms: int) -> None:
    """Drop queued and half-signed commands whose reason went away."""
    rows: list[dict[str, object]] = [{"row_id": one, "ended_at_ms": now_ms} for one in row_ids]
    apply(transaction, Event.REASON_GONE, rows, columns=("ended_at_ms",))


def drop_waiting(transaction: Connection, episode_ids: Collection[int], *, now_ms: int) -> None:
    """Drop what is queued for episodes that ended: a close must not outlive its reason."""
    waiting = transaction.scalars(_WAITING, {"episode_ids": list(episode_ids)}).all()
    drop(transaction, waiting, now_ms=now_ms)


def end_lapsed(transaction: Connection, *, now_ms: int) -> set[int]:
    """End commands 120 s past their expiry, a bounded number; the episodes to be decided anew."""
    lapsed = transaction.execute(_LAPSED, {"now_ms": now_ms}).all()
    rows: list[dict[str, object]] = [{"row_id": row.id, "ended_at_ms": now_ms} for row in lapsed]
    apply(transaction, Event.TIME_UP, rows, columns=("ended_at_ms",))
    return {row.episode_id for row in lapsed if row.episode_id is not None}


def void(
    transaction: Connection, agent_id: str, unfinished: Sequence[bytes], *, now_ms: int
) -> set[int]:
    """R5.3: live commands a restarted agent does not name are void; the episodes to decide anew."""
    given = {"of_agent": agent_id, "unfinished": unfinished}
    gone = transaction.execute(_NOT_NAMED, given).all()
    rows: list[dict[str, object]] = [{"row_id": row.id, "ended_at_ms": now_ms} for row in gone]
    apply(transaction, Event.AGENT_RESTARTED, rows, columns=("ended_at_ms",))
    return {row.episode_id for row in gone if row.episode_id is not None}


def due_for_resend(
    transaction: Connection, *, now_ms: int, agent_id: str | None = None, limit: int
) -> list[Found]:
    """Live commands whose bytes go out again now: by timer, or all of one agent after its hello."""
    given = {"now_ms": now_ms, "at_most": limit}
    if agent_id is None:
        found = transaction.execute(_RESEND_BY_TIMER, given)
    else:
        found = transaction.execute(_RESEND_TO_AGENT, given | {"of_agent": agent_id})
    rows = list(found.all())
    if rows:
        transaction.execute(
            _RESENT,
            [
                {
                    "row_id": row.id,
                    "at_ms": _next_resend_ms(row, now_ms),
                    "count": row.sends + 1,
                }
                for row in rows
            ],
        )
    return rows


def _next_resend_ms(row: Found, now_ms: int) -> int | None:
    """When the bytes go out once more; None when they would arrive expired."""
    next_ms = now_ms + resend_delay_ms(row.sends)
    return next_ms if next_ms + RESEND_LEAST_LIFE_MS <= row.expires_at_ms else None


def resend_delay_ms(sends: int) -> int:
    """How long after send number `sends` the same bytes go out again."""
    return RESEND_AFTER_MS[sends] if sends < len(RESEND_AFTER_MS) else RESEND_EVERY_MS


def note_received(
    transaction: Connection, named: Sequence[tuple[str, bytes]], *, now_ms: int
) -> list[str]:
    """Their agents journaled them: re-sending ends, nothing else changes. The meters concerned.

    Args:
        transaction: the caller's.
        named: agent and command id, as an agent's own items name them.
        now_ms: the engine's clock.
    """
    if not named:
        return []
    transaction.execute(
        _NOTE_RECEIVED,
        [
            {"of_agent": agent_id, "of_command": command_id, "at_ms": now_ms}
            for agent_id, command_id in named
        ],
    )
    found = transaction.execute(_NAMED, {"command_ids": [command_id for _, command_id in named]})
    own = set(named)
    return [row.meter_id for row in found if (row.agent_id, row.command_id) in own]

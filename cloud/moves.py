"""A meter that moves to another agent (R16): nothing is signed for it until the old one is over.

Rules kept here:
 * A move is open from the import that names another agent until (i) nobody need expect the old
   agent to act: its hello shows a roster without the meter, 24 hours have passed, or a person says
   it is out of service; and (ii) every command via another agent is filed, or expired 120 s ago.
 * While it is open the publisher passes the meter by, but for a withdrawal: that goes to the agent
   which holds what is withdrawn (R3).
 * What waits in the outbox follows the meter in the import's transaction: it has neither counter
   nor bytes yet, and its decision speaks of the episode, not of the way to the meter (I4, R14).
 * A meter that comes back while its move is open was never anybody else's. Counters are the
   meter's own, so they only rise, whichever agent it has (I7).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, case, exists, insert, or_, select, update

from cloud.outbox import LAPSE_MS
from cloud.schema import agents, commands, moves
from cloud.schema.columns import holds
from cloud.vocabulary import CommandState
from wire.vocabulary import Action

ROSTER_WAIT_MS = 86_400_000  # R16: an agent that long without a word about its roster is passed by
CAME_BACK = "came back"
BY_ROSTER = "roster of the old agent"
BY_TIME = "24 hours"

_IS_OPEN = moves.c.released_at_ms.is_(None)
_OPEN_OF_METERS = (
    select(moves.c.id, moves.c.meter_id, moves.c.from_agent_id)
    .where(_IS_OPEN)
    .where(moves.c.meter_id.in_(bindparam("meter_ids", expanding=True)))
)
_END = (
    update(moves)
    .where(moves.c.id == bindparam("row_id"))
    .values(released_at_ms=bindparam("at_ms"), released_because=CAME_BACK)
)
_TURN = (
    update(moves)
    .where(moves.c.id == bindparam("row_id"))
    .values(to_agent_id=bindparam("new_agent"))
)
_FOLLOW = (
    update(commands)
    .where(commands.c.meter_id == bindparam("of_meter"))
    .where(holds(commands.c.state, CommandState.QUEUED))
    .where(~holds(commands.c.action, Action.WITHDRAW))
    .values(agent_id=bindparam("new_agent"))
)
_HAS_ROSTER_WITHOUT = exists(
    select(agents.c.agent_id)
    .where(agents.c.agent_id == moves.c.from_agent_id)
    .where(agents.c.roster_version >= moves.c.without_from_version)
)
_PASS_BY = (
    update(moves)
    .where(_IS_OPEN)
    .where(moves.c.released_because.is_(None))
    .where(or_(
        moves.c.moved_at_ms <= bindparam("now_ms") - ROSTER_WAIT_MS,
        and_(moves.c.without_from_version.is_not(None), _HAS_ROSTER_WITHOUT),
    ))
    .values(released_because=case((_HAS_ROSTER_WITHOUT, BY_ROSTER), else_=BY_TIME))
)  # fmt: skip
_CAN_STILL_ACT = exists(
    select(commands.c.id)
    .where(commands.c.meter_id == moves.c.meter_id)
    .where(commands.c.agent_id != moves.c.to_agent_id)
    .where(commands.c.outcome.is_(None))
    .where(commands.c.expires_at_ms + LAPSE_MS >= bindparam("now_ms"))
)
_RELEASE = (
    update(moves)
    .where(_IS_OPEN)
    .where(moves.c.released_because.is_not(None))
    .where(~_CAN_STILL_ACT)
    .values(released_at_ms=bindparam("now_ms"))
)
_SAY_GONE = (
    update(moves)
    .where(_IS_OPEN)
    .where(moves.c.from_agent_id == bindparam("of_agent"))
    .values(released_because=bindparam("because"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A meter that an import puts behind another agent.

    `without_from_version` is the first roster of the old agent without the meter, if known.
    """

    meter_id: str
    from_agent_id: str
    to_agent_id: str
    without_from_version: int | None = None


def begin(transaction: Connection, moved: Sequence[Move], *, now_ms: int) -> None:
    """Note moves, in the caller's transaction, which gives the meters their new agent.

    Args:
        transaction: the caller's.
        moved: each meter once; as many as one statement takes.
        now_ms: the importing process's clock.
    """
    if not moved:
        return
    meter_ids = [one.meter_id for one in moved]
    standing = {
        row.meter_id: row for row in transaction.execute(_OPEN_OF_METERS, {"meter_ids": meter_ids})
    }
    new: list[dict[str, object]] = []
    ended: list[dict[str, object]] = []
    turned: list[dict[str, object]] = []
    for one in moved:
        row = standing.get(one.meter_id)
        if row is None:
            new.append({
                "meter_id": one.meter_id, "from_agent_id": one.from_agent_id,
                "to_agent_id": one.to_agent_id, "moved_at_ms": now_ms,
                "without_from_version": one.without_from_version,
            })  # fmt: skip
        elif row.from_agent_id == one.to_agent_id:
            ended.append({"row_id": row.id, "at_ms": now_ms})
        else:  # the agent between never got anything: the first one alone must be over
            turned.append({"row_id": row.id, "new_agent": one.to_agent_id})
    for statement, rows in ((insert(moves), new), (_END, ended), (_TURN, turned)):
        if rows:
            transaction.execute(statement, rows)
    transaction.execute(
        _FOLLOW, [{"of_meter": one.meter_id, "new_agent": one.to_agent_id} for one in moved]
    )


def settle(transaction: Connection, *, now_ms: int) -> int:
    """Release the moves whose old agent is over; how many."""
    transaction.execute(_PASS_BY, {"now_ms": now_ms})
    return transaction.execute(_RELEASE, {"now_ms": now_ms}).rowcount


def release_of_agent(transaction: Connection, agent_id: str, because: str, *, now_ms: int) -> int:
    """A person says that an agent is out of service: its roster need not be waited for.

    Args:
        transaction: the caller's.
        agent_id: the old agent.
        because: who says so, as it is stored with the moves.
        now_ms: the engine's clock.

    Returns:
        How many open moves were waiting for that agent. Those of its commands that may still act
        are waited for all the same, some 17 minutes at most.
    """
    said = transaction.execute(_SAY_GONE, {"of_agent": agent_id, "because": because}).rowcount
    settle(transaction, now_ms=now_ms)
    return said

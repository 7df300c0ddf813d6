"""How many opens were sent, read from the ledger for the caps.

Rules kept here: an open counts from the moment it is queued, whatever becomes of it; each period is
longer by what may lie between our choice and the guard's count (opening_caps.UNDER_WAY_MAX_MS), so
that the guard never counts more in its own.
"""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select

from cloud.opening_caps import (
    CAPS,
    DAY_MS,
    HOUR_MS,
    MEAN_DAYS,
    MEAN_MIN,
    PLACE_PERIOD_MS,
    UNDER_WAY_MAX_MS,
    Counted,
    Pace,
    agent_limit,
    place_limit,
    room,
)
from cloud.schema import agents, commands, meters
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState
from wire.documents import EdgePolicy
from wire.vocabulary import Action

# What was dropped before it was signed is as if it had never been wanted.
_IS_OPEN = and_(
    holds(commands.c.action, Action.OPEN),
    or_(~holds(commands.c.state, CommandState.DROPPED), commands.c.envelope.is_not(None)),
)
_SINCE: ColumnElement[bool] = commands.c.queued_at_ms > bindparam("since_ms")
_SENT = select(func.count()).select_from(commands).where(_IS_OPEN).where(_SINCE)
_METERS = select(func.count()).select_from(meters)
# What the guard signed for is known here only of what was published.
_PUBLISHED_SINCE = (
    select(commands.c.queued_at_ms, commands.c.meter_id)
    .where(_IS_OPEN)
    .where(_SINCE)
    .where(commands.c.queued_at_ms <= bindparam("until_ms"))
    .where(commands.c.sends > 0)
)
_PLACES = (
    select(commands.c.queued_at_ms, commands.c.agent_id, meters.c.feeder, meters.c.transformer)
    .join(meters, meters.c.meter_id == commands.c.meter_id)
    .where(_IS_OPEN)
    .where(_SINCE)
)
_OF_FEEDERS = (
    select(meters.c.feeder, func.count())
    .where(meters.c.feeder.in_(bindparam("names", expanding=True)))
    .group_by(meters.c.feeder)
)
_OF_TRANSFORMERS = (
    select(meters.c.transformer, func.count())
    .where(meters.c.transformer.in_(bindparam("names", expanding=True)))
    .group_by(meters.c.transformer)
)
_OF_AGENTS = select(agents.c.agent_id, agents.c.meters).where(
    agents.c.agent_id.in_(bindparam("names", expanding=True))
)


def count_opens(transaction: Connection, *, now_ms: int) -> Counted:
    """What hour, day and the days before have had."""
    in_last_day = _sent_since(transaction, now_ms - DAY_MS)
    return Counted(
        in_last_hour=_sent_since(transaction, now_ms - HOUR_MS),
        in_last_day=in_last_day,
        meters=transaction.scalar(_METERS) or 0,
        # Below what is never unusual nobody asks what is usual.
        earlier_days=_earlier_days(transaction, now_ms) if in_last_day >= MEAN_MIN else (),
    )


def _sent_since(transaction: Connection, since_ms: int) -> int:
    return transaction.scalar(_SENT, {"since_ms": since_ms - UNDER_WAY_MAX_MS}) or 0


def _earlier_days(transaction: Connection, now_ms: int) -> tuple[int, ...]:
    """Meters of each of the last 28 spans of a day before this one in which any was opened."""
    span = {"since_ms": now_ms - (MEAN_DAYS + 1) * DAY_MS, "until_ms": now_ms - DAY_MS}
    seen = {
        ((now_ms - queued_at_ms) // DAY_MS, meter_id)
        for queued_at_ms, meter_id in transaction.execute(_PUBLISHED_SINCE, span)
    }
    return tuple(Counter(day for day, _ in seen).values())


def pace_of(
    transaction: Connection, candidates: Collection[Found], edge: EdgePolicy, *, now_ms: int
) -> Pace:
    """What may go now at the places of these candidates (rows with feeder, transformer, agent)."""
    counted = count_opens(transaction, now_ms=now_ms)
    limits: dict[tuple[str, str], int] = {}
    for kind, query, names in (
        ("feeder", _OF_FEEDERS, {row.feeder for row in candidates}),
        ("transformer", _OF_TRANSFORMERS, {row.transformer for row in candidates}),
    ):
        for name, count in transaction.execute(query, {"names": sorted(names)}):
            limits[kind, name] = place_limit(CAPS, count)
    agent_ids = sorted({row.agent_id for row in candidates})
    for name, count in transaction.execute(_OF_AGENTS, {"names": agent_ids}):
        limits["agent", name] = agent_limit(CAPS, edge, count)
    return Pace(room=room(CAPS, counted), limits=limits, counts=_taken(transaction, now_ms))


def _taken(transaction: Connection, now_ms: int) -> Counter[tuple[str, str]]:
    """Opens sent at each place in 15 min, and by each agent in a day."""
    taken: Counter[tuple[str, str]] = Counter()
    place_since_ms = now_ms - PLACE_PERIOD_MS - UNDER_WAY_MAX_MS
    since = {"since_ms": now_ms - DAY_MS - UNDER_WAY_MAX_MS}
    for row in transaction.execute(_PLACES, since):
        taken["agent", row.agent_id] += 1
        if row.queued_at_ms > place_since_ms:
            taken["feeder", row.feeder] += 1
            taken["transformer", row.transformer] += 1
    return taken

"""Which agents are there, with what versions, and what waits for them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, select

from cloud.outbox import IS_LIVE, IS_QUEUED
from cloud.schema import agents, commands, journals

RECENT_MS = 600_000  # agents heard within it are there
DAY_MS = 86_400_000  # R19: an agent without a hello for so long is silent
AGENTS_SHOWN = 5  # the worst
VERSIONS_SHOWN = 10  # of software, trust, roster: the most frequent


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBacklog:
    """What waits for one agent."""

    agent_id: str
    queued_due: int
    live: int
    heard_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Commands not yet ended: due now, due later by the ladder, published."""

    queued_due: int
    queued_later: int
    live: int
    oldest_due_at_ms: int | None
    worst_agents: tuple[AgentBacklog, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How many agents have one version of something."""

    version: str
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """Who is there; silent: no hello for 24 h, or never one (R19)."""

    known: int
    heard_10_min: int
    heard_24_h: int
    silent: int
    suspended: int
    forked_journals: int
    software: tuple[Version, ...]
    trust: tuple[Version, ...]
    roster: tuple[Version, ...]


def read_backlog(connection: Connection, *, now_ms: int) -> Backlog:
    """What waits, in all and for the worst agents."""
    due = func.sum(case((commands.c.due_at_ms <= now_ms, 1), else_=0))
    # A withdrawal is due since ever: it says nothing of how long others wait.
    oldest = func.min(func.nullif(commands.c.due_at_ms, 0))
    queued = connection.execute(
        select(commands.c.agent_id, due.label("due"), func.count().label("all"), oldest.label("at"))
        .where(IS_QUEUED)
        .group_by(commands.c.agent_id)
    ).all()
    live: dict[str, int] = dict(
        connection.execute(
            select(commands.c.agent_id, func.count()).where(IS_LIVE).group_by(commands.c.agent_id)
        ).all()
    )
    waiting = {row.agent_id: row.due for row in queued}
    worst = sorted(waiting.keys() | live.keys(), key=lambda one: -waiting.get(one, 0))
    shown = worst[:AGENTS_SHOWN]
    heard: dict[str, int | None] = dict(
        connection.execute(
            select(agents.c.agent_id, agents.c.heard_at_ms).where(agents.c.agent_id.in_(shown))
        ).all()
    )
    oldest_ms = min((row.at for row in queued if row.at is not None), default=None)
    total_due = sum(waiting.values())
    return Backlog(
        queued_due=total_due,
        queued_later=sum(row.all for row in queued) - total_due,
        live=sum(live.values()),
        oldest_due_at_ms=oldest_ms if oldest_ms is not None and oldest_ms <= now_ms else None,
        worst_agents=tuple(
            AgentBacklog(
                agent_id=one,
                queued_due=waiting.get(one, 0),
                live=live.get(one, 0),
                heard_at_ms=heard.get(one),
            )
            for one in shown
        ),
    )


def read_agents(connection: Connection, *, now_ms: int) -> Agents:
    """Who is there, and with what versions."""
    heard = agents.c.heard_at_ms

    def since(at_ms: int) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((heard >= at_ms, 1), else_=0)), 0)

    row = connection.execute(
        select(
            func.count().label("known"),
            since(now_ms - RECENT_MS).label("recent"),
            since(now_ms - DAY_MS).label("today"),
            func.count(agents.c.suspended_at_ms).label("suspended"),
        ).select_from(agents)
    ).one()
    forked = connection.scalar(select(func.count(journals.c.forked_at_ms)))
    return Agents(
        known=row.known,
        heard_10_min=row.recent,
        heard_24_h=row.today,
        silent=row.known - row.today,
        suspended=row.suspended,
        forked_journals=forked or 0,
        software=_versions(connection, agents.c.software),
        trust=_versions(connection, agents.c.trust_version),
        roster=_versions(connection, agents.c.roster_version),
    )


def _versions(
    connection: Connection, column: ColumnElement[str] | ColumnElement[int]
) -> tuple[Version, ...]:
    """The versions of agents that said hello, the most frequent first."""
    rows = connection.execute(
        select(column, func.count())
        .where(agents.c.heard_at_ms.is_not(None))
        .group_by(column)
        .order_by(func.count().desc(), column)
        .limit(VERSIONS_SHOWN)
    )
    return tuple(Version(version=str(version), agents=count) for version, count in rows)

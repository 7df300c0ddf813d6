"""What operators see until the desk exists: what is stuck and why, and how fast the rest is.

Rules kept here: it only reads, so it works while the engine is down; every query is answered from
an index or looks at a bounded number of the newest rows, so it may be asked every second beside
an engine with 725,000 meters. The names of the fields are the names of `relight status --json`:
stable, units last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Connection, func, select

from cloud import freezes
from cloud.schema import (
    agents,
    alarms,
    commands,
    completeness,
    crew_tickets,
    ledger,
    locks,
    payment_items,
    requests,
    spools,
)
from cloud.status_agents import Agents, Backlog, read_agents, read_backlog
from cloud.status_funnel import Funnel, read_funnel
from cloud.status_stuck import Stuck, read_stuck
from cloud.store import reading

DAY_MS = 86_400_000
INTAKES_SHOWN = 32  # an installation has some; every replaced spool adds one
ALARMS_MAX = 10_000  # the newest: a day with more is one alarm, told as that many


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Up to when one provider's payments are all taken in; and all stored."""

    provider: str
    complete_to_ms: int
    stored_to_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One intake's spool: numbers it made, numbers stored here without a gap."""

    intake: str
    spool: str
    watermark_at_ms: int
    made: int
    stored: int
    providers: tuple[Complete, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCount:
    """Standing locks of one kind."""

    kind: str
    pending: int
    effective: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tickets:
    """Crew tickets that are open."""

    open: int
    oldest_opened_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCount:
    """Alarms of one code in the last 24 hours."""

    code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLife:
    """This ledger's life (R13)."""

    generation_ms: int
    epoch: int
    restored_at_ms: int | None
    opens_frozen_since_ms: int | None  # by a restore
    standing_stop_ms: int | None  # the highest stop, when no resume lifts it
    standing_stop_note: str | None
    locks_wait_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything, as of one moment."""

    at_ms: int
    last_turn_at_ms: int | None  # the newest thing the engine wrote; None: it never did
    paid_but_dark: int
    stuck: tuple[Stuck, ...]  # of the paid but dark the oldest, with reasons
    funnel: Funnel
    backlog: Backlog
    agents: Agents
    intakes: tuple[Intake, ...]
    locks: tuple[LockCount, ...]
    tickets: Tickets
    alarms_24_h: tuple[AlarmCount, ...]
    ledger: LedgerLife


def read_status(store: sqlalchemy.Engine, *, now_ms: int) -> Status:
    """How things stand, from one moment of the ledger."""
    with reading(store) as connection:
        dark, stuck = read_stuck(connection, now_ms=now_ms)
        return Status(
            at_ms=now_ms,
            last_turn_at_ms=_last_turn(connection),
            paid_but_dark=dark,
            stuck=stuck,
            funnel=read_funnel(connection, now_ms=now_ms),
            backlog=read_backlog(connection, now_ms=now_ms),
            agents=read_agents(connection, now_ms=now_ms),
            intakes=_intakes(connection),
            locks=_locks(connection),
            tickets=_tickets(connection),
            alarms_24_h=_alarms(connection, now_ms),
            ledger=_life(connection),
        )


def _last_turn(connection: Connection) -> int | None:
    """An idle engine writes a watermark each 30 s; the newest rows tell of a busy one."""
    newest = (
        select(func.max(agents.c.heard_at_ms)),
        select(func.max(spools.c.watermark_at_ms)).where(spools.c.watermark_at_ms > 0),
        select(commands.c.queued_at_ms).order_by(commands.c.id.desc()).limit(1),
        select(requests.c.handled_at_ms).order_by(requests.c.id.desc()).limit(1),
        select(payment_items.c.stored_at_ms)
        .where(payment_items.c.spool_id == select(func.max(spools.c.id)).scalar_subquery())
        .order_by(payment_items.c.number.desc())
        .limit(1),
    )
    told = [at_ms for query in newest if (at_ms := connection.scalar(query)) is not None]
    return max(told, default=None)


def _intakes(connection: Connection) -> tuple[Intake, ...]:
    rows = connection.execute(
        select(spools).order_by(spools.c.id.desc()).limit(INTAKES_SHOWN)
    ).all()
    told: dict[int, list[Complete]] = {}
    for row in connection.execute(
        select(completeness)
        .where(completeness.c.spool_id.in_([row.id for row in rows]))
        .order_by(completeness.c.provider)
    ):
        one = Complete(
            provider=row.provider, complete_to_ms=row.complete_to_ms, stored_to_ms=row.stored_to_ms
        )
        told.setdefault(row.spool_id, []).append(one)
    return tuple(
        Intake(
            intake=row.intake,
            spool=row.spool.hex(),
            watermark_at_ms=row.watermark_at_ms,
            made=row.watermark_made,
            stored=row.through,
            providers=tuple(told.get(row.id, ())),
        )
        for row in rows
    )


def _locks(connection: Connection) -> tuple[LockCount, ...]:
    standing = select(locks.c.kind, func.count()).where(locks.c.cleared_at_ms.is_(None))
    counted: dict[str, int] = dict(connection.execute(standing.group_by(locks.c.kind)).all())
    pending: dict[str, int] = dict(
        connection.execute(
            standing.where(locks.c.effective_at_ms.is_(None)).group_by(locks.c.kind)
        ).all()
    )
    return tuple(
        LockCount(kind=kind, pending=pending.get(kind, 0), effective=count - pending.get(kind, 0))
        for kind, count in sorted(counted.items())
    )


def _tickets(connection: Connection) -> Tickets:
    row = connection.execute(
        select(func.count(), func.min(crew_tickets.c.opened_at_ms)).where(
            crew_tickets.c.closed_at_ms.is_(None)
        )
    ).one()
    return Tickets(open=row[0], oldest_opened_at_ms=row[1])


def _alarms(connection: Connection, now_ms: int) -> tuple[AlarmCount, ...]:
    newest = (
        select(alarms.c.code, alarms.c.raised_at_ms)
        .order_by(alarms.c.id.desc())
        .limit(ALARMS_MAX)
        .subquery()
    )
    rows: Sequence[tuple[str, int]] = [
        (code, count)
        for code, count in connection.execute(
            select(newest.c.code, func.count())
            .where(newest.c.raised_at_ms > now_ms - DAY_MS)
            .group_by(newest.c.code)
            .order_by(func.count().desc(), newest.c.code)
        )
    ]
    return tuple(AlarmCount(code=code, count=count) for code, count in rows)


def _life(connection: Connection) -> LedgerLife:
    row = connection.execute(select(ledger)).one()
    freeze = freezes.read(connection)
    stands = freeze.stop.number_ms > freeze.resume.number_ms
    return LedgerLife(
        generation_ms=row.generation_ms,
        epoch=row.epoch,
        restored_at_ms=row.restored_at_ms,
        opens_frozen_since_ms=row.opens_frozen_since_ms,
        standing_stop_ms=freeze.stop.number_ms if stands else None,
        standing_stop_note=freeze.stop.note if stands else None,
        locks_wait_until_ms=row.locks_wait_until_ms,
    )

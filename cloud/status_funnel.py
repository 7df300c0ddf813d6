"""The last hour from report to light: how many came to each step, and how long each step took.

Rules kept here: counts are of the newest rows, a named maximum; percentiles of the newest closes
alone. A step's time is since the step before it; an agent's times are its own clock's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Label, Subquery, case, func, select

from cloud.schema import commands, episodes, filed_items, payment_items, payments, spools
from cloud.store import Found
from wire.decoding import decode_item
from wire.messages import CommandItem
from wire.vocabulary import Action, Outcome, PaymentKind

HOUR_MS = 3_600_000
ROWS_MAX = 50_000  # of the newest: an hour with 13 payments a second, some 100 ms to read
SAMPLES_MAX = 2_000  # closes whose steps are told in percentiles: some 50 ms
SPOOLS_MAX = 4  # the newest: the others are drained
_CAPTURES = (PaymentKind.CAPTURED.value, PaymentKind.REALISED.value)
_CLOSED = (Outcome.CLOSED.value, Outcome.ALREADY_CLOSED.value)
_OF_CLOSES = ("decided", "published", "received", "closed")
_PERCENTS = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: how many came to it in the hour; its time since the step before."""

    step: str
    count: int
    p50_ms: int | None = None
    p90_ms: int | None = None
    p99_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """Reported, posted, decided, published, received, closed; `captured_to_closed` is all of it."""

    since_ms: int
    is_capped: bool  # more happened than is looked at: the counts are the least that did
    steps: tuple[Step, ...]
    armed: int
    captured_to_closed: Step


def read_funnel(connection: Connection, *, now_ms: int) -> Funnel:
    """The hour before `now_ms`."""
    since_ms = now_ms - HOUR_MS
    items = _newest_items(connection)
    closes = _newest_closes(since_ms)
    reported, posted, read_items = _counted_items(connection, items, since_ms)
    row = _counted_closes(connection, closes)
    spans = _spans_of_items(connection, items, since_ms)
    spans |= _spans_of_closes(connection, closes)
    counts = {
        "reported": reported,
        "posted": posted,
        "decided": row.decided,
        "published": row.published,
        "received": row.received,
        "closed": row.closed,
    }
    return Funnel(
        since_ms=since_ms,
        is_capped=ROWS_MAX in (read_items, row.looked_at),
        steps=tuple(_step(name, count, spans[name]) for name, count in counts.items()),
        armed=row.armed,
        captured_to_closed=_step("captured_to_closed", row.closed, spans["captured_to_closed"]),
    )


def _step(name: str, count: int, spans_ms: Sequence[int]) -> Step:
    if not spans_ms:
        return Step(step=name, count=count)
    ordered = sorted(spans_ms)
    last = len(ordered) - 1
    p50, p90, p99 = (ordered[min(last, len(ordered) * one // 100)] for one in _PERCENTS)
    return Step(step=name, count=count, p50_ms=p50, p90_ms=p90, p99_ms=p99)


def _newest_items(connection: Connection) -> list[Subquery]:
    """The newest items of each spool that is still in use."""
    ids = connection.scalars(select(spools.c.id).order_by(spools.c.id.desc()).limit(SPOOLS_MAX))
    return [
        select(
            payment_items.c.happened_at_ms,
            payment_items.c.received_at_ms,
            payment_items.c.stored_at_ms,
            payment_items.c.kind,
            payment_items.c.verdict,
        )
        .where(payment_items.c.spool_id == spool_id)
        .order_by(payment_items.c.number.desc())
        .limit(ROWS_MAX)
        .subquery()
        for spool_id in ids
    ]


def _counted_items(
    connection: Connection, items: Sequence[Subquery], since_ms: int
) -> tuple[int, int, int]:
    reported = posted = looked_at = 0
    for newest in items:
        is_stored = case((newest.c.verdict == "stored", 1), else_=0)
        row = connection.execute(
            select(func.count(), func.coalesce(func.sum(is_stored), 0))
            .where(newest.c.stored_at_ms >= since_ms)
            .where(newest.c.kind.in_(_CAPTURES))
        ).one()
        reported, posted = reported + row[0], posted + row[1]
        looked_at = max(looked_at, row[0])
    return reported, posted, looked_at


def _spans_of_items(
    connection: Connection, items: Sequence[Subquery], since_ms: int
) -> dict[str, list[int]]:
    spans: dict[str, list[int]] = {"reported": [], "posted": []}
    for newest in items:
        for row in connection.execute(
            select(newest.c.happened_at_ms, newest.c.received_at_ms, newest.c.stored_at_ms)
            .where(newest.c.stored_at_ms >= since_ms)
            .where(newest.c.kind.in_(_CAPTURES))
            .where(newest.c.verdict == "stored")
            .limit(SAMPLES_MAX)
        ):
            spans["reported"].append(max(row.received_at_ms - row.happened_at_ms, 0))
            spans["posted"].append(max(row.stored_at_ms - row.received_at_ms, 0))
    return spans


def _newest_closes(since_ms: int) -> Subquery:
    """The closes of the hour among the newest commands, found by the primary key alone."""
    highest = select(func.max(commands.c.id)).scalar_subquery()
    return (
        select(
            commands.c.id, commands.c.episode_id, commands.c.queued_at_ms,
            commands.c.sequence_ms, commands.c.received_at_ms, commands.c.outcome,
            commands.c.ended_at_ms, commands.c.command_id,
        )
        .where(commands.c.id > highest - ROWS_MAX)
        .where(commands.c.action == Action.CLOSE.value)
        .where(commands.c.queued_at_ms >= since_ms)
        .subquery()
    )  # fmt: skip


def _counted_closes(connection: Connection, closes: Subquery) -> Found:
    def reached(is_there: ColumnElement[bool], name: str) -> Label[int]:
        return func.count(func.distinct(case((is_there, closes.c.episode_id)))).label(name)

    has_outcome = closes.c.outcome.is_not(None)
    return connection.execute(
        select(
            func.count().label("looked_at"),
            reached(closes.c.episode_id.is_not(None), "decided"),
            reached(closes.c.sequence_ms.is_not(None), "published"),
            reached(closes.c.received_at_ms.is_not(None) | has_outcome, "received"),
            reached(closes.c.outcome.in_(_CLOSED), "closed"),
            reached(closes.c.outcome == Outcome.ARMED.value, "armed"),
        )
    ).one()


def _spans_of_closes(connection: Connection, closes: Subquery) -> dict[str, list[int]]:
    """Per step the times of the newest closes that closed."""
    posted = (
        select(func.max(payments.c.posted_at_ms))
        .where(payments.c.episode_id == closes.c.episode_id)
        .where(payments.c.posted_at_ms <= closes.c.queued_at_ms)
        .scalar_subquery()
    )
    item = (
        select(filed_items.c.item)
        .where(filed_items.c.command_id == closes.c.command_id)
        .where(filed_items.c.kind == "command")
        .limit(1)
        .scalar_subquery()
    )
    spans: dict[str, list[int]] = {name: [] for name in (*_OF_CLOSES, "captured_to_closed")}
    for row in connection.execute(
        select(closes, posted.label("posted_at_ms"), item.label("item"), episodes.c.paid_at_ms)
        .join(episodes, episodes.c.id == closes.c.episode_id)
        .where(closes.c.outcome.in_(_CLOSED))
        .order_by(closes.c.id.desc())
        .limit(SAMPLES_MAX)
    ):
        told = decode_item(row.item) if row.item is not None else None
        received_at_ms = told.received_at_ms if isinstance(told, CommandItem) else None
        times = (row.posted_at_ms, row.queued_at_ms, row.sequence_ms, received_at_ms)
        for name, before, after in zip(
            _OF_CLOSES, times, (*times[1:], row.ended_at_ms), strict=True
        ):
            if before is not None and after is not None:
                spans[name].append(max(after - before, 0))
        if row.paid_at_ms is not None:
            spans["captured_to_closed"].append(max(row.ended_at_ms - row.paid_at_ms, 0))
    return spans

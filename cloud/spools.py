"""The intakes' spools as the engine sees them: which numbers are stored, how far each intake is.

Rules kept here (R1, R18): numbers are dense per spool; `through` is the highest with every lower
one stored; a watermark counts only when every number it names is stored.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, insert, select, update

from cloud.alarms import raise_alarm
from cloud.schema import payment_items, spools
from wire.messages import Watermark

WATERMARK_SKEW_MAX_MS = 60_000  # how far an intake's clock may be from ours


_SPOOLS = select(spools.c.id, spools.c.spool).where(spools.c.intake == bindparam("of_intake"))
_THROUGH = select(spools.c.through).where(spools.c.id == bindparam("spool_id"))
_ABOVE = (
    select(payment_items.c.number)
    .where(payment_items.c.spool_id == bindparam("spool_id"))
    .where(payment_items.c.number > bindparam("through"))
    .order_by(payment_items.c.number)
)
_ADVANCE = (
    update(spools)
    .where(spools.c.id == bindparam("spool_id"))
    .values(through=bindparam("new_through"))
)


_COMPLETE = (
    update(spools)
    .where(spools.c.through >= spools.c.watermark_made)
    .where(spools.c.complete_watermark_at_ms < spools.c.watermark_at_ms)
    .values(complete_watermark_at_ms=spools.c.watermark_at_ms)
)


def spool_row(transaction: Connection, intake: str, spool: bytes, *, now_ms: int) -> int:
    """The row of an intake's spool; a new spool of a known intake is accepted and alarmed."""
    known = transaction.execute(_SPOOLS, {"of_intake": intake}).all()
    for row_id, known_spool in known:
        if known_spool == spool:
            return int(row_id)
    if known:
        raise_alarm(
            transaction,
            "new_spool",
            intake,
            f"spool {spool.hex()} beside {len(known)} older; they stay open until drained",
            now_ms=now_ms,
        )
    made = transaction.execute(
        insert(spools), {"intake": intake, "spool": spool, "first_seen_at_ms": now_ms}
    )
    return int((made.inserted_primary_key or (0,))[0])


def advance(transaction: Connection, spool_ids: Iterable[int]) -> None:
    """Raise each spool's `through` over what is now stored without a gap (R1)."""
    for spool_id in spool_ids:
        through = transaction.scalar(_THROUGH, {"spool_id": spool_id}) or 0
        start = through
        for number in transaction.scalars(_ABOVE, {"spool_id": spool_id, "through": through}):
            if number != through + 1:
                break
            through = number
        if through != start:
            transaction.execute(_ADVANCE, {"spool_id": spool_id, "new_through": through})


def take_watermark(
    transaction: Connection, watermark: Watermark, *, now_ms: int, generation_ms: int
) -> bool:
    """Store a watermark; whether its intake must be told that the generation changed (R13)."""
    row_id = spool_row(transaction, watermark.intake, watermark.spool, now_ms=now_ms)
    if abs(watermark.at_ms - now_ms) <= WATERMARK_SKEW_MAX_MS:
        transaction.execute(
            update(spools)
            .where(spools.c.id == row_id)
            .where(spools.c.watermark_at_ms < watermark.at_ms)
            .values(
                watermark_at_ms=watermark.at_ms,
                watermark_made=watermark.made,
                watermark_generation_ms=watermark.generation_ms,
            )
        )
    return watermark.generation_ms < generation_ms


def complete_watermarks(transaction: Connection) -> None:
    """Note the newest watermark of each spool whose every number is stored now."""
    transaction.execute(_COMPLETE)

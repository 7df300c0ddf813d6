"""The intakes' spools as the engine sees them: which numbers are stored, how far each intake is.

Rules kept here (R1, R18): numbers are dense per spool; `through` is the highest with every lower
one stored; a watermark, and what it says of providers, counts only when every number it names is
stored. `may_open` is what is asked before anything is opened; closes never ask.
"""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from cloud.alarms import raise_alarm
from cloud.schema import completeness, payment_items, spools
from cloud.store import Found
from wire.checking import WEBHOOK_ONLY_PREFIX
from wire.messages import Watermark
from wire.trust import Keyring
from wire.vocabulary import Role

WATERMARK_SKEW_MAX_MS = 60_000  # how far an intake's clock may be from ours
# R1. A watermark comes every 30 s, a polled provider's mark every minute.
WATERMARK_AGE_MAX_MS = 300_000
COMPLETE_AGE_MAX_MS = 600_000


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
_TAKE = (
    update(spools)
    .where(spools.c.id == bindparam("row_id"))
    .where(spools.c.watermark_at_ms < bindparam("at_ms"))
    .values(
        watermark_at_ms=bindparam("at_ms"),
        watermark_made=bindparam("made"),
        watermark_generation_ms=bindparam("generation_ms"),
    )
)
_COMPLETE = (
    update(spools)
    .where(spools.c.through >= spools.c.watermark_made)
    .where(spools.c.complete_watermark_at_ms < spools.c.watermark_at_ms)
    .values(
        complete_watermark_at_ms=spools.c.watermark_at_ms,
        complete_watermark_generation_ms=spools.c.watermark_generation_ms,
    )
)
_STORED = (
    update(completeness)
    .where(
        completeness.c.spool_id.in_(
            select(spools.c.id).where(spools.c.complete_watermark_at_ms == spools.c.watermark_at_ms)
        )
    )
    .where(completeness.c.stored_to_ms != completeness.c.complete_to_ms)
    .values(stored_to_ms=completeness.c.complete_to_ms)
)
_SAID = select(completeness.c.provider).where(completeness.c.spool_id == bindparam("of_spool"))
_OF_PROVIDER = (completeness.c.spool_id == bindparam("of_spool")) & (
    completeness.c.provider == bindparam("of_provider")
)
_SAY_ANEW = update(completeness).where(_OF_PROVIDER).values(complete_to_ms=bindparam("to_ms"))
_SAY_NO_MORE = delete(completeness).where(_OF_PROVIDER)
_SPOOLS_OF = (
    select(spools)
    .where(spools.c.intake.in_(bindparam("intakes", expanding=True)))
    .order_by(spools.c.id)
)
_COMPLETE_TO = select(
    completeness.c.spool_id, completeness.c.provider, completeness.c.stored_to_ms
).where(completeness.c.spool_id.in_(bindparam("spool_ids", expanding=True)))


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
        taken = transaction.execute(
            _TAKE,
            {
                "row_id": row_id,
                "at_ms": watermark.at_ms,
                "made": watermark.made,
                "generation_ms": watermark.generation_ms,
            },
        )
        if taken.rowcount:
            _say(transaction, row_id, watermark)
    return watermark.generation_ms < generation_ms


def complete_watermarks(transaction: Connection) -> None:
    """Note the newest watermark of each spool whose every number is stored now."""
    if transaction.execute(_COMPLETE).rowcount:
        transaction.execute(_STORED)


def intake_scopes(ring: Keyring) -> dict[str, frozenset[str]]:
    """Every intake that the registry lists, and what its keys may speak for.

    An expired key counts: its intake is still listed, and nothing is opened without its word.
    """
    found: dict[str, frozenset[str]] = {}
    for key in ring.keys.values():
        if key.role is Role.INTAKE:
            found[key.subject] = found.get(key.subject, frozenset()) | frozenset(key.scope)
    return found


def may_open(
    transaction: Connection,
    intakes_with_scopes: Mapping[str, Collection[str]],
    *,
    now_ms: int,
    generation_ms: int,
) -> tuple[str, ...]:
    """Why nothing may be opened now, in words; empty when payments stand in nobody's way (R1).

    For every intake: the newest watermark of its current spool is not older than 5 min, of this
    generation, and every number it names is stored; by it, each provider that can be polled is
    complete up to no more than 10 min ago.

    Args:
        transaction: where the reasons are read; nothing is written.
        intakes_with_scopes: every intake of the registry, as `intake_scopes` gives them.
        now_ms: the clock of who asks.
        generation_ms: the ledger's generation.
    """
    if not intakes_with_scopes:
        return ("the registry lists no intake: nobody says which payments were taken in",)
    rows = transaction.execute(_SPOOLS_OF, {"intakes": list(intakes_with_scopes)}).all()
    current = {row.intake: row for row in rows}  # the newest spool of each comes last
    said = {
        (spool_id, provider): to_ms
        for spool_id, provider, to_ms in transaction.execute(
            _COMPLETE_TO, {"spool_ids": [row.id for row in current.values()]}
        )
    }
    reasons: list[str] = []
    for intake, scope in sorted(intakes_with_scopes.items()):
        row = current.get(intake)
        why = _why_no_watermark(row, now_ms, generation_ms)
        if row is None or why is not None:
            reasons.append(f"{intake}: {why}")
            continue
        polled = sorted(one for one in scope if not one.startswith(WEBHOOK_ONLY_PREFIX))
        for provider in polled:
            why = _why_incomplete(said.get((row.id, provider)), now_ms)
            if why is not None:
                reasons.append(f"{intake}: {provider} {why}")
    return tuple(reasons)


def _say(transaction: Connection, row_id: int, watermark: Watermark) -> None:
    """Keep what the newest watermark says of providers, and nothing it no longer says."""
    # A mark ahead of its own watermark is a wrong clock's: it would hold for ever.
    told = {one.provider: min(one.complete_to_ms, watermark.at_ms) for one in watermark.providers}
    known = set(transaction.scalars(_SAID, {"of_spool": row_id}))
    anew = [
        {"of_spool": row_id, "of_provider": provider, "to_ms": to_ms}
        for provider, to_ms in told.items()
        if provider in known
    ]
    first = [
        {"spool_id": row_id, "provider": provider, "complete_to_ms": to_ms}
        for provider, to_ms in told.items()
        if provider not in known
    ]
    gone = [{"of_spool": row_id, "of_provider": provider} for provider in known - told.keys()]
    for statement, values in (
        (_SAY_ANEW, anew),
        (insert(completeness), first),
        (_SAY_NO_MORE, gone),
    ):
        if values:
            transaction.execute(statement, values)


def _why_no_watermark(row: Found | None, now_ms: int, generation_ms: int) -> str | None:
    if row is None or row.watermark_at_ms == 0:
        return "no watermark yet"
    age_ms = now_ms - row.watermark_at_ms
    if age_ms > WATERMARK_AGE_MAX_MS:
        return f"its newest watermark is {age_ms // 1_000} s old, over 300 s: is it running?"
    if row.watermark_generation_ms != generation_ms:
        return f"its watermark is of generation {row.watermark_generation_ms}, not {generation_ms}"
    # An older one that was stored whole does not count: a payment behind it is known of by now.
    if row.complete_watermark_at_ms != row.watermark_at_ms:
        return f"not all of its payments {row.through + 1} to {row.watermark_made} are stored"
    return None


def _why_incomplete(stored_to_ms: int | None, now_ms: int) -> str | None:
    if not stored_to_ms:
        return "is not complete up to any time: is it polled?"
    age_ms = now_ms - stored_to_ms
    if age_ms > COMPLETE_AGE_MAX_MS:
        return f"is complete up to {age_ms // 1_000} s ago, over 600 s: can it be polled?"
    return None

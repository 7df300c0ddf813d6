"""Whether payments may be missing: the spools of the intakes as the guard itself heard them.

Rules kept here (R1, by the guard's own store and clock; the engine has its own):
 * Numbers are dense per spool: `through` is the highest with every lower one stored.
 * A guard that begins when an intake is long at work cannot have what was receipted before: of the
   first spool it ever hears of, it begins behind what the first watermark calls receipted. What it
   missed shows as a difference between its fold and the ledger. Every later spool begins at 1.
 * A mark ahead of its own watermark is a wrong clock's; it counts as the watermark's time.
"""

from collections.abc import Collection, Mapping

from cloud.guard.store import Transaction
from wire.checking import WEBHOOK_ONLY_PREFIX
from wire.messages import Watermark
from wire.trust import Keyring
from wire.vocabulary import Role

SKEW_MAX_MS = 60_000  # how far an intake's clock may be from ours
WATERMARK_AGE_MAX_MS = 300_000  # one comes every 30 s
COMPLETE_AGE_MAX_MS = 600_000  # a polled provider's mark comes every minute

_TAKE = """
    UPDATE spools SET watermark_at_ms = :at_ms, watermark_made = :made,
        watermark_generation_ms = :generation_ms
    WHERE id = :spool_id AND watermark_at_ms < :at_ms"""
_ABOVE = "SELECT number FROM items WHERE spool_id = ? AND number > ? ORDER BY number"


def spool_id(transaction: Transaction, intake: str, spool: bytes) -> int:
    """The row of an intake's spool; made when it is heard of first."""
    transaction.execute(
        "INSERT INTO spools (intake, spool, through) VALUES (?, ?, 0) ON CONFLICT DO NOTHING",
        (intake, spool),
    )
    (found,) = transaction.execute(
        "SELECT id FROM spools WHERE intake = ? AND spool = ?", (intake, spool)
    ).fetchone()
    return int(found)


def advance(transaction: Transaction, of_spool: int) -> None:
    """Raise `through` over what is now stored without a gap."""
    (begun_at,) = transaction.execute(
        "SELECT through FROM spools WHERE id = ?", (of_spool,)
    ).fetchone()
    through = begun_at
    for (number,) in transaction.execute(_ABOVE, (of_spool, through)):
        if number != through + 1:
            break
        through = number
    if through != begun_at:
        transaction.execute("UPDATE spools SET through = ? WHERE id = ?", (through, of_spool))


def take(transaction: Transaction, watermark: Watermark, *, now_ms: int) -> None:
    """Keep the newest word of an intake's spool."""
    if abs(watermark.at_ms - now_ms) > SKEW_MAX_MS:
        return
    of_spool = spool_id(transaction, watermark.intake, watermark.spool)
    if _is_first(transaction, watermark.intake):
        receipted = watermark.oldest_open - 1 if watermark.oldest_open else watermark.made
        transaction.execute(
            "UPDATE spools SET through = max(through, ?) WHERE id = ?", (receipted, of_spool)
        )
        advance(transaction, of_spool)
    told = {
        "spool_id": of_spool,
        "at_ms": watermark.at_ms,
        "made": watermark.made,
        "generation_ms": watermark.generation_ms,
    }
    if transaction.execute(_TAKE, told).rowcount:
        transaction.execute("DELETE FROM complete WHERE spool_id = ?", (of_spool,))
        transaction.executemany(
            "INSERT INTO complete VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (of_spool, one.provider, min(one.complete_to_ms, watermark.at_ms))
                for one in watermark.providers
            ],
        )


def _is_first(transaction: Transaction, intake: str) -> bool:
    spools, heard = transaction.execute(
        "SELECT count(*), coalesce(max(watermark_at_ms), 0) FROM spools WHERE intake = ?", (intake,)
    ).fetchone()
    return bool(spools == 1 and heard == 0)


def intakes_of(ring: Keyring) -> dict[str, frozenset[str]]:
    """Every intake that the registry lists, with what it speaks for; an ended key counts too."""
    found: dict[str, frozenset[str]] = {}
    for key in ring.keys.values():
        if key.role is Role.INTAKE:
            found[key.subject] = found.get(key.subject, frozenset()) | frozenset(key.scope)
    return found


def why_not(
    transaction: Transaction,
    intakes: Mapping[str, Collection[str]],
    *,
    generation_ms: int,
    now_ms: int,
) -> tuple[str, ...]:
    """What speaks against opening anything, in words; empty: every payment is here (R1)."""
    if not intakes:
        return ("the registry lists no intake",)
    found = []
    for intake, scope in sorted(intakes.items()):
        row = transaction.execute(
            """SELECT id, through, watermark_at_ms, watermark_made, watermark_generation_ms
            FROM spools WHERE intake = ? ORDER BY id DESC LIMIT 1""",
            (intake,),
        ).fetchone()
        if row is None or row[2] == 0:
            found.append(f"{intake}: no watermark of its newest spool")
            continue
        of_spool, through, at_ms, made, of_generation_ms = row
        if now_ms - at_ms > WATERMARK_AGE_MAX_MS:
            found.append(f"{intake}: its watermark is {(now_ms - at_ms) // 1_000} s old")
        if of_generation_ms != generation_ms:
            found.append(f"{intake}: generation {of_generation_ms}, the ledger's {generation_ms}")
        if through < made:
            found.append(f"{intake}: payment {through + 1} of {made} is missing")
        found += [
            f"{intake}: {provider} is not complete"
            for provider in _incomplete(transaction, of_spool, scope, now_ms)
        ]
    return tuple(found)


def _incomplete(
    transaction: Transaction, of_spool: int, scope: Collection[str], now_ms: int
) -> list[str]:
    told = dict(
        transaction.execute("SELECT provider, to_ms FROM complete WHERE spool_id = ?", (of_spool,))
    )
    polled = sorted(one for one in scope if not one.startswith(WEBHOOK_ONLY_PREFIX))
    return [one for one in polled if now_ms - told.get(one, 0) > COMPLETE_AGE_MAX_MS]

"""Stop and resume as the guard keeps them, and its own stop: a breach.

Rules kept here (R9, docs/decisions on breaches):
 * Two maxima: frozen means the highest stop is above the highest resume. Order, repetition and age
   of the documents do not matter. A number ahead of our clock is ignored, with an alarm.
 * A breach of a threshold is a stop that the guard signs itself, above everything lifted so far.
   It is stored before anything else happens, and lifted as any stop is: by two approvers.
 * A resume that lifts the stop which stood makes the thresholds count anew, from our own clock at
   that moment; one that lifts nothing changes nothing, so an old one is worth nothing.
"""

from dataclasses import dataclass

from cloud.guard.store import Transaction, raise_alarm

FUTURE_MAX_MS = 60_000  # R9: how far a number may be ahead

_TAKE = """
    INSERT INTO freezes (kind, number_ms, is_breach, releases, envelope, taken_at_ms)
    VALUES (?, ?, ?, ?, ?, ?)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """What stands."""

    stop_ms: int = 0
    lifted_ms: int = 0
    breach_ms: int = 0  # the highest stop of our own
    released_at_ms: int = 0  # our clock when people last lifted a stop that stood

    @property
    def is_stopped(self) -> bool:
        """Whether nothing may be signed."""
        return self.stop_ms > self.lifted_ms

    @property
    def is_breached(self) -> bool:
        """Whether what is asked for is quarantined, and not only left to lapse."""
        return self.breach_ms > self.lifted_ms


def read(transaction: Transaction) -> Freeze:
    """The maxima."""
    row = transaction.execute(
        """SELECT coalesce(max(CASE WHEN kind = 'stop' THEN number_ms END), 0),
            coalesce(max(CASE WHEN kind = 'resume' THEN number_ms END), 0),
            coalesce(max(CASE WHEN is_breach = 1 THEN number_ms END), 0),
            coalesce(max(CASE WHEN releases = 1 THEN taken_at_ms END), 0)
        FROM freezes"""
    ).fetchone()
    return Freeze(stop_ms=row[0], lifted_ms=row[1], breach_ms=row[2], released_at_ms=row[3])


def take_stop(transaction: Transaction, number_ms: int, envelope: bytes, *, now_ms: int) -> None:
    """Keep a stop that somebody signed."""
    held = read(transaction)
    if _is_ahead(transaction, "stop", number_ms, now_ms) or number_ms <= held.stop_ms:
        return
    transaction.execute(_TAKE, ("stop", number_ms, 0, 0, envelope, now_ms))


def take_resume(transaction: Transaction, lifts_ms: int, envelope: bytes, *, now_ms: int) -> bool:
    """Keep what two approvers signed; whether it lifted the stop that stood."""
    held = read(transaction)
    if _is_ahead(transaction, "resume", lifts_ms, now_ms) or lifts_ms <= held.lifted_ms:
        return False
    releases = held.lifted_ms < held.stop_ms <= lifts_ms
    transaction.execute(_TAKE, ("resume", lifts_ms, 0, int(releases), envelope, now_ms))
    return releases


def breach_number_ms(held: Freeze, *, now_ms: int) -> int:
    """The number of a stop of our own: above whatever was lifted (R9)."""
    return max(now_ms, held.lifted_ms + 1)


def keep_breach(transaction: Transaction, number_ms: int, envelope: bytes, *, now_ms: int) -> None:
    """Keep our own stop."""
    transaction.execute(_TAKE, ("stop", number_ms, 1, 0, envelope, now_ms))


def breach_envelope(transaction: Transaction, number_ms: int) -> bytes:
    """Our own stop, as it was signed."""
    (envelope,) = transaction.execute(
        "SELECT envelope FROM freezes WHERE kind = 'stop' AND number_ms = ?", (number_ms,)
    ).fetchone()
    return bytes(envelope)


def _is_ahead(transaction: Transaction, kind: str, number_ms: int, now_ms: int) -> bool:
    if number_ms <= now_ms + FUTURE_MAX_MS:
        return False
    # Kept, it would forbid or allow opens until that time comes.
    detail = f"its number {number_ms} is over 60 s ahead; ignored"
    raise_alarm(transaction, f"{kind}_from_future", kind, detail, now_ms=now_ms)
    return True

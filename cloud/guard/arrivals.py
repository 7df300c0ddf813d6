"""What arrives on the guard's own session: payments, watermarks, stops, resumes, registries.

Rules kept here: every message is judged by steps 1 to 7 with the guard's own keyring; junk is
counted and changes nothing; a registry is stored before it is believed (R12), and what was believed
once is not forgotten with a restart.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from sqlite3 import Connection

from cloud.guard import freezes, payments, watermarks
from cloud.guard.store import Transaction, raise_alarm
from wire.checking import Delivered, Junk, check
from wire.decoding import decode_trust
from wire.documents import Resume, Stop
from wire.envelope import MalformedError
from wire.messages import Payment, Watermark
from wire.topics import MessageType
from wire.trust import Authorities, Keyring, TrustRefusedError, accept

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Whose signatures count."""

    authorities: Authorities
    is_production: bool

    @property
    def ring(self) -> Keyring:
        """The keys in force; the guard hears no agent, so it needs no identities."""
        return self.authorities.keyring()


@dataclass(frozen=True, slots=True)
class Took:
    """What is believed after a batch, and why some of it was junk."""

    belief: Belief
    junk: tuple[str, ...]


def remembered(store: Connection, held: Belief) -> Belief:
    """With the newest registry that ever arrived, unless the files have a newer one."""
    row = store.execute("SELECT documents FROM trust").fetchone()
    if row is None:
        return held
    try:
        return _accepted(held, row[0], None)
    except (MalformedError, TrustRefusedError) as error:
        _LOG.info("the remembered registry is not taken: %s", error)
        return held


def take_all(
    transaction: Transaction, deliveries: Sequence[Delivered], held: Belief, *, now_ms: int
) -> Took:
    """Store everything that is genuine, in the caller's transaction."""
    belief, ring = held, held.ring
    spools: set[int] = set()
    junk: list[str] = []
    for one in deliveries:
        if one.topic == MessageType.TRUST.value:
            belief = _newer(transaction, belief, one.payload, now_ms)
            continue
        checked = check(one, ring, at_ms=now_ms)
        if isinstance(checked, Junk):
            junk.append(checked.reason)
            continue
        message = checked.message
        if isinstance(message, Payment):
            spool = watermarks.spool_id(transaction, message.intake, message.spool)
            payments.take(transaction, spool, message, now_ms=now_ms)
            spools.add(spool)
        elif isinstance(message, Watermark):
            watermarks.take(transaction, message, now_ms=now_ms)
        elif isinstance(message, Stop):
            freezes.take_stop(transaction, message.number_ms, one.payload, now_ms=now_ms)
        elif isinstance(message, Resume):
            freezes.take_resume(transaction, message.lifts_ms, one.payload, now_ms=now_ms)
    for spool in spools:
        watermarks.advance(transaction, spool)
    return Took(belief, tuple(junk))


def _newer(transaction: Transaction, held: Belief, payload: bytes, now_ms: int) -> Belief:
    try:
        found = _accepted(held, payload, now_ms)
    except (MalformedError, TrustRefusedError) as error:
        raise_alarm(transaction, "trust_refused", "trust", str(error), now_ms=now_ms)
        return held
    if found is not held:
        transaction.execute("INSERT OR REPLACE INTO trust VALUES (1, ?)", (payload,))
    return found


def _accepted(held: Belief, payload: bytes, latest_ms: int | None) -> Belief:
    authorities = accept(
        held.authorities,
        decode_trust(payload),
        latest_ms=latest_ms,
        is_production=held.is_production,
    )
    return held if authorities is held.authorities else replace(held, authorities=authorities)

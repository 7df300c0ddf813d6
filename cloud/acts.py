"""The record of what people did, and of every decision to open: append-only, each row chained.

Rules kept here: head(0) = SHA-256("RELIGHT1 acts" + installation); head(n) = SHA-256(head(n-1) +
SHA-256(canonical msgpack of row n)); so a row that was changed, taken out or slipped in shows, to
whoever kept any later head. `relight audit` recomputes it by its own code.
"""

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, insert, select

from cloud.schema import acts, ledger
from wire.decoding import canonical

_PREFIX = b"RELIGHT1 acts"
_NEWEST = select(acts.c.id, acts.c.head).order_by(acts.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who did what to what."""

    who: str  # the person, or `engine` for a decision to open
    act: str  # one word: propose, approve, cancel, stop, resume, open, lock, ...
    subject: str  # a batch, an account, a meter
    detail: str  # what a reader needs besides: a note, a document, a total


def note(transaction: Connection, act: Act, *, now_ms: int) -> None:
    """Write one act, in the transaction of what it did."""
    newest = transaction.execute(_NEWEST).one_or_none()
    if newest is None:
        installation = transaction.scalar(select(ledger.c.installation)) or b""
        before, number = sha256(_PREFIX + installation).digest(), 1
    else:
        before, number = newest.head, newest.id + 1
    row = [number, now_ms, act.who, act.act, act.subject, act.detail]
    head = sha256(before + sha256(canonical(row)).digest()).digest()
    transaction.execute(
        insert(acts),
        {
            "id": number,
            "at_ms": now_ms,
            "who": act.who,
            "act": act.act,
            "subject": act.subject,
            "detail": act.detail,
            "head": head,
        },
    )

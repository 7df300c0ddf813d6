"""Stop and resume as the ledger keeps them: who may freeze, what lifts, who is told (R9).

Rules kept here:
 * Two maxima: frozen means the highest stop is above the highest resume. Order, repetition and age
   of the documents do not matter; every one is kept once, and is an act of whoever signed it.
 * A number over 60 s ahead is ignored, with an alarm: it could never be lifted, or would lift what
   nobody has stopped yet.
 * A restore freezes too (R13): by its time, which no document has said. A resume of that time or a
   later one lifts it, but is refused whole until intakes and agents know the restored ledger.
 * Everybody is told at once when a maximum rises, in pages; whoever was away is told at its hello.
   What was said on a connection that broke is said again on the next.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import (
    Connection,
    ScalarSelect,
    bindparam,
    exists,
    insert,
    or_,
    select,
    update,
)

from cloud.acts import Act, note
from cloud.alarms import raise_alarm
from cloud.publisher import Outgoing
from cloud.restore import resumable
from cloud.schema import agents, alarms, freezes, ledger
from cloud.store import Found
from cloud.vocabulary import FreezeKind
from wire.checking import Checked
from wire.documents import Resume, Stop
from wire.fields import AgentId
from wire.topics import MessageType, directed_topic

FUTURE_MAX_MS = 60_000  # R9: how far a number may be ahead of our clock
PAGE_MAX = 512  # agents told in one turn: two small messages each, and payments wait behind them
ALARMS_LOOKED_AT = 1_000  # newest ones: a document sent a thousand times is one alarm


def _highest_of(kind: FreezeKind) -> ScalarSelect[int]:
    return (
        select(freezes.c.id)
        .where(freezes.c.kind == kind.value)
        .order_by(freezes.c.number_ms.desc())
        .limit(1)
        .scalar_subquery()
    )


_HIGHEST = select(freezes).where(
    or_(
        freezes.c.id == _highest_of(FreezeKind.STOP),
        freezes.c.id == _highest_of(FreezeKind.RESUME),
    )
)
_IS_KEPT = select(
    exists(
        select(freezes.c.id)
        .where(freezes.c.kind == bindparam("of_kind"))
        .where(freezes.c.number_ms == bindparam("of_number_ms"))
    )
)
_UNTOLD = (
    select(agents.c.agent_id, agents.c.stop_ms, agents.c.lifted_ms)
    .where(agents.c.agent_id > bindparam("behind"))
    .where(
        or_(agents.c.stop_ms < bindparam("stop_ms"), agents.c.lifted_ms < bindparam("lifted_ms"))
    )
    .order_by(agents.c.agent_id)
    .limit(PAGE_MAX)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A stop or resume that is kept: its number, its note, its signed bytes."""

    number_ms: int = 0
    note: str = ""
    envelope: bytes = b""


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """What stands."""

    stop: Said = NOTHING_SAID  # the highest stop
    resume: Said = NOTHING_SAID  # the highest resume
    restored_ms: int = 0  # the freeze of a restore; 0: none, or it was lifted

    @property
    def marks(self) -> tuple[int, int]:
        """`stop_ms` and `lifted_ms` as a welcome carries them."""
        return max(self.stop.number_ms, self.restored_ms), self.resume.number_ms

    @property
    def is_frozen(self) -> bool:
        """Whether nobody may open."""
        return self.stop.number_ms > self.resume.number_ms or self.restored_ms > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A stop or resume that passed steps 1 to 7, and the bytes it came as."""

    checked: Checked
    envelope: bytes
    by: str = ""  # who says to have brought it, beside who signed it


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a document; with reasons it was refused, and may be brought again."""

    is_new: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How far everybody has been told of the newest numbers."""

    stop_ms: int = 0
    lifted_ms: int = 0
    behind: str | None = None  # agents up to this one were told; None: all were


def read(transaction: Connection) -> Freeze:
    """The maxima, and the freeze of a restore."""
    found = {row.kind: row for row in transaction.execute(_HIGHEST)}
    return Freeze(
        stop=_said(found.get(FreezeKind.STOP.value)),
        resume=_said(found.get(FreezeKind.RESUME.value)),
        restored_ms=transaction.scalar(select(ledger.c.opens_frozen_since_ms)) or 0,
    )


def frozen(transaction: Connection) -> bool:
    """Whether nobody may open now."""
    return read(transaction).is_frozen


def marks(transaction: Connection) -> tuple[int, int]:
    """`stop_ms` and `lifted_ms` as a welcome carries them."""
    return read(transaction).marks


def next_stop_ms(transaction: Connection, *, now_ms: int) -> int:
    """The number of a stop given now: above whatever was lifted already."""
    return max(now_ms, read(transaction).resume.number_ms + 1)


def take(
    transaction: Connection,
    brought: Brought,
    *,
    now_ms: int,
    intakes: Collection[str] | None = None,
) -> Answer:
    """Keep a stop or resume, in the caller's transaction.

    Args:
        transaction: of the turn or command that brings it.
        brought: judged by steps 1 to 7, which know the roles.
        now_ms: our clock.
        intakes: those of the registry, who must know a restored ledger before its freeze is lifted;
            None takes every intake the ledger has heard of.
    """
    message = brought.checked.message
    if isinstance(message, Stop):
        kind, number_ms, text = FreezeKind.STOP, message.number_ms, message.note
    elif isinstance(message, Resume):
        kind, number_ms, text = FreezeKind.RESUME, message.lifts_ms, message.note
    else:
        raise TypeError(f"{type(message).__name__} is neither a stop nor a resume")
    if number_ms > now_ms + FUTURE_MAX_MS:
        reason = f"its number {number_ms} is over 60 s ahead of this clock, {now_ms}"
        _alarm_once(transaction, f"{kind}_from_future", str(number_ms), reason, now_ms=now_ms)
        return Answer(reasons=(reason,))
    if transaction.scalar(_IS_KEPT, {"of_kind": kind.value, "of_number_ms": number_ms}):
        return Answer()
    if kind is FreezeKind.RESUME:
        reasons = lift_restored(transaction, number_ms, intakes)
        if reasons:
            told = "; ".join(reasons)
            _alarm_once(transaction, "resume_too_early", str(number_ms), told, now_ms=now_ms)
            return Answer(reasons=reasons)
    row = {"kind": kind.value, "number_ms": number_ms, "note": text, "taken_at_ms": now_ms}
    transaction.execute(insert(freezes), row | {"envelope": brought.envelope})
    signers = ", ".join(sorted({key.subject for key in brought.checked.signers}))
    who = f"{brought.by}, signed by {signers}" if brought.by else signers
    act = Act(who=who, act=kind.value, subject=str(number_ms), detail=text)
    note(transaction, act, now_ms=now_ms)
    return Answer(is_new=True)


def lift_restored(
    transaction: Connection, lifts_ms: int, intakes: Collection[str] | None = None
) -> tuple[str, ...]:
    """Lift a restore's freeze if a resume reaches it; why that may not be yet (R13)."""
    frozen_ms = transaction.scalar(select(ledger.c.opens_frozen_since_ms))
    if frozen_ms is None or lifts_ms < frozen_ms:
        return ()
    reasons = resumable(transaction, intakes)
    if not reasons:
        transaction.execute(update(ledger).values(opens_frozen_since_ms=None))
    return reasons


def tell(transaction: Connection, told: Telling) -> tuple[list[Outgoing], Telling]:
    """What the next page of agents has not heard yet, and how far that goes.

    The caller keeps the second only when its transaction has committed.
    """
    freeze = read(transaction)
    stop_ms, lifted_ms = freeze.stop.number_ms, freeze.resume.number_ms
    outgoing: list[Outgoing] = []
    if (stop_ms, lifted_ms) != (told.stop_ms, told.lifted_ms):
        told = Telling(stop_ms=stop_ms, lifted_ms=lifted_ms, behind="")
        outgoing += _to_all(freeze)
    if told.behind is None:
        return outgoing, told
    given = {"behind": told.behind, "stop_ms": stop_ms, "lifted_ms": lifted_ms}
    rows = transaction.execute(_UNTOLD, given).all()
    for row in rows:
        outgoing += lacking(freeze, AgentId(row.agent_id), row.stop_ms, row.lifted_ms)
    return outgoing, replace(told, behind=rows[-1].agent_id if len(rows) == PAGE_MAX else None)


def lacking(freeze: Freeze, agent: AgentId, stop_ms: int, lifted_ms: int) -> list[Outgoing]:
    """The documents of higher numbers than an agent's hello shows: the stop, then the resume."""
    told = (
        (MessageType.STOP, freeze.stop, stop_ms),
        (MessageType.RESUME, freeze.resume, lifted_ms),
    )
    return [
        Outgoing(topic=directed_topic(message_type, agent), payload=said.envelope)
        for message_type, said, known_ms in told
        if said.number_ms > known_ms
    ]


def _to_all(freeze: Freeze) -> list[Outgoing]:
    """Retained, a hint for whoever connects; it is also how the guard hears of a resume."""
    told = ((MessageType.STOP, freeze.stop), (MessageType.RESUME, freeze.resume))
    return [
        Outgoing(topic=message_type.value, payload=said.envelope, is_retained=True)
        for message_type, said in told
        if said.envelope
    ]


def _said(row: Found | None) -> Said:
    if row is None:
        return NOTHING_SAID
    return Said(number_ms=row.number_ms, note=row.note, envelope=row.envelope)


def _alarm_once(
    transaction: Connection, code: str, subject: str, detail: str, *, now_ms: int
) -> None:
    """A broker that replays one such document for ever must not fill the ledger with its alarm."""
    newest = (
        select(alarms.c.code, alarms.c.subject)
        .order_by(alarms.c.id.desc())
        .limit(ALARMS_LOOKED_AT)
        .subquery()
    )
    told = exists().where(newest.c.code == code).where(newest.c.subject == subject)
    if not transaction.scalar(select(told)):
        raise_alarm(transaction, code, subject, detail, now_ms=now_ms)

"""The guard's answers: its signature is joined to ours and the open leaves, or the open ends here.

Rules kept here (R7):
 * Read-only, from the guard's own store, four times a second while anything waits for it; what is
   there is another's word: joined signatures are judged as the agent will judge them, before they
   are stored.
 * Published at once. While a stop stands nothing is published, whatever was signed.
 * A quarantined open is dropped, its proposal waits for people. No answer in 120 s: the row lapses,
   its counter is spent, its proposal is decided anew.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from cloud import batches as lifecycle
from cloud import freezes, outbox
from cloud.alarms import raise_alarm
from cloud.batches import ProposalEvent
from cloud.opening_rules import UnsentReason
from cloud.outbox import Event
from cloud.publisher import Outgoing
from cloud.schema import commands
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState
from wire import envelope
from wire.checking import Junk, check
from wire.envelope import MalformedError, Signature
from wire.fields import AgentId, MeterId
from wire.topics import command_topic
from wire.trust import Keyring
from wire.vocabulary import Role

LOOK_EVERY_MS = 250
ANSWER_MAX_MS = 120_000
WAITING_MAX = 256  # half-signed rows in one look; the guard takes 64 in one of its own
_BUSY_S = 0.05  # this is asked within a turn, and comes again in 250 ms
_LOG = logging.getLogger(__name__)

_WAITING = (
    select(
        commands.c.id, commands.c.command_id, commands.c.agent_id, commands.c.meter_id,
        commands.c.envelope, commands.c.sequence_ms, commands.c.expires_at_ms,
        commands.c.proposal_id,
    )
    .where(holds(commands.c.state, CommandState.HALF_SIGNED))
    .order_by(commands.c.id)
    .limit(WAITING_MAX)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardAnswer:
    """One row of the guard's answers, as it stands there."""

    command_id: bytes
    key_id: bytes | None
    signature: bytes | None
    verdict: str
    reason: str


AskGuard = Callable[[Sequence[bytes]], Sequence[GuardAnswer]]


def nobody_answers(_: Sequence[bytes]) -> Sequence[GuardAnswer]:
    """An installation without a guard: every open lapses."""
    return ()


@dataclass(frozen=True, slots=True)
class GuardStore:
    """The guard's answers in its store, a file that is another's."""

    path: Path

    def __call__(self, command_ids: Sequence[bytes]) -> Sequence[GuardAnswer]:
        """What it says of these commands; nothing while it cannot be read."""
        marks = ", ".join("?" * len(command_ids))
        asked = (
            "SELECT command_id, key_id, signature, verdict, reason FROM answers"
            f" WHERE command_id IN ({marks})"  # only question marks
        )
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as store:
                found = store.execute(asked, tuple(command_ids)).fetchall()
        except sqlite3.Error as error:
            _LOG.warning("the guard's store %s cannot be read: %s", self.path, error)
            return ()
        return [
            GuardAnswer(
                command_id=row[0], key_id=row[1], signature=row[2], verdict=row[3], reason=row[4]
            )
            for row in found
        ]


@dataclass(frozen=True, slots=True)
class _AsDelivered:
    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """What one look brought."""

    outgoing: tuple[Outgoing, ...] = ()
    still_waits: bool = False


def look(transaction: Connection, ask: AskGuard, ring: Keyring, *, now_ms: int) -> Cosigned:
    """Take the guard's answers in, in the caller's transaction; what to publish."""
    waiting = transaction.execute(_WAITING).all()
    if not waiting:
        return Cosigned()
    answers = {one.command_id: one for one in ask([row.command_id for row in waiting])}
    is_frozen = freezes.frozen(transaction)
    joined: list[tuple[Found, Outgoing]] = []
    refused: list[tuple[Found, str]] = []
    silent: list[Found] = []
    for row in waiting:
        answer = answers.get(row.command_id)
        if answer is not None and answer.verdict == "quarantined":
            refused.append((row, answer.reason))
            continue
        outgoing = None if answer is None or is_frozen else _join(row, answer, ring, now_ms)
        if outgoing is not None:
            joined.append((row, outgoing))
        elif now_ms - row.sequence_ms >= ANSWER_MAX_MS or row.expires_at_ms <= now_ms:
            silent.append(row)
    _publish(transaction, joined, now_ms)
    _refuse(transaction, refused, now_ms)
    _lapse(transaction, silent, now_ms)
    ended = len(joined) + len(refused) + len(silent)
    return Cosigned(
        outgoing=tuple(one for _, one in joined),
        still_waits=ended < len(waiting) or len(waiting) == WAITING_MAX,
    )


def _join(row: Found, answer: GuardAnswer, ring: Keyring, now_ms: int) -> Outgoing | None:
    """The open as the agent must find it, or None: no signature that it would take."""
    if answer.key_id is None or answer.signature is None or row.expires_at_ms <= now_ms:
        return None
    topic = command_topic(AgentId(row.agent_id), MeterId(row.meter_id))
    try:
        ours = envelope.unpack(row.envelope)
    except MalformedError:
        return None
    signatures = (*ours.signatures, Signature(answer.key_id, answer.signature))
    payload = envelope.pack(ours.body, signatures)
    checked = check(_AsDelivered(topic, payload), ring, at_ms=now_ms)
    if isinstance(checked, Junk):
        _LOG.error("the guard's signature for %s is %s: not sent", row.meter_id, checked.reason)
        return None
    is_both = checked.roles == {Role.ENGINE, Role.GUARD}
    is_same = checked.digest[:16] == row.command_id
    return Outgoing(topic=topic, payload=payload) if is_both and is_same else None


def _publish(
    transaction: Connection, joined: Iterable[tuple[Found, Outgoing]], now_ms: int
) -> None:
    rows: list[dict[str, object]] = [
        {
            "row_id": row.id,
            "envelope": outgoing.payload,
            "resend_at_ms": now_ms + outbox.resend_delay_ms(0),
            "sends": 1,
        }
        for row, outgoing in joined
    ]
    columns = ("envelope", "resend_at_ms", "sends")
    outbox.apply(transaction, Event.COSIGNED, rows, columns=columns)


def _refuse(transaction: Connection, refused: Sequence[tuple[Found, str]], now_ms: int) -> None:
    ended: list[dict[str, object]] = [
        {"row_id": row.id, "ended_at_ms": now_ms} for row, _ in refused
    ]
    outbox.apply(transaction, Event.GUARD_REFUSED, ended, columns=("ended_at_ms",))
    why = {row.proposal_id: reason for row, reason in refused}
    lifecycle.apply(transaction, ProposalEvent.GUARD_REFUSED, why, now_ms=now_ms)
    for row, reason in refused:
        raise_alarm(transaction, "guard_refused", row.meter_id, reason, now_ms=now_ms)


def _lapse(transaction: Connection, silent: Sequence[Found], now_ms: int) -> None:
    ended: list[dict[str, object]] = [{"row_id": row.id, "ended_at_ms": now_ms} for row in silent]
    outbox.apply(transaction, Event.TIME_UP, ended, columns=("ended_at_ms",))
    why = {row.proposal_id: UnsentReason.UNANSWERED.value for row in silent}
    lifecycle.apply(transaction, ProposalEvent.UNSEEN, why, now_ms=now_ms)
    if silent:
        detail = f"no answer in 120 s to {len(silent)} opens: does it run? `relight guard status`"
        raise_alarm(transaction, "guard_silent", silent[0].meter_id, detail, now_ms=now_ms)

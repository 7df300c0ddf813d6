"""Batches and proposals of opens: both lifecycles, as tables and the function that applies each.

Rules kept here:
 * A batch within the caps of the day begins with its canary; one beyond them waits for two
   approvers. What was stopped or cancelled never goes on: people propose anew.
 * A proposal that was cancelled, skipped or failed is not tried again. Only an open nobody saw
   (unanswered by the guard, or never signed) lets its proposal wait once more.
 * Every human act is noted in the record of acts, in its own transaction.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import (
    BindParameter,
    Connection,
    Update,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from cloud import outbox
from cloud.acts import Act, note
from cloud.opening_caps import CAPS, fits
from cloud.opening_counts import count_opens
from cloud.schema import batches, commands, proposals
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import BatchState, CommandState, ProposalState
from wire.decoding import canonical

LIFE_MS = 7 * 86_400_000  # of a batch: over a week-end; bills and people change, so no longer
SHOWN_MAX = 100  # batches in one list: the newest


class BatchEvent(StrEnum):
    """What can happen to a batch."""

    APPROVED = "approved"  # two persons, neither the requester
    VERIFIED = "verified"  # its canary was read back open
    DOUBTED = "doubted"  # its canary failed: a person looks
    ENDED = "ended"  # nothing of it waits or is under way
    TIME_UP = "time_up"
    CANCELLED = "cancelled"


BATCH_TRANSITIONS: dict[tuple[BatchState, BatchEvent], BatchState] = {
    (BatchState.AWAITING, BatchEvent.APPROVED): BatchState.CANARY,
    (BatchState.CANARY, BatchEvent.VERIFIED): BatchState.FLOWING,
    (BatchState.CANARY, BatchEvent.DOUBTED): BatchState.STOPPED,
    (BatchState.CANARY, BatchEvent.ENDED): BatchState.DONE,
    (BatchState.FLOWING, BatchEvent.ENDED): BatchState.DONE,
    (BatchState.AWAITING, BatchEvent.TIME_UP): BatchState.CANCELLED,
    (BatchState.CANARY, BatchEvent.TIME_UP): BatchState.CANCELLED,
    (BatchState.FLOWING, BatchEvent.TIME_UP): BatchState.CANCELLED,
    (BatchState.AWAITING, BatchEvent.CANCELLED): BatchState.CANCELLED,
    (BatchState.CANARY, BatchEvent.CANCELLED): BatchState.CANCELLED,
    (BatchState.FLOWING, BatchEvent.CANCELLED): BatchState.CANCELLED,
    (BatchState.STOPPED, BatchEvent.CANCELLED): BatchState.CANCELLED,
}


class ProposalEvent(StrEnum):
    """What can happen to a proposal."""

    LOOKED_AT = "looked_at"  # it must wait, and its reasons say for what
    PICKED = "picked"  # decided, its open queued
    SPOKEN_AGAINST = "spoken_against"
    UNSEEN = "unseen"  # its open left nobody's hands: no signature of the guard in time
    GUARD_REFUSED = "guard_refused"
    READ_OPEN = "read_open"
    NOT_OPENED = "not_opened"
    CANCELLED = "cancelled"


PROPOSAL_TRANSITIONS: dict[tuple[ProposalState, ProposalEvent], ProposalState] = {
    (ProposalState.PROPOSED, ProposalEvent.LOOKED_AT): ProposalState.PROPOSED,
    (ProposalState.PROPOSED, ProposalEvent.PICKED): ProposalState.SENT,
    (ProposalState.PROPOSED, ProposalEvent.SPOKEN_AGAINST): ProposalState.SKIPPED,
    (ProposalState.SENT, ProposalEvent.SPOKEN_AGAINST): ProposalState.SKIPPED,
    (ProposalState.SENT, ProposalEvent.UNSEEN): ProposalState.PROPOSED,
    (ProposalState.SENT, ProposalEvent.GUARD_REFUSED): ProposalState.QUARANTINED,
    (ProposalState.SENT, ProposalEvent.READ_OPEN): ProposalState.OPENED,
    # A late word on an open that lapsed, or what a read found after it: a fact all the same.
    (ProposalState.FAILED, ProposalEvent.READ_OPEN): ProposalState.OPENED,
    (ProposalState.SENT, ProposalEvent.NOT_OPENED): ProposalState.FAILED,
    (ProposalState.PROPOSED, ProposalEvent.CANCELLED): ProposalState.CANCELLED,
    (ProposalState.SENT, ProposalEvent.CANCELLED): ProposalState.CANCELLED,
}


def _move_batch(event: BatchEvent, source: BatchState) -> Update:
    return (
        update(batches)
        .where(batches.c.id == bindparam("batch_id"))
        .where(holds(batches.c.state, source))
        .values(
            state=BATCH_TRANSITIONS[source, event].value,
            state_because=bindparam("because"),
            state_at_ms=bindparam("at_ms"),
        )
    )


def _move_proposals(event: ProposalEvent) -> Update:
    sources = [source for source, one in PROPOSAL_TRANSITIONS if one is event]
    (target,) = {end for (_, one), end in PROPOSAL_TRANSITIONS.items() if one is event}
    return (
        update(proposals)
        .where(proposals.c.id == bindparam("of_proposal"))
        .where(or_(*(holds(proposals.c.state, source) for source in sources)))
        .values(state=target.value, reasons=bindparam("why"), changed_at_ms=bindparam("at_ms"))
    )


_MOVE_BATCH = {one: _move_batch(one[1], one[0]) for one in BATCH_TRANSITIONS}
_MOVE_PROPOSALS = {event: _move_proposals(event) for event in ProposalEvent}
_BATCH: BindParameter[int] = bindparam("of_batch")
_COUNTS = (
    select(proposals.c.state, func.count())
    .where(proposals.c.batch_id == _BATCH)
    .group_by(proposals.c.state)
)
_WAITING = (
    select(proposals.c.id)
    .where(proposals.c.batch_id == _BATCH)
    .where(holds(proposals.c.state, ProposalState.PROPOSED))
)
# What still waits in batches that go by themselves.
_GOING = (
    select(func.count())
    .select_from(proposals)
    .join(batches, batches.c.id == proposals.c.batch_id)
    .where(or_(*(holds(batches.c.state, s) for s in (BatchState.CANARY, BatchState.FLOWING))))
    .where(holds(proposals.c.state, ProposalState.PROPOSED))
)
# Not published: nobody but the guard has seen its bytes, and its signature alone opens nothing.
UNSENT_STATES = (CommandState.QUEUED, CommandState.HALF_SIGNED)
_UNSENT = (
    select(commands.c.id, commands.c.proposal_id)
    .join(proposals, proposals.c.id == commands.c.proposal_id)
    .where(proposals.c.batch_id == _BATCH)
    .where(holds(proposals.c.state, ProposalState.SENT))
    .where(or_(*(holds(commands.c.state, state) for state in UNSENT_STATES)))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """One open that somebody proposes, checked against the ledger."""

    account_id: str
    meter_id: str
    sum_paise: int
    notice_served_at_ms: int
    notice_proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who proposes a batch, why, and under which name on the wire."""

    requester: str
    reason: str
    batch: bytes  # 16 random bytes


def begin(
    transaction: Connection, origin: Origin, wanted: Sequence[Intended], *, now_ms: int
) -> tuple[int, BatchState]:
    """Store a batch with its proposals, in the caller's transaction; its number and state."""
    # Two halves of a city are no two small batches.
    standing = transaction.scalar(_GOING) or 0
    counted = count_opens(transaction, now_ms=now_ms)
    state = (
        BatchState.CANARY if fits(CAPS, counted, len(wanted) + standing) else BatchState.AWAITING
    )
    ordered = sorted(wanted, key=lambda one: one.meter_id)
    made = transaction.execute(
        insert(batches),
        {
            "batch": origin.batch,
            "requester": origin.requester,
            "reason": origin.reason,
            "total": len(ordered),
            "digest": sha256(canonical([one.meter_id for one in ordered])).digest(),
            "proposed_at_ms": now_ms,
            "expires_at_ms": now_ms + LIFE_MS,
            "state": state.value,
            "state_because": "within the caps of the day"
            if state is BatchState.CANARY
            else "beyond the caps of the day: two approvers",
            "state_at_ms": now_ms,
        },
    )
    batch_id = int((made.inserted_primary_key or (0,))[0])
    transaction.execute(
        insert(proposals),
        [
            {
                "batch_id": batch_id,
                "account_id": one.account_id,
                "meter_id": one.meter_id,
                "sum_paise": one.sum_paise,
                "notice_served_at_ms": one.notice_served_at_ms,
                "notice_proof": one.notice_proof,
                "state": ProposalState.PROPOSED.value,
                "reasons": "",
                "is_canary": int(place < CAPS.canary),
                "changed_at_ms": now_ms,
            }
            for place, one in enumerate(ordered)
        ],
    )
    detail = f"{len(ordered)} opens, {state}: {origin.reason}"
    act = Act(who=origin.requester, act="propose", subject=f"batch {batch_id}", detail=detail)
    note(transaction, act, now_ms=now_ms)
    return batch_id, state


def apply_to_batch(
    transaction: Connection, event: BatchEvent, batch: Found, because: str, *, now_ms: int
) -> BatchState | None:
    """Apply one event to one batch; its new state, None when it cannot happen to it."""
    source = BatchState(batch.state)
    target = BATCH_TRANSITIONS.get((source, event))
    if target is None:
        return None
    given = {"batch_id": batch.id, "because": because, "at_ms": now_ms}
    moved = transaction.execute(_MOVE_BATCH[source, event], given)
    return target if moved.rowcount else None


def apply(
    transaction: Connection, event: ProposalEvent, why_of: Mapping[int, str], *, now_ms: int
) -> None:
    """Apply one event to many proposals; one in another state is left as it is.

    Args:
        transaction: the caller's.
        event: what happened to all of them.
        why_of: the reasons to store, by proposal.
        now_ms: the clock.
    """
    if why_of:
        rows = [
            {"of_proposal": proposal_id, "why": why, "at_ms": now_ms}
            for proposal_id, why in why_of.items()
        ]
        transaction.execute(_MOVE_PROPOSALS[event], rows)


def counts_of(transaction: Connection, batch_id: int) -> Counter[ProposalState]:
    """How many of its proposals are in each state."""
    found = transaction.execute(_COUNTS, {"of_batch": batch_id})
    return Counter({ProposalState(state): count for state, count in found})


def end_proposals(
    transaction: Connection, batch_id: int, why: str, *, now_ms: int
) -> Collection[int]:
    """Cancel what of a batch waits or is not published yet; the proposals that were cancelled."""
    given = {"of_batch": batch_id}
    ended = dict.fromkeys(transaction.scalars(_WAITING, given), why)
    unsent = transaction.execute(_UNSENT, given).all()
    outbox.drop(transaction, [row.id for row in unsent], now_ms=now_ms)
    ended |= dict.fromkeys((row.proposal_id for row in unsent), why)
    apply(transaction, ProposalEvent.CANCELLED, ended, now_ms=now_ms)
    return ended.keys()


def cancel(transaction: Connection, batch_id: int, who: str, *, now_ms: int) -> str:
    """Cancel a batch; what became of it, for a person.

    Raises:
        ValueError: there is no such batch, or it has ended.
    """
    batch = find(transaction, batch_id)
    because = f"cancelled by {who}"
    event = BatchEvent.CANCELLED
    if apply_to_batch(transaction, event, batch, because, now_ms=now_ms) is None:
        raise ValueError(f"batch {batch_id} is {batch.state} already: nothing is left to cancel")
    ended = end_proposals(transaction, batch_id, "cancelled", now_ms=now_ms)
    live = counts_of(transaction, batch_id)[ProposalState.SENT]
    told = f"{len(ended)} opens cancelled" + (f", {live} were sent already" if live else "")
    act = Act(who=who, act="cancel", subject=f"batch {batch_id}", detail=told)
    note(transaction, act, now_ms=now_ms)
    return told


def find(connection: Connection, batch_id: int) -> Found:
    """One batch.

    Raises:
        ValueError: there is none.
    """
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise ValueError(f"there is no batch {batch_id}: relight batch list shows them")
    return row


def newest(connection: Connection) -> Sequence[Found]:
    """The newest batches, the newest first."""
    return connection.execute(select(batches).order_by(batches.c.id.desc()).limit(SHOWN_MAX)).all()


def proposals_of(connection: Connection, batch_id: int) -> Sequence[Found]:
    """A batch's proposals, by meter."""
    return connection.execute(
        select(proposals).where(proposals.c.batch_id == batch_id).order_by(proposals.c.meter_id)
    ).all()

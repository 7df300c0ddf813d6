"""Proposals become opens: batches are weighed, what may go now is chosen, decided and queued.

Rules kept here (design.md section 7, I11):
 * Nothing goes while a stop stands, while payments may be missing (R1), or under an expired
   registry: then `opening_recall` takes back what was not sent yet.
 * Caps are kept before sending: hour, day, feeder, transformer, agent. A batch's canary goes alone.
 * I4: each open has its stored decision, committed with it, and its row in the record of acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, or_, select, update

from cloud import batches as lifecycle
from cloud import freezes, outbox, spools
from cloud.acts import Act, note
from cloud.alarms import raise_alarm
from cloud.batches import BatchEvent, ProposalEvent
from cloud.decisions import DecisionContext
from cloud.opening_caps import CAPS, Canary, Place, canary_says
from cloud.opening_counts import pace_of
from cloud.opening_decisions import Weighed, store_decisions
from cloud.opening_recall import hold_back, recall
from cloud.opening_rules import (
    LIFE_MS,
    OpenConclusion,
    OpenReason,
    OpenSituation,
    UnsentReason,
    conclude,
    is_within_window,
)
from cloud.opening_situations import rows_of, situations_of
from cloud.outbox import Queued
from cloud.schema import batches, proposals
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import BatchState, ProposalState, Verdict
from wire.documents import Registry
from wire.trust import Keyring
from wire.vocabulary import Action

LOOKS_MAX = 64  # proposals looked at in a sweep: some 10 ms of one turn each second
SENT_MAX = 16  # opens queued in a sweep: the guard signs four times a second, and closes come first
LOOK_AGAIN_MS = 60_000  # how soon a proposal that waited is looked at again

_GOING = (
    select(batches)
    .where(or_(*(holds(batches.c.state, s) for s in (BatchState.CANARY, BatchState.FLOWING))))
    .order_by(batches.c.id)
)
_CANARY_COUNTS = select(proposals.c.state, proposals.c.id).where(
    proposals.c.batch_id == bindparam("of_batch"), proposals.c.is_canary == 1
)
_NEXT_OF_BATCH = (
    select(proposals.c.id)
    .where(proposals.c.batch_id == bindparam("of_batch"))
    .where(holds(proposals.c.state, ProposalState.PROPOSED))
    .limit(bindparam("at_most"))
)
_PROMOTABLE = _NEXT_OF_BATCH.where(proposals.c.is_canary == 0).order_by(proposals.c.meter_id)
_PROMOTE = (
    update(proposals)
    .where(proposals.c.id.in_(bindparam("ids", expanding=True)))
    .values(is_canary=1)
)
_CANDIDATES = (
    _NEXT_OF_BATCH.where(proposals.c.is_canary >= bindparam("least_canary"))
    .where(or_(proposals.c.reasons == "", proposals.c.changed_at_ms <= bindparam("before_ms")))
    .order_by(proposals.c.changed_at_ms, proposals.c.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What must hold for any open at all: the registry, its intakes, the ledger's generation."""

    ring: Keyring
    registry: Registry | None
    generation_ms: int


@dataclass(slots=True, kw_only=True)
class Flowed:
    """What one look did."""

    sent: int = 0
    agents_with_work: set[str] = field(default_factory=set)  # something is withdrawn from them
    why_not: tuple[str, ...] = ()


def why_not(transaction: Connection, gate: Gate, *, now_ms: int) -> tuple[str, ...]:
    """Why nobody's supply may be taken away now, in words; empty when something may go."""
    found = []
    if freezes.frozen(transaction):
        found.append("opens are stopped")
    if gate.registry is None or gate.registry.expires_at_ms <= now_ms:
        found.append("the registry is not there or expired")
    intakes = spools.intake_scopes(gate.ring)
    return (
        *found,
        *spools.may_open(transaction, intakes, now_ms=now_ms, generation_ms=gate.generation_ms),
    )


def flow(transaction: Connection, context: DecisionContext, gate: Gate) -> Flowed:
    """One look a second, in the engine's transaction: weigh the batches, send what may go."""
    flowed = Flowed()
    flowed.agents_with_work = recall(transaction, context, None)
    going = transaction.execute(_GOING).all()
    flowed.why_not = why_not(transaction, gate, now_ms=context.now_ms)
    now_ms, registry = context.now_ms, gate.registry
    is_window_open = registry is not None and is_within_window(
        registry.policy, now_ms, now_ms + LIFE_MS
    )
    is_shut = bool(flowed.why_not)
    hold_back(transaction, now_ms, is_shut=is_shut, is_window_open=is_window_open)
    going = [batch for batch in going if _weigh(transaction, batch, now_ms)]
    # Outside the window nothing is looked at one by one: it would only be told to wait.
    if is_shut or registry is None or not is_window_open:
        return flowed
    chosen = _candidates(transaction, going, now_ms)
    flowed.sent = _send(transaction, context, registry, chosen)
    return flowed


def _weigh(transaction: Connection, batch: Found, now_ms: int) -> bool:
    """Move a batch on by what became of its opens; whether some of it may go."""
    if batch.expires_at_ms <= now_ms:
        why = "expired: propose anew what is still owed"
        lifecycle.apply_to_batch(transaction, BatchEvent.TIME_UP, batch, why, now_ms=now_ms)
        lifecycle.end_proposals(transaction, batch.id, "expired", now_ms=now_ms)
        return False
    counts = lifecycle.counts_of(transaction, batch.id)
    if not counts[ProposalState.PROPOSED] and not counts[ProposalState.SENT]:
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        lifecycle.apply_to_batch(transaction, BatchEvent.ENDED, batch, told, now_ms=now_ms)
        return False
    if batch.state != BatchState.CANARY.value:
        return True
    says = canary_says(CAPS, _canary_counts(transaction, batch))
    if says is Canary.GOES_ON:
        return True
    event = BatchEvent.VERIFIED if says is Canary.PASSED else BatchEvent.DOUBTED
    lifecycle.apply_to_batch(transaction, event, batch, f"canary {says}", now_ms=now_ms)
    if event is BatchEvent.DOUBTED:
        detail = "fewer than 9 of 10 were read back open: look at them, propose anew"
        raise_alarm(transaction, "canary_failed", f"batch {batch.id}", detail, now_ms=now_ms)
    return False  # what follows, follows with the next look, under the state it has then


def _canary_counts(transaction: Connection, batch: Found) -> dict[ProposalState, int]:
    """The canary's states; whoever paid makes place for the next, so that ten are tried."""
    given = {"of_batch": batch.id}
    counts: dict[ProposalState, int] = {}
    for state, _ in transaction.execute(_CANARY_COUNTS, given):
        counts[ProposalState(state)] = counts.get(ProposalState(state), 0) + 1
    tried = sum(counts.values()) - counts.get(ProposalState.SKIPPED, 0)
    if tried < CAPS.canary:
        missing = given | {"at_most": CAPS.canary - tried}
        more = list(transaction.scalars(_PROMOTABLE, missing))
        if more:
            transaction.execute(_PROMOTE, {"ids": more})
            waiting = counts.get(ProposalState.PROPOSED, 0) + len(more)
            counts[ProposalState.PROPOSED] = waiting
    return counts


def _candidates(transaction: Connection, going: Sequence[Found], now_ms: int) -> list[int]:
    """Proposals of these batches that wait, the longest not looked at first; the oldest batch's."""
    found: list[int] = []
    for batch in going:
        given = {
            "of_batch": batch.id,
            "at_most": LOOKS_MAX - len(found),
            "least_canary": int(batch.state == BatchState.CANARY.value),
            "before_ms": now_ms - LOOK_AGAIN_MS,
        }
        found += transaction.scalars(_CANDIDATES, given)
        if len(found) >= LOOKS_MAX:
            break
    return found


def _send(
    transaction: Connection,
    context: DecisionContext,
    registry: Registry,
    proposal_ids: Sequence[int],
) -> int:
    """Decide these proposals: send, skip, or let wait."""
    if not proposal_ids:
        return 0
    now_ms, edge = context.now_ms, registry.policy
    rows = rows_of(transaction, proposal_ids)
    pace = pace_of(transaction, rows, edge, now_ms=now_ms)
    pace.room = min(pace.room, SENT_MAX)
    goes: list[tuple[Found, OpenSituation]] = []
    skipped: list[tuple[OpenSituation, OpenConclusion]] = []
    waits: dict[int, str] = {}
    for row, one in zip(rows, situations_of(transaction, rows, now_ms=now_ms), strict=True):
        conclusion = conclude(one, context.policy, edge, now_ms=now_ms)
        if conclusion.skips:
            skipped.append((one, conclusion))
        elif conclusion.waits:
            waits[row.id] = " ".join(conclusion.waits)
        elif pace.take(
            Place(feeder=row.feeder, transformer=row.transformer, agent_id=row.agent_id)
        ):
            goes.append((row, one))
        elif pace.room > 0:  # else it was only not its turn in this second
            waits[row.id] = UnsentReason.PACED.value
    lifecycle.apply(transaction, ProposalEvent.LOOKED_AT, waits, now_ms=now_ms)
    _skip(transaction, context, skipped)
    _queue(transaction, context, goes)
    return len(goes)


def _skip(
    transaction: Connection,
    context: DecisionContext,
    skipped: Sequence[tuple[OpenSituation, OpenConclusion]],
) -> None:
    weighed = [
        Weighed(proposal_id=one.proposal_id, verdict=Verdict.NONE, reasons=said.skips, facts=one)
        for one, said in skipped
    ]
    store_decisions(transaction, context, weighed)
    why = {one.proposal_id: " ".join(said.skips) for one, said in skipped}
    lifecycle.apply(transaction, ProposalEvent.SPOKEN_AGAINST, why, now_ms=context.now_ms)


def _queue(
    transaction: Connection, context: DecisionContext, goes: Sequence[tuple[Found, OpenSituation]]
) -> None:
    weighed = [
        Weighed(proposal_id=row.id, verdict=Verdict.OPEN, reasons=(OpenReason.ARREARS,), facts=one)
        for row, one in goes
    ]
    digests = store_decisions(transaction, context, weighed)
    outbox.queue(
        transaction,
        [
            Queued(
                action=Action.OPEN,
                meter_id=row.meter_id,
                agent_id=row.agent_id,
                episode_id=None,
                proposal_id=row.id,
                decision=digest,
                due_at_ms=context.now_ms,
            )
            for (row, _), digest in zip(goes, digests, strict=True)
        ],
        now_ms=context.now_ms,
    )
    picked = {row.id: "" for row, _ in goes}
    lifecycle.apply(transaction, ProposalEvent.PICKED, picked, now_ms=context.now_ms)
    for (row, one), digest in zip(goes, digests, strict=True):
        detail = f"{one.owed_paise} paise owed by {row.account_id}, decision {digest.hex()}"
        act = Act(who="engine", act="open", subject=row.meter_id, detail=detail)
        note(transaction, act, now_ms=context.now_ms)

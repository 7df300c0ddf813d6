"""Opens that must not be any more: dropped while nobody was sent them, withdrawn after that.

Rules kept here:
 * R3: what was published is withdrawn in the transaction that records why; its proposal ends with
   what the agent says of the open. A payment that comes too late finds an episode, and closes it.
 * R9, R1: while nothing may be opened, what was queued or half-signed is dropped: a signature of
   the guard that comes for it later is worth nothing. Its proposal waits again.
 * Money moves: an open that waited too long in the line is decided anew.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, or_, select

from cloud import batches as lifecycle
from cloud import outbox
from cloud.batches import UNSENT_STATES, ProposalEvent
from cloud.decisions import DecisionContext
from cloud.opening_decisions import Weighed, store_decisions
from cloud.opening_rules import OpenSituation, SkipReason, UnsentReason, skips
from cloud.opening_situations import rows_of, situations_of
from cloud.outbox import Queued
from cloud.schema import commands, proposals
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState, ProposalState, Verdict
from wire.vocabulary import Action

QUEUED_MAX_MS = 120_000  # how long an open may wait in the line before it is decided anew
OUT_MAX = 1_024  # opens not ended that are asked after in a sweep; an hour's cap is half of it
# The relay of an open that is under way may show itself open before its own word is filed.
NOT_AGAINST_WHAT_IS_OUT = frozenset({SkipReason.RELAY_OPEN})

_OUT = (
    select(
        proposals.c.id, commands.c.id.label("row_id"), commands.c.state, commands.c.due_at_ms,
        commands.c.meter_id, commands.c.agent_id,
    )
    .select_from(proposals)
    .join(commands, commands.c.proposal_id == proposals.c.id)
    .where(holds(proposals.c.state, ProposalState.SENT))
    .where(holds(commands.c.action, Action.OPEN))
    .where(or_(*(holds(commands.c.state, s) for s in (*UNSENT_STATES, CommandState.PUBLISHED))))
    .order_by(proposals.c.id)
    .limit(OUT_MAX)
)  # fmt: skip
_OUT_OF_ACCOUNTS = _OUT.where(proposals.c.account_id.in_(bindparam("keys", expanding=True)))
_WITHDRAWN = select(commands.c.proposal_id).where(
    commands.c.proposal_id.in_(bindparam("keys", expanding=True)),
    holds(commands.c.action, Action.WITHDRAW),
)


def recall(
    transaction: Connection, context: DecisionContext, account_ids: Collection[str] | None
) -> set[str]:
    """Drop or withdraw what the rules speak against by now; the agents that are told so.

    Args:
        transaction: of the turn that brought the money, the lock, the dispute.
        context: policy, clock and randomness.
        account_ids: whose; None asks after every open that has not ended.
    """
    if account_ids is None:
        out = transaction.execute(_OUT).all()
    else:
        out = transaction.execute(_OUT_OF_ACCOUNTS, {"keys": list(account_ids)}).all()
    if not out:
        return set()
    rows = rows_of(transaction, [one.id for one in out])
    against: dict[int, tuple[OpenSituation, tuple[SkipReason, ...]]] = {}
    for situation in situations_of(transaction, rows, now_ms=context.now_ms):
        skips = skips_against(situation, context)
        if skips:
            against[situation.proposal_id] = (situation, skips)
    speaks = [one for one in out if one.id in against]
    _drop(transaction, context, [one for one in speaks if _is_unsent(one)], against)
    live = [one for one in speaks if not _is_unsent(one)]
    return _withdraw(transaction, context, live, against)


def skips_against(situation: OpenSituation, context: DecisionContext) -> tuple[SkipReason, ...]:
    """What speaks against an open that is under way already."""
    found = skips(situation, context.policy)
    return tuple(one for one in found if one not in NOT_AGAINST_WHAT_IS_OUT)


def _is_unsent(out: Found) -> bool:
    return CommandState(out.state) in UNSENT_STATES


def _weighed(against: tuple[OpenSituation, tuple[SkipReason, ...]], verdict: Verdict) -> Weighed:
    situation, reasons = against
    return Weighed(
        proposal_id=situation.proposal_id, verdict=verdict, reasons=reasons, facts=situation
    )


_Against = dict[int, tuple[OpenSituation, tuple[SkipReason, ...]]]


def _drop(
    transaction: Connection, context: DecisionContext, unsent: Sequence[Found], against: _Against
) -> None:
    if not unsent:
        return
    store_decisions(
        transaction, context, [_weighed(against[one.id], Verdict.NONE) for one in unsent]
    )
    outbox.drop(transaction, [one.row_id for one in unsent], now_ms=context.now_ms)
    why = {one.id: " ".join(against[one.id][1]) for one in unsent}
    lifecycle.apply(transaction, ProposalEvent.SPOKEN_AGAINST, why, now_ms=context.now_ms)


def _withdraw(
    transaction: Connection, context: DecisionContext, live: Sequence[Found], against: _Against
) -> set[str]:
    """R3: in the transaction that records the cause; its proposal ends with its open."""
    if not live:
        return set()
    keys = {"keys": [one.id for one in live]}
    already = set(transaction.scalars(_WITHDRAWN, keys))
    fresh = [one for one in live if one.id not in already]
    weighed = [_weighed(against[one.id], Verdict.WITHDRAW) for one in fresh]
    digests = store_decisions(transaction, context, weighed)
    wanted = [
        Queued(
            action=Action.WITHDRAW,
            meter_id=one.meter_id,
            agent_id=one.agent_id,
            episode_id=None,
            proposal_id=one.id,
            decision=digest,
            due_at_ms=0,
        )
        for one, digest in zip(fresh, digests, strict=True)
    ]
    outbox.queue(transaction, wanted, now_ms=context.now_ms)
    return {one.agent_id for one in fresh}


def hold_back(transaction: Connection, now_ms: int, *, is_shut: bool, is_window_open: bool) -> None:
    """Drop what nobody was sent.

    Args:
        transaction: the engine's.
        now_ms: its clock.
        is_shut: nothing may go at all: all of it is dropped.
        is_window_open: an open signed now would still end in the window; else what is queued is
            dropped, not only what waited too long.
    """
    wait_max_ms = QUEUED_MAX_MS if is_window_open else 0
    held = [
        one
        for one in transaction.execute(_OUT)
        if _is_unsent(one) and (is_shut or _is_late(one, now_ms - wait_max_ms))
    ]
    outbox.drop(transaction, [one.row_id for one in held], now_ms=now_ms)
    why = {one.id: UnsentReason.HELD.value for one in held}
    lifecycle.apply(transaction, ProposalEvent.UNSEEN, why, now_ms=now_ms)


def _is_late(out: Found, before_ms: int) -> bool:
    return CommandState(out.state) is CommandState.QUEUED and int(out.due_at_ms) <= before_ms

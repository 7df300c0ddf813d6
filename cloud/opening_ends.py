"""How an open ends: an episode begins, or its proposal fails, or the relay is asked what it is.

Rules kept here:
 * What was read back open is an episode with its lock, its quote and its charges, in the
   transaction that files it. The quote is what was owed when the open was decided; money posted
   since then counts for it, so whoever paid meanwhile is closed at once.
 * Who had paid before the relay moved, so that the cut would not have been allowed, pays no
   charges, and that payment is all the quote asks.
 * An open that is unknown or lapsed is followed by a read, never by another open (R14). Whatever
   else ended it, nothing is tried again: people look.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, insert, select, update

from cloud import batches as lifecycle
from cloud import ledger, outbox
from cloud.alarms import raise_alarm
from cloud.batches import ProposalEvent
from cloud.decisions import DecisionContext
from cloud.locks import NewLock, place_lock
from cloud.opening_decisions import Weighed, store_decisions
from cloud.opening_rules import OpenReason, UnsentReason
from cloud.opening_situations import owed_now
from cloud.outbox import Queued
from cloud.schema import commands, episodes, payments, proposals, quotes
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState, CutBy, EpisodeState, LockKind, ProposalState, Verdict
from wire.messages import CommandItem
from wire.vocabulary import Action, Outcome

TAKEN = frozenset({Outcome.OPENED, Outcome.ALREADY_OPEN})
RECALLED = frozenset({Outcome.WITHDRAWN, Outcome.SUPERSEDED})
_MAY_BEGIN = (ProposalState.SENT.value, ProposalState.FAILED.value)
_ENDED_MAX = 256  # commands that ended without a word, looked at in one sweep

_OF_PROPOSALS = select(proposals).where(proposals.c.id.in_(bindparam("keys", expanding=True)))
_CUT = (
    select(episodes.c.account_id)
    .where(episodes.c.account_id.in_(bindparam("keys", expanding=True)))
    .where(episodes.c.ended_at_ms.is_(None))
)
_PAID_SINCE = (
    select(payments)
    .where(payments.c.account_id == bindparam("of_account"))
    .where(payments.c.posted_at_ms >= bindparam("since_ms"))
    .where(payments.c.episode_id.is_(None))
)
_COUNT_FOR = (
    update(payments)
    .where(payments.c.provider == bindparam("of_provider"))
    .where(payments.c.payment_id == bindparam("of_payment"))
    .values(episode_id=bindparam("new_episode"))
)
# Not of the command that told: that may be the read after the open.
_DECIDED_MS = (
    select(func.max(commands.c.queued_at_ms))
    .where(commands.c.proposal_id == bindparam("of_proposal"))
    .where(holds(commands.c.action, Action.OPEN))
)
_newest = commands.alias()
_NEWEST_OPEN = (
    select(func.max(_newest.c.id))
    .where(_newest.c.proposal_id == proposals.c.id)
    .where(holds(_newest.c.action, Action.OPEN))
    .correlate(proposals)
    .scalar_subquery()
)
_SILENT = (
    select(
        proposals.c.id.label("proposal_id"), commands.c.state, commands.c.sends,
        commands.c.meter_id, commands.c.agent_id,
    )
    .select_from(proposals)
    .join(commands, commands.c.id == _NEWEST_OPEN)
    .where(holds(proposals.c.state, ProposalState.SENT))
    .where(commands.c.state.in_((CommandState.LAPSED.value, CommandState.VOID.value)))
    .limit(_ENDED_MAX)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedOpen:
    """The final word on a command of a proposal: an open, its withdrawal, or the read after it."""

    command: Found
    item: CommandItem


@dataclass(slots=True, kw_only=True)
class Ends:
    """What the final words of a turn did."""

    accounts: set[str] = field(default_factory=set)  # their episodes began: decide them at once
    agents_with_work: set[str] = field(default_factory=set)


def conclude_ends(
    transaction: Connection, ended: Sequence[EndedOpen], context: DecisionContext
) -> Ends:
    """Apply final words, in the transaction that files them."""
    ends = Ends()
    if not ended:
        return ends
    taken = [one for one in ended if _shows_open(one)]
    ends.accounts = _begin_episodes(transaction, taken, context)
    opens = [one for one in ended if one.command.action == Action.OPEN.value]
    why = {
        one.command.proposal_id: f"{one.item.outcome} {one.item.reason or ''}".strip()
        for one in opens
        if one.item.outcome not in TAKEN
    }
    recalled = {
        one.command.proposal_id: one.item.outcome.value
        for one in opens
        if one.item.outcome in RECALLED
    }
    lifecycle.apply(transaction, ProposalEvent.SPOKEN_AGAINST, recalled, now_ms=context.now_ms)
    lifecycle.apply(transaction, ProposalEvent.NOT_OPENED, why, now_ms=context.now_ms)
    unknown = [one.command for one in opens if one.item.outcome is Outcome.UNKNOWN]
    ends.agents_with_work = _ask_after(transaction, unknown, context)
    return ends


def settle_silent(transaction: Connection, context: DecisionContext) -> set[str]:
    """End the proposals whose open lapsed or is void; the agents that are asked what the relay is.

    A late word on such an open is taken all the same.
    """
    silent = transaction.execute(_SILENT).all()
    unsent = {row.proposal_id: UnsentReason.UNANSWERED.value for row in silent if not row.sends}
    sent = [row for row in silent if row.sends]
    why = {row.proposal_id: row.state for row in sent}
    lifecycle.apply(transaction, ProposalEvent.UNSEEN, unsent, now_ms=context.now_ms)
    lifecycle.apply(transaction, ProposalEvent.NOT_OPENED, why, now_ms=context.now_ms)
    return _ask_after(transaction, sent, context)


def _shows_open(one: EndedOpen) -> bool:
    if one.command.action == Action.OPEN.value:
        return one.item.outcome in TAKEN
    after = one.item.after
    is_read = one.command.action == Action.READ.value and one.item.outcome is Outcome.READ
    return is_read and after is not None and not after.output


def _ask_after(
    transaction: Connection, unknown: Sequence[Found], context: DecisionContext
) -> set[str]:
    """R14: a read, beside an alarm for a person; perhaps a home is dark and nobody knows."""
    reasons = (OpenReason.OUTCOME_UNKNOWN,)
    weighed = [
        Weighed(proposal_id=row.proposal_id, verdict=Verdict.NONE, reasons=reasons)
        for row in unknown
    ]
    digests = store_decisions(transaction, context, weighed)
    wanted = [
        Queued(
            action=Action.READ,
            meter_id=row.meter_id,
            agent_id=row.agent_id,
            episode_id=None,
            proposal_id=row.proposal_id,
            decision=digest,
            due_at_ms=context.now_ms,
        )
        for row, digest in zip(unknown, digests, strict=True)
    ]
    outbox.queue(transaction, wanted, now_ms=context.now_ms)
    for row in unknown:
        detail = f"nobody knows whether proposal {row.proposal_id} was opened; the relay is asked"
        raise_alarm(transaction, "open_unknown", row.meter_id, detail, now_ms=context.now_ms)
    return {row.agent_id for row in unknown}


def _begin_episodes(
    transaction: Connection, taken: Sequence[EndedOpen], context: DecisionContext
) -> set[str]:
    if not taken:
        return set()
    keys = [one.command.proposal_id for one in taken]
    known = {row.id: row for row in transaction.execute(_OF_PROPOSALS, {"keys": keys})}
    account_ids = [row.account_id for row in known.values()]
    cut = set(transaction.scalars(_CUT, {"keys": account_ids}))
    owed = owed_now(transaction, account_ids, now_ms=context.now_ms)
    begun: set[str] = set()
    opened: dict[int, str] = {}
    for one in taken:
        proposal = known[one.command.proposal_id]
        is_told = proposal.state not in _MAY_BEGIN or proposal.account_id in cut | begun
        if is_told:
            continue  # a late word: the read after it told already
        opened[proposal.id] = ""
        begun.add(proposal.account_id)
        _begin(transaction, one, proposal, owed[proposal.account_id], context)
    lifecycle.apply(transaction, ProposalEvent.READ_OPEN, opened, now_ms=context.now_ms)
    return begun


def _begin(
    transaction: Connection,
    one: EndedOpen,
    proposal: Found,
    owed_paise: int,
    context: DecisionContext,
) -> None:
    """One episode, with its quote, charges and lock."""
    now_ms, policy = context.now_ms, context.policy
    decided_ms = transaction.scalar(_DECIDED_MS, {"of_proposal": proposal.id})
    since = {"of_account": proposal.account_id, "since_ms": decided_ms}
    paid = transaction.execute(_PAID_SINCE, since).all()
    cut_at_ms = min(now_ms, one.item.acted_at_ms or one.item.read_at_ms or now_ms)
    before = sum(_kept(row) for row in paid if row.captured_at_ms <= cut_at_ms)
    owed_then_paise = owed_paise + sum(_kept(row) for row in paid)
    # What is left of the demand by payments made before the relay moved.
    was_allowed = owed_then_paise - before + policy.tolerance_paise >= proposal.sum_paise
    lines: list[tuple[str, int]] = [("paid before the cut", before)]
    if was_allowed:
        lines = [
            ("arrears", owed_then_paise),
            ("disconnection charge", policy.disconnection_paise),
            ("reconnection charge", policy.reconnection_paise),
        ]
    made = transaction.execute(
        insert(episodes),
        {
            "account_id": proposal.account_id,
            "meter_id": proposal.meter_id,
            "cut_at_ms": cut_at_ms,
            "cut_by": CutBy.REMOTE.value,
            "created_at_ms": now_ms,
            "state": EpisodeState.OPEN.value,
        },
    )
    episode_id = int((made.inserted_primary_key or (0,))[0])
    charges = sum(paise for _, paise in lines[1:])
    if charges:
        posting = ledger.charge_posting(episode_id, proposal.account_id, charges)
        ledger.post(transaction, [posting], now_ms=now_ms)
    told = [line for line in lines if line[1]]
    transaction.execute(
        insert(quotes),
        {
            "episode_id": episode_id,
            # A quote asks something; below the tolerance it is covered as it stands.
            "amount_paise": max(1, sum(paise for _, paise in told)),
            "breakdown": json.dumps(told, separators=(",", ":")),
            "made_at_ms": now_ms,
            "expires_at_ms": now_ms + policy.quote_life_ms,
        },
    )
    for row in paid:
        counted = {"of_provider": row.provider, "of_payment": row.payment_id}
        transaction.execute(_COUNT_FOR, counted | {"new_episode": episode_id})
    document = f"open of batch {proposal.batch_id}, notice {proposal.notice_proof}"
    lock = NewLock(account_id=proposal.account_id, kind=LockKind.NON_PAYMENT, document=document)
    place_lock(transaction, lock, now_ms=now_ms)


def _kept(payment: Found) -> int:
    return int(payment.amount_paise - payment.returned_paise)

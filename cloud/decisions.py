"""Steps 4 and 5 joined: read the situation, decide, store the decision, queue the command.

Rules kept here:
 * I4: a decision is stored in the transaction that queues its command; its record begins with 16
   random bytes (R22), so the digest on the wire tells nobody what was decided.
 * I10: a covered quote clears non_payment, no other lock. Money that went back places it again.
 * R3: whatever takes the reason to close away withdraws a live close in the same transaction.
 * Domain rule 9: at most one close per episode is queued or live.
 * I9: what no command can light gets its crew ticket in the same transaction.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update

from cloud import ledger, outbox
from cloud.locks import NewLock, clear_locks, place_lock
from cloud.outbox import Queued
from cloud.rules import Conclusion, Policy, Situation, decide
from cloud.schema import decisions, episodes, locks, meters, quotes
from cloud.store import Found
from cloud.tickets import TicketChanges, apply_changes
from cloud.vocabulary import CommandState, CutBy, EpisodeState, LockKind, Verdict
from wire.decoding import canonical
from wire.vocabulary import Action

_OPEN_EPISODES = (
    select(
        episodes.c.id, episodes.c.account_id, episodes.c.meter_id, episodes.c.cut_at_ms,
        episodes.c.cut_by, episodes.c.created_at_ms, episodes.c.state, episodes.c.attempts,
        episodes.c.held_because, meters.c.agent_id, meters.c.installed_at_ms,
        meters.c.account_id.label("mapped_account_id"), meters.c.mapped_at_ms,
    )
    .join(meters, meters.c.meter_id == episodes.c.meter_id)
    .where(episodes.c.ended_at_ms.is_(None))
)  # fmt: skip
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_EPISODES_OF_ACCOUNTS = _OPEN_EPISODES.where(episodes.c.account_id.in_(_KEYS))
_EPISODES = _OPEN_EPISODES.where(episodes.c.id.in_(_KEYS))
_QUOTES = (
    select(quotes.c.episode_id, quotes.c.amount_paise)
    .where(quotes.c.episode_id.in_(bindparam("episode_ids", expanding=True)))
    .order_by(quotes.c.id)  # the newest wins
)
_LOCKS = (
    select(locks.c.account_id, locks.c.kind)
    .where(locks.c.account_id.in_(bindparam("account_ids", expanding=True)))
    .where(locks.c.cleared_at_ms.is_(None))
)
_INSERT_DECISIONS = insert(decisions)
_COUNT_ATTEMPT = (
    update(episodes)
    .where(episodes.c.id == bindparam("of_episode"))
    .values(attempts=episodes.c.attempts + 1)
)
_MARK_PAID = (
    update(episodes)
    .where(episodes.c.id == bindparam("of_episode"))
    .values(state=EpisodeState.PAID.value, paid_at_ms=bindparam("captured_at_ms"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """What deciding needs besides the facts: policy, time, and fresh random bytes."""

    policy: Policy
    now_ms: int
    random_bytes: Callable[[int], bytes]


@dataclass(slots=True, kw_only=True)
class Decided:
    """What one round of deciding did."""

    agents_with_work: set[str] = field(default_factory=set)
    decided_meters: list[str] = field(default_factory=list)
    words: dict[int, str] = field(default_factory=dict)  # by episode: verdict and reasons


def decide_accounts(
    transaction: Connection, account_ids: Collection[str], context: DecisionContext
) -> Decided:
    """Decide the open episodes of accounts whose money or locks changed; act at once."""
    if not account_ids:
        return Decided()
    rows = transaction.execute(_EPISODES_OF_ACCOUNTS, {"keys": list(account_ids)}).all()
    return _decide(transaction, rows, context, is_retry=False)


def decide_anew(
    transaction: Connection, episode_ids: Collection[int], context: DecisionContext
) -> Decided:
    """R5.3: decide episodes whose command a restarted agent lost; no retry, so nothing waits."""
    return _decide_episodes(transaction, episode_ids, context, is_retry=False)


def decide_again(
    transaction: Connection, episode_ids: Collection[int], context: DecisionContext
) -> Decided:
    """Decide episodes whose command ended without success; a new command waits for the ladder."""
    return _decide_episodes(transaction, episode_ids, context, is_retry=True)


def _decide_episodes(
    transaction: Connection,
    episode_ids: Collection[int],
    context: DecisionContext,
    *,
    is_retry: bool,
) -> Decided:
    if not episode_ids:
        return Decided()
    rows = transaction.execute(_EPISODES, {"keys": list(episode_ids)}).all()
    return _decide(transaction, rows, context, is_retry=is_retry)


def _decide(
    transaction: Connection, rows: Sequence[Found], context: DecisionContext, *, is_retry: bool
) -> Decided:
    decided = Decided()
    if not rows:
        return decided
    situations, newest_capture = _situations(transaction, rows)
    standing: dict[int, list[Found]] = {}
    for command in outbox.standing(transaction, [row.id for row in rows]):
        standing.setdefault(command.episode_id, []).append(command)
    records: list[dict[str, object]] = []
    wanted: list[Queued] = []
    dropped: list[int] = []
    paid: list[tuple[Found, int | None]] = []
    unpaid: list[Found] = []
    ticket_changes = TicketChanges()
    for row in rows:
        situation = situations[row.id]
        conclusion = decide(situation, context.policy, now_ms=context.now_ms)
        act = _act_on(conclusion, standing.get(row.id, []))
        record = _record(situation, conclusion, act.verdict, context)
        records.append(record)
        dropped += act.drop
        if act.action is not None:
            delay = outbox.retry_delay_ms(row.attempts) if is_retry else 0
            queued = _queued(row, act, record, context.now_ms + delay)
            wanted.append(queued)
            decided.agents_with_work.add(queued.agent_id)
        was_covered = row.state != EpisodeState.OPEN.value
        tries = row.attempts if act.action is Action.CLOSE else 0
        ticket_changes.weigh(row.id, conclusion, was_covered=was_covered, tries=tries)
        if conclusion.is_covered and not was_covered:
            paid.append((row, newest_capture.get(row.id)))
        elif was_covered and not conclusion.is_covered:
            unpaid.append(row)
        decided.decided_meters.append(row.meter_id)
        decided.words[row.id] = f"{act.verdict} {record['reasons']}"
    transaction.execute(_INSERT_DECISIONS, records)
    outbox.drop(transaction, dropped, now_ms=context.now_ms)
    outbox.queue(transaction, wanted, now_ms=context.now_ms)
    _count_attempts(transaction, wanted)
    _covered(transaction, paid, context.now_ms)
    for row in unpaid:
        _uncovered(transaction, row, context.now_ms)
    apply_changes(transaction, ticket_changes, now_ms=context.now_ms)
    return decided


def _situations(
    transaction: Connection, rows: Sequence[Found]
) -> tuple[dict[int, Situation], dict[int, int | None]]:
    quoted = {
        row.episode_id: row.amount_paise
        for row in transaction.execute(_QUOTES, {"episode_ids": [row.id for row in rows]})
    }
    account_ids = [row.account_id for row in rows]
    locked: dict[str, set[LockKind]] = {}
    for account_id, kind in transaction.execute(_LOCKS, {"account_ids": account_ids}):
        locked.setdefault(account_id, set()).add(LockKind(kind))
    credited = ledger.credited_to(transaction, [row.id for row in rows])
    situations = {
        row.id: Situation(
            episode_id=row.id,
            account_id=row.account_id,
            meter_id=row.meter_id,
            cut_at_ms=row.cut_at_ms,
            cut_by=CutBy(row.cut_by),
            is_ended=False,
            is_armed=row.state == EpisodeState.ARMED.value,
            quote_paise=quoted.get(row.id),
            credited_paise=credited[row.id][0],
            locks=frozenset(locked.get(row.account_id, ())),
            installed_at_ms=row.installed_at_ms,
            mapped_account_id=row.mapped_account_id,
            mapped_at_ms=row.mapped_at_ms,
            meter_refused_because=row.held_because,
        )
        for row in rows
    }
    return situations, {row.id: credited[row.id][1] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    verdict: Verdict
    action: Action | None = None
    drop: tuple[int, ...] = ()
    agent_id: str | None = None  # who holds what is withdrawn, if the meter moved since (R16)


def _act_on(conclusion: Conclusion, standing: Sequence[Found]) -> _Act:
    """What a conclusion means for the commands that stand for the episode."""
    queued = {row.action: row.id for row in standing if row.state == CommandState.QUEUED.value}
    live = {
        row.action: row.agent_id for row in standing if row.state == CommandState.PUBLISHED.value
    }
    if conclusion.verdict is Verdict.CLOSE:
        unsent_withdrawals = tuple(
            row_id for action, row_id in queued.items() if action == Action.WITHDRAW.value
        )
        is_under_way = Action.CLOSE.value in queued or Action.CLOSE.value in live
        return _Act(
            verdict=Verdict.CLOSE,
            action=None if is_under_way else Action.CLOSE,
            drop=unsent_withdrawals,
        )
    drop = tuple(row_id for action, row_id in queued.items() if action == Action.CLOSE.value)
    is_withdrawn = Action.WITHDRAW.value in queued or Action.WITHDRAW.value in live
    if Action.CLOSE.value in live and not is_withdrawn:
        return _Act(
            verdict=Verdict.WITHDRAW,
            action=Action.WITHDRAW,
            drop=drop,
            agent_id=live[Action.CLOSE.value],
        )
    return _Act(verdict=Verdict.NONE, drop=drop)


def _record(
    situation: Situation, conclusion: Conclusion, verdict: Verdict, context: DecisionContext
) -> dict[str, object]:
    record = canonical(
        [
            context.random_bytes(16),
            context.policy.digest,
            context.now_ms,
            situation,
            verdict.value,
            conclusion.reasons,
            conclusion.other_locks,
            conclusion.short_by_paise,
        ]
    )
    return {
        "digest": sha256(record).digest(),
        "record": record,
        "episode_id": situation.episode_id,
        "verdict": verdict.value,
        "reasons": " ".join((*conclusion.reasons, *conclusion.other_locks)),
        "short_by_paise": conclusion.short_by_paise,
        "decided_at_ms": context.now_ms,
    }


def _queued(row: Found, act: _Act, record: dict[str, object], due_at_ms: int) -> Queued:
    is_urgent = act.action is Action.WITHDRAW
    return Queued(
        action=act.action,  # type: ignore[arg-type]  # asked for by the caller
        meter_id=row.meter_id,
        agent_id=act.agent_id or row.agent_id,
        episode_id=row.id,
        decision=record["digest"],  # type: ignore[arg-type]  # made by _record
        due_at_ms=0 if is_urgent else due_at_ms,
    )


def _count_attempts(transaction: Connection, wanted: Sequence[Queued]) -> None:
    tried = [{"of_episode": one.episode_id} for one in wanted if one.action is Action.CLOSE]
    if tried:
        transaction.execute(_COUNT_ATTEMPT, tried)


def _covered(
    transaction: Connection, paid: Sequence[tuple[Found, int | None]], now_ms: int
) -> None:
    """These quotes are covered, since these captures: non_payment goes, whatever else stands."""
    if not paid:
        return
    transaction.execute(
        _MARK_PAID,
        [
            # Without a capture the tolerance covered the quote: its service clock starts now.
            {"of_episode": row.id, "captured_at_ms": now_ms if at_ms is None else at_ms}
            for row, at_ms in paid
        ],
    )
    account_ids = [row.account_id for row, _ in paid]
    clear_locks(transaction, account_ids, LockKind.NON_PAYMENT, "quote covered", now_ms=now_ms)


def _uncovered(transaction: Connection, row: Found, now_ms: int) -> None:
    """Money went back before the light came: non_payment stands again."""
    transaction.execute(
        update(episodes)
        .where(episodes.c.id == row.id)
        .values(state=EpisodeState.OPEN.value, paid_at_ms=None, attempts=0)
    )
    lock = NewLock(account_id=row.account_id, kind=LockKind.NON_PAYMENT, document="money went back")
    place_lock(transaction, lock, now_ms=now_ms)

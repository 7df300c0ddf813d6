"""What the ledger knows of intended opens, read for the rules: some questions for many at once."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, or_, select

from cloud import ledger
from cloud.opening_rules import OpenSituation
from cloud.schema import (
    accounts,
    agents,
    batches,
    bills,
    commands,
    episodes,
    locks,
    meters,
    moves,
    payment_items,
    proposals,
)
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import LockKind
from wire.vocabulary import Action, Outcome, ReceiptVerdict

DAY_MS = 86_400_000
NOT_FINAL_MS = (
    72 * 3_600_000
)  # how long money that is known of and posted nowhere stands in the way

_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_FACTS = (
    select(
        proposals.c.id, proposals.c.account_id, proposals.c.meter_id, proposals.c.sum_paise,
        proposals.c.notice_served_at_ms, batches.c.proposed_at_ms, accounts.c.closed_at_ms,
        meters.c.account_id.label("mapped_account_id"), meters.c.mapped_at_ms,
        meters.c.installed_at_ms, meters.c.is_protected, meters.c.output,
        meters.c.feeder, meters.c.transformer, meters.c.agent_id,
        agents.c.heard_at_ms, agents.c.suspended_at_ms,
    )
    .join(batches, batches.c.id == proposals.c.batch_id)
    .join(accounts, accounts.c.account_id == proposals.c.account_id)
    .join(meters, meters.c.meter_id == proposals.c.meter_id)
    .join(agents, agents.c.agent_id == meters.c.agent_id)
    .where(proposals.c.id.in_(_KEYS))
    .order_by(proposals.c.id)
)  # fmt: skip
_NOT_DUE = (
    select(bills.c.account_id, func.sum(bills.c.amount_paise))
    .where(bills.c.account_id.in_(_KEYS))
    .where(bills.c.due_at_ms > bindparam("now_ms"))
    .group_by(bills.c.account_id)
)
_LOCKS = (
    select(locks.c.account_id, locks.c.kind)
    .where(locks.c.account_id.in_(_KEYS))
    .where(locks.c.cleared_at_ms.is_(None))
)
_CUT = (
    select(episodes.c.account_id)
    .where(episodes.c.account_id.in_(_KEYS))
    .where(episodes.c.ended_at_ms.is_(None))
)
_DOUBTFUL = (
    select(payment_items.c.account_hint)
    .where(payment_items.c.account_hint.in_(_KEYS))
    .where(payment_items.c.stored_at_ms > bindparam("since_ms"))
    .where(
        or_(
            holds(payment_items.c.verdict, ReceiptVerdict.QUARANTINED),
            holds(payment_items.c.verdict, ReceiptVerdict.MISPOSTED),
        )
    )
)
_CLOSED = (
    select(commands.c.meter_id, func.max(commands.c.ended_at_ms))
    .where(commands.c.meter_id.in_(_KEYS))
    .where(commands.c.outcome.in_((Outcome.CLOSED.value, Outcome.ALREADY_CLOSED.value)))
    .group_by(commands.c.meter_id)
)
_MOVING = (
    select(moves.c.meter_id)
    .where(moves.c.meter_id.in_(_KEYS))
    .where(moves.c.released_at_ms.is_(None))
)
_TRIES = (
    select(commands.c.proposal_id, func.count())
    .where(commands.c.proposal_id.in_(_KEYS))
    .where(holds(commands.c.action, Action.OPEN))
    .where(commands.c.envelope.is_not(None))
    .where(commands.c.queued_at_ms > bindparam("since_ms"))
    .group_by(commands.c.proposal_id)
)


def rows_of(transaction: Connection, proposal_ids: Collection[int]) -> Sequence[Found]:
    """The proposals with their accounts, meters and agents."""
    return transaction.execute(_FACTS, {"keys": list(proposal_ids)}).all()


def owed_now(
    transaction: Connection, account_ids: Collection[str], *, now_ms: int
) -> dict[str, int]:
    """What each account owes and should have paid: its entries, less bills that are not due."""
    balance = ledger.balances(transaction, account_ids)
    given = {"keys": list(account_ids), "now_ms": now_ms}
    later = {account_id: int(paise) for account_id, paise in transaction.execute(_NOT_DUE, given)}
    return {one: balance.get(one, 0) - later.get(one, 0) for one in account_ids}


def situations_of(
    transaction: Connection, rows: Sequence[Found], *, now_ms: int
) -> list[OpenSituation]:
    """What the rules ask of each of `rows_of`, in their order."""
    accounts_of = {"keys": sorted({row.account_id for row in rows})}
    meters_of = {"keys": sorted({row.meter_id for row in rows})}
    owed = owed_now(transaction, accounts_of["keys"], now_ms=now_ms)
    locked: dict[str, set[LockKind]] = {}
    for account_id, kind in transaction.execute(_LOCKS, accounts_of):
        locked.setdefault(account_id, set()).add(LockKind(kind))
    cut = set(transaction.scalars(_CUT, accounts_of))
    doubtful = accounts_of | {"since_ms": now_ms - NOT_FINAL_MS}
    pending = set(transaction.scalars(_DOUBTFUL, doubtful))
    closed: dict[str, int] = dict(transaction.execute(_CLOSED, meters_of).all())
    moving = set(transaction.scalars(_MOVING, meters_of))
    tried = {"keys": [row.id for row in rows], "since_ms": now_ms - DAY_MS}
    tries: dict[int, int] = dict(transaction.execute(_TRIES, tried).all())
    return [
        OpenSituation(
            proposal_id=row.id,
            account_id=row.account_id,
            meter_id=row.meter_id,
            sum_paise=row.sum_paise,
            owed_paise=owed[row.account_id],
            notice_served_at_ms=row.notice_served_at_ms,
            proposed_at_ms=row.proposed_at_ms,
            has_payment_pending=row.account_id in pending,
            locks=frozenset(locked.get(row.account_id, ())),
            is_protected=bool(row.is_protected),
            has_open_episode=row.account_id in cut,
            is_relay_open=row.output == 0,
            installed_at_ms=row.installed_at_ms,
            is_account_closed=row.closed_at_ms is not None,
            mapped_account_id=row.mapped_account_id,
            mapped_at_ms=row.mapped_at_ms,
            closed_at_ms=closed.get(row.meter_id),
            agent_heard_at_ms=row.heard_at_ms,
            is_agent_suspended=row.suspended_at_ms is not None,
            is_meter_moving=row.meter_id in moving,
            tries_today=tries.get(row.id, 0),
        )
        for row in rows
    ]

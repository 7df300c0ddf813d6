"""Locks: reasons a relay may not be closed, and when they hold.

Rules kept here: a payment clears non_payment and nothing else (I10); a lock is *effective* only
when no close for its meter can still act, until then it is pending and says so (I15, R3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Update, bindparam, exists, insert, select, update

from cloud.schema import commands, ledger, locks, meters
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.vocabulary import CommandState, LockKind
from wire.vocabulary import Action, Outcome

_CLEAR = (
    update(locks)
    .where(locks.c.account_id.in_(bindparam("account_ids", expanding=True)))
    .where(locks.c.kind == bindparam("of_kind"))
    .where(locks.c.cleared_at_ms.is_(None))
    .values(cleared_at_ms=bindparam("at_ms"), cleared_because=bindparam("why"))
)


def _settle() -> Update:
    withdrawal = commands.alias()
    # What arrives behind a filed withdrawal is below its counter; `too_late`: it was not first.
    is_withdrawn = exists(
        select(withdrawal.c.id)
        .where(withdrawal.c.meter_id == commands.c.meter_id)
        .where(holds(withdrawal.c.action, Action.WITHDRAW))
        .where(withdrawal.c.outcome.in_((Outcome.WITHDREW.value, Outcome.NOTHING_PENDING.value)))
        .where(withdrawal.c.id > commands.c.id)
    )
    can_still_close = exists(
        select(commands.c.id)
        .join(meters, meters.c.meter_id == commands.c.meter_id)
        .where(meters.c.account_id == locks.c.account_id)
        .where(holds(commands.c.state, CommandState.PUBLISHED))
        .where(holds(commands.c.action, Action.CLOSE))
        .where(~is_withdrawn)
    )
    wait_until_ms = select(ledger.c.locks_wait_until_ms).scalar_subquery()
    return (
        update(locks)
        .where(locks.c.effective_at_ms.is_(None))
        .where(locks.c.cleared_at_ms.is_(None))
        .where(wait_until_ms <= bindparam("now_ms"))
        .where(~can_still_close)
        .values(effective_at_ms=bindparam("now_ms"))
    )


_SETTLE = _settle()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLock:
    """A lock to be placed: who answers for it, and the paper that says so."""

    account_id: str
    kind: LockKind
    document: str
    owner: str = "relight"


def place_lock(transaction: Connection, lock: NewLock, *, now_ms: int) -> None:
    """Place a lock unless one of its kind stands; it is pending while a live close may act."""
    if standing_lock(transaction, lock.account_id, lock.kind) is None:
        row = {
            "account_id": lock.account_id,
            "kind": lock.kind.value,
            "owner": lock.owner,
            "document": lock.document,
            "placed_at_ms": now_ms,
        }
        transaction.execute(insert(locks), row)


def standing_lock(transaction: Connection, account_id: str, kind: LockKind) -> Found | None:
    """The lock of one kind that is not cleared, pending or effective."""
    return transaction.execute(
        select(locks)
        .where(locks.c.account_id == account_id)
        .where(locks.c.kind == kind.value)
        .where(locks.c.cleared_at_ms.is_(None))
    ).one_or_none()


def other_locks(transaction: Connection, account_id: str) -> list[str]:
    """The kinds of the account's standing locks besides non-payment."""
    return sorted(
        transaction.scalars(
            select(locks.c.kind)
            .where(locks.c.account_id == account_id)
            .where(locks.c.kind != LockKind.NON_PAYMENT.value)
            .where(locks.c.cleared_at_ms.is_(None))
        )
    )


def clear_lock(
    transaction: Connection, account_id: str, kind: LockKind, because: str, *, now_ms: int
) -> None:
    """Clear the standing lock of one kind, if any."""
    clear_locks(transaction, [account_id], kind, because, now_ms=now_ms)


def clear_locks(
    transaction: Connection,
    account_ids: Sequence[str],
    kind: LockKind,
    because: str,
    *,
    now_ms: int,
) -> None:
    """Clear the standing locks of one kind of many accounts."""
    given = {"account_ids": account_ids, "of_kind": kind.value, "at_ms": now_ms, "why": because}
    transaction.execute(_CLEAR, given)


def settle_pending(transaction: Connection, *, now_ms: int) -> None:
    """Make those pending locks effective whose meter has no live close any more."""
    transaction.execute(_SETTLE, {"now_ms": now_ms})

"""Locks: reasons a relay may not be closed, and when they hold.

Rules kept here: a payment clears non_payment and nothing else (I10); a lock is *effective* only
when no close for its meter can still act, until then it is pending and says so (I15, R3).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from cloud.schema import commands, ledger, locks, meters
from cloud.vocabulary import CommandState, LockKind
from wire.vocabulary import Action, Outcome

_CLEAR = (
    update(locks)
    .where(locks.c.account_id.in_(bindparam("account_ids", expanding=True)))
    .where(locks.c.kind == bindparam("of_kind"))
    .where(locks.c.cleared_at_ms.is_(None))
    .values(cleared_at_ms=bindparam("at_ms"), cleared_because=bindparam("why"))
)


def place_lock(
    transaction: Connection, account_id: str, kind: LockKind, document: str, *, now_ms: int
) -> None:
    """Place a lock unless one of its kind stands; it is pending while a live close may act."""
    standing = transaction.scalar(
        select(locks.c.id)
        .where(locks.c.account_id == account_id)
        .where(locks.c.kind == kind.value)
        .where(locks.c.cleared_at_ms.is_(None))
    )
    if standing is None:
        row = {
            "account_id": account_id,
            "kind": kind.value,
            "owner": "relight",
            "document": document,
            "placed_at_ms": now_ms,
        }
        transaction.execute(insert(locks), row)


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
    withdrawal = commands.alias()
    # What arrives behind a filed withdrawal is below its counter; `too_late`: it was not first.
    is_withdrawn = exists(
        select(withdrawal.c.id)
        .where(withdrawal.c.meter_id == commands.c.meter_id)
        .where(withdrawal.c.action == Action.WITHDRAW.value)
        .where(withdrawal.c.outcome.in_((Outcome.WITHDREW.value, Outcome.NOTHING_PENDING.value)))
        .where(withdrawal.c.id > commands.c.id)
    )
    can_still_close = exists(
        select(commands.c.id)
        .join(meters, meters.c.meter_id == commands.c.meter_id)
        .where(meters.c.account_id == locks.c.account_id)
        .where(commands.c.state == CommandState.PUBLISHED.value)
        .where(commands.c.action == Action.CLOSE.value)
        .where(~is_withdrawn)
    )
    wait_until_ms = select(ledger.c.locks_wait_until_ms).scalar_subquery()
    transaction.execute(
        update(locks)
        .where(locks.c.effective_at_ms.is_(None))
        .where(locks.c.cleared_at_ms.is_(None))
        .where(wait_until_ms <= now_ms)
        .where(~can_still_close)
        .values(effective_at_ms=now_ms)
    )

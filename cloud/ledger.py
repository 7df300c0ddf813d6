"""Step 3, post: money as entries that are never changed, and the folds over them.

Rules kept here: every posting is two entries that sum to zero, debit positive (I3); a posting has
one name, unique in the database, so nothing is posted twice (I2); a balance is the fold of an
account's `receivable` entries, positive when the consumer owes; nothing is stored that a fold can
say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select

from cloud.schema import entries, payments
from cloud.vocabulary import EntryHead

_INSERT_ENTRIES = insert(entries)
_CREDITED = (
    select(
        payments.c.episode_id,
        func.sum(payments.c.amount_paise - payments.c.returned_paise),
        func.max(payments.c.captured_at_ms),
    )
    .where(payments.c.episode_id.in_(bindparam("episode_ids", expanding=True)))
    .group_by(payments.c.episode_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Money that moves between two heads of one account."""

    name: str
    debit: EntryHead
    credit: EntryHead
    account_id: str
    amount_paise: int


def bill_posting(bill_id: str, account_id: str, amount_paise: int) -> Posting:
    """A bill makes the consumer owe."""
    return Posting(
        name=f"bill {bill_id}",
        debit=EntryHead.RECEIVABLE,
        credit=EntryHead.REVENUE,
        account_id=account_id,
        amount_paise=amount_paise,
    )


def charge_posting(episode_id: int, account_id: str, amount_paise: int) -> Posting:
    """Cutting and reconnecting make the consumer owe their charges, once per episode."""
    return Posting(
        name=f"charges of episode {episode_id}",
        debit=EntryHead.RECEIVABLE,
        credit=EntryHead.CHARGES,
        account_id=account_id,
        amount_paise=amount_paise,
    )


def payment_posting(fact: str, account_id: str, amount_paise: int) -> Posting:
    """A captured payment: the provider owes us what the consumer no longer does."""
    return Posting(
        name=fact,
        debit=EntryHead.PROVIDER,
        credit=EntryHead.RECEIVABLE,
        account_id=account_id,
        amount_paise=amount_paise,
    )


def return_posting(fact: str, account_id: str, amount_paise: int) -> Posting:
    """Money that went back: a refund, a reversal, a lost dispute."""
    return Posting(
        name=fact,
        debit=EntryHead.RECEIVABLE,
        credit=EntryHead.PROVIDER,
        account_id=account_id,
        amount_paise=amount_paise,
    )


def post(transaction: Connection, postings: Sequence[Posting], *, now_ms: int) -> None:
    """Write the entries of `postings` in the caller's transaction."""
    rows = [row for posting in postings for row in _entries(posting, now_ms)]
    if rows:
        transaction.execute(_INSERT_ENTRIES, rows)


def balances(transaction: Connection, account_ids: Iterable[str]) -> dict[str, int]:
    """What each account owes, in paise: the fold of its entries, where there are any."""
    found = transaction.execute(
        select(entries.c.account_id, func.sum(entries.c.amount_paise))
        .where(entries.c.account_id.in_(list(account_ids)))
        .where(entries.c.head == EntryHead.RECEIVABLE.value)
        .group_by(entries.c.account_id)
    )
    return {account_id: int(owed) for account_id, owed in found}


def credited_to(
    transaction: Connection, episode_ids: Sequence[int]
) -> dict[int, tuple[int, int | None]]:
    """Final money posted while each episode was open, and the newest capture among it.

    Args:
        transaction: the caller's.
        episode_ids: the episodes asked about.

    Returns:
        Per episode: paise captured less paise returned, and the latest capture time (None: none).
    """
    credited: dict[int, tuple[int, int | None]] = dict.fromkeys(episode_ids, (0, None))
    for episode_id, paise, newest in transaction.execute(_CREDITED, {"episode_ids": episode_ids}):
        credited[episode_id] = (int(paise), newest)
    return credited


def _entries(posting: Posting, now_ms: int) -> tuple[dict[str, object], dict[str, object]]:
    shared: dict[str, object] = {
        "posting": posting.name,
        "account_id": posting.account_id,
        "posted_at_ms": now_ms,
    }
    return (
        {**shared, "head": posting.debit.value, "amount_paise": posting.amount_paise},
        {**shared, "head": posting.credit.value, "amount_paise": -posting.amount_paise},
    )

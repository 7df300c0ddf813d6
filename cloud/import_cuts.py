"""A cut: a meter that is open already when Relight goes live becomes an episode that can be paid.

Rules kept here:
 * Its quote is what was overdue at the cut, less what was paid, and the charges for cutting and
   reconnecting; later bills never raise it. Who owes nothing has no quote: the row is refused.
 * Its non-payment lock is effective at once, because nothing is live for the meter (I15), unless a
   restored ledger must wait first (R3).
 * Charges are posted once per episode (I2).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from cloud import ledger
from cloud.import_job import Job, batches, found, refuse_repeats, refuse_unknown, write
from cloud.import_rows import Columns, Fields
from cloud.schema import accounts, bills, commands, entries, episodes, locks, meters, orders, quotes
from cloud.schema import ledger as ledger_row
from cloud.spelling import ist, rupees
from cloud.store import Found
from cloud.vocabulary import CommandState, CutBy, EntryHead, EpisodeState, LockKind

COLUMNS = Columns(
    needed=(
        *("account_id", "meter_id", "cut_at", "cut_by"),
        *("disconnection_charge", "reconnection_charge"),
    ),
    optional=("order",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One row of cuts."""

    line: int
    account_id: str
    meter_id: str
    cut_at_ms: int
    cut_by: CutBy
    disconnection_paise: int
    reconnection_paise: int
    order: tuple[str, str] | None  # provider and its order id, made for this quote

    @property
    def charges_paise(self) -> int:
        """What cutting and reconnecting cost."""
        return self.disconnection_paise + self.reconnection_paise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Debt:
    """What an account owed when it was cut."""

    balance_paise: int  # the fold of its entries
    overdue_paise: int  # bills that were overdue at the cut
    later_paise: int  # bills that were not: they never raise the quote

    @property
    def owed_paise(self) -> int:
        return self.balance_paise - self.later_paise


def make(fields: Fields) -> Cut:
    """One row, checked by itself."""
    return Cut(
        line=fields.line,
        account_id=fields.identifier("account_id"),
        meter_id=fields.identifier("meter_id"),
        cut_at_ms=fields.instant("cut_at"),
        cut_by=fields.word("cut_by", CutBy),
        disconnection_paise=fields.rupees("disconnection_charge", may_be_zero=True),
        reconnection_paise=fields.rupees("reconnection_charge", may_be_zero=True),
        order=fields.order("order"),
    )


def store(transaction: Connection, rows: Sequence[Cut], job: Job) -> None:
    """Check the rows against the ledger; write them if the whole file is good."""
    debts = _check(transaction, rows, job)
    job.added = len(rows)
    if job.bad.count:
        return
    for some in batches(rows):
        episode_of = _write_episodes(transaction, some, job)
        _write_quotes(transaction, some, episode_of, debts, job)
        postings = [
            ledger.charge_posting(episode_of[cut.account_id], cut.account_id, cut.charges_paise)
            for cut in some
            if cut.charges_paise
        ]
        ledger.post(transaction, postings, now_ms=job.now_ms)
    _write_locks(transaction, rows, job)


def _check(transaction: Connection, rows: Sequence[Cut], job: Job) -> dict[str, _Debt]:
    refuse_repeats([(cut.line, cut.account_id) for cut in rows], "account_id", job)
    refuse_repeats([(cut.line, cut.meter_id) for cut in rows], "meter_id", job)
    named = [(cut.line, cut.account_id) for cut in rows]
    account_ids = [cut.account_id for cut in rows]
    query = select(accounts.c.account_id)
    refuse_unknown(named, found(transaction, query, accounts.c.account_id, account_ids), job)
    _check_meters(transaction, rows, job)
    _check_episodes(transaction, rows, job)
    _check_orders(transaction, rows, job)
    debts = _debts(transaction, rows)
    for cut in rows:
        owed = debts[cut.account_id].owed_paise + cut.charges_paise
        if cut.cut_at_ms > job.now_ms:
            job.bad.add(cut.line, "cut_at", ist(cut.cut_at_ms), "lies in the future")
        if owed <= 0:
            told = f"owes {rupees(owed)} with its charges, so there is nothing to pay:"
            advice = "import its overdue bills first, or leave it out"
            job.bad.add(cut.line, "account_id", cut.account_id, f"{told} {advice}")
    return debts


def _check_meters(transaction: Connection, rows: Sequence[Cut], job: Job) -> None:
    meter_ids = [cut.meter_id for cut in rows]
    query = select(meters.c.meter_id, meters.c.account_id)
    known = found(transaction, query, meters.c.meter_id, meter_ids)
    live = select(commands.c.meter_id).where(
        commands.c.state.in_(
            (
                CommandState.QUEUED.value,
                CommandState.HALF_SIGNED.value,
                CommandState.PUBLISHED.value,
            )
        )
    )
    busy = found(transaction, live, commands.c.meter_id, meter_ids)
    for cut in rows:
        meter = known.get(cut.meter_id)
        if meter is None:
            job.bad.add(cut.line, "meter_id", cut.meter_id, "is no known meter: import it first")
        elif meter.account_id != cut.account_id:
            reason = f"measures account {meter.account_id}, not {cut.account_id}"
            job.bad.add(cut.line, "meter_id", cut.meter_id, reason)
        if cut.meter_id in busy:
            job.bad.add(cut.line, "meter_id", cut.meter_id, "has a command under way")


def _check_episodes(transaction: Connection, rows: Sequence[Cut], job: Job) -> None:
    query = select(episodes.c.account_id, episodes.c.id, episodes.c.cut_at_ms).where(
        episodes.c.ended_at_ms.is_(None)
    )
    still_open = found(transaction, query, episodes.c.account_id, [cut.account_id for cut in rows])
    for cut in rows:
        episode = still_open.get(cut.account_id)
        if episode is not None:
            reason = f"is cut already: episode {episode.id}, since {ist(episode.cut_at_ms)}"
            job.bad.add(cut.line, "account_id", cut.account_id, reason)


def _check_orders(transaction: Connection, rows: Sequence[Cut], job: Job) -> None:
    named = [(cut.line, ":".join(cut.order)) for cut in rows if cut.order is not None]
    refuse_repeats(named, "order", job)
    query = select(orders.c.order_id, orders.c.provider)
    order_ids = [cut.order[1] for cut in rows if cut.order is not None]
    taken: set[str] = set()
    for some in batches(order_ids):
        for order_id, provider in transaction.execute(query.where(orders.c.order_id.in_(some))):
            taken.add(f"{provider}:{order_id}")
    for line, name in named:
        if name in taken:
            job.bad.add(line, "order", name, "belongs to another quote already")


def _debts(transaction: Connection, rows: Sequence[Cut]) -> dict[str, _Debt]:
    account_ids = [cut.account_id for cut in rows]
    balance = found(
        transaction,
        select(entries.c.account_id, func.sum(entries.c.amount_paise).label("paise"))
        .where(entries.c.head == EntryHead.RECEIVABLE.value)
        .group_by(entries.c.account_id),
        entries.c.account_id,
        account_ids,
    )
    cut_at_ms = {cut.account_id: cut.cut_at_ms for cut in rows}
    overdue = dict.fromkeys(account_ids, 0)
    later = dict.fromkeys(account_ids, 0)
    query = select(bills.c.account_id, bills.c.amount_paise, bills.c.due_at_ms)
    for some in batches(list(cut_at_ms)):
        for bill in transaction.execute(query.where(bills.c.account_id.in_(some))):
            was_overdue = bill.due_at_ms <= cut_at_ms[bill.account_id]
            (overdue if was_overdue else later)[bill.account_id] += bill.amount_paise
    return {
        account_id: _Debt(
            balance_paise=int(balance[account_id].paise) if account_id in balance else 0,
            overdue_paise=overdue[account_id],
            later_paise=later[account_id],
        )
        for account_id in cut_at_ms
    }


def _write_episodes(transaction: Connection, cuts: Sequence[Cut], job: Job) -> dict[str, int]:
    """The new episodes' ids by account."""
    made = transaction.execute(
        insert(episodes).returning(episodes.c.account_id, episodes.c.id),
        [
            {
                "account_id": cut.account_id,
                "meter_id": cut.meter_id,
                "cut_at_ms": cut.cut_at_ms,
                "cut_by": cut.cut_by.value,
                "created_at_ms": job.now_ms,
                "state": EpisodeState.OPEN.value,
            }
            for cut in cuts
        ],
    )
    return {row.account_id: row.id for row in made}


def _write_quotes(
    transaction: Connection,
    cuts: Sequence[Cut],
    episode_of: dict[str, int],
    debts: dict[str, _Debt],
    job: Job,
) -> None:
    made = transaction.execute(
        insert(quotes).returning(quotes.c.episode_id, quotes.c.id),
        [
            {
                "episode_id": episode_of[cut.account_id],
                "amount_paise": debts[cut.account_id].owed_paise + cut.charges_paise,
                "breakdown": _breakdown(cut, debts[cut.account_id]),
                "made_at_ms": job.now_ms,
                "expires_at_ms": job.now_ms + job.policy.quote_life_ms,
            }
            for cut in cuts
        ],
    )
    quote_of: dict[int, int] = {row.episode_id: row.id for row in made}
    write(
        transaction,
        orders,
        [
            {
                "provider": cut.order[0],
                "order_id": cut.order[1],
                "quote_id": quote_of[episode_of[cut.account_id]],
            }
            for cut in cuts
            if cut.order is not None
        ],
    )


def _breakdown(cut: Cut, debt: _Debt) -> str:
    """What the quote consists of; its lines add up to it."""
    lines = [
        ["overdue bills", debt.overdue_paise],
        ["paid and other entries", debt.owed_paise - debt.overdue_paise],
        ["disconnection charge", cut.disconnection_paise],
        ["reconnection charge", cut.reconnection_paise],
    ]
    return json.dumps([line for line in lines if line[1]], separators=(",", ":"))


def _write_locks(transaction: Connection, cuts: Sequence[Cut], job: Job) -> None:
    wait_until_ms = transaction.scalar(select(ledger_row.c.locks_wait_until_ms)) or 0
    query = (
        select(locks.c.account_id)
        .where(locks.c.kind == LockKind.NON_PAYMENT.value)
        .where(locks.c.cleared_at_ms.is_(None))
    )
    standing: dict[str, Found] = found(
        transaction, query, locks.c.account_id, [cut.account_id for cut in cuts]
    )
    write(
        transaction,
        locks,
        [
            {
                "account_id": cut.account_id,
                "kind": LockKind.NON_PAYMENT.value,
                "owner": "relight",
                "document": f"import of {job.file.path.name}",
                "placed_at_ms": job.now_ms,
                "effective_at_ms": job.now_ms if wait_until_ms <= job.now_ms else None,
            }
            for cut in cuts
            if cut.account_id not in standing
        ],
    )

"""The steps of payments, episodes and commands, read from the ledger's rows and told in words.

Rules kept here: every step is a stored fact with its own time; nothing is inferred. Times of an
agent's steps are its own clock's, which a welcome keeps within a second of ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, tuple_

from cloud.schema import (
    bills,
    commands,
    crew_tickets,
    decisions,
    episodes,
    filed_items,
    locks,
    payment_items,
    payments,
    quotes,
    requests,
)
from cloud.spelling import ist, rupees
from cloud.store import Found
from cloud.vocabulary import CommandState, RequestKind
from wire.decoding import decode_item
from wire.messages import CommandItem, RelayReading

PaymentKey = tuple[str, str]  # provider, payment id

# What an operator reads for a decision's words and for a payment item's reason.
WORDS: dict[str, str] = {
    "quote_covered": "the quote is covered and nothing else stands in the way",
    "already_closed": "supply is back already",
    "armed": "the relay is armed and waits for the button at the meter",
    "no_quote": "there is no quote",
    "short": "too little was paid",
    "other_lock": "another lock stands",
    "not_cut_remotely": "it was not cut remotely: a crew must go",
    "outside_phase": "the meter is outside the enabled phase",
    "mapping_changed": "the meter was exchanged or moved since the cut",
    "off_too_long": "it was off too long: inspect first",
    "meter_refused": "the meter itself refused: people must look",
    "number": "the intake sent this number before",
    "fact": "the provider reported this fact before",
    "number_reused": "the intake used this number for other bytes",
    "fact_changed": "the provider reported this fact with other contents",
    "currency": "it is not in rupees",
    "from_future": "it is dated in the future",
    "report_too_old": "the report came too long after the fact: confirm it with the provider",
    "payment_posted_already": "this payment was posted before",
    "no_account": "no open account is named: a person must assign it",
    "ladder_used_up": "every try of the ladder failed: one more is made each hour",
    "dark_too_long": "it is dark an hour after it was paid",
    "closed": "the relay was read back closed",
    "money_went_back": "the money went back",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened; `place` orders facts of one millisecond as the walk does."""

    at_ms: int
    place: int
    name: str
    text: str


def payment_facts(transaction: Connection, keys: Sequence[PaymentKey]) -> Iterator[Fact]:
    """Everything a provider said of these payments, and what became of it."""
    posted: dict[PaymentKey, Found] = {
        (row.provider, row.payment_id): row
        for row in transaction.execute(
            select(payments).where(tuple_(payments.c.provider, payments.c.payment_id).in_(keys))
        )
    }
    for item in transaction.execute(
        select(payment_items).where(
            tuple_(payment_items.c.provider, payment_items.c.payment_id).in_(keys)
        )
    ):
        what = f"{item.provider} {item.payment_id}, {rupees(item.amount_paise)} by {item.method}"
        name = item.kind.replace("_", " ")
        yield Fact(item.happened_at_ms, 0, name, f"{what}, as the provider dates it")
        number = f"as number {item.number}"
        yield Fact(item.received_at_ms, 1, "taken in", f"report received at the intake, {number}")
        yield Fact(item.stored_at_ms, 2, *_verdict(item, posted))


def _verdict(item: Found, posted: dict[PaymentKey, Found]) -> tuple[str, str]:
    if item.verdict != "stored":
        return item.verdict, WORDS.get(item.reason or "", item.reason or "")
    if not item.is_applied:
        return "stored", "waits for the capture it speaks of"
    payment = posted.get((item.provider, item.payment_id))
    account = f"to account {payment.account_id}" if payment is not None else ""
    return "posted", f"{item.kind.replace('_', ' ')} {rupees(item.amount_paise)} {account}".strip()


def bill_facts(transaction: Connection, account_id: str) -> Iterator[Fact]:
    """The bills of one account."""
    for bill in transaction.execute(select(bills).where(bills.c.account_id == account_id)):
        due = f"due by {ist(bill.due_at_ms - 1)[:10]}"
        yield Fact(
            bill.issued_at_ms, 0, "billed", f"{bill.bill_id}, {rupees(bill.amount_paise)}, {due}"
        )


def lock_facts(transaction: Connection, account_ids: Sequence[str]) -> Iterator[Fact]:
    """The locks of some accounts."""
    for lock in transaction.execute(select(locks).where(locks.c.account_id.in_(account_ids))):
        kind = lock.kind.replace("_", " ")
        yield Fact(lock.placed_at_ms, 3, "locked", f"{kind}, by {lock.owner}: {lock.document}")
        if lock.effective_at_ms is not None and lock.effective_at_ms > lock.placed_at_ms:
            yield Fact(lock.effective_at_ms, 3, "lock effective", f"{kind}: no close can act now")
        if lock.cleared_at_ms is not None:
            because = lock.cleared_because or ""
            yield Fact(lock.cleared_at_ms, 5, "lock cleared", f"{kind}: {because}")
    kinds = (RequestKind.LOCK_PLACE, RequestKind.LOCK_CLEAR)
    yield from request_facts(transaction, kinds, account_ids)


def episode_facts(transaction: Connection, episode_ids: Sequence[int]) -> Iterator[Fact]:
    """From the cut to the light: quotes, decisions, commands, crew tickets, the end."""
    for episode in transaction.execute(select(episodes).where(episodes.c.id.in_(episode_ids))):
        name = f"episode {episode.id}: account {episode.account_id}, meter {episode.meter_id}"
        yield Fact(episode.cut_at_ms, 0, "cut", f"{name}, {episode.cut_by}")
        if episode.ended_at_ms is not None:
            dark = duration(episode.ended_at_ms - episode.cut_at_ms)
            yield Fact(episode.ended_at_ms, 12, "ended", f"episode {episode.id}: dark for {dark}")
    for quote in transaction.execute(select(quotes).where(quotes.c.episode_id.in_(episode_ids))):
        text = f"{rupees(quote.amount_paise)} end it, until {ist(quote.expires_at_ms)[:19]}"
        yield Fact(quote.made_at_ms, 1, "quoted", text)
    for row in transaction.execute(
        select(decisions).where(decisions.c.episode_id.in_(episode_ids))
    ):
        yield Fact(row.decided_at_ms, 4, "decided", _decision(row))
    found = transaction.execute(
        select(commands).where(commands.c.episode_id.in_(episode_ids)).order_by(commands.c.id)
    ).all()
    yield from command_facts(transaction, found)
    yield from ticket_facts(transaction, episode_ids)


def _decision(row: Found) -> str:
    short = f" (short by {rupees(row.short_by_paise)})" if row.short_by_paise else ""
    return f"{tell_decision(f'{row.verdict} {row.reasons}')}{short}"


def tell_decision(words: str) -> str:
    """A verdict and its reasons as an operator reads them."""
    verdict, _, reasons = words.partition(" ")
    return f"{verdict}: {tell_reasons(reasons)}"


def tell_reasons(reasons: str) -> str:
    """The words of a decision or a ticket as an operator reads them."""
    return "; ".join(WORDS.get(word, word.replace("_", " ")) for word in reasons.split())


def ticket_facts(transaction: Connection, episode_ids: Sequence[int]) -> Iterator[Fact]:
    """When people had to go, why, and what ended it; and what the crew asked for."""
    numbers: list[str] = []
    for ticket in transaction.execute(
        select(crew_tickets).where(crew_tickets.c.episode_id.in_(episode_ids))
    ):
        name = f"number {ticket.id}"
        numbers.append(str(ticket.id))
        yield Fact(
            ticket.opened_at_ms, 13, "crew ticket", f"{name}: {tell_reasons(ticket.reasons)}"
        )
        if ticket.closed_at_ms is not None:
            because = WORDS.get(ticket.closed_because or "", ticket.closed_because or "")
            yield Fact(ticket.closed_at_ms, 13, "crew ticket closed", f"{name}: {because}")
    kinds = (RequestKind.TICKET_DONE, RequestKind.TICKET_RETRY)
    yield from request_facts(transaction, kinds, numbers)


def request_facts(
    transaction: Connection, kinds: Sequence[RequestKind], subjects: Sequence[str]
) -> Iterator[Fact]:
    """What people asked for about these subjects, and what the engine answered."""
    for row in transaction.execute(
        select(requests)
        .where(requests.c.kind.in_([kind.value for kind in kinds]))
        .where(requests.c.subject.in_(subjects))
    ):
        what = f"{row.kind.replace('_', ' ')} of {row.subject} by {row.asked_by}"
        yield Fact(row.asked_at_ms, 3, "asked", f"{what}: {row.detail}" if row.detail else what)
        if row.handled_at_ms is not None:
            yield Fact(row.handled_at_ms, 3, "answered", row.result or "")


def command_facts(transaction: Connection, found: Sequence[Found]) -> Iterator[Fact]:
    """The lifecycle of commands, with what their agents reported."""
    for row in found:
        name = f"{row.action} of {row.meter_id}"
        wait = row.due_at_ms - row.queued_at_ms
        due = f", due in {duration(wait)}" if wait > 0 else ""
        yield Fact(row.queued_at_ms, 6, "queued", f"{name}{due}")
        if row.sequence_ms is not None:
            counter = f"counter {row.epoch}.{row.sequence_ms}, id {row.command_id.hex()}"
            sends = f", sent {row.sends} times" if row.sends > 1 else ""
            yield Fact(
                row.sequence_ms, 7, "published", f"{name} to {row.agent_id}, {counter}{sends}"
            )
        if row.received_at_ms is not None:
            yield Fact(row.received_at_ms, 8, "journaled", f"{row.agent_id} says it has {name}")
        if row.ended_at_ms is not None and row.state in _ENDS:
            yield Fact(row.ended_at_ms, 11, row.state, f"{name}: {_ENDS[row.state]}")
    yield from item_facts(transaction, [row.command_id for row in found if row.command_id])


_ENDS: dict[str, str] = {
    CommandState.LAPSED.value: "it expired without an answer",
    CommandState.VOID.value: "its agent started again without it",
    CommandState.DROPPED.value: "its reason went away before it was sent",
}


def item_facts(transaction: Connection, command_ids: Sequence[bytes]) -> Iterator[Fact]:
    """What agents filed about commands."""
    for row in transaction.execute(
        select(filed_items).where(filed_items.c.command_id.in_(command_ids))
    ):
        item = decode_item(row.item)
        if not isinstance(item, CommandItem):
            continue
        reason = f" ({item.reason.replace('_', ' ')})" if item.reason else ""
        outcome = f"{item.outcome.replace('_', ' ')}{reason}"
        yield Fact(item.received_at_ms, 8, "received", f"by the agent of {item.meter}")
        if item.acted_at_ms is not None:
            yield Fact(item.acted_at_ms, 9, "acted", f"relay was {_relay(item.before)}")
        if item.read_at_ms is not None:
            yield Fact(item.read_at_ms, 10, "read back", f"relay is {_relay(item.after)}")
        filed = f"{outcome}, as number {item.number} of its agent's journal"
        yield Fact(row.filed_at_ms, 11, "acknowledged, filed", filed)


def _relay(reading: RelayReading | None) -> str:
    if reading is None:
        return "unknown"
    if reading.control_state == 2:
        return "armed"
    return "closed" if reading.output else "open"


def duration(lasted_ms: int) -> str:
    """Milliseconds as a person reads them: `312 ms`, `4.100 s`, `3 min 04 s`, `2 d 03 h`."""
    seconds, ms = divmod(abs(lasted_ms), 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    sign = "-" if lasted_ms < 0 else ""
    parts: tuple[tuple[Any, str], ...] = (
        (days, f"{days} d {hours:02d} h"),
        (hours, f"{hours} h {minutes:02d} min"),
        (minutes, f"{minutes} min {seconds:02d} s"),
        (seconds, f"{seconds}.{ms:03d} s"),
    )
    told = next((text for amount, text in parts if amount), f"{ms} ms")
    return sign + told

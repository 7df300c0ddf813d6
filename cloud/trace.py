"""One payment's, episode's, account's, meter's or command's timeline, for the person who asks why.

Rules kept here: it only reads; a step's duration is since the step before it; what names nothing in
the ledger has no trace.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy
from sqlalchemy import Connection, select

from cloud.schema import (
    accounts,
    commands,
    episodes,
    filed_items,
    meters,
    payment_items,
    payments,
)
from cloud.spelling import ist
from cloud.store import reading
from cloud.trace_steps import (
    Fact,
    PaymentKey,
    bill_facts,
    command_facts,
    duration,
    episode_facts,
    item_facts,
    lock_facts,
    payment_facts,
)

_EPISODE = re.compile(r"episode[ :#]?([0-9]{1,15})")
_COMMAND = re.compile(r"[0-9a-f]{32}")
LONGEST_IDENTIFIER = 128  # "PROVIDER payment_id" is under 100; longer names nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One step: when, how long after the one before, what."""

    at_ms: int
    since_ms: int | None  # None: the first
    name: str
    detail: str

    @property
    def text(self) -> str:
        """Name and detail on one line."""
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What happened to one subject, oldest first."""

    subject: str
    steps: tuple[TraceStep, ...]

    def json(self) -> str:
        """The same for programs: times in ms UTC."""
        return json.dumps({"subject": self.subject, "steps": [asdict(one) for one in self.steps]})


def trace(store: sqlalchemy.Engine, identifier: str) -> Trace | None:
    """The timeline of a payment id, `episode N`, account, meter, or command id in hex.

    Returns:
        None when the ledger knows nothing of that name.
    """
    name = identifier.strip()
    if not name or len(name) > LONGEST_IDENTIFIER:
        return None
    with reading(store) as connection:
        for find in (_episode, _payment, _account, _meter, _command):
            found = find(connection, name)
            if found is not None:
                subject, facts = found
                return Trace(subject=subject, steps=_steps(facts))
    return None


def render(told: Trace) -> str:
    """An aligned table: Indian time, duration since the step before, step, detail."""
    rows = [
        (
            ist(step.at_ms),
            "" if step.since_ms is None else f"+{duration(step.since_ms)}",
            step.name,
            step.detail,
        )
        for step in told.steps
    ]
    heads = ("time (IST)", "after", "step", "")
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(3)]
    lines = [told.subject]
    for at, after, name, detail in (heads, *rows):
        line = f"{at:<{widths[0]}}  {after:>{widths[1]}}  {name:<{widths[2]}}  {detail}"
        lines.append(line.rstrip())
    return "\n".join(lines)


_Told = tuple[str, Iterable[Fact]] | None


def _steps(facts: Iterable[Fact]) -> tuple[TraceStep, ...]:
    steps: list[TraceStep] = []
    # A repeated report repeats its provider's date: the same words at the same time are one step.
    for fact in sorted(set(facts), key=lambda one: (one.at_ms, one.place, one.name, one.text)):
        since = fact.at_ms - steps[-1].at_ms if steps else None
        step = TraceStep(at_ms=fact.at_ms, since_ms=since, name=fact.name, detail=fact.text)
        steps.append(step)
    return tuple(steps)


def _episode(connection: Connection, name: str) -> _Told:
    match = _EPISODE.fullmatch(name)
    if match is None:
        return None
    number = int(match.group(1))
    query = select(episodes).where(episodes.c.id == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    until = row.ended_at_ms
    facts = list(episode_facts(connection, [number]))
    facts += payment_facts(connection, _payments_of(connection, number))
    facts += _within(lock_facts(connection, [row.account_id]), row.created_at_ms, until)
    return f"episode {number} of account {row.account_id}, meter {row.meter_id}", facts


def _payment(connection: Connection, name: str) -> _Told:
    provider, _, payment_id = name.replace("/", " ").rpartition(" ")
    query = (
        select(payment_items.c.provider, payment_items.c.payment_id)
        .where(payment_items.c.payment_id == payment_id)
        .distinct()
    )
    if provider:
        query = query.where(payment_items.c.provider == provider)
    keys: list[PaymentKey] = [(row.provider, row.payment_id) for row in connection.execute(query)]
    if not keys:
        return None
    facts = list(payment_facts(connection, keys))
    since = min(fact.at_ms for fact in facts)
    for key in keys:
        facts += [fact for fact in _consequences(connection, key) if fact.at_ms >= since]
    return f"payment {payment_id} of {', '.join(provider for provider, _ in keys)}", facts


def _consequences(connection: Connection, key: PaymentKey) -> list[Fact]:
    """The episode that was open when the payment was posted, and the locks of its account."""
    provider, payment_id = key
    payment = connection.execute(
        select(payments)
        .where(payments.c.provider == provider)
        .where(payments.c.payment_id == payment_id)
    ).one_or_none()
    if payment is None or payment.account_id is None:
        return []
    if payment.episode_id is None:
        return []
    until = connection.scalar(
        select(episodes.c.ended_at_ms).where(episodes.c.id == payment.episode_id)
    )
    locked = _within(lock_facts(connection, [payment.account_id]), payment.posted_at_ms, until)
    return [*episode_facts(connection, [payment.episode_id]), *locked]


def _account(connection: Connection, name: str) -> _Told:
    known = select(accounts).where(accounts.c.account_id == name)
    row = connection.execute(known).one_or_none()
    if row is None:
        return None
    cut = connection.scalars(select(episodes.c.id).where(episodes.c.account_id == name)).all()
    keys: list[PaymentKey] = [
        (payment.provider, payment.payment_id)
        for payment in connection.execute(select(payments).where(payments.c.account_id == name))
    ]
    facts = [
        *bill_facts(connection, name),
        *payment_facts(connection, keys),
        *lock_facts(connection, [name]),
        *episode_facts(connection, cut),
    ]
    return f"account {name}, zone {row.zone}", facts


def _meter(connection: Connection, name: str) -> _Told:
    row = connection.execute(select(meters).where(meters.c.meter_id == name)).one_or_none()
    if row is None:
        return None
    own = select(episodes).where(episodes.c.meter_id == name)
    rows = connection.execute(own).all()
    facts = list(episode_facts(connection, [episode.id for episode in rows]))
    for episode in rows:
        keys = _payments_of(connection, episode.id)
        facts += payment_facts(connection, keys)
    if row.read_at_ms is not None:
        word = "armed" if row.control_state == 2 else "closed" if row.output else "open"
        facts.append(Fact(row.read_at_ms, 10, "last read", f"relay is {word}"))
    return f"meter {name} of account {row.account_id}, behind {row.agent_id}", facts


def _command(connection: Connection, name: str) -> _Told:
    if _COMMAND.fullmatch(name) is None:
        return None
    command_id = bytes.fromhex(name)
    found = connection.execute(select(commands).where(commands.c.command_id == command_id)).all()
    if found:
        return f"command {name}", command_facts(connection, found)
    filed = connection.scalar(
        select(filed_items.c.number).where(filed_items.c.command_id == command_id).limit(1)
    )
    if filed is None:
        return None
    return f"command {name}, an orphan: this ledger never gave it", item_facts(
        connection, [command_id]
    )


def _payments_of(connection: Connection, episode_id: int) -> Sequence[PaymentKey]:
    """The payments posted while an episode was open."""
    query = select(payments.c.provider, payments.c.payment_id).where(
        payments.c.episode_id == episode_id
    )
    return [(row.provider, row.payment_id) for row in connection.execute(query)]


def _within(facts: Iterable[Fact], since_ms: int, until_ms: int | None) -> list[Fact]:
    return [
        fact
        for fact in facts
        if fact.at_ms >= since_ms and (until_ms is None or fact.at_ms <= until_ms)
    ]

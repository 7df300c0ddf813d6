"""What the guard's store knows of one command: its meter, account, notice, counters, counts.

Rules kept here (R7): everything is read in the transaction that counts the command, so that nothing
changes in between; the command itself is never among what it is compared with, so that one which
was counted before a crash is judged as it was the first time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloud.guard.asked import AskedRow, Opened
from cloud.guard.payments import money_of
from cloud.guard.rules import Facts, Meter, Money, Proposal, day_begins_ms, local_day
from cloud.guard.store import Transaction
from cloud.guard.thresholds import HOUR_MS, MEAN_DAYS, QUARTER_MS, Counts
from wire.documents import EdgePolicy
from wire.messages import Counter

_METER = """
    SELECT account_id, agent_id, is_protected, feeder, transformer FROM meters
    WHERE meter_id = ?"""
_PROPOSAL = """
    SELECT account_id, sum_paise, notice_served_at_ms FROM proposals
    WHERE meter_id = ? ORDER BY id DESC LIMIT 1"""
_OF_METER = """
    SELECT epoch, sequence_ms, expires_at_ms, day FROM counted
    WHERE meter_id = ? AND command_id <> ? ORDER BY epoch DESC, sequence_ms DESC
    LIMIT 64"""
_COUNTS = """
    SELECT
        count(DISTINCT CASE WHEN counted_at_ms > :hour_ms THEN meter_id END),
        count(DISTINCT CASE WHEN day = :day THEN meter_id END),
        count(DISTINCT CASE WHEN feeder = :feeder AND counted_at_ms > :quarter_ms
            THEN meter_id END),
        count(DISTINCT CASE WHEN transformer = :transformer AND counted_at_ms > :quarter_ms
            THEN meter_id END),
        count(DISTINCT CASE WHEN agent_id = :agent_id AND day = :day THEN meter_id END)
    FROM counted
    WHERE counted_at_ms > :since_ms AND counted_at_ms > :released_at_ms AND meter_id <> :meter_id"""
_METERS = """
    SELECT (SELECT count(*) FROM meters),
        (SELECT count(*) FROM meters WHERE feeder = :feeder),
        (SELECT count(*) FROM meters WHERE transformer = :transformer)"""
_DAYS = "SELECT meters FROM days WHERE day < :day AND day >= :day - :days"
_COUNT = """
    INSERT INTO counted
    SELECT :command_id, :meter_id, account_id, :agent_id, feeder, transformer, :action, :epoch,
        :sequence_ms, :expires_at_ms, :day, :now_ms
    FROM meters WHERE meter_id = :meter_id"""
_COUNT_DAY = """
    INSERT INTO days VALUES (:day, 1) ON CONFLICT (day) DO UPDATE SET meters =
        (SELECT count(DISTINCT meter_id) FROM counted
        WHERE day = :day AND counted_at_ms >= :day_begins_ms)"""


def read_facts(
    transaction: Transaction, opened: Opened, policy: EdgePolicy, *, now_ms: int
) -> Facts:
    """Everything `rules` asks for."""
    command, row = opened.command, opened.row
    meter = transaction.execute(_METER, (command.meter,)).fetchone()
    proposed = transaction.execute(_PROPOSAL, (command.meter,)).fetchone()
    earlier = transaction.execute(_OF_METER, (command.meter, opened.command_id)).fetchall()
    proposal = _proposal(proposed)
    return Facts(
        now_ms=now_ms,
        policy=policy,
        meter=_meter(meter),
        engine_account_id=row.account_id,
        last_counter=_highest(earlier),
        has_unexpired=any(expires_at_ms > now_ms for _, _, expires_at_ms, _ in earlier),
        signatures_today=sum(day == local_day(policy, now_ms) for *_, day in earlier),
        proposal=proposal,
        money=Money() if meter is None else _money(transaction, meter[0], row, proposal, now_ms),
    )


def _meter(row: Sequence[Any] | None) -> Meter | None:
    if row is None:
        return None
    return Meter(account_id=row[0], agent_id=row[1], is_protected=bool(row[2]))


def _proposal(row: Sequence[Any] | None) -> Proposal | None:
    if row is None:
        return None
    return Proposal(account_id=row[0], sum_paise=row[1], notice_served_at_ms=row[2])


def _highest(earlier: Sequence[Sequence[Any]]) -> Counter | None:
    return Counter(epoch=earlier[0][0], sequence_ms=earlier[0][1]) if earlier else None


def _money(
    transaction: Transaction,
    account_id: str,
    row: AskedRow,
    proposal: Proposal | None,
    now_ms: int,
) -> Money:
    since_ms = now_ms if proposal is None else proposal.notice_served_at_ms
    own = money_of(transaction, account_id, since_ms=since_ms, now_ms=now_ms)
    return replace(own, engine_owed_paise=row.owed_paise, engine_charges_paise=row.charges_paise)


def is_counted(transaction: Transaction, command_id: bytes) -> bool:
    """Whether it was counted before: by a guard that ended before it could answer."""
    found = transaction.execute("SELECT 1 FROM counted WHERE command_id = ?", (command_id,))
    return found.fetchone() is not None


def count(transaction: Transaction, opened: Opened, policy: EdgePolicy, *, now_ms: int) -> None:
    """Write down that this meter may be cut now: durable when the transaction ends, then sign."""
    command, day = opened.command, local_day(policy, now_ms)
    values = {
        "command_id": opened.command_id,
        "meter_id": command.meter,
        "agent_id": command.agent,
        "action": command.action,
        "epoch": command.epoch,
        "sequence_ms": command.sequence_ms,
        "expires_at_ms": command.expires_at_ms,
        "day": day,
        "day_begins_ms": day_begins_ms(policy, day),
        "now_ms": now_ms,
    }
    transaction.execute(_COUNT, values)
    transaction.execute(_COUNT_DAY, values)


def read_counts(
    transaction: Transaction, opened: Opened, policy: EdgePolicy, released_at_ms: int, now_ms: int
) -> Counts:
    """Everything `thresholds` asks for; of a meter we know."""
    meter = transaction.execute(_METER, (opened.command.meter,)).fetchone()
    day = local_day(policy, now_ms)
    asked = {
        "meter_id": opened.command.meter,
        "agent_id": opened.command.agent,
        "feeder": meter[3],
        "transformer": meter[4],
        "day": day,
        "days": MEAN_DAYS,
        "hour_ms": now_ms - HOUR_MS,
        "quarter_ms": now_ms - QUARTER_MS,
        "since_ms": min(now_ms - HOUR_MS, day_begins_ms(policy, day)),
        "released_at_ms": released_at_ms,
    }
    hour, today, feeder, transformer, agent = transaction.execute(_COUNTS, asked).fetchone()
    meters, of_feeder, of_transformer = transaction.execute(_METERS, asked).fetchone()
    return Counts(
        hour=hour,
        day=today,
        feeder=feeder,
        transformer=transformer,
        agent=agent,
        earlier_days=tuple(one for (one,) in transaction.execute(_DAYS, asked)),
        meters=meters,
        feeder_meters=of_feeder,
        transformer_meters=of_transformer,
    )

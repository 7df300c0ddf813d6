"""What a filed item means: for its command, its episode and the relay's view.

Rules kept here: an outcome that its action cannot have, another meter or counter than the command's,
or times out of order are filed and alarmed, never applied; a success needs a read-back that shows it
(I8); what failed is decided again; a meter's own refusal is not tried again by itself (rule 30).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, update

from cloud import outbox
from cloud.acknowledgements import Arrived, JournalProgress
from cloud.alarms import raise_alarm
from cloud.outbox import Event
from cloud.schema import commands, episodes, meters
from cloud.store import Found
from cloud.vocabulary import EpisodeState
from wire.messages import AlarmItem, CommandItem, ReceivedItem, RelayReading, StateItem
from wire.vocabulary import OUTCOMES, Action, Outcome, RefusalReason

BELIEVED_AHEAD_MAX_MS = 60_000  # R4: how far ahead of us a reported counter is believed
CLOSED = frozenset({Outcome.CLOSED, Outcome.ALREADY_CLOSED})

_Fresh = Sequence[tuple[JournalProgress, Arrived]]


@dataclass(slots=True, kw_only=True)
class Applied:
    """What the fresh items of one turn changed."""

    agents_with_work: set[str] = field(default_factory=set)
    decide_again: set[int] = field(default_factory=set)
    closed_meters: list[str] = field(default_factory=list)
    received_meters: list[str] = field(default_factory=list)


def apply_items(transaction: Connection, fresh: _Fresh, *, now_ms: int) -> Applied:
    """Apply every fresh item of current journals, in the caller's transaction."""
    applied = Applied()
    current = [(progress, one) for progress, one in fresh if progress.is_current]
    finals = [(p.agent_id, one.item) for p, one in current if isinstance(one.item, CommandItem)]
    _apply_finals(transaction, finals, applied, now_ms)
    received = [(p.agent_id, one.item) for p, one in current if isinstance(one.item, ReceivedItem)]
    applied.received_meters = outbox.note_received(
        transaction, [(agent_id, item.command) for agent_id, item in received], now_ms=now_ms
    )
    for progress, one in current:
        if isinstance(one.item, AlarmItem):
            subject = f"{progress.agent_id} {one.item.meter or ''}".strip()
            raise_alarm(transaction, one.item.code, subject, "from the agent", now_ms=now_ms)
    _follow_views(transaction, current)
    _end_armed(transaction, current, now_ms)
    applied.agents_with_work |= {progress.agent_id for progress, _ in current}
    return applied


def _apply_finals(
    transaction: Connection,
    finals: Sequence[tuple[str, CommandItem]],
    applied: Applied,
    now_ms: int,
) -> None:
    known = _commands(transaction, [item.command for _, item in finals])
    ended: list[dict[str, object]] = []
    succeeded: list[dict[str, object]] = []
    for agent_id, item in finals:
        row = known.get(item.command)
        if row is None:
            continue  # an orphan: filed, and told by `relight trace`
        fault = _fault(agent_id, item, row)
        if fault is not None:
            raise_alarm(transaction, "impossible_outcome", item.meter, fault, now_ms=now_ms)
            continue
        ended.append(
            {
                "row_id": row.id,
                "outcome": item.outcome.value,
                "reason": item.reason,
                "ended_at_ms": now_ms,
            }
        )
        if item.outcome in CLOSED or item.outcome is Outcome.ARMED:
            succeeded.append(_success(row, item, now_ms))
            applied.closed_meters.append(item.meter)
        elif row.episode_id is not None:
            applied.decide_again.add(row.episode_id)
            _note_failure(transaction, row, item, now_ms)
    outbox.apply(transaction, Event.FINAL_ITEM, ended, columns=("outcome", "reason", "ended_at_ms"))
    if succeeded:
        transaction.execute(
            update(episodes)
            .where(episodes.c.id == bindparam("of_episode"))
            .where(episodes.c.ended_at_ms.is_(None))
            .values(state=bindparam("new_state"), ended_at_ms=bindparam("new_ended_at_ms")),
            succeeded,
        )


def _commands(transaction: Connection, command_ids: Sequence[bytes]) -> dict[bytes, Found]:
    if not command_ids:
        return {}
    return {
        row.command_id: row
        for row in transaction.execute(
            select(
                commands.c.id, commands.c.command_id, commands.c.action, commands.c.meter_id,
                commands.c.agent_id, commands.c.epoch, commands.c.sequence_ms, commands.c.episode_id,
            ).where(commands.c.command_id.in_(command_ids))
        )
    }  # fmt: skip


def _fault(agent_id: str, item: CommandItem, row: Found) -> str | None:
    """Why an item cannot be the truth about its command; None when it can."""
    if agent_id != row.agent_id:  # an agent can lie only about its own meters
        return f"agent {agent_id} speaks of a command of {row.agent_id}"
    if (item.meter, item.epoch, item.sequence_ms) != (row.meter_id, row.epoch, row.sequence_ms):
        return f"names {item.meter} {item.epoch}.{item.sequence_ms}, not its command's"
    if item.outcome not in OUTCOMES[Action(row.action)]:
        return f"{item.outcome} is no outcome of {row.action}"
    times = [item.received_at_ms, item.acted_at_ms, item.read_at_ms]
    told = [at for at in times if at is not None]
    if told != sorted(told):
        return f"its times {told} run backwards"
    if item.outcome in CLOSED and (item.after is None or not item.after.output):
        return f"{item.outcome} without a closed read-back"
    if item.outcome is Outcome.ARMED and (item.after is None or item.after.control_state != 2):
        return "armed without an armed read-back"
    return None


def _success(row: Found, item: CommandItem, now_ms: int) -> dict[str, object]:
    is_armed = item.outcome is Outcome.ARMED
    state = EpisodeState.ARMED if is_armed else EpisodeState.ENDED
    return {
        "of_episode": row.episode_id,
        "new_state": state.value,
        "new_ended_at_ms": None if is_armed else now_ms,
    }


def _note_failure(transaction: Connection, row: Found, item: CommandItem, now_ms: int) -> None:
    if item.outcome is Outcome.REFUSED_BY_METER:
        transaction.execute(
            update(episodes)
            .where(episodes.c.id == row.episode_id)
            .values(held_because=item.reason or Outcome.REFUSED_BY_METER.value)
        )
    if item.reason == RefusalReason.LOW_COUNTER and item.highest is not None:
        # R4: an engine whose clock fell far behind learns the counter here, never past now + 60 s.
        believed = min(item.highest.sequence_ms, now_ms + BELIEVED_AHEAD_MAX_MS)
        transaction.execute(
            update(meters)
            .where(meters.c.meter_id == row.meter_id)
            .where(meters.c.last_epoch == item.highest.epoch)
            .where(meters.c.last_sequence < believed)
            .values(last_sequence=believed)
        )


def _follow_views(transaction: Connection, current: _Fresh) -> None:
    """The newest reading of each meter, by number, becomes its view."""
    newest: dict[str, tuple[JournalProgress, int, RelayReading, int]] = {}
    for progress, one in current:
        item = one.item
        if isinstance(item, CommandItem):
            relay, read_at_ms = item.after, item.read_at_ms
        elif isinstance(item, StateItem):
            relay, read_at_ms = item.relay, item.read_at_ms
        else:
            continue
        held = newest.get(item.meter)
        is_newer = held is None or held[1] < item.number
        if relay is not None and read_at_ms is not None and is_newer:
            newest[item.meter] = (progress, item.number, relay, read_at_ms)
    if newest:
        transaction.execute(
            update(meters)
            .where(meters.c.meter_id == bindparam("of_meter"))
            .where(meters.c.agent_id == bindparam("of_agent"))
            .where(
                (meters.c.view_journal_id.is_distinct_from(bindparam("journal_id")))
                | (meters.c.view_number < bindparam("new_number"))
            )
            .values(
                output=bindparam("new_output"),
                control_state=bindparam("new_state"),
                control_mode=bindparam("new_mode"),
                read_at_ms=bindparam("new_read_at_ms"),
                view_journal_id=bindparam("journal_id"),
                view_number=bindparam("new_number"),
            ),
            [
                {
                    "of_meter": meter,
                    "of_agent": progress.agent_id,
                    "journal_id": progress.row_id,
                    "new_number": number,
                    "new_output": int(relay.output),
                    "new_state": relay.control_state,
                    "new_mode": relay.control_mode,
                    "new_read_at_ms": read_at_ms,
                }
                for meter, (progress, number, relay, read_at_ms) in newest.items()
            ],
        )


def _end_armed(transaction: Connection, current: _Fresh, now_ms: int) -> None:
    """The consumer pressed the button: an armed episode ends when its meter tells that it moved."""
    pressed = [
        one.item.meter
        for _, one in current
        if isinstance(one.item, StateItem) and one.item.relay is not None and one.item.relay.output
    ]
    if pressed:
        transaction.execute(
            update(episodes)
            .where(episodes.c.meter_id.in_(pressed))
            .where(episodes.c.state == EpisodeState.ARMED.value)
            .values(state=EpisodeState.ENDED.value, ended_at_ms=now_ms)
        )

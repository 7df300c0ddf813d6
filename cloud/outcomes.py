"""What a filed item means: for its command, its episode and the relay's view.

Rules kept here: an outcome that its action cannot have, another meter or counter than the
command's, or times out of order are filed and alarmed, never applied; a success needs a read-back
that shows it (I8); what failed is decided again; a meter's own refusal is not tried again by itself
(rule 30).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, tuple_, update

from cloud import outbox
from cloud.acknowledgements import Arrived, JournalProgress
from cloud.alarms import raise_alarm
from cloud.opening_ends import TAKEN, EndedOpen
from cloud.outbox import Event
from cloud.schema import commands, episodes, meters
from cloud.schema.columns import holds
from cloud.store import Found
from cloud.tickets import TicketEnd, close_tickets
from cloud.vocabulary import CommandState, EpisodeState
from wire.messages import AlarmItem, CommandItem, ReceivedItem, RelayReading, StateItem
from wire.vocabulary import OUTCOMES, Action, Outcome, RefusalReason

BELIEVED_AHEAD_MAX_MS = 60_000  # R4: how far ahead of us a reported counter is believed
# R13: a restored ledger may have forgotten an open. No decision of its own says that the relay is
# to be open, and none can be made for a meter without an episode (I4): a person restores supply.
SUPPLY_TAKEN = frozenset({Outcome.OPENED, Outcome.DISARMED})
CLOSED = frozenset({Outcome.CLOSED, Outcome.ALREADY_CLOSED})

_COMMANDS = (
    select(
        commands.c.id, commands.c.command_id, commands.c.action, commands.c.meter_id,
        commands.c.agent_id, commands.c.epoch, commands.c.sequence_ms,
        commands.c.episode_id, commands.c.proposal_id, commands.c.state, episodes.c.paid_at_ms,
    )
    .outerjoin(episodes, episodes.c.id == commands.c.episode_id)
    .where(commands.c.command_id.in_(bindparam("command_ids", expanding=True)))
)  # fmt: skip
_END_EPISODE = (
    update(episodes)
    .where(episodes.c.id == bindparam("of_episode"))
    .where(episodes.c.ended_at_ms.is_(None))
    .values(state=bindparam("new_state"), ended_at_ms=bindparam("new_ended_at_ms"))
)
_FOLLOW_VIEW = (
    update(meters)
    .where(meters.c.meter_id == bindparam("of_meter"))
    .where(meters.c.agent_id == bindparam("of_agent"))
    .where(
        meters.c.view_journal_id.is_distinct_from(bindparam("journal_id"))
        | (meters.c.view_number < bindparam("new_number"))
    )
    .values(
        output=bindparam("new_output"),
        control_state=bindparam("new_state"),
        control_mode=bindparam("new_mode"),
        read_at_ms=bindparam("new_read_at_ms"),
        view_journal_id=bindparam("journal_id"),
        view_number=bindparam("new_number"),
    )
)

_Fresh = Sequence[tuple[JournalProgress, Arrived]]
_Word = tuple[str, int]  # agent, number in its current journal
_Place = tuple[str, str]  # agent, meter


@dataclass(slots=True, kw_only=True)
class Applied:
    """What the fresh items of one turn changed."""

    agents_with_work: set[str] = field(default_factory=set)
    decide_again: set[int] = field(default_factory=set)
    closed_meters: list[str] = field(default_factory=list)
    armed_meters: list[str] = field(default_factory=list)
    paid_to_closed_ms: list[int] = field(default_factory=list)
    received_meters: list[str] = field(default_factory=list)
    of_proposals: list[EndedOpen] = field(default_factory=list)  # `cloud.opening_ends` says what


def apply_items(transaction: Connection, fresh: _Fresh, *, now_ms: int) -> Applied:
    """Apply every fresh item of current journals, in the caller's transaction."""
    applied = Applied()
    current = [(progress, one) for progress, one in fresh if progress.is_current]
    finals = [(p.agent_id, one.item) for p, one in current if isinstance(one.item, CommandItem)]
    faulty = _apply_finals(transaction, finals, applied, now_ms)
    received = [(p.agent_id, one.item) for p, one in current if isinstance(one.item, ReceivedItem)]
    applied.received_meters = outbox.note_received(
        transaction, [(agent_id, item.command) for agent_id, item in received], now_ms=now_ms
    )
    for progress, one in current:
        if isinstance(one.item, AlarmItem):
            subject = f"{progress.agent_id} {one.item.meter or ''}".strip()
            raise_alarm(transaction, one.item.code, subject, "from the agent", now_ms=now_ms)
    believed = [(p, one) for p, one in current if (p.agent_id, one.item.number) not in faulty]
    _follow_views(transaction, believed)
    _end_armed(transaction, believed, now_ms)
    applied.agents_with_work |= {progress.agent_id for progress, _ in current}
    return applied


def _apply_finals(
    transaction: Connection,
    finals: Sequence[tuple[str, CommandItem]],
    applied: Applied,
    now_ms: int,
) -> set[_Word]:
    """Apply each command's one final word; the words that cannot be true, by agent and number."""
    known = _commands(transaction, [item.command for _, item in finals])
    ended: dict[bytes, dict[str, object]] = {}
    succeeded: list[dict[str, object]] = []
    faulty: set[_Word] = set()
    for agent_id, item in finals:
        row = known.get(item.command)
        if row is None:
            # An orphan: filed, and told by `relight trace`.
            if item.outcome in SUPPLY_TAKEN:
                detail = f"{item.outcome} by {agent_id}, its command is unknown: restore supply"
                raise_alarm(transaction, "orphan_open", item.meter, detail, now_ms=now_ms)
            continue
        fault = _fault(agent_id, item, row)
        if item.command in ended:
            fault = "a second final word on one command"
        if fault is not None:
            faulty.add((agent_id, item.number))
            raise_alarm(transaction, "impossible_outcome", item.meter, fault, now_ms=now_ms)
            continue
        ended[item.command] = {
            "row_id": row.id,
            "outcome": item.outcome.value,
            "reason": item.reason,
            "ended_at_ms": now_ms,
        }
        if row.proposal_id is not None:
            applied.of_proposals.append(EndedOpen(command=row, item=item))
        if item.outcome in CLOSED or item.outcome is Outcome.ARMED:
            succeeded.append(_success(row, item, now_ms))
            _note_success(row, item, applied, now_ms)
        else:
            if row.episode_id is not None:
                applied.decide_again.add(row.episode_id)
            _note_failure(transaction, row, item, now_ms)
    columns = ("outcome", "reason", "ended_at_ms")
    outbox.apply(transaction, Event.FINAL_ITEM, list(ended.values()), columns=columns)
    _end_episodes(transaction, succeeded, now_ms)
    return faulty


def _note_success(row: Found, item: CommandItem, applied: Applied, now_ms: int) -> None:
    if item.outcome is Outcome.ARMED:
        applied.armed_meters.append(item.meter)
        return
    applied.closed_meters.append(item.meter)
    if row.paid_at_ms is not None:
        applied.paid_to_closed_ms.append(now_ms - row.paid_at_ms)


def _end_episodes(
    transaction: Connection, succeeded: Sequence[dict[str, object]], now_ms: int
) -> None:
    if not succeeded:
        return
    transaction.execute(_END_EPISODE, succeeded)
    armed: list[int] = []
    closed: list[int] = []
    for one in succeeded:
        is_armed = one["new_state"] == EpisodeState.ARMED.value
        (armed if is_armed else closed).append(int(str(one["of_episode"])))
    # A late word on an older command: the retry that waits has lost its reason.
    outbox.drop_waiting(transaction, armed + closed, now_ms=now_ms)
    close_tickets(transaction, closed, TicketEnd.CLOSED.value, now_ms=now_ms)
    close_tickets(transaction, armed, TicketEnd.ARMED.value, now_ms=now_ms)


def end_by_crew(transaction: Connection, episode_id: int, because: str, *, now_ms: int) -> None:
    """A crew restored supply: the episode ends, its ticket says who and how."""
    close_tickets(transaction, [episode_id], because, now_ms=now_ms)
    ended = {
        "of_episode": episode_id,
        "new_state": EpisodeState.ENDED.value,
        "new_ended_at_ms": now_ms,
    }
    _end_episodes(transaction, [ended], now_ms)


def _commands(transaction: Connection, command_ids: Sequence[bytes]) -> dict[bytes, Found]:
    if not command_ids:
        return {}
    return {
        row.command_id: row for row in transaction.execute(_COMMANDS, {"command_ids": command_ids})
    }


def _fault(agent_id: str, item: CommandItem, row: Found) -> str | None:
    """Why an item cannot be the truth about its command; None when it can."""
    if agent_id != row.agent_id:  # an agent can lie only about its own meters
        return f"agent {agent_id} speaks of a command of {row.agent_id}"
    if (item.meter, item.epoch, item.sequence_ms) != (row.meter_id, row.epoch, row.sequence_ms):
        return f"names {item.meter} {item.epoch}.{item.sequence_ms}, not its command's"
    if row.state == CommandState.ACKNOWLEDGED.value:
        return "a second final word on one command"
    if item.outcome not in OUTCOMES[Action(row.action)]:
        return f"{item.outcome} is no outcome of {row.action}"
    times = [item.received_at_ms, item.acted_at_ms, item.read_at_ms]
    told = [at for at in times if at is not None]
    if told != sorted(told):
        return f"its times {told} run backwards"
    read_back = None if item.read_at_ms is None else item.after
    if item.outcome in CLOSED and (read_back is None or not read_back.output):
        return f"{item.outcome} without a closed read-back"
    if item.outcome in TAKEN and (read_back is None or read_back.output):
        return f"{item.outcome} without an open read-back"
    if item.outcome is Outcome.ARMED and (read_back is None or read_back.control_state != 2):
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
    if item.outcome is Outcome.REFUSED_BY_METER and row.episode_id is not None:
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
    newest: dict[_Place, tuple[JournalProgress, int, RelayReading, int]] = {}
    for progress, one in current:
        item = one.item
        if isinstance(item, CommandItem):
            relay, read_at_ms = item.after, item.read_at_ms
        elif isinstance(item, StateItem):
            relay, read_at_ms = item.relay, item.read_at_ms
        else:
            continue
        # By agent too: one that names another's meter must not push the true reading out.
        place = (progress.agent_id, item.meter)
        held = newest.get(place)
        is_newer = held is None or held[1] < item.number
        if relay is not None and read_at_ms is not None and is_newer:
            newest[place] = (progress, item.number, relay, read_at_ms)
    if newest:
        transaction.execute(
            _FOLLOW_VIEW,
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
                for (_, meter), (progress, number, relay, read_at_ms) in newest.items()
            ],
        )


def _end_armed(transaction: Connection, current: _Fresh, now_ms: int) -> None:
    """The consumer pressed the button: an armed episode ends when its meter tells that it moved."""
    pressed = [
        (progress.agent_id, one.item.meter)
        for progress, one in current
        if isinstance(one.item, StateItem) and one.item.relay is not None and one.item.relay.output
    ]
    if pressed:
        own = select(meters.c.meter_id).where(
            tuple_(meters.c.agent_id, meters.c.meter_id).in_(pressed)
        )
        transaction.execute(
            update(episodes)
            .where(episodes.c.meter_id.in_(own))
            .where(holds(episodes.c.state, EpisodeState.ARMED))
            .values(state=EpisodeState.ENDED.value, ended_at_ms=now_ms)
        )

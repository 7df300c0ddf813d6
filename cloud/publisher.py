"""Step 6, publish: a queued command gets its counter, its exact bytes and the engine's signature.

Rules kept here:
 * R4: sequence = max(last of this meter + 1, floor of its agent + 1, now), allocated in the
   transaction that stores the bytes, which is the last one before publishing (I7).
 * R14: an agent holds at most its window of outstanding commands, withdrawals not counted; one live
   command per meter; what must wait stays queued, unsigned.
 * Nothing is published to an agent that never said hello: it would drop it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, true, update

from cloud import outbox
from cloud.outbox import Event
from cloud.schema import agents, commands, journals, meters
from cloud.store import Found
from cloud.vocabulary import CommandState, JournalStanding
from wire import envelope
from wire.decoding import encode
from wire.fields import AgentId, InstallationId, MeterId
from wire.keys import SigningKey
from wire.messages import Command
from wire.topics import MessageType, command_topic
from wire.vocabulary import Action

# Commands looked at per agent and turn: more than its window, so that a withdrawal or a meter whose
# live command must end first does not hide the others.
PLACES_PER_AGENT = 128
FILL_MAX = 2_048  # commands signed per turn: bounds one transaction to some tens of milliseconds

_IS_LIVE = commands.c.state == CommandState.PUBLISHED.value
_IS_COUNTED = commands.c.action != Action.WITHDRAW.value
_SOME_AGENTS = commands.c.agent_id.in_(bindparam("agent_ids", expanding=True))
_LIVE_OF_METERS = (
    select(commands.c.id, commands.c.meter_id, commands.c.action)
    .where(commands.c.meter_id.in_(bindparam("meter_ids", expanding=True)))
    .where(_IS_LIVE)
    .where(commands.c.is_overtaken == 0)
    .where(commands.c.action != Action.READ.value)
)
_OUTSTANDING = (
    select(commands.c.agent_id, func.count())
    .where(_SOME_AGENTS)
    .where(_IS_LIVE)
    .where(_IS_COUNTED)
    .group_by(commands.c.agent_id)
)
_OVERTAKE = (
    update(commands)
    .where(commands.c.id.in_(bindparam("ids", expanding=True)))
    .values(is_overtaken=1)
)
_RAISE_COUNTERS = (
    update(meters)
    .where(meters.c.meter_id == bindparam("of_meter"))
    .values(last_epoch=bindparam("new_epoch"), last_sequence=bindparam("new_sequence"))
)


def _select_candidates(of_agents: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Due queued commands, withdrawals first, then by age; see `_candidates`."""
    order = (_IS_COUNTED, commands.c.id)
    place = func.row_number().over(partition_by=commands.c.agent_id, order_by=order)
    full = (
        select(commands.c.agent_id)
        .join(agents, agents.c.agent_id == commands.c.agent_id)
        .where(of_agents)
        .where(_IS_LIVE)
        .where(_IS_COUNTED)
        .group_by(commands.c.agent_id, agents.c.window)
        .having(func.count() >= agents.c.window)
    )
    ranked = (
        select(commands.c.id, place.label("place"))
        .where(of_agents)
        .where(commands.c.state == CommandState.QUEUED.value)
        .where(commands.c.due_at_ms <= bindparam("now_ms"))
        .where(~_IS_COUNTED | commands.c.agent_id.not_in(full))
        .subquery()
    )
    return (
        select(
            commands.c.id, commands.c.action, commands.c.meter_id, commands.c.agent_id,
            commands.c.decision, agents.c.floor_epoch, agents.c.floor_sequence,
            meters.c.last_epoch, meters.c.last_sequence, agents.c.window,
        )
        .join(ranked, ranked.c.id == commands.c.id)
        .join(agents, agents.c.agent_id == commands.c.agent_id)
        .join(meters, meters.c.meter_id == commands.c.meter_id)
        .join(
            journals,
            (journals.c.agent_id == agents.c.agent_id)
            & (journals.c.standing == JournalStanding.CURRENT.value),
        )
        .where(ranked.c.place <= PLACES_PER_AGENT)
        .order_by(_IS_COUNTED, ranked.c.place, commands.c.id)  # round robin over agents
        .limit(FILL_MAX)
    )  # fmt: skip


_CANDIDATES_OF_ALL = _select_candidates(true())
_CANDIDATES_OF_SOME = _select_candidates(_SOME_AGENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Bytes to publish after the commit."""

    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The engine's key, its epoch and the installation its signatures belong to."""

    installation: InstallationId
    key: SigningKey
    epoch: int


def fill(
    transaction: Connection, signer: Signer, *, agent_ids: Collection[str] | None, now_ms: int
) -> list[Outgoing]:
    """Fix and store the bytes of queued commands that may go out now; what to publish.

    Args:
        transaction: the caller's.
        signer: the engine's key and epoch.
        agent_ids: agents for which something changed; None looks at every one that has work due.
        now_ms: the engine's clock.
    """
    candidates = _candidates(transaction, agent_ids, now_ms)
    if not candidates:
        return []
    live = _live(transaction, [row.meter_id for row in candidates])
    room = _room(transaction, candidates)
    chosen, overtaken = _choose(candidates, live, room)
    if overtaken:
        transaction.execute(_OVERTAKE, {"ids": overtaken})
    fixed = [_fix(row, signer, now_ms) for row in chosen]
    outbox.apply(
        transaction,
        Event.FIXED,
        [one for one, _ in fixed],
        columns=(
            "command_id", "epoch", "sequence_ms", "expires_at_ms", "envelope",
            "resend_at_ms", "sends",
        ),
    )  # fmt: skip
    if fixed:
        transaction.execute(
            _RAISE_COUNTERS,
            [
                {
                    "of_meter": row.meter_id,
                    "new_epoch": signer.epoch,
                    "new_sequence": values["sequence_ms"],
                }
                for row, (values, _) in zip(chosen, fixed, strict=True)
            ],
        )
    return [outgoing for _, outgoing in fixed]


def _candidates(
    transaction: Connection, agent_ids: Collection[str] | None, now_ms: int
) -> Sequence[Found]:
    """Due queued commands of agents that are there: withdrawals first, then by age.

    None of agents whose window is full, and a bounded number per agent: however many agents are
    silent, and however long their queues, they hold up nobody else.
    """
    if agent_ids is None:
        return transaction.execute(_CANDIDATES_OF_ALL, {"now_ms": now_ms}).all()
    given = {"now_ms": now_ms, "agent_ids": list(agent_ids)}
    return transaction.execute(_CANDIDATES_OF_SOME, given).all()


def _live(transaction: Connection, meter_ids: Sequence[str]) -> dict[str, Found]:
    """The one live command of each meter, if any."""
    return {
        row.meter_id: row for row in transaction.execute(_LIVE_OF_METERS, {"meter_ids": meter_ids})
    }


def _room(transaction: Connection, candidates: Sequence[Found]) -> dict[str, int]:
    """How many more commands each agent takes."""
    windows = {row.agent_id: row.window for row in candidates}
    outstanding = transaction.execute(_OUTSTANDING, {"agent_ids": list(windows)}).all()
    return windows | {agent_id: windows[agent_id] - count for agent_id, count in outstanding}


def _choose(
    candidates: Sequence[Found],
    live: dict[str, Found],
    room: dict[str, int],
) -> tuple[list[Found], list[int]]:
    chosen: list[Found] = []
    overtaken: list[int] = []
    taken: set[str] = set()
    for row in candidates:
        action = Action(row.action)
        is_counted = action is not Action.WITHDRAW
        if row.meter_id in taken or (is_counted and room[row.agent_id] <= 0):
            continue
        standing = live.get(row.meter_id)
        if standing is not None and action is not Action.READ:
            if Action(standing.action) not in outbox.MAY_OVERTAKE.get(action, ()):
                continue
            overtaken.append(standing.id)
        taken.add(row.meter_id)
        room[row.agent_id] -= is_counted
        chosen.append(row)
    return chosen, overtaken


def _fix(row: Found, signer: Signer, now_ms: int) -> tuple[dict[str, object], Outgoing]:
    """The values that make a queued row a published one, and the message."""
    sequence = max(
        row.last_sequence + 1 if row.last_epoch == signer.epoch else 0,
        row.floor_sequence + 1 if row.floor_epoch == signer.epoch else 0,
        now_ms,
    )
    agent, meter = AgentId(row.agent_id), MeterId(row.meter_id)
    body = encode(
        Command(
            action=row.action,
            agent=agent,
            meter=meter,
            epoch=signer.epoch,
            sequence_ms=sequence,
            expires_at_ms=sequence + outbox.LIFE_MS,
            evidence=row.decision,
            manifest=None,
        )
    )
    name = MessageType.COMMAND.value
    payload = envelope.seal(signer.installation, name, body, [signer.key])
    values: dict[str, object] = {
        "row_id": row.id,
        "command_id": envelope.digest(signer.installation, name, body)[:16],
        "epoch": signer.epoch,
        "sequence_ms": sequence,
        "expires_at_ms": sequence + outbox.LIFE_MS,
        "envelope": payload,
        "resend_at_ms": now_ms + outbox.resend_delay_ms(0),
        "sends": 1,
    }
    return values, Outgoing(topic=command_topic(agent, meter), payload=payload)

"""Step 6, publish: a queued command gets its counter, its exact bytes and the engine's signature.

Rules kept here:
 * R4: sequence = max(last of this meter + 1, floor of its agent + 1, now), allocated in the
   transaction that stores the bytes, which is the last one before publishing (I7).
 * R14: an agent holds at most its window of outstanding commands, withdrawals not counted; one live
   command per meter; what must wait stays queued, unsigned. Whose turn it is, `lines` says.
 * R7: an open's bytes are fixed and signed like any other's, at the moment it would be sent; but it
   stays here, half-signed, until the guard's signature stands beside ours (`cloud.cosigning`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, update

from cloud import lines, opening_rules, outbox
from cloud.outbox import Event
from cloud.schema import commands, meters
from cloud.store import Found
from wire import envelope
from wire.decoding import encode
from wire.fields import AgentId, InstallationId, MeterId
from wire.keys import SigningKey
from wire.messages import Command
from wire.topics import MessageType, command_topic
from wire.vocabulary import Action

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
    rooms = lines.rooms(transaction, agent_ids, now_ms=now_ms)
    candidates = lines.candidates(transaction, rooms, now_ms=now_ms)
    if not candidates:
        return []
    chosen, overtaken = _choose(candidates, rooms)
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
    _raise_counters(transaction, chosen, [values for values, _ in fixed], signer)
    return [outgoing for _, outgoing in fixed]


def _choose(candidates: Sequence[Found], rooms: dict[str, int]) -> tuple[list[Found], list[int]]:
    """What goes out now, and the live commands it overtakes."""
    chosen: list[Found] = []
    overtaken: list[int] = []
    taken: set[str] = set()
    room = dict(rooms)
    for row in candidates:
        action = Action(row.action)
        is_counted = action is not Action.WITHDRAW
        if row.meter_id in taken or (is_counted and room[row.agent_id] == 0):
            continue
        if row.standing_id is not None and action is not Action.READ:
            overtaken.append(row.standing_id)
        if is_counted:
            room[row.agent_id] -= 1
        taken.add(row.meter_id)
        chosen.append(row)
    return chosen, overtaken


def half_sign(transaction: Connection, signer: Signer, *, now_ms: int) -> int:
    """Fix and sign the opens whose turn it is; how many. Nothing is published."""
    room: dict[str, int] = {}
    chosen: list[Found] = []
    for row in lines.opens(transaction, now_ms=now_ms):
        left = room.setdefault(row.agent_id, row.room)
        if left > 0:
            room[row.agent_id] = left - 1
            chosen.append(row)
    signed = [_signed(row, signer, opening_rules.LIFE_MS, now_ms) for row in chosen]
    columns = ("command_id", "epoch", "sequence_ms", "expires_at_ms", "envelope")
    outbox.apply(transaction, Event.ENGINE_SIGNED, signed, columns=columns)
    _raise_counters(transaction, chosen, signed, signer)
    return len(chosen)


def _raise_counters(
    transaction: Connection,
    rows: Sequence[Found],
    values: Sequence[dict[str, object]],
    signer: Signer,
) -> None:
    if rows:
        transaction.execute(
            _RAISE_COUNTERS,
            [
                {
                    "of_meter": row.meter_id,
                    "new_epoch": signer.epoch,
                    "new_sequence": one["sequence_ms"],
                }
                for row, one in zip(rows, values, strict=True)
            ],
        )


def _fix(row: Found, signer: Signer, now_ms: int) -> tuple[dict[str, object], Outgoing]:
    """The values that make a queued row a published one, and the message."""
    values = _signed(row, signer, outbox.LIFE_MS, now_ms)
    topic = command_topic(AgentId(row.agent_id), MeterId(row.meter_id))
    outgoing = Outgoing(topic=topic, payload=values["envelope"])  # type: ignore[arg-type]  # bytes
    return values | {"resend_at_ms": now_ms + outbox.resend_delay_ms(0), "sends": 1}, outgoing


def _signed(row: Found, signer: Signer, life_ms: int, now_ms: int) -> dict[str, object]:
    """A queued command's counter, its exact bytes and our signature, as columns."""
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
            expires_at_ms=sequence + life_ms,
            evidence=row.decision,
            manifest=None,
        )
    )
    name = MessageType.COMMAND.value
    return {
        "row_id": row.id,
        "command_id": envelope.digest(signer.installation, name, body)[:16],
        "epoch": signer.epoch,
        "sequence_ms": sequence,
        "expires_at_ms": sequence + life_ms,
        "envelope": envelope.seal(signer.installation, name, body, [signer.key]),
    }

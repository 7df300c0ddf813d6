"""What the engine asks for, as values: half-signed commands, and its own word on their accounts.

Rules kept here (R7):
 * A row is worth a look only if its envelope opens strictly: exactly one signature, of an engine
   key that is valid now and of the command's own epoch. So whoever can write rows, and has no
   engine key, collects nothing, not even a refusal.
 * Only the signed bytes count. What stands beside them in the row chooses the topic they are
   checked on, so that a row cannot speak of another meter than its bytes.
 * A manifest is what its two approvers signed, whoever shows it (R10).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wire.checking import Junk, check
from wire.documents import Manifest
from wire.fields import AgentId, CommandId, MeterId
from wire.messages import Command
from wire.topics import MessageType, command_topic, directed_topic, is_id
from wire.trust import Keyring
from wire.vocabulary import Action, Role

# What the guard signs for. The wire's third two-key action has no rule of its own here yet.
SIGNABLE = frozenset({Action.OPEN.value, Action.DISARM.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """One half-signed command, and what the engine's ledger says of its meter's account."""

    envelope: bytes
    agent_id: str
    meter_id: str
    account_id: str | None  # whose meter it is, in the engine's eyes
    owed_paise: int = 0  # the fold of that account's entries
    charges_paise: int = 0  # the part of it that charges for cutting and reconnecting made


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAccount:
    """Whose a provider's order is in the engine's table; None: it knows no such order."""

    provider: str
    order_id: str
    account_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownManifest:
    """A manifest as the engine's tables hold it, its approvals put together."""

    agent_id: str
    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One look at the engine's ledger."""

    generation_ms: int
    rows: tuple[AskedRow, ...] = ()
    orders: tuple[OrderAccount, ...] = ()  # answers to `Guard.orders_to_ask`
    manifests: tuple[ShownManifest, ...] = ()  # of the batches that the rows belong to


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A half-signed command whose bytes are the engine's own."""

    row: AskedRow
    command_id: CommandId
    command: Command
    body: bytes


@dataclass(frozen=True, slots=True)
class _AsDelivered:
    topic: str
    payload: bytes
    is_retained: bool = False


def manifests_in_force(
    shown: Iterable[ShownManifest], ring: Keyring, *, now_ms: int
) -> dict[bytes, Manifest]:
    """By their ids, those that two different approvers signed and that have not expired."""
    found: dict[bytes, Manifest] = {}
    for one in shown:
        topic = directed_topic(MessageType.MANIFEST, AgentId(one.agent_id))
        checked = check(_AsDelivered(topic, one.envelope), ring, at_ms=now_ms)
        if isinstance(checked, Junk) or not isinstance(checked.message, Manifest):
            continue
        if checked.message.expires_at_ms > now_ms:
            found[checked.digest[:16]] = checked.message
    return found


def open_strictly(row: AskedRow, ring: Keyring, *, now_ms: int) -> Opened | Junk:
    """The engine's command in a row, or why these are not bytes to sign."""
    if not (is_id(row.agent_id) and is_id(row.meter_id)):
        return Junk(3, "ids")
    topic = command_topic(AgentId(row.agent_id), MeterId(row.meter_id))
    checked = check(_AsDelivered(topic, row.envelope), ring, at_ms=now_ms)
    if isinstance(checked, Junk):
        return checked
    if tuple(key.role for key in checked.signers) != (Role.ENGINE,):
        return Junk(4, "not_half_signed")
    command = checked.message
    if not isinstance(command, Command) or command.action not in SIGNABLE:
        return Junk(6, "action")
    return Opened(
        row=row,
        command_id=CommandId(checked.digest[:16]),
        command=command,
        body=checked.body,
    )

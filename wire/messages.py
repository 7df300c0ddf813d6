"""The traffic of the walk as types: payments, receipts, hellos, commands, acknowledgements.

A body is a msgpack array of exact length, in the order of its fields here; docs/protocol.md says
the same in prose. Items of an acknowledgement stay raw until they are looked at: the journal's
chain is over their exact bytes.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wire.fields import (
    AgentField,
    Array,
    Body,
    Bytes16,
    Bytes32,
    CommandField,
    Epoch,
    IntakeField,
    JournalField,
    MeterField,
    Milliseconds,
    Number,
    Positive,
    ProviderField,
    SpoolField,
    Text3,
    Text16,
    Text32,
    Text64,
)
from wire.vocabulary import (
    JournalVerdict,
    ManifestVerdict,
    Outcome,
    PaymentKind,
    ReceiptVerdict,
    StateCause,
)

PAYMENT_ITEMS_MAX = 64
RECEIPT_ITEMS_MAX = 256
ACKNOWLEDGEMENT_ITEMS_MAX = 64
UNFINISHED_MAX = 64
WINDOW_MAX = 64


class PaymentItem(Array, frozen=True, kw_only=True):
    """One fact a provider reports: `object_id` is this fact's id, `payment_id` what it is about."""

    number: Positive
    raw: Bytes32  # SHA-256 of the report's raw bytes
    kind: PaymentKind
    object_id: Text64
    payment_id: Text64
    account_hint: Text32 | None
    order: Text64 | None
    amount_paise: Positive
    currency: Text3
    happened_at_ms: Milliseconds
    received_at_ms: Milliseconds
    method: Text16


class Payment(Body, frozen=True, kw_only=True):
    """Sealed payment facts of one shard, numbered densely per spool."""

    intake: IntakeField
    spool: SpoolField
    provider: ProviderField
    items: Annotated[tuple[PaymentItem, ...], Meta(min_length=1, max_length=PAYMENT_ITEMS_MAX)]


class ReceiptItem(Array, frozen=True, kw_only=True):
    """The verdict on one number; `raw16` proves which bytes it speaks of."""

    number: Positive
    raw16: Bytes16
    verdict: ReceiptVerdict


class Receipt(Body, frozen=True, kw_only=True):
    """The engine's word that payment items are stored."""

    intake: IntakeField
    spool: SpoolField
    generation_ms: Milliseconds
    items: Annotated[tuple[ReceiptItem, ...], Meta(max_length=RECEIPT_ITEMS_MAX)]


class ProviderMark(Array, frozen=True, kw_only=True):
    """All final payments of the provider up to this time were fetched or received."""

    provider: ProviderField
    complete_to_ms: Milliseconds


class Watermark(Body, frozen=True, kw_only=True):
    """How far an intake is: no open is signed without a fresh and fully stored one (R1)."""

    intake: IntakeField
    spool: SpoolField
    generation_ms: Milliseconds
    made: Number
    oldest_open: Number
    at_ms: Milliseconds
    providers: Annotated[tuple[ProviderMark, ...], Meta(max_length=16)]


class Hello(Body, frozen=True, kw_only=True):
    """An agent's signed "here I am, with this nonce"; nothing moves before its welcome (R5)."""

    agent: AgentField
    journal: JournalField
    boot: Number
    number: Number
    nonce: Bytes16
    protocol: Number
    software: Text32
    trust_version: Number
    roster_version: Number
    stop_ms: Milliseconds
    lifted_ms: Milliseconds
    generation_ms: Milliseconds
    made: Number
    head: Bytes32
    window: Annotated[int, Meta(ge=1, le=WINDOW_MAX)]
    meters: Number
    unfinished: Annotated[tuple[CommandField, ...], Meta(max_length=UNFINISHED_MAX)]


class Welcome(Body, frozen=True, kw_only=True):
    """The engine's answer to one nonce: time, floor, marks."""

    agent: AgentField
    nonce: Bytes16
    generation_ms: Milliseconds
    now_ms: Milliseconds
    floor_epoch: Epoch
    floor_sequence: Milliseconds
    verdict: JournalVerdict
    trust_version: Number
    stop_ms: Milliseconds
    lifted_ms: Milliseconds
    through: Number
    head: Bytes32


class Command(Body, frozen=True, kw_only=True):
    """One signed instruction to one relay; `sequence_ms` is counter and issue time in one."""

    action: Annotated[str, Meta(pattern=r"^[a-z]{1,16}\Z")]  # an unknown one is refused, not junk
    agent: AgentField
    meter: MeterField
    epoch: Epoch
    sequence_ms: Milliseconds
    expires_at_ms: Milliseconds
    evidence: Bytes32  # SHA-256 of the stored decision
    manifest: Bytes16 | None


class RelayReading(Array, frozen=True, kw_only=True):
    """What a relay said of itself: class 70 attributes 2, 3 and 4."""

    output: bool
    control_state: Annotated[int, Meta(ge=0, le=2)]
    control_mode: Annotated[int, Meta(ge=0, le=7)]


class Counter(Array, frozen=True, kw_only=True, order=True):
    """A command's place in its meter's order: epoch first, then sequence."""

    epoch: Epoch
    sequence_ms: Milliseconds


class CommandItem(Array, frozen=True, kw_only=True):
    """The one final word on one command."""

    number: Positive
    kind: Literal["command"] = "command"
    command: CommandField
    meter: MeterField
    epoch: Epoch
    sequence_ms: Milliseconds
    outcome: Outcome
    reason: Text32 | None
    before: RelayReading | None
    after: RelayReading | None
    received_at_ms: Milliseconds
    acted_at_ms: Milliseconds | None
    read_at_ms: Milliseconds | None
    highest: Counter | None


class ReceivedItem(Array, frozen=True, kw_only=True):
    """The interim word: journaled, no outcome yet. Ends re-sending, changes no state."""

    number: Positive
    kind: Literal["received"] = "received"
    command: CommandField
    meter: MeterField


class StateItem(Array, frozen=True, kw_only=True):
    """A relay's real state, told without a command's outcome."""

    number: Positive
    kind: Literal["state"] = "state"
    meter: MeterField
    cause: StateCause
    relay: RelayReading | None
    read_at_ms: Milliseconds
    invocation: Number | None


class ManifestItem(Array, frozen=True, kw_only=True):
    """Which manifests an agent holds: the loud notice of a mass open."""

    number: Positive
    kind: Literal["manifest"] = "manifest"
    manifest: Bytes16
    verdict: ManifestVerdict
    reason: Text32 | None
    running_ms: Number


class AlarmItem(Array, frozen=True, kw_only=True):
    """Something a person must look at."""

    number: Positive
    kind: Literal["alarm"] = "alarm"
    code: Text32
    meter: MeterField | None
    at_ms: Milliseconds


Item = CommandItem | ReceivedItem | StateItem | ManifestItem | AlarmItem


class Acknowledgement(Body, frozen=True, kw_only=True):
    """Consecutive items of one journal; `before` is the head in front of the first."""

    agent: AgentField
    journal: JournalField
    boot: Number
    before: Bytes32
    items: Annotated[
        tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=ACKNOWLEDGEMENT_ITEMS_MAX)
    ]


class Filed(Body, frozen=True, kw_only=True):
    """The engine holds every item 1..through of that journal."""

    agent: AgentField
    journal: JournalField
    generation_ms: Milliseconds
    through: Number
    head: Bytes32

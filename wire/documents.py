"""The signed documents as types: root, registry, identity, roster, manifest, stop, resume.

Traffic passes; documents are kept: each holder stores the newest it accepted and refuses older
ones.
"""

from typing import Annotated

from msgspec import Meta

from wire.fields import (
    AgentField,
    Array,
    Body,
    Bytes16,
    Bytes32,
    Epoch,
    InstallationField,
    MeterField,
    Milliseconds,
    Number,
    Positive,
    Text16,
    Text32,
    Text64,
)
from wire.vocabulary import Role


class Manifest(Body, frozen=True, kw_only=True):
    """An agent's part of a batch of opens beyond the caps, signed by two approvers (R10)."""

    batch: Bytes16
    agent: AgentField
    requester: Text32
    total: Number
    batch_digest: Bytes32
    reason: Text64
    expires_at_ms: Milliseconds
    meters: Annotated[tuple[MeterField, ...], Meta(min_length=1, max_length=512)]


class RosterEntry(Array, frozen=True, kw_only=True):
    """One meter of an agent; flags: 1 protected, 2 no relay."""

    meter: MeterField
    serial: Text32
    flags: Number
    invocation: Number | None
    line: Text64


class Roster(Body, frozen=True, kw_only=True):
    """One part of the signed list of an agent's meters (R11)."""

    agent: AgentField
    roster_version: Number
    part: Number
    parts: Number
    meters: Annotated[tuple[RosterEntry, ...], Meta(max_length=1_000)]


class Trust(Body, frozen=True, kw_only=True):
    """All root documents after version 1, then the registry; each an envelope of its own."""

    roots: Annotated[tuple[bytes, ...], Meta(max_length=16)]
    registry: Annotated[bytes, Meta(max_length=16_384)]


class RootKey(Array, frozen=True, kw_only=True):
    """A root key and who holds it."""

    public: Bytes32
    holder: Text32


class Root(Body, frozen=True, kw_only=True):
    """Who may sign registries, and the installation id, fixed for ever (R12)."""

    installation: InstallationField
    root_version: Positive
    issued_at_ms: Milliseconds
    threshold: Annotated[int, Meta(ge=1, le=2)]
    keys: Annotated[tuple[RootKey, ...], Meta(min_length=1, max_length=7)]


class RegistryKey(Array, frozen=True, kw_only=True):
    """One online key: whose it is, what for, for how long."""

    public: Bytes32
    role: Role
    subject: Text32
    scope: Annotated[tuple[Text32, ...], Meta(max_length=16)]
    epoch: Epoch
    not_before_ms: Milliseconds
    not_after_ms: Milliseconds
    mark: Text16


# An offset is written + 720 minutes, so that it is never negative.
UTC_OFFSET_BIAS_MINUTES = 720


class OpenWindow(Array, frozen=True, kw_only=True):
    """Hours in which opens are allowed; bit 0 of the mask is Monday; local minutes of the day."""

    weekdays: Annotated[int, Meta(ge=0, le=127)]
    from_minute: Annotated[int, Meta(ge=0, le=1_440)]
    to_minute: Annotated[int, Meta(ge=0, le=1_440)]


class EdgePolicy(Array, frozen=True, kw_only=True):
    """What the edge itself enforces on opens (R2); set by the root, no online key can lift it."""

    per_mille: Number
    small: Number
    ceiling: Number
    per_meter_opens: Number
    utc_offset_minutes: Number  # offset + UTC_OFFSET_BIAS_MINUTES
    windows: Annotated[tuple[OpenWindow, ...], Meta(max_length=8)]
    closed_days: Annotated[tuple[Number, ...], Meta(max_length=128)]  # local days since 1970-01-01
    dwell_ms: Number

    @property
    def utc_offset_ms(self) -> int:
        """Local time less UTC."""
        return (self.utc_offset_minutes - UTC_OFFSET_BIAS_MINUTES) * 60_000


class Registry(Body, frozen=True, kw_only=True):
    """The online keys of one installation and the edge's policy (R12)."""

    registry_version: Positive
    root_version: Positive
    issued_at_ms: Milliseconds
    expires_at_ms: Milliseconds
    epoch_floor: Epoch
    keys: Annotated[tuple[RegistryKey, ...], Meta(min_length=1, max_length=64)]
    policy: EdgePolicy


class Stop(Body, frozen=True, kw_only=True):
    """Freezes every open; its number is the ms UTC of its issue (R9)."""

    number_ms: Milliseconds
    note: Text64


class Resume(Body, frozen=True, kw_only=True):
    """Lifts every stop up to `lifts_ms`; two approvers."""

    lifts_ms: Milliseconds
    note: Text64


class Identity(Body, frozen=True, kw_only=True):
    """Enrol's statement of an agent's key; the highest serial is the only valid one."""

    agent: AgentField
    public: Bytes32
    issued_at_ms: Milliseconds
    not_after_ms: Milliseconds
    serial: Number

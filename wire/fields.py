"""The scalar types of every body: how long, how large, which characters.

Rules kept here (docs/protocol.md, "Bytes"): integers are 0 <= n < 2^53; text is ASCII 0x20-0x7E;
ids are `[A-Z0-9][A-Z0-9-]{0,31}`, so that no topic, client name or CSV cell can be forged through
one; bytes have exact lengths. msgspec enforces them while it decodes.
"""

from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

AgentId = NewType("AgentId", str)
MeterId = NewType("MeterId", str)
IntakeId = NewType("IntakeId", str)
ProviderId = NewType("ProviderId", str)
JournalId = NewType("JournalId", bytes)
SpoolId = NewType("SpoolId", bytes)
CommandId = NewType("CommandId", bytes)
InstallationId = NewType("InstallationId", bytes)

# `\Z`, not `$`: in Python `$` also matches before a trailing newline.
ID_PATTERN = r"^[A-Z0-9][A-Z0-9-]{0,31}\Z"
INTEGER_LIMIT = 2**53  # every language's double holds it exactly
MILLISECOND_LIMIT = 2**48

_id = Meta(pattern=ID_PATTERN)
AgentField = Annotated[AgentId, _id]
MeterField = Annotated[MeterId, _id]
IntakeField = Annotated[IntakeId, _id]
ProviderField = Annotated[ProviderId, _id]

Number = Annotated[int, Meta(ge=0, lt=INTEGER_LIMIT)]
Positive = Annotated[int, Meta(gt=0, lt=INTEGER_LIMIT)]
Milliseconds = Annotated[int, Meta(ge=0, lt=MILLISECOND_LIMIT)]
Epoch = Annotated[int, Meta(ge=0, lt=65_536)]

Bytes8 = Annotated[bytes, Meta(min_length=8, max_length=8)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
JournalField = Annotated[JournalId, Meta(min_length=8, max_length=8)]
SpoolField = Annotated[SpoolId, Meta(min_length=8, max_length=8)]
CommandField = Annotated[CommandId, Meta(min_length=16, max_length=16)]
InstallationField = Annotated[InstallationId, Meta(min_length=16, max_length=16)]

Text3 = Annotated[str, Meta(pattern=r"^[ -~]{0,3}\Z")]
Text16 = Annotated[str, Meta(pattern=r"^[ -~]{0,16}\Z")]
Text32 = Annotated[str, Meta(pattern=r"^[ -~]{0,32}\Z")]
Text64 = Annotated[str, Meta(pattern=r"^[ -~]{0,64}\Z")]


class Array(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value written as a msgpack array of exact length."""


class Body(Array, frozen=True, kw_only=True):
    """A message's body; its first field is the body's version."""

    version: Literal[1] = 1

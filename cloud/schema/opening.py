"""Opens: batches, proposals, manifests and their approvals, stops, and the record of human acts."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cloud.schema.columns import BigInt, metadata, number, octets, one_of, row_id, words
from cloud.vocabulary import BatchState, FreezeKind, ProposalState

# Many proposed opens, as one person proposed them.
batches = Table(
    "batches",
    metadata,
    row_id(),
    octets("batch"),  # 16 random bytes: its name on the wire (R10)
    words("requester"),
    words("reason"),
    number("total"),
    octets("digest"),  # of all its meters, sorted: what each approver signs
    number("proposed_at_ms"),
    number("expires_at_ms"),
    words("state"),
    words("state_because", is_optional=True),
    number("state_at_ms"),
    CheckConstraint("total > 0", name="batch_is_not_empty"),
    UniqueConstraint("batch"),
    one_of("state", BatchState),
    Index(
        "flowing_batches",  # whether any open may go at all: looked at each second
        "id",
        sqlite_where=text("state IN ('canary', 'flowing')"),
        postgresql_where=text("state IN ('canary', 'flowing')"),
    ),
    sqlite_strict=True,
)

# One intended open of one meter. I11: it becomes a command only through rules, caps and guard.
proposals = Table(
    "proposals",
    metadata,
    row_id(),
    Column("batch_id", BigInt, ForeignKey("batches.id"), nullable=False),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    number("sum_paise"),  # what the notice demanded
    number("notice_served_at_ms"),
    words("notice_proof"),
    words("state"),
    words("reasons"),  # space-separated words: why it waits, was skipped, quarantined or failed
    number("is_canary", default=0),
    number("changed_at_ms"),
    CheckConstraint("sum_paise > 0", name="sum_is_positive"),
    one_of("state", ProposalState),
    Index(
        "one_open_proposal",
        "meter_id",
        unique=True,
        sqlite_where=text("state IN ('proposed', 'sent', 'quarantined')"),
        postgresql_where=text("state IN ('proposed', 'sent', 'quarantined')"),
    ),
    Index("proposals_of_batch", "batch_id", "state"),
    Index(
        "sent_proposals",  # their commands are looked after each second
        "state",
        "id",
        sqlite_where=text("state = 'sent'"),
        postgresql_where=text("state = 'sent'"),
    ),
    sqlite_strict=True,
)

# R10: a batch's part for one agent, as the bytes that approvers sign.
manifests = Table(
    "manifests",
    metadata,
    row_id(),
    Column("batch_id", BigInt, ForeignKey("batches.id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    octets("manifest"),  # its id, 16 bytes
    octets("body"),
    number("sent_at_ms", is_optional=True),
    number("answered_at_ms", is_optional=True),  # the agent's item `manifest` was filed
    words("verdict", is_optional=True),  # held, refused
    words("reason", is_optional=True),
    UniqueConstraint("manifest"),
    Index("manifests_of_batch", "batch_id", "agent_id"),
    sqlite_strict=True,
)

# Two subjects, neither of them the requester: the edge checks it again.
approvals = Table(
    "approvals",
    metadata,
    Column("manifest_row_id", BigInt, ForeignKey("manifests.id"), primary_key=True),
    Column("subject", Text, primary_key=True),
    octets("key_id"),
    octets("signature"),
    number("signed_at_ms"),
    sqlite_strict=True,
)

# R9: every stop and resume that was taken, as its signed bytes. The maxima decide, not the order.
freezes = Table(
    "freezes",
    metadata,
    row_id(),
    words("kind"),
    number("number_ms"),  # a stop's number, or what a resume lifts
    words("note"),
    octets("envelope"),
    number("taken_at_ms"),
    UniqueConstraint("kind", "number_ms"),
    one_of("kind", FreezeKind),
    sqlite_strict=True,
)

# What people did, and every decision to open: append-only, each row chained to the one before.
acts = Table(
    "acts",
    metadata,
    row_id(),
    number("at_ms"),
    words("who"),
    words("act"),
    words("subject"),
    words("detail"),
    octets("head"),  # SHA-256(the head before + SHA-256 of this row's canonical msgpack)
    sqlite_strict=True,
)

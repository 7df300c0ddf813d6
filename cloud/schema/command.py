"""Commands, and every item that agents filed."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cloud.schema.columns import BigInt, metadata, number, octets, one_of, row_id, words
from cloud.vocabulary import CommandState
from wire.vocabulary import Action, Outcome

commands = Table(
    "commands",
    metadata,
    row_id(),
    words("action"),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=True),
    Column("proposal_id", BigInt, ForeignKey("proposals.id"), nullable=True),  # of an open
    Column("decision", LargeBinary, ForeignKey("decisions.digest"), nullable=False),
    words("state"),
    number("is_overtaken", default=0),
    number("queued_at_ms"),
    number("due_at_ms"),
    # Everything below is NULL until the bytes are fixed, in the last transaction before publishing.
    octets("command_id", is_optional=True),
    number("epoch", is_optional=True),
    number("sequence_ms", is_optional=True),
    number("expires_at_ms", is_optional=True),
    octets("envelope", is_optional=True),
    number("resend_at_ms", is_optional=True),
    number("sends", default=0),
    number("received_at_ms", is_optional=True),  # the agent's interim word, our clock
    words("outcome", is_optional=True),
    words("reason", is_optional=True),
    number("ended_at_ms", is_optional=True),
    one_of("action", Action),
    one_of("state", CommandState),
    CheckConstraint(
        "outcome IS NULL OR outcome IN (" + ", ".join(f"'{o.value}'" for o in Outcome) + ")",
        name="outcome_is_known",
    ),
    UniqueConstraint("command_id"),
    # R4, I7: no counter is given twice, even by disputed leases.
    UniqueConstraint("meter_id", "epoch", "sequence_ms"),
    # R14: at most one live command per meter; reads are not counted.
    Index(
        "one_live_command",
        "meter_id",
        unique=True,
        sqlite_where=text(
            "state IN ('half_signed', 'published') AND is_overtaken = 0 AND action <> 'read'"
        ),
        postgresql_where=text(
            "state IN ('half_signed', 'published') AND is_overtaken = 0 AND action <> 'read'"
        ),
    ),
    # Rule 9 of the domain: at most one waiting close per episode.
    Index(
        "one_queued_close",
        "episode_id",
        unique=True,
        sqlite_where=text("state = 'queued' AND action = 'close'"),
        postgresql_where=text("state = 'queued' AND action = 'close'"),
    ),
    # What an agent has waiting, the longest due first: looked at per agent, never as a whole.
    Index(
        "queued_commands",
        "agent_id",
        "due_at_ms",
        "id",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    # Whether anything at all is due: most of what waits may be retries of the next hour.
    Index(
        "due_commands",
        "due_at_ms",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    # Withdrawals wait for no room, so they stand in a line of their own, which is always short.
    # `action` is a column of it because SQLite (3.40) else prefers the longer `due_commands`.
    Index(
        "queued_withdrawals",
        "action",
        "due_at_ms",
        sqlite_where=text("state = 'queued' AND action = 'withdraw'"),
        postgresql_where=text("state = 'queued' AND action = 'withdraw'"),
    ),
    # What an agent holds: counted against its window without reading a row.
    Index(
        "live_commands",
        "agent_id",
        "action",
        sqlite_where=text("state = 'published'"),
        postgresql_where=text("state = 'published'"),
    ),
    # The timers of live commands: each reads only what is due.
    Index(
        "resending_commands",
        "resend_at_ms",
        "expires_at_ms",
        sqlite_where=text("state = 'published' AND is_overtaken = 0"),
        postgresql_where=text("state = 'published' AND is_overtaken = 0"),
    ),
    Index(
        "expiring_commands",
        "expires_at_ms",
        sqlite_where=text("state = 'published'"),
        postgresql_where=text("state = 'published'"),
    ),
    Index("commands_of_episode", "episode_id"),
    Index(
        "commands_of_proposal",
        "proposal_id",
        sqlite_where=text("proposal_id IS NOT NULL"),
        postgresql_where=text("proposal_id IS NOT NULL"),
    ),
    Index(
        "opens_by_time",  # the caps count them; closes are not in it
        "queued_at_ms",
        sqlite_where=text("action = 'open'"),
        postgresql_where=text("action = 'open'"),
    ),
    Index(
        "queued_opens",
        "due_at_ms",
        "id",
        sqlite_where=text("state = 'queued' AND action = 'open'"),
        postgresql_where=text("state = 'queued' AND action = 'open'"),
    ),
    Index(
        "half_signed_commands",
        "id",
        sqlite_where=text("state = 'half_signed'"),
        postgresql_where=text("state = 'half_signed'"),
    ),
    sqlite_strict=True,
)

# R8: every numbered item of every journal, as its exact bytes. Append-only. An item whose command
# is in no row of `commands` is an orphan: after a restore they come.
filed_items = Table(
    "filed_items",
    metadata,
    Column("journal_id", BigInt, ForeignKey("journals.id"), primary_key=True),
    Column("number", BigInt, primary_key=True),
    words("kind"),
    octets("item"),
    octets("before", is_optional=True),  # the head its message named, on the first item of each
    octets("command_id", is_optional=True),
    number("filed_at_ms"),
    Index("items_of_command", "command_id"),
    sqlite_strict=True,
)

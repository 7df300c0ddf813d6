"""This ledger's life, the accounts, and the field: agents, their journals, their meters."""

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
from cloud.vocabulary import JournalStanding

# This ledger's life: generation rises at each restore (R13); the epoch is the engine keys' (R4).
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInt, CheckConstraint("id = 1"), primary_key=True),
    octets("installation"),
    number("generation_ms"),
    number("epoch"),
    number("opens_frozen_since_ms", is_optional=True),
    number("restored_at_ms", is_optional=True),  # when it was last restored from a backup
    number("locks_wait_until_ms", default=0),  # R3: no lock is effective earlier after a restore
    sqlite_strict=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),  # the consumer number
    words("zone"),
    words("language"),
    number("closed_at_ms", is_optional=True),
    sqlite_strict=True,
)

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    number("floor_epoch", default=0),
    number("floor_sequence", default=0),
    number("window", default=32),
    number("heard_at_ms", is_optional=True),
    number("burst_at_ms", default=0),  # R19: bursts of re-sends at most every 5 s
    number("turned_away_at_ms", default=0),  # R5: such hellos are answered once a minute
    number("suspended_at_ms", is_optional=True),  # history forked: no opens
    number("meters", default=0),
    Column("software", Text, nullable=False, server_default=text("''")),
    number("trust_version", default=0),
    number("roster_version", default=0),
    number("stop_ms", default=0),  # R9: the highest stop and resume its last hello showed
    number("lifted_ms", default=0),
    number("generation_ms", default=0),  # of the ledger it last believed (R13)
    sqlite_strict=True,
)

# R5: one journal of an agent is current, the others are retired for ever.
journals = Table(
    "journals",
    metadata,
    row_id(),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    octets("journal"),
    words("standing"),
    number("boot"),
    number("hello_number"),
    octets("hello_nonce"),  # of that hello: the same number with another nonce is a restored disk
    number("through", default=0),
    octets("head"),  # of `through`
    number("stored_to", default=0),  # highest number stored; above `through` there is a gap
    number("forked_at_ms", is_optional=True),
    UniqueConstraint("agent_id", "journal"),
    Index(
        "one_current_journal",
        "agent_id",
        unique=True,
        sqlite_where=text("standing = 'current'"),
        postgresql_where=text("standing = 'current'"),
    ),
    one_of("standing", JournalStanding),
    sqlite_strict=True,
)

meters = Table(
    "meters",
    metadata,
    Column("meter_id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    words("serial", is_optional=True),
    number("installed_at_ms"),
    number("mapped_at_ms"),  # since when this meter measures this account
    words("feeder"),
    words("transformer"),
    number("is_protected", default=0),  # I11: nobody's supply is taken away here
    # I7: counters only rise; `last` is the newest allocated or believed (R4).
    number("last_epoch", default=0),
    number("last_sequence", default=0),
    # The relay as last read: it follows (journal, number), not arrival (R14).
    number("output", is_optional=True),
    number("control_state", is_optional=True),
    number("control_mode", is_optional=True),
    number("read_at_ms", is_optional=True),
    number("view_journal_id", is_optional=True),
    number("view_number", default=0),
    Index("meters_of_account", "account_id"),
    Index("meters_of_agent", "agent_id"),
    Index("meters_of_feeder", "feeder"),
    Index("meters_of_transformer", "transformer"),
    sqlite_strict=True,
)

# R16: a meter that moved to another agent. Until the row is released nothing is signed for the
# meter: the old agent could still act on what it holds, or believe the meter its own.
moves = Table(
    "moves",
    metadata,
    row_id(),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    Column("from_agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    Column("to_agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    # The first roster of the old agent without the meter; NULL: not known, time or a person says.
    number("without_from_version", is_optional=True),
    number("moved_at_ms"),
    number("released_at_ms", is_optional=True),
    words("released_because", is_optional=True),
    Index(
        "one_open_move",
        "meter_id",
        unique=True,
        sqlite_where=text("released_at_ms IS NULL"),
        postgresql_where=text("released_at_ms IS NULL"),
    ),
    sqlite_strict=True,
)

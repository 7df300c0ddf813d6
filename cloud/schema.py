"""The ledger database: every table, with the invariant it keeps beside it.

Rules kept here: money is integer paise, time integer ms UTC; entries, decisions and filed items are
append-only (the triggers of the first migration refuse UPDATE and DELETE, I3); a lifecycle's column
is CHECKed against its enum. One schema for SQLite and PostgreSQL.
"""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cloud.vocabulary import (
    CommandState,
    CutBy,
    EntryHead,
    EpisodeState,
    JournalStanding,
    LockKind,
    Verdict,
)
from wire.vocabulary import Action, Outcome, PaymentKind, ReceiptVerdict

metadata = MetaData()

# SQLite's 64-bit type is INTEGER, PostgreSQL's BIGINT.
BigInt = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", BigInt, primary_key=True, autoincrement=True)


def _number(name: str, *, is_optional: bool = False, default: int | None = None) -> Column[int]:
    return Column(
        name,
        BigInt,
        nullable=is_optional,
        server_default=None if default is None else text(str(default)),
    )


def _text(name: str, *, is_optional: bool = False) -> Column[str]:
    return Column(name, Text, nullable=is_optional)


def _bytes(name: str, *, is_optional: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=is_optional)


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")


# This ledger's life: generation rises at each restore (R13); the epoch is the engine keys' (R4).
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInt, CheckConstraint("id = 1"), primary_key=True),
    _bytes("installation"),
    _number("generation_ms"),
    _number("epoch"),
    _number("opens_frozen_since_ms", is_optional=True),
    _number("locks_wait_until_ms", default=0),  # R3: no lock is effective earlier after a restore
    sqlite_strict=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),  # the consumer number
    _text("zone"),
    _text("language"),
    _number("closed_at_ms", is_optional=True),
    sqlite_strict=True,
)

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    _number("floor_epoch", default=0),
    _number("floor_sequence", default=0),
    _number("window", default=32),
    _number("heard_at_ms", is_optional=True),
    _number("burst_at_ms", default=0),  # R19: bursts of re-sends at most every 5 s
    _number("turned_away_at_ms", default=0),  # R5: such hellos are answered once a minute
    _number("suspended_at_ms", is_optional=True),  # history forked: no opens
    _number("meters", default=0),
    Column("software", Text, nullable=False, server_default=text("''")),
    _number("trust_version", default=0),
    sqlite_strict=True,
)

# R5: one journal of an agent is current, the others are retired for ever.
journals = Table(
    "journals",
    metadata,
    _id(),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    _bytes("journal"),
    _text("standing"),
    _number("boot"),
    _number("hello_number"),
    _bytes("hello_nonce"),  # of that hello: the same number with another nonce is a restored disk
    _number("through", default=0),
    _bytes("head"),  # of `through`
    _number("stored_to", default=0),  # highest number stored; above `through` there is a gap
    _number("forked_at_ms", is_optional=True),
    UniqueConstraint("agent_id", "journal"),
    Index(
        "one_current_journal",
        "agent_id",
        unique=True,
        sqlite_where=text("standing = 'current'"),
        postgresql_where=text("standing = 'current'"),
    ),
    _one_of("standing", JournalStanding),
    sqlite_strict=True,
)

meters = Table(
    "meters",
    metadata,
    Column("meter_id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    _text("serial", is_optional=True),
    _number("installed_at_ms"),
    _number("mapped_at_ms"),  # since when this meter measures this account
    _text("feeder"),
    _text("transformer"),
    # I7: counters only rise; `last` is the newest allocated or believed (R4).
    _number("last_epoch", default=0),
    _number("last_sequence", default=0),
    # The relay as last read: it follows (journal, number), not arrival (R14).
    _number("output", is_optional=True),
    _number("control_state", is_optional=True),
    _number("control_mode", is_optional=True),
    _number("read_at_ms", is_optional=True),
    _number("view_journal_id", is_optional=True),
    _number("view_number", default=0),
    Index("meters_of_account", "account_id"),
    Index("meters_of_agent", "agent_id"),
    sqlite_strict=True,
)

bills = Table(
    "bills",
    metadata,
    Column("bill_id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    _number("amount_paise"),
    _number("due_at_ms"),
    _number("issued_at_ms"),
    CheckConstraint("amount_paise > 0", name="bill_is_positive"),
    Index("bills_of_account", "account_id"),
    sqlite_strict=True,
)

# I3: append-only. A posting is two entries that sum to zero; balances are folds of these rows.
entries = Table(
    "entries",
    metadata,
    _id(),
    _text("posting"),  # what it was posted for: 'bill N-1', 'captured RAZORPAY pay_1', ...
    _text("head"),
    _text("account_id"),
    _number("amount_paise"),  # debit positive, credit negative
    _number("posted_at_ms"),
    _one_of("head", EntryHead),
    CheckConstraint("amount_paise <> 0", name="entry_is_not_empty"),
    # I2: one posting has one entry per head, so nothing is posted twice.
    UniqueConstraint("posting", "head"),
    Index("entries_of_account", "account_id", "head"),
    sqlite_strict=True,
)

# One cut-off, from cut to light; it carries the service clock.
episodes = Table(
    "episodes",
    metadata,
    _id(),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    _number("cut_at_ms"),
    _text("cut_by"),
    _number("created_at_ms"),
    _text("state"),
    _number("paid_at_ms", is_optional=True),  # capture time of the payment that covered the quote
    _number("ended_at_ms", is_optional=True),
    _number("attempts", default=0),  # commands tried since the quote was covered
    _text("held_because", is_optional=True),
    _one_of("state", EpisodeState),
    _one_of("cut_by", CutBy),
    Index(
        "one_open_episode",
        "account_id",
        unique=True,
        sqlite_where=text("ended_at_ms IS NULL"),
        postgresql_where=text("ended_at_ms IS NULL"),
    ),
    Index(
        "paid_but_dark",
        "meter_id",
        sqlite_where=text("ended_at_ms IS NULL AND state = 'paid'"),
        postgresql_where=text("ended_at_ms IS NULL AND state = 'paid'"),
    ),
    sqlite_strict=True,
)

# The frozen amount that ends an episode; later bills never raise it.
quotes = Table(
    "quotes",
    metadata,
    _id(),
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=False),
    _number("amount_paise"),
    _text("breakdown"),  # JSON list of [what, paise]
    _number("made_at_ms"),
    _number("expires_at_ms"),
    CheckConstraint("amount_paise > 0", name="quote_is_positive"),
    Index("quotes_of_episode", "episode_id"),
    sqlite_strict=True,
)

# A provider's order, made at checkout for one quote.
orders = Table(
    "orders",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("quote_id", BigInt, ForeignKey("quotes.id"), nullable=False),
    sqlite_strict=True,
)

# Reasons the relay may not be closed. I10: a payment clears non_payment and nothing else.
# I15: effective only when no close for the meter can still act.
locks = Table(
    "locks",
    metadata,
    _id(),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    _text("kind"),
    _text("owner"),
    _text("document"),
    _number("placed_at_ms"),
    _number("effective_at_ms", is_optional=True),
    _number("cleared_at_ms", is_optional=True),
    _text("cleared_because", is_optional=True),
    _one_of("kind", LockKind),
    Index(
        "pending_locks",  # looked at each second; all others are many and settled
        "account_id",
        sqlite_where=text("effective_at_ms IS NULL AND cleared_at_ms IS NULL"),
        postgresql_where=text("effective_at_ms IS NULL AND cleared_at_ms IS NULL"),
    ),
    Index(
        "one_standing_lock_of_a_kind",
        "account_id",
        "kind",
        unique=True,
        sqlite_where=text("cleared_at_ms IS NULL"),
        postgresql_where=text("cleared_at_ms IS NULL"),
    ),
    sqlite_strict=True,
)

spools = Table(
    "spools",
    metadata,
    _id(),
    _text("intake"),
    _bytes("spool"),
    _number("first_seen_at_ms"),
    _number("through", default=0),  # every number 1..through is stored
    # R1: the newest watermark, and the newest that is fully stored.
    _number("watermark_at_ms", default=0),
    _number("watermark_made", default=0),
    _number("watermark_generation_ms", default=0),
    _number("complete_watermark_at_ms", default=0),
    UniqueConstraint("intake", "spool"),
    sqlite_strict=True,
)

# I1: every numbered item of an intake ends in exactly one verdict. Append-only but `is_applied`.
payment_items = Table(
    "payment_items",
    metadata,
    Column("spool_id", BigInt, ForeignKey("spools.id"), primary_key=True),
    Column("number", BigInt, primary_key=True),
    _bytes("raw"),
    _text("provider"),
    _text("kind"),
    _text("object_id"),
    _text("payment_id"),
    _text("account_hint", is_optional=True),
    _text("order_id", is_optional=True),
    _number("amount_paise"),
    _text("currency"),
    _number("happened_at_ms"),
    _number("received_at_ms"),
    _text("method"),
    _text("verdict"),
    _text("reason", is_optional=True),
    _number("stored_at_ms"),
    # Refunds and disputes may come before their capture: they wait here for it.
    _number("is_applied", default=1),
    CheckConstraint("amount_paise > 0", name="item_is_positive"),
    _one_of("kind", PaymentKind),
    _one_of("verdict", ReceiptVerdict),
    # R18: one fact of a provider is stored once; its repeats are rows with verdict 'duplicate'.
    Index(
        "one_row_per_fact",
        "provider",
        "kind",
        "object_id",
        unique=True,
        sqlite_where=text("verdict IN ('stored', 'misposted')"),
        postgresql_where=text("verdict IN ('stored', 'misposted')"),
    ),
    Index("items_of_payment", "provider", "payment_id"),
    sqlite_strict=True,
)

# I2: a payment is posted at most once.
payments = Table(
    "payments",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("payment_id", Text, primary_key=True),
    _text("account_id", is_optional=True),  # NULL: misposted, waits for a person
    # The episode that was open when it was posted: what a quote is covered by, whatever clocks say.
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=True),
    _number("amount_paise"),
    _number("returned_paise", default=0),  # refunded, reversed or lost in a dispute
    _number("captured_at_ms"),
    _number("posted_at_ms"),
    CheckConstraint("amount_paise > 0", name="payment_is_positive"),
    Index("payments_of_account", "account_id"),
    Index("payments_of_episode", "episode_id"),
    sqlite_strict=True,
)

# I4: append-only; a command names its decision by digest.
decisions = Table(
    "decisions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    _bytes("record"),  # canonical msgpack; its first field is 16 random bytes (R22)
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=False),
    _text("verdict"),
    _text("reasons"),  # space-separated words of rules.Reason
    _number("short_by_paise", default=0),
    _number("decided_at_ms"),
    _one_of("verdict", Verdict),
    Index("decisions_of_episode", "episode_id"),
    sqlite_strict=True,
)

commands = Table(
    "commands",
    metadata,
    _id(),
    _text("action"),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.agent_id"), nullable=False),
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=True),
    Column("decision", LargeBinary, ForeignKey("decisions.digest"), nullable=False),
    _text("state"),
    _number("is_overtaken", default=0),
    _number("queued_at_ms"),
    _number("due_at_ms"),
    # Everything below is NULL until the bytes are fixed, in the last transaction before publishing.
    _bytes("command_id", is_optional=True),
    _number("epoch", is_optional=True),
    _number("sequence_ms", is_optional=True),
    _number("expires_at_ms", is_optional=True),
    _bytes("envelope", is_optional=True),
    _number("resend_at_ms", is_optional=True),
    _number("sends", default=0),
    _number("received_at_ms", is_optional=True),  # the agent's interim word, our clock
    _text("outcome", is_optional=True),
    _text("reason", is_optional=True),
    _number("ended_at_ms", is_optional=True),
    _one_of("action", Action),
    _one_of("state", CommandState),
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
        sqlite_where=text("state = 'published' AND is_overtaken = 0 AND action <> 'read'"),
        postgresql_where=text("state = 'published' AND is_overtaken = 0 AND action <> 'read'"),
    ),
    # Rule 9 of the domain: at most one waiting close per episode.
    Index(
        "one_queued_close",
        "episode_id",
        unique=True,
        sqlite_where=text("state = 'queued' AND action = 'close'"),
        postgresql_where=text("state = 'queued' AND action = 'close'"),
    ),
    Index(
        "queued_commands",
        "agent_id",
        "due_at_ms",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "live_commands",
        "agent_id",
        "resend_at_ms",
        sqlite_where=text("state = 'published'"),
        postgresql_where=text("state = 'published'"),
    ),
    Index("commands_of_episode", "episode_id"),
    Index("commands_of_meter", "meter_id"),
    sqlite_strict=True,
)

# R8: every numbered item of every journal, as its exact bytes. Append-only. An item whose command
# is in no row of `commands` is an orphan: after a restore they come.
filed_items = Table(
    "filed_items",
    metadata,
    Column("journal_id", BigInt, ForeignKey("journals.id"), primary_key=True),
    Column("number", BigInt, primary_key=True),
    _text("kind"),
    _bytes("item"),
    _bytes("before", is_optional=True),  # the head its message named, on the first item of each
    _bytes("command_id", is_optional=True),
    _number("filed_at_ms"),
    Index("items_of_command", "command_id"),
    sqlite_strict=True,
)

# What a person must look at: forks, quarantines, unknown spools.
alarms = Table(
    "alarms",
    metadata,
    _id(),
    _text("code"),
    _text("subject"),
    _text("detail"),
    _number("raised_at_ms"),
    sqlite_strict=True,
)

# Which files were imported, so that importing one twice says so.
imported_files = Table(
    "imported_files",
    metadata,
    _id(),
    _text("kind"),
    _text("name"),
    _bytes("digest"),
    _number("rows"),
    _number("imported_at_ms"),
    sqlite_strict=True,
)

APPEND_ONLY = ("entries", "decisions", "filed_items")

"""Money: bills, entries, the intakes' spools, payment items and payments."""

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
from cloud.vocabulary import EntryHead
from wire.vocabulary import PaymentKind, ReceiptVerdict

bills = Table(
    "bills",
    metadata,
    Column("bill_id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    number("amount_paise"),
    number("due_at_ms"),
    number("issued_at_ms"),
    CheckConstraint("amount_paise > 0", name="bill_is_positive"),
    Index("bills_of_account", "account_id"),
    sqlite_strict=True,
)

# I3: append-only. A posting is two entries that sum to zero; balances are folds of these rows.
entries = Table(
    "entries",
    metadata,
    row_id(),
    words("posting"),  # what it was posted for: 'bill N-1', 'captured RAZORPAY pay_1', ...
    words("head"),
    words("account_id"),
    number("amount_paise"),  # debit positive, credit negative
    number("posted_at_ms"),
    one_of("head", EntryHead),
    CheckConstraint("amount_paise <> 0", name="entry_is_not_empty"),
    # I2: one posting has one entry per head, so nothing is posted twice.
    UniqueConstraint("posting", "head"),
    Index("entries_of_account", "account_id", "head"),
    sqlite_strict=True,
)

spools = Table(
    "spools",
    metadata,
    row_id(),
    words("intake"),
    octets("spool"),
    number("first_seen_at_ms"),
    number("through", default=0),  # every number 1..through is stored
    # R1: the newest watermark, and the newest that is fully stored.
    number("watermark_at_ms", default=0),
    number("watermark_made", default=0),
    number("watermark_generation_ms", default=0),
    number("complete_watermark_at_ms", default=0),
    number("complete_watermark_generation_ms", default=0),
    UniqueConstraint("intake", "spool"),
    sqlite_strict=True,
)

# R1: up to when a spool's watermark says a provider's payments were all taken in. `complete_to_ms`
# is the newest word, `stored_to_ms` that of the newest watermark whose every number is stored.
completeness = Table(
    "completeness",
    metadata,
    Column("spool_id", BigInt, ForeignKey("spools.id"), primary_key=True),
    Column("provider", Text, primary_key=True),
    number("complete_to_ms"),
    number("stored_to_ms", default=0),
    sqlite_strict=True,
)

# I1: every numbered item of an intake ends in exactly one verdict. Append-only but `is_applied`.
payment_items = Table(
    "payment_items",
    metadata,
    Column("spool_id", BigInt, ForeignKey("spools.id"), primary_key=True),
    Column("number", BigInt, primary_key=True),
    octets("raw"),
    words("provider"),
    words("kind"),
    words("object_id"),
    words("payment_id"),
    words("account_hint", is_optional=True),
    words("order_id", is_optional=True),
    number("amount_paise"),
    words("currency"),
    number("happened_at_ms"),
    number("received_at_ms"),
    words("method"),
    words("verdict"),
    words("reason", is_optional=True),
    number("stored_at_ms"),
    # Refunds and disputes may come before their capture: they wait here for it.
    number("is_applied", default=1),
    CheckConstraint("amount_paise > 0", name="item_is_positive"),
    one_of("kind", PaymentKind),
    one_of("verdict", ReceiptVerdict),
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
    Index(
        "doubtful_items",  # money that is known of and stands nowhere yet: nobody is cut meanwhile
        "account_hint",
        "stored_at_ms",
        sqlite_where=text("verdict IN ('quarantined', 'misposted')"),
        postgresql_where=text("verdict IN ('quarantined', 'misposted')"),
    ),
    sqlite_strict=True,
)

# I2: a payment is posted at most once.
payments = Table(
    "payments",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("payment_id", Text, primary_key=True),
    words("account_id", is_optional=True),  # NULL: misposted, waits for a person
    # The episode that was open when it was posted: what a quote is covered by, whatever clocks say.
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=True),
    number("amount_paise"),
    number("returned_paise", default=0),  # refunded, reversed or lost in a dispute
    number("captured_at_ms"),
    number("posted_at_ms"),
    CheckConstraint("amount_paise > 0", name="payment_is_positive"),
    Index("payments_of_account", "account_id"),
    Index("payments_of_episode", "episode_id"),
    sqlite_strict=True,
)

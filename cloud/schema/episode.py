"""Episodes: quotes, orders, locks, decisions, crew tickets."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text, text

from cloud.schema.columns import BigInt, metadata, number, octets, one_of, row_id, words
from cloud.vocabulary import CutBy, EpisodeState, LockKind, Verdict

# One cut-off, from cut to light; it carries the service clock.
episodes = Table(
    "episodes",
    metadata,
    row_id(),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("meter_id", Text, ForeignKey("meters.meter_id"), nullable=False),
    number("cut_at_ms"),
    words("cut_by"),
    number("created_at_ms"),
    words("state"),
    number("paid_at_ms", is_optional=True),  # capture time of the payment that covered the quote
    number("ended_at_ms", is_optional=True),
    number("attempts", default=0),  # commands tried since the quote was covered
    words("held_because", is_optional=True),
    one_of("state", EpisodeState),
    one_of("cut_by", CutBy),
    Index(
        "one_open_episode",
        "account_id",
        unique=True,
        sqlite_where=text("ended_at_ms IS NULL"),
        postgresql_where=text("ended_at_ms IS NULL"),
    ),
    Index(
        "paid_but_dark",  # oldest first: what is dark too long is found without the others
        "paid_at_ms",
        "id",
        sqlite_where=text("ended_at_ms IS NULL AND state = 'paid'"),
        postgresql_where=text("ended_at_ms IS NULL AND state = 'paid'"),
    ),
    Index(
        "armed_meters",  # whose button may be pressed
        "meter_id",
        sqlite_where=text("state = 'armed'"),
        postgresql_where=text("state = 'armed'"),
    ),
    sqlite_strict=True,
)

# The frozen amount that ends an episode; later bills never raise it.
quotes = Table(
    "quotes",
    metadata,
    row_id(),
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=False),
    number("amount_paise"),
    words("breakdown"),  # JSON list of [what, paise]
    number("made_at_ms"),
    number("expires_at_ms"),
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
    row_id(),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    words("kind"),
    words("owner"),
    words("document"),
    number("placed_at_ms"),
    number("effective_at_ms", is_optional=True),
    number("cleared_at_ms", is_optional=True),
    words("cleared_because", is_optional=True),
    one_of("kind", LockKind),
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

# I4: append-only; a command names its decision by digest.
decisions = Table(
    "decisions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    octets("record"),  # canonical msgpack; its first field is 16 random bytes (R22)
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=True),
    Column("proposal_id", BigInt, ForeignKey("proposals.id"), nullable=True),
    words("verdict"),
    words("reasons"),  # space-separated words of rules.Reason
    number("short_by_paise", default=0),
    number("decided_at_ms"),
    one_of("verdict", Verdict),
    CheckConstraint(
        "(episode_id IS NULL) <> (proposal_id IS NULL)", name="decision_is_about_one_thing"
    ),
    Index("decisions_of_episode", "episode_id"),
    sqlite_strict=True,
)

# I9: the remote way is exhausted or forbidden, so people go. One open ticket per episode at most.
crew_tickets = Table(
    "crew_tickets",
    metadata,
    row_id(),
    Column("episode_id", BigInt, ForeignKey("episodes.id"), nullable=False),
    words("reasons"),  # space-separated words: why no command will do
    number("opened_at_ms"),
    number("closed_at_ms", is_optional=True),
    words("closed_because", is_optional=True),
    Index(
        "one_open_ticket",
        "episode_id",
        unique=True,
        sqlite_where=text("closed_at_ms IS NULL"),
        postgresql_where=text("closed_at_ms IS NULL"),
    ),
    sqlite_strict=True,
)

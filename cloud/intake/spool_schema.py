"""The schema of the spool file: what may stand in it, what may never change, what may never go.

Each migration runs its statements in order; a later change is a later migration.
"""

from enum import StrEnum

from sqlite_utils import Database, Migrations

from wire.decoding import decode_body
from wire.messages import PaymentItem
from wire.vocabulary import ReceiptVerdict


class Sweep(StrEnum):
    """How far back a look at a provider's lists reaches (`cloud.intake.poll_plan`)."""

    RECENT = "recent"
    LATE = "late"
    DEEP = "deep"


_VERDICTS = ", ".join(f"'{verdict.value}'" for verdict in ReceiptVerdict)
_REPORTS_ITEMS_RECEIPTS = (
    """CREATE TABLE spool (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        id BLOB NOT NULL CHECK (length(id) = 8),
        created_at_ms INTEGER NOT NULL,
        made INTEGER NOT NULL CHECK (made >= 0),  -- the highest number given
        generation_ms INTEGER NOT NULL CHECK (generation_ms >= 0)  -- of the ledger; 0 before one
    ) STRICT""",
    """CREATE TABLE reports (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        event_id TEXT NOT NULL,  -- for people: the header's, or the fetched entity's; '' for none
        sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
        received_at_ms INTEGER NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('forwarded', 'irrelevant', 'unreadable')),
        reason TEXT NOT NULL CHECK ((verdict = 'forwarded') = (reason = '')),
        raw BLOB NOT NULL,  -- I1: byte for byte
        UNIQUE (provider, sha256)
    ) STRICT""",
    "CREATE INDEX reports_by_event_id ON reports (event_id)",
    "CREATE INDEX reports_by_time ON reports (received_at_ms)",
    "CREATE INDEX reports_unreadable ON reports (id) WHERE verdict = 'unreadable'",
    """CREATE TABLE items (
        number INTEGER PRIMARY KEY CHECK (number > 0),
        report_id INTEGER NOT NULL REFERENCES reports (id),
        shard INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 15),
        item BLOB NOT NULL  -- as it is sent, whenever it is sent: one number never has two meanings
    ) STRICT""",
    "CREATE INDEX items_by_report ON items (report_id)",
    f"""CREATE TABLE receipts (
        number INTEGER PRIMARY KEY REFERENCES items (number) ON DELETE CASCADE,
        verdict TEXT NOT NULL CHECK (verdict IN ({_VERDICTS})),
        receipted_at_ms INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX receipts_by_time ON receipts (receipted_at_ms)",
    # I1: what was taken in stays as it was taken in.
    """CREATE TRIGGER reports_never_change BEFORE UPDATE ON reports
        BEGIN SELECT RAISE(ABORT, 'I1: a report never changes'); END""",
    """CREATE TRIGGER items_never_change BEFORE UPDATE ON items
        BEGIN SELECT RAISE(ABORT, 'I1: an item never changes'); END""",
    """CREATE TRIGGER receipts_never_change BEFORE UPDATE ON receipts
        BEGIN SELECT RAISE(ABORT, 'I1: a receipt never changes'); END""",
    # I1: only what reached its end may go.
    """CREATE TRIGGER items_stay_until_receipted BEFORE DELETE ON items
        WHEN NOT EXISTS (SELECT 1 FROM receipts WHERE number = old.number)
        BEGIN SELECT RAISE(ABORT, 'I1: an item without receipt is never deleted'); END""",
    """CREATE TRIGGER unreadable_reports_stay BEFORE DELETE ON reports
        WHEN old.verdict = 'unreadable'
        BEGIN SELECT RAISE(ABORT, 'I1: an unreadable report is never deleted'); END""",
    # R1: dense numbers, also after everything was trimmed.
    """CREATE TRIGGER items_are_dense AFTER INSERT ON items BEGIN
        SELECT RAISE(ABORT, 'R1: numbers are dense') FROM spool WHERE made <> new.number - 1;
        UPDATE spool SET made = new.number; END""",
    """CREATE TRIGGER spool_only_rises BEFORE UPDATE ON spool
        WHEN new.id <> old.id OR new.made < old.made OR new.generation_ms < old.generation_ms
        BEGIN SELECT RAISE(ABORT, 'R13: a spool keeps its id, its marks only rise'); END""",
)

_SWEEPS = ", ".join(f"'{sweep.value}'" for sweep in Sweep)
_FACTS_POLLS = (
    # What an item says, to be found by it: the poller fetches the same facts again and again.
    """CREATE TABLE facts (
        number INTEGER PRIMARY KEY REFERENCES items (number) ON DELETE CASCADE,
        provider TEXT NOT NULL,
        kind TEXT NOT NULL,
        object_id TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX facts_by_object ON facts (provider, kind, object_id)",
    # R1: up to when a provider's lists were fetched and what they held was stored. The mark of
    # `recent` is what the watermark says; it is written after what it speaks of.
    f"""CREATE TABLE polls (
        provider TEXT NOT NULL,
        sweep TEXT NOT NULL CHECK (sweep IN ({_SWEEPS})),
        through_ms INTEGER NOT NULL CHECK (through_ms >= 0),
        PRIMARY KEY (provider, sweep)
    ) STRICT, WITHOUT ROWID""",
)
migrations = Migrations("relight-intake")


@migrations()
def reports_items_receipts(db: Database) -> None:
    """The first schema."""
    for statement in _REPORTS_ITEMS_RECEIPTS:
        db.conn.execute(statement)


@migrations()
def facts_polls(db: Database) -> None:
    """Facts can be found by their ids; what polling did is remembered."""
    for statement in _FACTS_POLLS:
        db.conn.execute(statement)
    items = db.conn.execute(
        """SELECT items.number, reports.provider, items.item
        FROM items JOIN reports ON reports.id = items.report_id"""
    )
    db.conn.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", map(_fact_row, items))


def _fact_row(row: tuple[int, str, bytes]) -> tuple[int, str, str, str]:
    number, provider, packed = row
    item = decode_body(PaymentItem, packed)
    return (number, provider, item.kind.value, item.object_id)

"""The guard's own tables, each with what it keeps.

The engine reads `answers` read-only; nobody else reads or writes anything here.
"""

from wire.vocabulary import PaymentKind

VERSION = 1  # PRAGMA user_version of a store with exactly these statements

_KINDS = ", ".join(f"'{kind.value}'" for kind in PaymentKind)
STATEMENTS = (
    # R7: a new, lost or restored store begins with every threshold used up, until `running_ms`,
    # which only grows while the guard runs, has reached `used_up_until_ms`.
    """CREATE TABLE life (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        created_at_ms INTEGER NOT NULL,
        seen_at_ms INTEGER NOT NULL,
        running_ms INTEGER NOT NULL CHECK (running_ms >= 0),
        used_up_until_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE trust (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        documents BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE files (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        rows INTEGER NOT NULL,
        imported_at_ms INTEGER NOT NULL,
        UNIQUE (kind, digest)
    ) STRICT""",
    "CREATE TABLE accounts (account_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE meters (
        meter_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts (account_id),
        agent_id TEXT NOT NULL,
        feeder TEXT NOT NULL,
        transformer TEXT NOT NULL,
        is_protected INTEGER NOT NULL CHECK (is_protected IN (0, 1))
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX meters_of_feeder ON meters (feeder)",
    "CREATE INDEX meters_of_transformer ON meters (transformer)",
    # I3: a bill never changes; a correction is a new bill.
    """CREATE TABLE bills (
        bill_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts (account_id),
        amount_paise INTEGER NOT NULL CHECK (amount_paise > 0),
        issued_at_ms INTEGER NOT NULL,
        due_at_ms INTEGER NOT NULL CHECK (due_at_ms > issued_at_ms)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX bills_of_account ON bills (account_id)",
    """CREATE TRIGGER bills_never_change BEFORE UPDATE ON bills
        BEGIN SELECT RAISE(ABORT, 'I3: a bill never changes'); END""",
    # The newest row of a meter counts; the older ones stay as they were.
    """CREATE TABLE proposals (
        id INTEGER PRIMARY KEY,
        meter_id TEXT NOT NULL REFERENCES meters (meter_id),
        account_id TEXT NOT NULL REFERENCES accounts (account_id),
        sum_paise INTEGER NOT NULL CHECK (sum_paise > 0),
        notice_served_at_ms INTEGER NOT NULL,
        notice_proof TEXT NOT NULL,
        file_id INTEGER NOT NULL REFERENCES files (id)
    ) STRICT""",
    "CREATE INDEX proposals_of_meter ON proposals (meter_id, id)",
    """CREATE TABLE spools (
        id INTEGER PRIMARY KEY,
        intake TEXT NOT NULL,
        spool BLOB NOT NULL CHECK (length(spool) = 8),
        through INTEGER NOT NULL CHECK (through >= 0),  -- every number up to it is stored
        watermark_at_ms INTEGER NOT NULL DEFAULT 0,
        watermark_made INTEGER NOT NULL DEFAULT 0,
        watermark_generation_ms INTEGER NOT NULL DEFAULT 0,
        UNIQUE (intake, spool)
    ) STRICT""",
    """CREATE TABLE complete (
        spool_id INTEGER NOT NULL REFERENCES spools (id),
        provider TEXT NOT NULL,
        to_ms INTEGER NOT NULL,
        PRIMARY KEY (spool_id, provider)
    ) STRICT, WITHOUT ROWID""",
    # Every numbered fact; only `counted` ones are money. `repeated`: counted already under another
    # number. `conflicting`: contradicts one that is counted, or is no money of ours.
    f"""CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        spool_id INTEGER REFERENCES spools (id),  -- NULL: from a file
        number INTEGER,
        raw BLOB NOT NULL,
        provider TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ({_KINDS})),
        object_id TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        account_hint TEXT,
        amount_paise INTEGER NOT NULL CHECK (amount_paise > 0),
        currency TEXT NOT NULL,
        happened_at_ms INTEGER NOT NULL,
        received_at_ms INTEGER NOT NULL,
        standing TEXT NOT NULL CHECK (standing IN ('counted', 'repeated', 'conflicting')),
        UNIQUE (spool_id, number),
        CHECK ((spool_id IS NULL) = (number IS NULL))
    ) STRICT""",
    # R18: one fact once. I2: one capture of a payment.
    """CREATE UNIQUE INDEX one_counted_fact ON items (provider, kind, object_id)
        WHERE standing = 'counted'""",
    """CREATE UNIQUE INDEX one_counted_capture ON items (provider, payment_id)
        WHERE standing = 'counted' AND kind IN ('captured', 'realised')""",
    "CREATE INDEX items_of_payment ON items (provider, payment_id)",
    """CREATE TRIGGER items_never_change BEFORE UPDATE ON items
        BEGIN SELECT RAISE(ABORT, 'I3: a fact never changes'); END""",
    # R7: a payment counts for every account that its hints or the engine's orders ever named.
    """CREATE TABLE payment_accounts (
        account_id TEXT NOT NULL,
        provider TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        PRIMARY KEY (account_id, provider, payment_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE orders (
        provider TEXT NOT NULL,
        order_id TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        taken_at_ms INTEGER NOT NULL,
        looked_at_ms INTEGER NOT NULL DEFAULT 0,
        is_settled INTEGER NOT NULL DEFAULT 0,  -- its account is known, or asked for long enough
        PRIMARY KEY (provider, order_id, payment_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX orders_to_look_up ON orders (looked_at_ms) WHERE is_settled = 0",
    # R9: rising numbers only. A breach is a stop of our own; `releases`: this resume lifted the
    # stop that stood, so counting begins anew.
    """CREATE TABLE freezes (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('stop', 'resume')),
        number_ms INTEGER NOT NULL,
        is_breach INTEGER NOT NULL DEFAULT 0 CHECK (is_breach IN (0, 1)),
        releases INTEGER NOT NULL DEFAULT 0 CHECK (releases IN (0, 1)),
        envelope BLOB NOT NULL,
        taken_at_ms INTEGER NOT NULL,
        UNIQUE (kind, number_ms)
    ) STRICT""",
    # R7: written and on the disk before the key is used; whoever is counted here was perhaps cut.
    """CREATE TABLE counted (
        command_id BLOB PRIMARY KEY CHECK (length(command_id) = 16),
        meter_id TEXT NOT NULL,
        account_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        feeder TEXT NOT NULL,
        transformer TEXT NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('open', 'disarm')),
        epoch INTEGER NOT NULL,
        sequence_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        day INTEGER NOT NULL,  -- local, since 1970-01-01
        counted_at_ms INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX counted_by_time ON counted (counted_at_ms)",
    "CREATE INDEX counted_of_meter ON counted (meter_id, epoch, sequence_ms)",
    "CREATE INDEX counted_of_account ON counted (account_id)",
    "CREATE TABLE days (day INTEGER PRIMARY KEY, meters INTEGER NOT NULL) STRICT",
    """CREATE TABLE answers (
        command_id BLOB PRIMARY KEY CHECK (length(command_id) = 16),
        key_id BLOB,
        signature BLOB,
        verdict TEXT NOT NULL CHECK (verdict IN ('signed', 'quarantined')),
        reason TEXT NOT NULL,  -- space-separated words
        answered_at_ms INTEGER NOT NULL,
        CHECK ((verdict = 'signed') = (signature IS NOT NULL)),
        CHECK ((signature IS NULL) = (key_id IS NULL))
    ) STRICT""",
    """CREATE TRIGGER signed_only_when_counted BEFORE INSERT ON answers
        WHEN new.verdict = 'signed'
            AND NOT EXISTS (SELECT 1 FROM counted WHERE command_id = new.command_id)
        BEGIN SELECT RAISE(ABORT, 'R7: counted first, then signed'); END""",
    *(
        f"""CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, 'R7: what was counted or answered stays'); END"""
        for table in ("counted", "answers", "freezes")
        for verb in ("UPDATE", "DELETE")
    ),
    """CREATE TABLE alarms (
        id INTEGER PRIMARY KEY,
        code TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        raised_at_ms INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX alarms_of_subject ON alarms (code, subject)",
)

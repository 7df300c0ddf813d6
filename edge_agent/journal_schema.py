"""The tables of an agent's journal, and the invariants they enforce themselves.

A journal is one SQLite file. What happened is only ever added to; what is a maximum only rises;
what is removed is a filed prefix behind a checkpoint. The triggers say so to any program that
opens the file, ours included.
"""

# Version 1. A later change is one more list, applied by the next migration, never an edit of one.
TABLES_1 = (
    """
-- The one row of what this agent is and believes. I7: floor, generation, boot, running time, stop
-- and lifted only rise, whatever a message says.
CREATE TABLE standing (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    journal_id BLOB NOT NULL CHECK (length(journal_id) = 8),
    agent TEXT NOT NULL,
    boot INTEGER NOT NULL DEFAULT 0,
    running_ms INTEGER NOT NULL DEFAULT 0,
    generation_ms INTEGER NOT NULL DEFAULT 0,
    floor_epoch INTEGER NOT NULL DEFAULT 0,
    floor_sequence_ms INTEGER NOT NULL DEFAULT 0,
    stop_ms INTEGER NOT NULL DEFAULT 0,
    lifted_ms INTEGER NOT NULL DEFAULT 0,
    welcome_stop_ms INTEGER NOT NULL DEFAULT 0,  -- the last welcome's word; may fall
    disputed_until_ms INTEGER NOT NULL DEFAULT 0,
    filed INTEGER NOT NULL DEFAULT 0,  -- may fall: a restored ledger forgets what was filed (R13)
    first_root BLOB NOT NULL DEFAULT x'',
    trust BLOB NOT NULL DEFAULT x''
) STRICT
""",
    """
CREATE TRIGGER standing_only_rises BEFORE UPDATE ON standing
WHEN NEW.journal_id <> OLD.journal_id OR NEW.agent <> OLD.agent
  OR NEW.boot < OLD.boot OR NEW.running_ms < OLD.running_ms
  OR NEW.generation_ms < OLD.generation_ms
  OR (NEW.floor_epoch, NEW.floor_sequence_ms) < (OLD.floor_epoch, OLD.floor_sequence_ms)
  OR NEW.stop_ms < OLD.stop_ms OR NEW.lifted_ms < OLD.lifted_ms
BEGIN SELECT RAISE(ABORT, 'I7: what a journal stands for only rises'); END
""",
    """
CREATE TRIGGER standing_stays BEFORE DELETE ON standing
BEGIN SELECT RAISE(ABORT, 'I7: a journal keeps what it stands for'); END
""",
    """
-- I7: the highest counter accepted per meter, kept for ever, also of meters that left the roster
-- and behind every checkpoint. The other columns are running ms (-1: never in this journal).
CREATE TABLE meters (
    meter TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    sequence_ms INTEGER NOT NULL,
    reached_ms INTEGER NOT NULL DEFAULT -1,
    closed_ms INTEGER NOT NULL DEFAULT -1
) STRICT, WITHOUT ROWID
""",
    """
CREATE TRIGGER counters_only_rise BEFORE UPDATE ON meters
WHEN (NEW.epoch, NEW.sequence_ms) < (OLD.epoch, OLD.sequence_ms)
BEGIN SELECT RAISE(ABORT, 'I7: the counter of a meter only rises'); END
""",
    """
CREATE TRIGGER counters_stay BEFORE DELETE ON meters
BEGIN SELECT RAISE(ABORT, 'I7: counters are kept for ever'); END
""",
    "CREATE INDEX meters_reached ON meters (reached_ms)",
    """
-- I5: a command is `received` here before anything is done for it, and `actuating` before its relay
-- is told to move. I6: one outcome per command, for ever; a second actuating (attempt 2) is the one
-- that may follow a crash, after reading back that nothing moved.
CREATE TABLE steps (
    command_id BLOB NOT NULL CHECK (length(command_id) = 16),
    step TEXT NOT NULL CHECK (step IN ('received', 'actuating', 'outcome')),
    attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt = 1 OR attempt = 2 AND step = 'actuating'),
    meter TEXT NOT NULL,
    action TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    running_ms INTEGER NOT NULL,
    body BLOB CHECK ((body IS NOT NULL) = (step = 'received')),
    item INTEGER CHECK ((item IS NOT NULL) = (step = 'outcome')),
    expires_at_ms INTEGER NOT NULL,
    PRIMARY KEY (command_id, step, attempt)
) STRICT, WITHOUT ROWID
""",
    """
-- R2: every open that was about to move counts against the caps for 24 h of running time.
CREATE INDEX steps_opens ON steps (running_ms, meter)
WHERE step = 'actuating' AND action = 'open'
""",
    "CREATE INDEX steps_outcomes ON steps (item) WHERE step = 'outcome'",
    """
CREATE TRIGGER steps_are_not_changed BEFORE UPDATE ON steps
BEGIN SELECT RAISE(ABORT, 'I3: a journal is only added to'); END
""",
    """
CREATE TRIGGER nothing_moves_after_its_outcome BEFORE INSERT ON steps
WHEN NEW.step <> 'outcome' AND EXISTS (
    SELECT 1 FROM steps WHERE command_id = NEW.command_id AND step = 'outcome')
BEGIN SELECT RAISE(ABORT, 'I6: an ended command does nothing more'); END
""",
    """
CREATE TRIGGER nothing_moves_unless_received BEFORE INSERT ON steps
WHEN NEW.step = 'actuating' AND NOT EXISTS (
    SELECT 1 FROM steps WHERE command_id = NEW.command_id AND step = 'received')
BEGIN SELECT RAISE(ABORT, 'I5: a command is journaled before it acts'); END
""",
    """
-- What the engine must file: one dense, chained stream. `head` is the head behind the item.
CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    item BLOB NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32)
) STRICT
""",
    """
CREATE TRIGGER items_are_dense BEFORE INSERT ON items
WHEN NEW.number <> 1 + coalesce(
    (SELECT max(number) FROM items), (SELECT max(number) FROM checkpoints), 0)
BEGIN SELECT RAISE(ABORT, 'I3: item numbers are dense'); END
""",
    """
CREATE TRIGGER items_are_not_changed BEFORE UPDATE ON items
BEGIN SELECT RAISE(ABORT, 'I3: a journal is only added to'); END
""",
    """
-- I3: what was removed: items 1..number, whose chain ends in `head`. The counters stay in `meters`.
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY,
    head BLOB NOT NULL CHECK (length(head) = 32),
    running_ms INTEGER NOT NULL
) STRICT
""",
    """
CREATE TRIGGER checkpoints_are_filed BEFORE INSERT ON checkpoints
WHEN NEW.number > (SELECT filed FROM standing)
  OR NEW.head <> (SELECT head FROM items WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'I3: only what is filed may be removed'); END
""",
    """
CREATE TRIGGER items_stay_until_checkpoint BEFORE DELETE ON items
WHEN OLD.number > coalesce((SELECT max(number) FROM checkpoints), 0)
BEGIN SELECT RAISE(ABORT, 'I3: an item is removed only behind a checkpoint'); END
""",
    """
CREATE TRIGGER steps_stay_until_checkpoint BEFORE DELETE ON steps
WHEN coalesce(
    (SELECT item FROM steps WHERE command_id = OLD.command_id AND step = 'outcome'), OLD.item,
    9223372036854775807) > coalesce((SELECT max(number) FROM checkpoints), 0)
BEGIN SELECT RAISE(ABORT, 'I3: a step is removed only behind a checkpoint'); END
""",
    """
-- When items were filed, to the hour, so that 35 days can be counted from there (R8, R13).
CREATE TABLE filings (
    through INTEGER PRIMARY KEY,
    running_ms INTEGER NOT NULL
) STRICT
""",
)

# Version 2: manifests, rosters, disarm, guarded meters.
TABLES_2 = (
    """
-- R10: every manifest this agent answered. The cool-off counts from `running_ms`, which nothing
-- changes; the row outlives the manifest, so that the same bytes are answered once.
CREATE TABLE manifests (
    manifest BLOB PRIMARY KEY CHECK (length(manifest) = 16),
    refused TEXT,  -- the reason; NULL: held
    running_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID
""",
    """
CREATE TRIGGER manifests_are_not_changed BEFORE UPDATE ON manifests
BEGIN SELECT RAISE(ABORT, 'I3: a journal is only added to'); END
""",
    """
-- 3,024,000,000 ms: 35 days.
CREATE TRIGGER manifests_stay BEFORE DELETE ON manifests
WHEN OLD.running_ms > (SELECT running_ms FROM standing) - 3024000000
BEGIN SELECT RAISE(ABORT, 'I3: what a manifest was answered is kept for 35 days'); END
""",
    """
CREATE TABLE manifest_meters (
    manifest BLOB NOT NULL REFERENCES manifests (manifest),
    meter TEXT NOT NULL,
    PRIMARY KEY (manifest, meter)
) STRICT, WITHOUT ROWID
""",
    """
CREATE TRIGGER manifest_meters_are_not_changed BEFORE UPDATE ON manifest_meters
BEGIN SELECT RAISE(ABORT, 'I3: a journal is only added to'); END
""",
    "ALTER TABLE steps ADD COLUMN manifest BLOB",  # of `actuating`: what it was allowed by
    """
-- R10: each meter once per manifest, counted before its relay is told to move.
CREATE UNIQUE INDEX steps_of_manifests ON steps (manifest, meter)
WHERE step = 'actuating' AND manifest IS NOT NULL
""",
    # I7: 0 while the commissioning file is in force.
    "ALTER TABLE standing ADD COLUMN roster_version INTEGER NOT NULL DEFAULT 0",
    """
CREATE TRIGGER roster_only_rises BEFORE UPDATE ON standing
WHEN NEW.roster_version < OLD.roster_version
BEGIN SELECT RAISE(ABORT, 'I7: the version of a roster only rises'); END
""",
    """
-- R11: the whole list of version `standing.roster_version`, as enrol signed it.
CREATE TABLE roster (
    meter TEXT PRIMARY KEY,
    serial TEXT NOT NULL,
    flags INTEGER NOT NULL,
    invocation INTEGER,
    line TEXT NOT NULL
) STRICT, WITHOUT ROWID
""",
    """
-- R11: protected once is protected until enrol and guard say otherwise, also if the meter leaves
-- the roster and comes back.
CREATE TABLE protected_meters (meter TEXT PRIMARY KEY) STRICT, WITHOUT ROWID
""",
    "DROP INDEX steps_opens",
    """
-- R2, R15: a disarm counts like an open: a consumer may press the button just before it.
CREATE INDEX steps_capped ON steps (running_ms, meter)
WHERE step = 'actuating' AND action IN ('open', 'disarm')
""",
    """
-- R20: meters whose closes need the guard too.
CREATE TABLE guarded_meters (meter TEXT PRIMARY KEY) STRICT, WITHOUT ROWID
""",
)

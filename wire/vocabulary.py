"""The words that stand in bodies, and the rules that are tables of them.

Every enum's value is its spelling on the wire and in SQL. A word is never reused for another
meaning and never removed: a journal of last year must stay readable.
"""

from enum import StrEnum


class Role(StrEnum):
    """Who a key belongs to; decides which message types it may sign."""

    ROOT = "root"
    ENROL = "enrol"
    ENGINE = "engine"
    TIME = "time"
    GUARD = "guard"
    APPROVER = "approver"
    STOP = "stop"
    INTAKE = "intake"
    AGENT = "agent"


class Action(StrEnum):
    """What a command asks of one relay. The names are final; not every agent knows every one."""

    CLOSE = "close"
    ARM = "arm"
    OPEN = "open"
    DISARM = "disarm"
    READ = "read"
    WITHDRAW = "withdraw"
    GUARDED = "guarded"
    UNGUARDED = "unguarded"


class Outcome(StrEnum):
    """What the one final item of a command reports."""

    CLOSED = "closed"
    ALREADY_CLOSED = "already_closed"
    ARMED = "armed"
    OPENED = "opened"
    ALREADY_OPEN = "already_open"
    DISARMED = "disarmed"
    UNCHANGED = "unchanged"
    READ = "read"
    WITHDREW = "withdrew"
    NOTHING_PENDING = "nothing_pending"
    TOO_LATE = "too_late"
    SET = "set"
    REFUSED = "refused"
    REFUSED_BY_METER = "refused_by_meter"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


_ANY_ACTION = frozenset(
    {
        Outcome.REFUSED,
        Outcome.REFUSED_BY_METER,
        Outcome.UNREACHABLE,
        Outcome.UNKNOWN,
        Outcome.SUPERSEDED,
        Outcome.WITHDRAWN,
    }
)
OUTCOMES: dict[Action, frozenset[Outcome]] = {
    Action.CLOSE: _ANY_ACTION
    | {Outcome.CLOSED, Outcome.ALREADY_CLOSED, Outcome.ARMED, Outcome.UNCHANGED},
    Action.ARM: _ANY_ACTION | {Outcome.ARMED, Outcome.ALREADY_CLOSED, Outcome.UNCHANGED},
    Action.OPEN: _ANY_ACTION | {Outcome.OPENED, Outcome.ALREADY_OPEN, Outcome.UNCHANGED},
    Action.DISARM: _ANY_ACTION | {Outcome.DISARMED, Outcome.ALREADY_OPEN, Outcome.UNCHANGED},
    Action.READ: _ANY_ACTION | {Outcome.READ},
    Action.WITHDRAW: _ANY_ACTION | {Outcome.WITHDREW, Outcome.NOTHING_PENDING, Outcome.TOO_LATE},
    Action.GUARDED: _ANY_ACTION | {Outcome.SET},
    Action.UNGUARDED: _ANY_ACTION | {Outcome.SET},
}

# The longest life (expires - sequence, ms) a command of each action may have.
CLOSE_LIFE_MAX_MS = 900_000
OPEN_LIFE_MAX_MS = 600_000
LIFE_MAX_MS: dict[Action, int] = {
    Action.CLOSE: CLOSE_LIFE_MAX_MS,
    Action.ARM: CLOSE_LIFE_MAX_MS,
    Action.READ: CLOSE_LIFE_MAX_MS,
    Action.WITHDRAW: CLOSE_LIFE_MAX_MS,
    Action.GUARDED: CLOSE_LIFE_MAX_MS,
    Action.OPEN: OPEN_LIFE_MAX_MS,
    Action.DISARM: OPEN_LIFE_MAX_MS,
    Action.UNGUARDED: OPEN_LIFE_MAX_MS,
}

# Actions that take supply away, or the protection from losing it: two keys, always.
TWO_KEY_ACTIONS = frozenset({Action.OPEN, Action.DISARM, Action.UNGUARDED})


class RefusalReason(StrEnum):
    """Why an agent says no, for ever, before anything moved (docs/protocol.md, "Refusals")."""

    BEFORE_WELCOME = "before_welcome"
    LOW_COUNTER = "low_counter"
    FROM_FUTURE = "from_future"
    LIFE_TOO_LONG = "life_too_long"
    EXPIRED = "expired"
    UNKNOWN_METER = "unknown_meter"
    UNKNOWN_ACTION = "unknown_action"
    MISSING_GUARD = "missing_guard"
    GUARDED = "guarded"
    TRUST_EXPIRED = "trust_expired"
    TRUST_OLD = "trust_old"
    CLOCK_UNTRUSTED = "clock_untrusted"
    STOP = "stop"
    PROTECTED = "protected"
    WINDOW = "window"
    DWELL = "dwell"
    CAP_METER = "cap_meter"
    CAP_AGENT = "cap_agent"
    MANIFEST_UNKNOWN = "manifest_unknown"
    MANIFEST_COOLING = "manifest_cooling"
    MANIFEST_EXPIRED = "manifest_expired"
    METER_NOT_IN_MANIFEST = "meter_not_in_manifest"
    MANIFEST_USED = "manifest_used"
    RESTARTED = "restarted"
    MODE_CANNOT_ARM = "mode_cannot_arm"
    RELAY_CLOSED = "relay_closed"


# A refusal raises the meter's highest counter, except these: they say the counter itself is wrong,
# and believing it would let a recorded or invented counter lock the meter out.
REFUSALS_THAT_KEEP_COUNTER = frozenset(
    {RefusalReason.LOW_COUNTER, RefusalReason.BEFORE_WELCOME, RefusalReason.FROM_FUTURE}
)


class PaymentKind(StrEnum):
    """What a provider says of a payment."""

    CAPTURED = "captured"
    REFUNDED = "refunded"
    REVERSED = "reversed"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    REALISED = "realised"
    BOUNCED = "bounced"


class ReceiptVerdict(StrEnum):
    """The engine's word on one numbered payment item; all are terminal for the intake."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    MISPOSTED = "misposted"
    IRRELEVANT = "irrelevant"


class JournalVerdict(StrEnum):
    """The engine's word on the journal a hello speaks for."""

    KNOWN = "known"
    NEW = "new"
    ROLLED_BACK = "rolled_back"
    RETIRED = "retired"


class StateCause(StrEnum):
    """Why an agent reports a relay's state without a command's outcome."""

    MOVED = "moved"
    DAILY = "daily"
    ASKED = "asked"
    FOLLOWED = "followed"


class ManifestVerdict(StrEnum):
    """Whether an agent holds a manifest it was sent."""

    HELD = "held"
    REFUSED = "refused"

"""The cloud's own words: every enum's value is its spelling in the database."""

from enum import StrEnum


class EntryHead(StrEnum):
    """The two sides of a posting that concern us; `receivable` is what the consumer owes."""

    RECEIVABLE = "receivable"
    PROVIDER = "provider"  # money a provider holds for us
    REVENUE = "revenue"
    CHARGES = "charges"


class CutBy(StrEnum):
    """How supply was taken away; only a remote cut is closed remotely."""

    REMOTE = "remote"
    POLE = "pole"


class EpisodeState(StrEnum):
    """Where a cut-off stands."""

    OPEN = "open"  # without supply, quote not covered
    PAID = "paid"  # quote covered, supply not yet back
    ARMED = "armed"  # waits for the button at the meter; the service clock has ended
    ENDED = "ended"  # read back closed


class LockKind(StrEnum):
    """Why a relay may not be closed."""

    NON_PAYMENT = "non_payment"
    PAYMENT_DISPUTED = "payment_disputed"
    PAYMENT_REVERSED = "payment_reversed"
    THEFT = "theft"
    SAFETY = "safety"
    CONSUMER_REQUEST = "consumer_request"
    PERMANENT = "permanent"
    COURT_ORDER = "court_order"
    CHEQUE_UNREALISED = "cheque_unrealised"
    NETWORK_WORK = "network_work"
    METER_MISMATCH = "meter_mismatch"
    SYSTEM_HOLD = "system_hold"


class Verdict(StrEnum):
    """What a decision concluded."""

    CLOSE = "close"
    OPEN = "open"
    WITHDRAW = "withdraw"
    NONE = "none"


class CommandState(StrEnum):
    """The lifecycle of a command; the transitions are a table in cloud/outbox.py."""

    QUEUED = "queued"
    HALF_SIGNED = "half_signed"  # an open: its bytes stand, the guard's signature is awaited (R7)
    PUBLISHED = "published"
    ACKNOWLEDGED = "acknowledged"
    LAPSED = "lapsed"  # expired + 120 s without a final acknowledgement
    VOID = "void"  # its agent restarted without it
    DROPPED = "dropped"  # never sent: its reason went away


class JournalStanding(StrEnum):
    """Whether an agent's journal speaks for it."""

    CURRENT = "current"
    RETIRED = "retired"


class RequestKind(StrEnum):
    """What a person can ask the engine for."""

    TICKET_DONE = "ticket_done"  # the crew restored supply: the episode ends
    TICKET_RETRY = "ticket_retry"  # the crew looked: take the meter's refusal back, try remotely
    LOCK_PLACE = "lock_place"
    LOCK_CLEAR = "lock_clear"
    AGENT_GONE = "agent_gone"  # R16: the old agent is out of service, its meters are released


class BatchState(StrEnum):
    """Where many proposed opens stand; the transitions are a table in cloud/batches.py."""

    CANARY = "canary"  # the first few go; the rest waits for their outcomes
    FLOWING = "flowing"  # within the caps
    AWAITING = "awaiting"  # beyond the caps: two approvers, else nothing
    STOPPED = "stopped"  # a check stopped it; people look
    DONE = "done"
    CANCELLED = "cancelled"


class ProposalState(StrEnum):
    """Where one intended open stands; the transitions are a table in cloud/batches.py."""

    PROPOSED = "proposed"  # waits for its batch, the caps, the window
    SENT = "sent"  # an open is queued, half-signed or live
    OPENED = "opened"  # read back open; its episode began
    SKIPPED = "skipped"  # the rules say no; the reasons stand beside it
    QUARANTINED = "quarantined"  # the guard said no: two persons release or delete it
    FAILED = "failed"  # refused, unreachable, lapsed: people look, nothing is tried again
    CANCELLED = "cancelled"


class FreezeKind(StrEnum):
    """The two signed words about opens of everybody (R9)."""

    STOP = "stop"
    RESUME = "resume"

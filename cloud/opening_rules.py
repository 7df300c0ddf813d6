"""May this consumer's supply be taken away now? The pure function that says go, wait or skip.

Rules kept here (design.md section 7; I11; Electricity Act 2003, section 56(1)):
 * Go only on what is owed and overdue, after 15 clear days of a served notice, inside the window of
   the root-signed edge policy for the command's whole life, with no lock, dispute or payment under
   way that speaks against it.
 * *Wait* is a matter of time or of a silent agent: the proposal stays. *Skip* is final for this
   proposal: whatever speaks against it is told, all of it, because a person reads it.
 * Nothing here is asked of a close: closing never waits for any of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cloud.rules import DAY_MS, Policy
from cloud.vocabulary import LockKind
from wire.documents import EdgePolicy

NOTICE_DAYS = 16  # 15 clear days lie between the day of service and the first lawful day
TRIES_A_DAY = 3  # R14: each asks the guard for a signature of its own
LIFE_MS = 300_000  # of an open; the wire allows 600,000
SILENT_MS = 900_000  # an agent without a hello for so long refuses opens itself (R5)


class SkipReason(StrEnum):
    """Why a proposed open will not be; docs/operations.md explains each to an operator."""

    NOTHING_OWED = "nothing_owed"
    OWES_LESS = "owes_less"
    PAYMENT_PENDING = "payment_pending"
    LOCKED = "locked"
    PROTECTED = "protected"
    ALREADY_CUT = "already_cut"
    RELAY_OPEN = "relay_open"
    OUTSIDE_PHASE = "outside_phase"
    ACCOUNT_CLOSED = "account_closed"
    MAPPING_CHANGED = "mapping_changed"
    AGENT_SUSPENDED = "agent_suspended"


class WaitReason(StrEnum):
    """Why a proposed open is not sent yet."""

    NOTICE_RUNS = "notice_runs"
    OUTSIDE_WINDOW = "outside_window"
    DWELL = "dwell"
    AGENT_SILENT = "agent_silent"
    METER_MOVES = "meter_moves"
    TRIED_TODAY = "tried_today"


class OpenReason(StrEnum):
    """Why an open goes, or is asked after."""

    ARREARS = "arrears_after_notice"
    OUTCOME_UNKNOWN = "outcome_unknown"  # a read: nobody knows whether the open acted


class UnsentReason(StrEnum):
    """Why an open that the rules let go was not sent, or not yet; its proposal waits again."""

    PACED = "paced"  # hour, day, feeder, transformer or agent has had its share
    HELD = "held"  # a stop, missing payments or an old registry came before it was sent
    UNANSWERED = "unanswered"  # the guard gave no word in 120 s


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSituation:
    """What is known of one proposal when it is looked at."""

    proposal_id: int
    account_id: str
    meter_id: str
    sum_paise: int  # what the notice demanded
    owed_paise: int  # the fold of the account's entries, less bills that are not due yet
    notice_served_at_ms: int
    proposed_at_ms: int
    has_payment_pending: bool  # a fact of the last 72 h that is not final
    locks: frozenset[LockKind]
    is_protected: bool
    has_open_episode: bool
    is_relay_open: bool  # by the newest reading
    installed_at_ms: int
    is_account_closed: bool
    mapped_account_id: str
    mapped_at_ms: int
    closed_at_ms: int | None  # when the relay was last closed by us
    agent_heard_at_ms: int | None
    is_agent_suspended: bool
    is_meter_moving: bool
    tries_today: int = 0  # opens signed for this proposal in 24 h


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConclusion:
    """Go when there are no reasons; skip when any is a skip; else wait."""

    skips: tuple[SkipReason, ...] = ()
    waits: tuple[WaitReason, ...] = ()

    @property
    def may_go(self) -> bool:
        """Whether the open may be sent now."""
        return not self.skips and not self.waits


def conclude(
    situation: OpenSituation, policy: Policy, edge: EdgePolicy, *, now_ms: int
) -> OpenConclusion:
    """Whether this open may go, must wait, or will not be.

    Args:
        situation: the facts, read in the transaction that stores the decision.
        policy: the company's numbers.
        edge: the registry's policy: windows, closed days, dwell.
        now_ms: the engine's clock.
    """
    return OpenConclusion(
        skips=tuple(skips(situation, policy)), waits=tuple(_waits(situation, edge, now_ms))
    )


def skips(situation: OpenSituation, policy: Policy) -> list[SkipReason]:
    """Everything that speaks against this open for good, whenever it is looked at."""
    speaks_against = {
        SkipReason.NOTHING_OWED: situation.owed_paise <= policy.tolerance_paise,
        # The notice named a sum; who owes less now is owed another notice.
        SkipReason.OWES_LESS: situation.owed_paise + policy.tolerance_paise < situation.sum_paise,
        SkipReason.PAYMENT_PENDING: situation.has_payment_pending,
        SkipReason.LOCKED: bool(situation.locks),
        SkipReason.PROTECTED: situation.is_protected,
        SkipReason.ALREADY_CUT: situation.has_open_episode,
        SkipReason.RELAY_OPEN: situation.is_relay_open,
        SkipReason.OUTSIDE_PHASE: not (
            policy.installed_from_ms <= situation.installed_at_ms < policy.installed_before_ms
        ),
        SkipReason.ACCOUNT_CLOSED: situation.is_account_closed,
        SkipReason.MAPPING_CHANGED: situation.mapped_account_id != situation.account_id
        or situation.mapped_at_ms > situation.proposed_at_ms,
        SkipReason.AGENT_SUSPENDED: situation.is_agent_suspended,
    }
    return [reason for reason, speaks in speaks_against.items() if speaks]


def _waits(situation: OpenSituation, edge: EdgePolicy, now_ms: int) -> list[WaitReason]:
    heard_at_ms = situation.agent_heard_at_ms
    closed_at_ms = situation.closed_at_ms
    speaks_against = {
        WaitReason.NOTICE_RUNS: now_ms < first_lawful_ms(situation.notice_served_at_ms, edge),
        WaitReason.OUTSIDE_WINDOW: not is_within_window(edge, now_ms, now_ms + LIFE_MS),
        WaitReason.DWELL: closed_at_ms is not None and now_ms - closed_at_ms < edge.dwell_ms,
        WaitReason.AGENT_SILENT: heard_at_ms is None or now_ms - heard_at_ms > SILENT_MS,
        WaitReason.METER_MOVES: situation.is_meter_moving,
        WaitReason.TRIED_TODAY: situation.tries_today >= TRIES_A_DAY,
    }
    return [reason for reason, speaks in speaks_against.items() if speaks]


def first_lawful_ms(served_at_ms: int, edge: EdgePolicy) -> int:
    """Midnight of the first day on which a notice served then allows to cut, local time."""
    offset_ms = edge.utc_offset_ms
    day = (served_at_ms + offset_ms) // DAY_MS
    return (day + NOTICE_DAYS) * DAY_MS - offset_ms


def is_within_window(edge: EdgePolicy, from_ms: int, to_ms: int) -> bool:
    """Whether [from, to] lies in one allowed window of one allowed day, local time."""
    begin, end = _local(edge, from_ms), _local(edge, to_ms)
    day = (begin.date() - datetime.fromtimestamp(0, UTC).date()).days
    if begin.date() != end.date() or day in edge.closed_days:
        return False
    first, last = (one.hour * 60 + one.minute for one in (begin, end))
    return any(
        window.weekdays >> begin.weekday() & 1
        and window.from_minute <= first
        and last < window.to_minute
        for window in edge.windows
    )


def _local(edge: EdgePolicy, at_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms + edge.utc_offset_ms)

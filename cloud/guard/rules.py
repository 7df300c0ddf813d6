"""Whether one open may have the second signature: values in, reasons out; pure.

Rules kept here (R7, R1, R9; the engine's own rules are another's, and none of them is used here):
 * Every check is against the guard's own copy and its own clock. What the engine says is never a
   reason to sign, except its charges, and those only up to a limit.
 * All reasons are found, not the first alone: a person sees the whole of what was wrong.
 * A reason *waits* when the world is not ready and nothing speaks against this open: it gets no
   answer, and the engine lets it lapse. Every other reason quarantines it.
 * A disarm takes no supply away: money, notice, window and protection are not asked for it.
"""

from dataclasses import dataclass
from enum import StrEnum

from wire.documents import EdgePolicy, Manifest, OpenWindow
from wire.messages import Command, Counter
from wire.vocabulary import OPEN_LIFE_MAX_MS, Action

SKEW_MAX_MS = 60_000  # R7: so that signatures cannot be stockpiled, nor counters pushed ahead
NOTICE_DAYS = 16  # Electricity Act 2003 s. 56(1): not less than 15 clear days lie in between
NOT_FINAL_MS = 72 * 3_600_000  # how long money that is known of and not final stands in the way
SIGNATURES_A_DAY = 3  # of one meter: R14's retries of an open that could not be carried out
TOLERANCE_PAISE = 100  # Rs 1: nobody is cut, or kept, for less
# What one cut and its reconnection may have cost by the engine's word; the sample policy has
# Rs 300. A larger claim would make a paid account owe.
CHARGES_PER_CUT_MAX_PAISE = 50_000
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_THURSDAY = 3  # 1970-01-01, Monday being 0


class Reason(StrEnum):
    """Why there is no signature."""

    # The world is not ready: no answer.
    STOP = "stop"
    REGISTRY_EXPIRED = "registry_expired"
    GUARD_KEY = "guard_key"  # the registry does not let this guard sign now
    THRESHOLDS_USED_UP = "thresholds_used_up"  # a new, lost or restored store
    WATERMARKS = "watermarks"  # payments may be missing (R1)
    ORDERS = "orders"  # payments whose order was not looked up yet
    TOO_LATE = "too_late"  # over 60 s since the engine fixed it, or over: a new one will come
    # Something speaks against it: quarantined.
    BREACH = "breach"
    FROM_FUTURE = "from_future"
    LIFE_TOO_LONG = "life_too_long"
    LOW_COUNTER = "low_counter"
    OTHER_OPEN_UNEXPIRED = "other_open_unexpired"
    SIGNED_TOO_OFTEN = "signed_too_often"
    UNKNOWN_METER = "unknown_meter"
    OTHER_AGENT = "other_agent"
    OTHER_ACCOUNT = "other_account"
    MANIFEST_UNKNOWN = "manifest_unknown"
    PROTECTED = "protected"
    WINDOW = "window"
    NO_PROPOSAL = "no_proposal"
    NOTICE_TOO_YOUNG = "notice_too_young"
    ARREARS_TOO_LOW = "arrears_too_low"
    PAID_SINCE_NOTICE = "paid_since_notice"
    PAYMENT_NOT_FINAL = "payment_not_final"
    DISPUTED = "disputed"
    LEDGER_DIFFERS = "ledger_differs"


WAITS = frozenset(
    {
        Reason.STOP,
        Reason.REGISTRY_EXPIRED,
        Reason.GUARD_KEY,
        Reason.THRESHOLDS_USED_UP,
        Reason.WATERMARKS,
        Reason.ORDERS,
        Reason.TOO_LATE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The newest proposal for the meter in the guard's own file."""

    account_id: str
    sum_paise: int
    notice_served_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An account in the guard's own fold, and in the engine's ledger."""

    billed_paise: int = 0  # every bill
    due_paise: int = 0  # bills whose due day is over
    paid_paise: int = 0  # captured, less what went back
    paid_since_notice_paise: int = 0
    is_disputed: bool = False
    has_unsettled: bool = False  # money of the last 72 h that counts for nothing yet
    cuts_before_notice: int = 0  # days on which this guard signed an open for the account
    engine_owed_paise: int = 0
    engine_charges_paise: int = 0

    @property
    def believed_charges_paise(self) -> int:
        """The engine's charges, up to those of the cuts we know and of one before our time.

        They make up for what was paid for earlier cuts, and for nothing that was paid since the
        notice: else a claim could eat the payment that the notice asked for.
        """
        if self.paid_since_notice_paise > TOLERANCE_PAISE:
            return 0
        limit = (1 + self.cuts_before_notice) * CHARGES_PER_CUT_MAX_PAISE
        return max(0, min(self.engine_charges_paise, limit))

    @property
    def arrears_paise(self) -> int:
        """What is owed and overdue."""
        return self.due_paise + self.believed_charges_paise - self.paid_paise

    @property
    def differs(self) -> bool:
        """Whether the engine's ledger tells another story of bills and payments than ours."""
        engine_paise = self.engine_owed_paise - self.engine_charges_paise
        return engine_paise != self.billed_paise - self.paid_paise


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter in the guard's own list."""

    account_id: str
    agent_id: str
    is_protected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the guard itself knows of one command, its meter and its account."""

    now_ms: int
    policy: EdgePolicy
    meter: Meter | None
    engine_account_id: str | None
    last_counter: Counter | None = None  # the highest it ever signed for the meter
    has_unexpired: bool = False  # another open it signed for the meter may still act
    signatures_today: int = 0
    manifest: Manifest | None = None  # the one the command names, if two approvers signed it
    proposal: Proposal | None = None
    money: Money = Money()


def reasons_against(command: Command, facts: Facts) -> tuple[Reason, ...]:
    """Everything that speaks against signing; empty: it may be counted and signed."""
    found = [*_of_counter(command, facts), *_of_meter(command, facts)]
    if command.action != Action.DISARM:
        found += [*_of_time(command, facts), *_of_notice(facts), *_of_money(facts)]
    return tuple(found)


def _of_counter(command: Command, facts: Facts) -> list[Reason]:
    found = []
    ahead_ms = command.sequence_ms - facts.now_ms
    if ahead_ms > SKEW_MAX_MS:
        found.append(Reason.FROM_FUTURE)
    if -ahead_ms > SKEW_MAX_MS or command.expires_at_ms <= facts.now_ms:
        found.append(Reason.TOO_LATE)
    if not 0 < command.expires_at_ms - command.sequence_ms <= OPEN_LIFE_MAX_MS:
        found.append(Reason.LIFE_TOO_LONG)
    counter = Counter(epoch=command.epoch, sequence_ms=command.sequence_ms)
    if facts.last_counter is not None and counter <= facts.last_counter:
        found.append(Reason.LOW_COUNTER)
    if facts.has_unexpired:
        found.append(Reason.OTHER_OPEN_UNEXPIRED)
    if facts.signatures_today >= SIGNATURES_A_DAY:
        found.append(Reason.SIGNED_TOO_OFTEN)
    return found


def _of_meter(command: Command, facts: Facts) -> list[Reason]:
    meter = facts.meter
    if meter is None:
        return [Reason.UNKNOWN_METER]
    found = []
    if meter.agent_id != command.agent:
        found.append(Reason.OTHER_AGENT)
    if meter.account_id != facts.engine_account_id:
        found.append(Reason.OTHER_ACCOUNT)
    if command.manifest is not None and not _is_named(command, facts.manifest):
        found.append(Reason.MANIFEST_UNKNOWN)
    if meter.is_protected and command.action != Action.DISARM:
        found.append(Reason.PROTECTED)
    return found


def _is_named(command: Command, manifest: Manifest | None) -> bool:
    return (
        manifest is not None
        and manifest.agent == command.agent
        and command.meter in manifest.meters
    )


def _of_time(command: Command, facts: Facts) -> list[Reason]:
    from_ms = min(facts.now_ms, command.sequence_ms)
    if is_allowed(facts.policy, from_ms, command.expires_at_ms):
        return []
    return [Reason.WINDOW]


def _of_notice(facts: Facts) -> list[Reason]:
    proposal, meter = facts.proposal, facts.meter
    if proposal is None:
        return [Reason.NO_PROPOSAL]
    found = []
    if meter is not None and proposal.account_id != meter.account_id:
        found.append(Reason.OTHER_ACCOUNT)  # the meter went to another account since the notice
    served = local_day(facts.policy, proposal.notice_served_at_ms)
    if local_day(facts.policy, facts.now_ms) - served < NOTICE_DAYS:
        found.append(Reason.NOTICE_TOO_YOUNG)
    if facts.money.arrears_paise + TOLERANCE_PAISE < proposal.sum_paise:
        found.append(Reason.ARREARS_TOO_LOW)
    # A paid notice is used up, whatever was billed since: the next cut needs a notice of its own.
    if facts.money.paid_since_notice_paise + TOLERANCE_PAISE >= proposal.sum_paise:
        found.append(Reason.PAID_SINCE_NOTICE)
    return found


def _of_money(facts: Facts) -> list[Reason]:
    money = facts.money
    found = []
    if money.has_unsettled:
        found.append(Reason.PAYMENT_NOT_FINAL)
    if money.is_disputed:
        found.append(Reason.DISPUTED)
    if money.differs:
        found.append(Reason.LEDGER_DIFFERS)
    return found


def local_day(policy: EdgePolicy, at_ms: int) -> int:
    """Days since 1970-01-01 by the policy's own clock."""
    return _local_ms(policy, at_ms) // _DAY_MS


def day_begins_ms(policy: EdgePolicy, day: int) -> int:
    """When that local day begins, ms UTC."""
    return day * _DAY_MS - _offset_ms(policy)


def is_allowed(policy: EdgePolicy, from_ms: int, until_ms: int) -> bool:
    """Whether one window of one working day holds the whole of [from, until]."""
    day, begins_ms = divmod(_local_ms(policy, from_ms), _DAY_MS)
    last_day, ends_ms = divmod(_local_ms(policy, until_ms), _DAY_MS)
    if day != last_day or day in policy.closed_days:
        return False
    weekday = (day + _THURSDAY) % 7
    return any(_holds(window, weekday, begins_ms, ends_ms) for window in policy.windows)


def _holds(window: OpenWindow, weekday: int, begins_ms: int, ends_ms: int) -> bool:
    return (
        bool(window.weekdays >> weekday & 1)
        and window.from_minute * _MINUTE_MS <= begins_ms
        and ends_ms < window.to_minute * _MINUTE_MS
    )


def _local_ms(policy: EdgePolicy, at_ms: int) -> int:
    return at_ms + _offset_ms(policy)


def _offset_ms(policy: EdgePolicy) -> int:
    return policy.utc_offset_ms

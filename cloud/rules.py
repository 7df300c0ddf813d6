"""May this consumer's supply come back? The one pure function that decides, and what it looks at.

Rules kept here (docs/architecture.md, "decide"): a close needs the quote covered within the
tolerance, the lock set to be exactly {non_payment}, a remote cut, a meter of the enabled phase that
still measures the same account as at the cut. Every fact that speaks against it is a reason, all of
them, not only the first: a person reads them. A payment clears non_payment and no other lock (I10).
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from cloud.vocabulary import CutBy, LockKind, Verdict
from wire.decoding import canonical

DAY_MS = 86_400_000


class Reason(StrEnum):
    """A word of a decision; docs/operations.md explains each to an operator."""

    QUOTE_COVERED = "quote_covered"
    ALREADY_CLOSED = "already_closed"
    ARMED = "armed"
    NO_QUOTE = "no_quote"
    SHORT = "short"
    OTHER_LOCK = "other_lock"
    NOT_CUT_REMOTELY = "not_cut_remotely"
    OUTSIDE_PHASE = "outside_phase"
    MAPPING_CHANGED = "mapping_changed"
    OFF_TOO_LONG = "off_too_long"
    METER_REFUSED = "meter_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A company's numbers; the built-in one is MP Paschim's first phase."""

    name: str
    tolerance_paise: int
    installed_from_ms: int
    installed_before_ms: int
    off_max_ms: int
    report_age_max_ms: int  # an older report is confirmed by a person first
    quote_life_ms: int
    disconnection_paise: int  # what a cut costs its consumer
    reconnection_paise: int

    @property
    def digest(self) -> bytes:
        """SHA-256 over its canonical msgpack: which policy a decision was made under."""
        return sha256(canonical(self)).digest()


MP_WEST_FIRST_PHASE = Policy(
    name="mp_west first phase",
    tolerance_paise=100,
    installed_from_ms=1_577_817_000_000,  # 2020-01-01 00:00 IST
    installed_before_ms=1_735_669_800_000,  # 2025-01-01 00:00 IST: to 2024-12-31 inclusive
    off_max_ms=180 * DAY_MS,
    report_age_max_ms=DAY_MS,
    quote_life_ms=DAY_MS,
    disconnection_paise=0,
    reconnection_paise=30_000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of one episode when it is decided."""

    episode_id: int
    account_id: str
    meter_id: str
    cut_at_ms: int
    cut_by: CutBy
    is_ended: bool
    quote_paise: int | None
    credited_paise: int  # final payments since the cut, less what went back
    locks: frozenset[LockKind]  # standing, pending ones included
    installed_at_ms: int
    mapped_account_id: str
    mapped_at_ms: int
    is_armed: bool = False  # waits for the button: the consumer acts, no command does
    meter_refused_because: str | None = None  # load-side voltage and the like: people must look


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What the rules say, and why."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    other_locks: tuple[LockKind, ...] = ()
    short_by_paise: int = 0

    @property
    def is_covered(self) -> bool:
        """Whether the money side is settled, whatever else stands in the way."""
        return Reason.SHORT not in self.reasons and Reason.NO_QUOTE not in self.reasons


def decide(situation: Situation, policy: Policy, *, now_ms: int) -> Conclusion:
    """Whether to close this episode's relay now.

    Args:
        situation: the facts, read in the transaction that stores the decision.
        policy: the company's numbers.
        now_ms: the engine's clock.
    """
    if situation.is_ended:
        return Conclusion(verdict=Verdict.NONE, reasons=(Reason.ALREADY_CLOSED,))
    reasons: list[Reason] = []
    short_by = 0
    if situation.quote_paise is None:
        reasons.append(Reason.NO_QUOTE)
    else:
        missing = situation.quote_paise - situation.credited_paise
        if missing > policy.tolerance_paise:
            short_by = missing
            reasons.append(Reason.SHORT)
    others = tuple(sorted(situation.locks - {LockKind.NON_PAYMENT}))
    if others:
        reasons.append(Reason.OTHER_LOCK)
    if situation.cut_by is not CutBy.REMOTE:
        reasons.append(Reason.NOT_CUT_REMOTELY)
    if not policy.installed_from_ms <= situation.installed_at_ms < policy.installed_before_ms:
        reasons.append(Reason.OUTSIDE_PHASE)
    if _mapping_changed(situation):
        reasons.append(Reason.MAPPING_CHANGED)
    if now_ms - situation.cut_at_ms > policy.off_max_ms:
        reasons.append(Reason.OFF_TOO_LONG)
    if situation.meter_refused_because is not None:
        reasons.append(Reason.METER_REFUSED)
    if situation.is_armed:
        reasons.append(Reason.ARMED)
    if reasons:
        return Conclusion(
            verdict=Verdict.NONE,
            reasons=tuple(reasons),
            other_locks=others,
            short_by_paise=short_by,
        )
    return Conclusion(verdict=Verdict.CLOSE, reasons=(Reason.QUOTE_COVERED,))


def _mapping_changed(situation: Situation) -> bool:
    """A meter that was exchanged or moved since the cut: closing it could light another house."""
    return (
        situation.mapped_account_id != situation.account_id
        or situation.mapped_at_ms > situation.cut_at_ms
    )

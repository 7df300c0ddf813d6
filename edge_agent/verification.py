"""Whether a genuine command may be carried out: steps 8 to 18 of docs/protocol.md, in their order.

Steps 1 to 7 (`wire.checking`) have said that the message is genuine and ours. Rules kept here:
 * An earlier step wins: two agents that see the same facts give the same answer.
 * *Not now* leaves no trace, the engine sends again; a *refusal* is final for these bytes.
 * Closes need a welcome and a rising counter; opens need two keys and everything else as well.
 * Pure: journal, clock, roster and registry come as facts.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.caps import COOL_OFF_MS, agent_limit, is_journal_young, is_within_windows
from edge_agent.clock import CLOSE_WELCOME_MAX_AGE_MS, OPEN_WELCOME_MAX_AGE_MS, TimeView
from wire.documents import EdgePolicy
from wire.messages import Command, Counter
from wire.vocabulary import (
    CLOSE_LIFE_MAX_MS,
    LIFE_MAX_MS,
    REFUSALS_THAT_KEEP_COUNTER,
    TWO_KEY_ACTIONS,
    Action,
    RefusalReason,
    Role,
)

FUTURE_MAX_MS = 60_000  # how far a sequence may be ahead of the latest time
CAPPED = frozenset({Action.OPEN, Action.DISARM})  # whose number a day is limited (R2, R15)
_ACTIONS = frozenset(Action)
_GUARDABLE = frozenset({Action.CLOSE, Action.ARM})


class NotNowReason(StrEnum):
    """Why a command is dropped without a trace; the engine's re-send will come."""

    NO_WELCOME = "no_welcome"
    WINDOW_FULL = "window_full"
    JOURNAL_FULL = "journal_full"


@dataclass(frozen=True, slots=True)
class NotNow:
    """Dropped unjournaled and unanswered."""

    reason: NotNowReason


@dataclass(frozen=True, slots=True)
class AlreadyFinished:
    """Known and ended: the stored item is the answer, for ever."""

    item_number: int


@dataclass(frozen=True, slots=True)
class InProgress:
    """Known and under way: its outcome will come."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Genuine, ours, and not to be done: journaled, acknowledged, final."""

    reason: RefusalReason

    def raises_counter(self, action: str) -> bool:
        """Whether the meter's highest counter follows this refusal."""
        return action != Action.READ and self.reason not in REFUSALS_THAT_KEEP_COUNTER


@dataclass(frozen=True, slots=True)
class Accept:
    """To be journaled, then done."""


Verdict = NotNow | AlreadyFinished | InProgress | Refusal | Accept


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """What a manifest that this agent holds says of one meter."""

    held_for_ms: int  # of running time
    expires_at_ms: int
    names_meter: bool
    is_used: bool  # this meter was about to be opened under it


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningFacts:
    """What only an open or a disarm asks for."""

    registry_version: int
    registry_expires_at_ms: int
    welcome_trust_version: int  # what the last welcome says there is
    policy: EdgePolicy
    is_stopped: bool
    is_protected: bool
    running_ms: int
    since_close_ms: int | None  # running ms since this agent last closed the meter; None: never
    meter_opens: int  # in the last 24 h of running time
    agent_opens: int
    reached: int  # meters this agent read in the last 7 days of running time
    manifest: ManifestFacts | None  # the one the command names, if it is held


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFacts:
    """What journal, clock and roster say about one command, at one moment."""

    time: TimeView | None
    finished_item: int | None  # the number of its final item
    is_unfinished: bool
    outstanding: int  # journaled without outcome; withdraws are not counted
    window: int
    is_journal_full: bool
    floor: Counter
    highest: Counter | None
    is_meter_known: bool
    is_guarded: bool  # closes of this meter need the guard too
    roles: frozenset[Role]
    opening: OpeningFacts | None  # None for everything but opens and disarms


def verify(command: Command, facts: CommandFacts) -> Verdict:
    """Judge one command by steps 8 to 18."""
    time = facts.time
    if time is None or time.age_ms > CLOSE_WELCOME_MAX_AGE_MS:
        return NotNow(NotNowReason.NO_WELCOME)
    if facts.finished_item is not None:
        return AlreadyFinished(facts.finished_item)
    if facts.is_unfinished:
        return InProgress()
    # A withdrawal makes the work less, so a full window does not keep it out.
    if command.action != Action.WITHDRAW and facts.outstanding >= facts.window:
        return NotNow(NotNowReason.WINDOW_FULL)
    if facts.is_journal_full:
        return NotNow(NotNowReason.JOURNAL_FULL)
    reason = _refusal_of_counter(command, facts, time) or _refusal_of_content(command, facts, time)
    return Accept() if reason is None else Refusal(reason)


def _refusal_of_counter(
    command: Command, facts: CommandFacts, time: TimeView
) -> RefusalReason | None:
    """Steps 10 to 14: counter, life, expiry."""
    counter = counter_of(command)
    if counter <= facts.floor:
        return RefusalReason.BEFORE_WELCOME
    is_read = command.action == Action.READ
    # A recorded close replayed after the consumer fell into arrears again.
    if not is_read and facts.highest is not None and counter <= facts.highest:
        return RefusalReason.LOW_COUNTER
    if command.sequence_ms > time.latest_ms + FUTURE_MAX_MS:
        return RefusalReason.FROM_FUTURE
    if command.expires_at_ms - command.sequence_ms > _life_max_ms(command.action):
        return RefusalReason.LIFE_TOO_LONG
    return expiry_refusal(command, time)


def _refusal_of_content(
    command: Command, facts: CommandFacts, time: TimeView
) -> RefusalReason | None:
    """Steps 15 to 18: meter, action, keys, and the rules on opens."""
    if not facts.is_meter_known:
        return RefusalReason.UNKNOWN_METER
    if command.action not in _ACTIONS:
        return RefusalReason.UNKNOWN_ACTION
    if Role.GUARD not in facts.roles:
        if command.action in TWO_KEY_ACTIONS:
            return RefusalReason.MISSING_GUARD
        # A stolen engine key closes what people work on (R20).
        if command.action in _GUARDABLE and facts.is_guarded:
            return RefusalReason.GUARDED
    if command.action not in CAPPED:
        return None
    if facts.opening is None:  # an open judged without its facts must never pass
        return RefusalReason.TRUST_EXPIRED
    return opening_refusal(command, facts.opening, time)


def expiry_refusal(command: Command, time: TimeView) -> RefusalReason | None:
    """Step 14; asked again immediately before the relay is told to move."""
    return RefusalReason.EXPIRED if time.latest_ms >= command.expires_at_ms else None


def opening_refusal(command: Command, facts: OpeningFacts, time: TimeView) -> RefusalReason | None:
    """Step 18; asked again immediately before the relay is told to move."""
    if time.latest_ms >= facts.registry_expires_at_ms:
        return RefusalReason.TRUST_EXPIRED
    if facts.registry_version < facts.welcome_trust_version:
        return RefusalReason.TRUST_OLD
    if time.age_ms > OPEN_WELCOME_MAX_AGE_MS or time.is_disputed:
        return RefusalReason.CLOCK_UNTRUSTED
    if facts.is_stopped:
        return RefusalReason.STOP
    if command.action == Action.OPEN:
        reason = _hardship_refusal(facts, time)
        if reason is not None:
            return reason
    return _cap_refusal(command, facts, time)


def _hardship_refusal(facts: OpeningFacts, time: TimeView) -> RefusalReason | None:
    """What guards those who have supply; an armed relay gives none, so a disarm is not asked."""
    if facts.is_protected:
        return RefusalReason.PROTECTED
    if not is_within_windows(facts.policy, time.earliest_ms, time.latest_ms):
        return RefusalReason.WINDOW
    if facts.since_close_ms is not None and facts.since_close_ms < facts.policy.dwell_ms:
        return RefusalReason.DWELL
    return None


def _cap_refusal(command: Command, facts: OpeningFacts, time: TimeView) -> RefusalReason | None:
    is_young = is_journal_young(facts.running_ms)
    if is_young or facts.meter_opens >= facts.policy.per_meter_opens:
        return RefusalReason.CAP_METER
    if command.manifest is not None:
        return _manifest_refusal(facts.manifest, time)
    if facts.agent_opens >= agent_limit(facts.policy, facts.reached):
        return RefusalReason.CAP_AGENT
    return None


def _manifest_refusal(manifest: ManifestFacts | None, time: TimeView) -> RefusalReason | None:
    """Two approvers lift the agent's cap, and nothing else (R10)."""
    if manifest is None:
        return RefusalReason.MANIFEST_UNKNOWN
    if manifest.held_for_ms < COOL_OFF_MS:
        return RefusalReason.MANIFEST_COOLING
    if time.latest_ms >= manifest.expires_at_ms:
        return RefusalReason.MANIFEST_EXPIRED
    if not manifest.names_meter:
        return RefusalReason.METER_NOT_IN_MANIFEST
    return RefusalReason.MANIFEST_USED if manifest.is_used else None


def counter_of(command: Command) -> Counter:
    """The command's place in its meter's order."""
    return Counter(epoch=command.epoch, sequence_ms=command.sequence_ms)


def _life_max_ms(action: str) -> int:
    # An action nobody knows is refused for that two steps later; until then it lives as a close.
    return LIFE_MAX_MS[Action(action)] if action in _ACTIONS else CLOSE_LIFE_MAX_MS

"""The door to relays, and the steps of one operation on one relay, written once.

`operate` is a generator: it yields what it wants of the world (a reading, a movement, a pause,
leave to act) and is sent the answer, so that the asynchronous host and a synchronous simulation run
the same steps. Rules kept here:
 * A relay that already is as asked is not told to move; one that cannot be armed, or is not armed
   and so cannot be disarmed, is refused (R15).
 * Between the first reading and the ACTION stands `AskToAct`: the agent looks once more whether the
   command may still act, and journals `actuating` (I5).
 * A meter's "success" is not a moved contact: an outcome is what was read back (I8).
 * An ACTION without an answer may have acted: it is read back, and never sent a second time here.
 * After a restart in the middle of an ACTION the relay is read first; only if it has not moved is
   leave asked again (I6).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from wire.fields import CommandId, MeterId
from wire.messages import RelayReading
from wire.vocabulary import Action, Outcome, RefusalReason

READ_TRIES = 3
READ_TRIES_WITHIN_MS = 90_000
READ_TRY_PAUSES_MS = (5_000, 15_000)  # a cellular line that was asleep answers the second time
SETTLE_MS = 30_000  # the slowest relay measured takes some seconds; a slow line doubles that
SETTLE_BY_ITSELF_MS = 45_000  # modes 5 and 6: the meter closes itself within 30 s
POLL_FIRST_MS = 100
POLL_CAP_MS = 5_000  # doubled up to here: at most 15 readings within 45 s
_ARMS = frozenset({1, 3})
_METHODS = {Action.ARM: Action.CLOSE, Action.DISARM: Action.OPEN}  # what the door is asked for
_CLOSES_BY_ITSELF = frozenset({5, 6})
_TOWARDS_SUPPLY = frozenset({Action.CLOSE, Action.ARM})
_DISCONNECTED, _CONNECTED, _READY = 0, 1, 2  # control_state of class 70


class RelayDoor(Protocol):
    """The way to the relays of one concentrator's meters."""

    async def read(self, meter: MeterId) -> tuple[bool, int, int]:
        """Read (output, control_state, control_mode).

        Raises:
            TimeoutError: the meter does not answer.
        """

    async def close(self, meter: MeterId) -> None:
        """Ask for remote_reconnect.

        Raises:
            TimeoutError: no answer; whether the meter acted is unknown.
            PermissionError: the meter refuses; the text is its reason.
        """

    async def open(self, meter: MeterId) -> None:
        """Ask for remote_disconnect; raises as `close` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayJob:
    """One operation to run: for which command, on which relay, how."""

    command_id: CommandId
    meter: MeterId
    action: Action  # close, arm, open, disarm or read
    was_acting: bool = False  # a crash fell between `actuating` and its outcome
    may_move: bool = True  # False: it acted twice already, so it is only read back


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayResult:
    """How an operation ended; `outcome` None: the agent gave no leave and has said why itself."""

    command_id: CommandId
    meter: MeterId
    outcome: Outcome | None
    reason: str | None = None
    before: RelayReading | None = None
    after: RelayReading | None = None


@dataclass(frozen=True, slots=True)
class ReadRelay:
    """Wants a reading; answered by it, or by `NoAnswer`."""


@dataclass(frozen=True, slots=True)
class MoveRelay:
    """Wants the ACTION, close or open.

    Answered by None (the meter said success), `NoAnswer` or `MeterRefused`.
    """

    action: Action


@dataclass(frozen=True, slots=True)
class Pause:
    """Wants time to pass; answered by None."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class AskToAct:
    """Wants leave, with the reading in hand; answered by `Leave`."""

    command_id: CommandId
    reading: RelayReading


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The meter did not answer in time."""


@dataclass(frozen=True, slots=True)
class MeterRefused:
    """The meter said no."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether `actuating` is journaled and the relay may be told to move."""

    is_given: bool


Request = ReadRelay | MoveRelay | Pause | AskToAct
Answer = RelayReading | NoAnswer | MeterRefused | Leave | None
Steps = Generator[Request, Answer, RelayResult]


def operate(job: RelayJob, elapsed_ms: Callable[[], int]) -> Steps:
    """The steps of one operation; its return value is the result."""
    first = yield from _first_reading(elapsed_ms)
    if first is None:
        return _result(job, Outcome.UNKNOWN if job.was_acting else Outcome.UNREACHABLE)
    if job.action is Action.READ:
        return _result(job, Outcome.READ, after=first)
    if job.was_acting:
        first = (yield from _settled(job.action, first, elapsed_ms)) or first
        moved = moved_to(job.action, first)
        if moved is not None or not job.may_move:
            return _result(job, moved or Outcome.UNCHANGED, after=first)
    else:
        already = already_there(job.action, first)
        if already is not None:
            return _result(job, already, before=first, after=first)
        refused = refusal_of(job.action, first)
        if refused is not None:
            return _result(job, Outcome.REFUSED, reason=refused.value, before=first)
    leave = yield AskToAct(job.command_id, first)
    if not isinstance(leave, Leave) or not leave.is_given:
        return _result(job, None)
    return (yield from _act(job, first, elapsed_ms))


def _act(job: RelayJob, before: RelayReading, elapsed_ms: Callable[[], int]) -> Steps:
    answer = yield MoveRelay(_METHODS.get(job.action, job.action))
    back = yield ReadRelay()
    after = back if isinstance(back, RelayReading) else None
    if isinstance(answer, MeterRefused):
        return _result(
            job, Outcome.REFUSED_BY_METER, reason=answer.reason, before=before, after=after
        )
    after = yield from _settled(job.action, after, elapsed_ms)
    moved = moved_to(job.action, after)
    if moved is not None:
        return _result(job, moved, before=before, after=after)
    # Unanswered and not moved so far: it may still be on its way, so nobody knows.
    is_unknown = after is None or isinstance(answer, NoAnswer)
    outcome = Outcome.UNKNOWN if is_unknown else Outcome.UNCHANGED
    return _result(job, outcome, before=before, after=after)


def already_there(action: Action, reading: RelayReading) -> Outcome | None:
    """The outcome without an ACTION, if the relay rests where it is wanted."""
    is_armed = reading.control_state == _READY and reading.control_mode in _ARMS
    if action is Action.ARM and reading.control_mode not in _ARMS:
        return None  # refused, however it rests: what is promised to be armed must be able to
    if action in _TOWARDS_SUPPLY:
        if reading.output and reading.control_state == _CONNECTED:
            return Outcome.ALREADY_CLOSED
        return Outcome.ARMED if is_armed and not reading.output else None
    # An armed relay is open, but one press closes it: only `disconnected` is open for good.
    is_open = not reading.output and reading.control_state == _DISCONNECTED
    return Outcome.ALREADY_OPEN if is_open else None


def refusal_of(action: Action, reading: RelayReading) -> RefusalReason | None:
    """Why the relay, read before the ACTION, cannot be told to do this."""
    if action is Action.ARM and reading.control_mode not in _ARMS:
        return RefusalReason.MODE_CANNOT_ARM
    is_armed = reading.control_state == _READY and not reading.output
    if action is Action.DISARM and not is_armed:
        return RefusalReason.RELAY_CLOSED
    return None


def moved_to(action: Action, reading: RelayReading | None) -> Outcome | None:
    """What a reading behind the ACTION proves; the contact decides, not the control state."""
    if reading is None:
        return None
    if action in _TOWARDS_SUPPLY:
        if reading.output:
            # Somebody pressed the button meanwhile: an arm by itself closes nothing.
            return Outcome.CLOSED if action is Action.CLOSE else Outcome.ALREADY_CLOSED
        return Outcome.ARMED if reading.control_state == _READY else None
    if action is Action.DISARM:
        # The contact was open before: only the control state can show that it is disarmed.
        is_disarmed = not reading.output and reading.control_state == _DISCONNECTED
        return Outcome.DISARMED if is_disarmed else None
    is_open = not reading.output and reading.control_state != _READY
    return Outcome.OPENED if is_open else None


def _is_settled(action: Action, reading: RelayReading) -> bool:
    """Whether contact and control state agree on where the action leads."""
    if action not in _TOWARDS_SUPPLY:
        return not reading.output and reading.control_state == _DISCONNECTED
    if reading.control_state == _READY and not reading.output:
        return reading.control_mode not in _CLOSES_BY_ITSELF
    return reading.output and reading.control_state == _CONNECTED


def _first_reading(
    elapsed_ms: Callable[[], int],
) -> Generator[Request, Answer, RelayReading | None]:
    until_ms = elapsed_ms() + READ_TRIES_WITHIN_MS
    for pause_ms in (*READ_TRY_PAUSES_MS, 0):  # READ_TRIES tries
        answer = yield ReadRelay()
        if isinstance(answer, RelayReading):
            return answer
        if not pause_ms or elapsed_ms() + pause_ms >= until_ms:
            return None
        yield Pause(pause_ms)
    return None


def _settled(
    action: Action, reading: RelayReading | None, elapsed_ms: Callable[[], int]
) -> Generator[Request, Answer, RelayReading | None]:
    """Read until the relay rests where the action leads, or the time is up: the last reading."""
    started_ms = elapsed_ms()
    pause_ms = POLL_FIRST_MS
    while reading is None or not _is_settled(action, reading):
        if elapsed_ms() - started_ms + pause_ms > _settle_limit_ms(action, reading):
            return reading
        yield Pause(pause_ms)
        pause_ms = min(2 * pause_ms, POLL_CAP_MS)
        answer = yield ReadRelay()
        if isinstance(answer, RelayReading):
            reading = answer
    return reading


def _settle_limit_ms(action: Action, reading: RelayReading | None) -> int:
    waits = reading is not None and reading.control_mode in _CLOSES_BY_ITSELF
    return SETTLE_BY_ITSELF_MS if waits and action in _TOWARDS_SUPPLY else SETTLE_MS


def _result(
    job: RelayJob,
    outcome: Outcome | None,
    *,
    reason: str | None = None,
    before: RelayReading | None = None,
    after: RelayReading | None = None,
) -> RelayResult:
    return RelayResult(
        command_id=job.command_id,
        meter=job.meter,
        outcome=outcome,
        reason=reason,
        before=before,
        after=after,
    )

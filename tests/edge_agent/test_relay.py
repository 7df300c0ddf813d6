"""The steps of one operation, against the simulated meters and their faults."""

import pytest

from edge_agent.relay import (
    READ_TRIES,
    READ_TRIES_WITHIN_MS,
    SETTLE_BY_ITSELF_MS,
    SETTLE_MS,
    AskToAct,
    Leave,
    MeterRefused,
    MoveRelay,
    NoAnswer,
    Pause,
    ReadRelay,
    RelayJob,
    RelayResult,
    operate,
)
from wire.fields import CommandId
from wire.messages import RelayReading
from wire.vocabulary import Action, Outcome

COMMAND = CommandId(bytes(16))
SILENT = NoAnswer()


def relay(output, state: int, mode: int = 4) -> RelayReading:
    return RelayReading(output=output, control_state=state, control_mode=mode)


OPEN, CLOSED = relay(False, 0), relay(True, 1)


class Line:
    """A meter that gives the readings it was told, the last one for ever, at 1 s each."""

    def __init__(self, *readings, answer=None, leave: bool = True) -> None:
        self.readings = list(readings)
        self.answer = answer
        self.leave = leave
        self.now_ms = 0
        self.asked: list[str] = []

    def run(self, action: Action, **changes) -> RelayResult:
        job = RelayJob(command_id=COMMAND, meter="M-1", action=action, **changes)
        steps = operate(job, lambda: self.now_ms)
        answer = None
        try:
            while True:
                answer = self.fulfil(steps.send(answer))
        except StopIteration as stop:
            return stop.value

    def fulfil(self, request):
        if isinstance(request, Pause):
            self.now_ms += request.wait_ms
            return None
        if isinstance(request, AskToAct):
            self.asked.append("leave")
            return Leave(self.leave)
        self.now_ms += 1_000
        if isinstance(request, MoveRelay):
            self.asked.append(request.action.value)
            return self.answer
        assert isinstance(request, ReadRelay)
        self.asked.append("read")
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


@pytest.mark.parametrize(
    ("action", "reading", "reason"),
    [
        *((Action.ARM, relay(False, 0, mode), "mode_cannot_arm") for mode in (0, 2, 4, 5, 6)),
        (Action.ARM, relay(True, 1, 4), "mode_cannot_arm"),
        (Action.ARM, relay(False, 2, 5), "mode_cannot_arm"),  # it closes by itself
        (Action.DISARM, relay(True, 1, 1), "relay_closed"),
        (Action.DISARM, relay(True, 2, 1), "relay_closed"),
        (Action.DISARM, relay(False, 1, 1), "relay_closed"),  # a close was just told
    ],
)
def test_relay_that_cannot_be_armed_or_disarmed_is_not_told_to_move(action, reading, reason):
    line = Line(reading)
    result = line.run(action)
    assert line.asked == ["read"]
    assert (result.outcome, result.reason) == (Outcome.REFUSED, reason)
    assert (result.before, result.after) == (reading, None)


ARMED, DISARMED = relay(False, 2, 1), relay(False, 0, 1)


@pytest.mark.parametrize(
    ("action", "before", "after", "outcome"),
    [
        (Action.ARM, DISARMED, ARMED, Outcome.ARMED),
        (Action.ARM, DISARMED, relay(True, 1, 1), Outcome.ALREADY_CLOSED),  # pressed at once
        (Action.ARM, DISARMED, DISARMED, Outcome.UNCHANGED),
        (Action.DISARM, ARMED, DISARMED, Outcome.DISARMED),
        (Action.DISARM, ARMED, ARMED, Outcome.UNCHANGED),
        (Action.DISARM, ARMED, relay(True, 1, 1), Outcome.UNCHANGED),  # pressed, and not opened
        (Action.DISARM, relay(False, 2, 5), relay(False, 0, 5), Outcome.DISARMED),
    ],
)
def test_arm_and_disarm_report_what_was_read_back(action, before, after, outcome):
    line = Line(before, after)
    result = line.run(action)
    method = {Action.ARM: "close", Action.DISARM: "open"}[action]
    assert line.asked[:4] == ["read", "leave", method, "read"]
    assert line.asked.count(method) == 1
    assert (result.outcome, result.before, result.after) == (outcome, before, after)


@pytest.mark.parametrize(
    ("action", "reading", "outcome"),
    [(Action.ARM, ARMED, Outcome.ARMED), (Action.DISARM, DISARMED, Outcome.DISARMED)],
)
def test_arm_or_disarm_that_acted_before_a_crash_is_read_back_and_not_repeated(
    action, reading, outcome
):
    line = Line(reading)
    result = line.run(action, was_acting=True)
    assert line.asked == ["read"]
    assert (result.outcome, result.before, result.after) == (outcome, None, reading)


def test_close_reads_asks_acts_and_reads_back_in_this_order():
    """I5 and I8: no ACTION without leave, no outcome without a reading behind it."""
    line = Line(OPEN, CLOSED)
    result = line.run(Action.CLOSE)
    assert line.asked == ["read", "leave", "close", "read"]
    assert (result.outcome, result.before, result.after) == (Outcome.CLOSED, OPEN, CLOSED)


@pytest.mark.parametrize(
    ("action", "reading", "outcome"),
    [
        (Action.CLOSE, CLOSED, Outcome.ALREADY_CLOSED),
        (Action.CLOSE, relay(False, 2, 1), Outcome.ARMED),
        (Action.CLOSE, relay(False, 2, 3), Outcome.ARMED),
        (Action.ARM, relay(False, 2, 1), Outcome.ARMED),
        (Action.ARM, relay(True, 1, 3), Outcome.ALREADY_CLOSED),
        (Action.OPEN, OPEN, Outcome.ALREADY_OPEN),
        (Action.DISARM, relay(False, 0, 1), Outcome.ALREADY_OPEN),
        (Action.READ, relay(False, 2, 5), Outcome.READ),
    ],
)
def test_relay_that_is_as_asked_is_not_told_to_move(action, reading, outcome):
    line = Line(reading)
    result = line.run(action)
    assert line.asked == ["read"]
    assert (result.outcome, result.after) == (outcome, reading)


@pytest.mark.parametrize(
    ("action", "reading"),
    [
        (Action.CLOSE, relay(True, 0)),  # an open was just told; the contact still follows
        (Action.OPEN, relay(False, 1)),  # a close was just told
        (Action.OPEN, relay(False, 2, 5)),  # armed: one press and it is closed
    ],
)
def test_relay_between_two_states_is_not_taken_for_done(action, reading):
    line = Line(reading, CLOSED if action is Action.CLOSE else OPEN)
    assert line.run(action).outcome in (Outcome.CLOSED, Outcome.OPENED)
    assert "leave" in line.asked


def test_without_leave_nothing_moves():
    """I6."""
    line = Line(OPEN, leave=False)
    assert line.run(Action.CLOSE).outcome is None
    assert line.asked == ["read", "leave"]


def test_meter_that_does_not_answer_is_tried_three_times_within_90_seconds():
    line = Line(SILENT)
    assert line.run(Action.CLOSE).outcome is Outcome.UNREACHABLE
    assert line.asked == ["read"] * READ_TRIES
    assert line.now_ms <= READ_TRIES_WITHIN_MS


def test_meter_that_answers_the_third_time_is_closed():
    assert Line(SILENT, SILENT, OPEN, CLOSED).run(Action.CLOSE).outcome is Outcome.CLOSED


def test_success_of_the_meter_without_a_moved_contact_is_unchanged():
    """I8: success is not a moved contact."""
    line = Line(OPEN)
    result = line.run(Action.CLOSE)
    assert (result.outcome, result.after) == (Outcome.UNCHANGED, OPEN)
    assert line.asked.count("close") == 1
    assert line.now_ms <= SETTLE_MS + 10_000
    assert len(line.asked) < 20


def test_slow_contact_is_waited_for():
    slow = [relay(False, 1)] * 4
    assert Line(OPEN, *slow, CLOSED).run(Action.CLOSE).outcome is Outcome.CLOSED


def test_contact_decides_when_the_control_state_contradicts_it():
    liar = relay(True, 0)
    assert Line(OPEN, liar).run(Action.CLOSE).outcome is Outcome.CLOSED
    assert Line(CLOSED, relay(False, 1)).run(Action.OPEN).outcome is Outcome.OPENED


@pytest.mark.parametrize("mode", [1, 3])
def test_mode_that_waits_for_the_button_is_armed_at_once(mode):
    line = Line(relay(False, 0, mode), relay(False, 2, mode))
    assert line.run(Action.CLOSE).outcome is Outcome.ARMED
    assert line.now_ms < 5_000


@pytest.mark.parametrize("mode", [5, 6])
def test_mode_that_closes_by_itself_has_45_seconds_before_it_counts_as_armed(mode):
    armed = relay(False, 2, mode)
    closes = Line(relay(False, 0, mode), *[armed] * 8, relay(True, 1, mode))
    assert closes.run(Action.CLOSE).outcome is Outcome.CLOSED
    never = Line(relay(False, 0, mode), armed)
    assert never.run(Action.CLOSE).outcome is Outcome.ARMED
    assert SETTLE_MS < never.now_ms <= SETTLE_BY_ITSELF_MS + 10_000


def test_armed_relay_after_an_open_is_not_opened():
    line = Line(CLOSED, relay(False, 2))
    assert line.run(Action.OPEN).outcome is Outcome.UNCHANGED


def test_refusal_of_the_meter_carries_its_reason_and_a_reading():
    result = Line(OPEN, answer=MeterRefused("mode_forbids")).run(Action.CLOSE)
    assert (result.outcome, result.reason) == (Outcome.REFUSED_BY_METER, "mode_forbids")
    assert result.after == OPEN


def test_unanswered_action_is_read_back_and_never_sent_again():
    """I6: it may have acted."""
    moved = Line(OPEN, CLOSED, answer=SILENT)
    assert moved.run(Action.CLOSE).outcome is Outcome.CLOSED
    assert moved.asked.count("close") == 1
    waiting = Line(OPEN, answer=SILENT)
    assert waiting.run(Action.CLOSE).outcome is Outcome.UNKNOWN
    assert waiting.asked.count("close") == 1
    gone = Line(OPEN, SILENT, answer=SILENT)
    result = gone.run(Action.CLOSE)
    assert (result.outcome, result.after) == (Outcome.UNKNOWN, None)


def test_after_a_restart_the_relay_is_read_before_anything_else():
    """I6."""
    done = Line(CLOSED)
    assert done.run(Action.CLOSE, was_acting=True).outcome is Outcome.CLOSED
    assert done.asked == ["read"]
    late = Line(relay(False, 1), relay(False, 1), CLOSED)
    assert late.run(Action.CLOSE, was_acting=True).outcome is Outcome.CLOSED
    assert "close" not in late.asked
    unmoved = Line(OPEN, leave=False)
    assert unmoved.run(Action.CLOSE, was_acting=True).outcome is None
    assert unmoved.asked[-1] == "leave"
    gone = Line(SILENT)
    assert gone.run(Action.CLOSE, was_acting=True).outcome is Outcome.UNKNOWN
    twice = Line(OPEN)
    result = twice.run(Action.CLOSE, was_acting=True, may_move=False)
    assert (result.outcome, result.after) == (Outcome.UNCHANGED, OPEN)
    assert "leave" not in twice.asked

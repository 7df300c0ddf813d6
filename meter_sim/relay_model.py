"""The load switch of one meter: COSEM class 70, Disconnect control, as a table of transitions.

Rules kept here:

* The table below is the whole lifecycle (DLMS UA Blue Book, class 70, transitions a to h); what is
  not in it does not happen. As in real firmware, a method without a row still answers success.
* `control_state` follows the method at once; the contact (`output_state`) follows after the
  actuation delay. Between the two they disagree, which is what a read-back exists to notice.
* The newest stimulus that moves `control_state` decides where the contact goes: a movement still
  to come is dropped, so a contact never ends where an older command wanted it.
* Pure: time is an argument in milliseconds of any one clock. A relay is a value, asked for its
  state at a time. The words of class 70 (connected, disconnected) stop at this file and its tests.
"""

from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from functools import cache
from typing import NamedTuple


class ControlState(IntEnum):
    """Attribute 3 of class 70."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


class ControlMode(IntEnum):
    """Attribute 4 of class 70: which transitions the meter allows; the rows below say which."""

    ALWAYS_CONNECTED = 0
    ARM_WITH_BUTTON = 1
    CLOSE_WITH_BUTTON = 2
    ARM = 3
    CLOSE = 4
    ARM_CLOSES_ITSELF_WITH_BUTTON = 5
    ARM_CLOSES_ITSELF = 6


class Stimulus(Enum):
    """What can act on a relay: a method, the consumer's button, or the meter itself."""

    REMOTE_DISCONNECT = "remote_disconnect"  # method 1
    REMOTE_RECONNECT = "remote_reconnect"  # method 2
    MANUAL_DISCONNECT = "manual_disconnect"
    MANUAL_RECONNECT = "manual_reconnect"
    LOCAL_DISCONNECT = "local_disconnect"  # the meter's limiter: overload, over-current
    LOCAL_RECONNECT = "local_reconnect"  # the meter's own timer


class Transition(NamedTuple):
    """One row: in these modes, this stimulus leads from one control state to another."""

    letter: str
    source: ControlState
    stimulus: Stimulus
    target: ControlState
    modes: frozenset[int]


_OPEN = ControlState.DISCONNECTED
_CLOSED = ControlState.CONNECTED
_READY = ControlState.READY_FOR_RECONNECTION
_ALL_BUT_0 = frozenset({1, 2, 3, 4, 5, 6})

# Letters are the Blue Book's. Mode 0 has no row: its relay is always connected.
TRANSITIONS = (
    Transition("a", _OPEN, Stimulus.REMOTE_RECONNECT, _CLOSED, frozenset({2, 4})),
    Transition("b", _CLOSED, Stimulus.REMOTE_DISCONNECT, _OPEN, _ALL_BUT_0),
    Transition("c", _READY, Stimulus.REMOTE_DISCONNECT, _OPEN, _ALL_BUT_0),
    Transition("d", _OPEN, Stimulus.REMOTE_RECONNECT, _READY, frozenset({1, 3, 5, 6})),
    Transition("e", _READY, Stimulus.MANUAL_RECONNECT, _CLOSED, _ALL_BUT_0),
    Transition("f", _CLOSED, Stimulus.MANUAL_DISCONNECT, _READY, frozenset({1, 2, 5})),
    Transition("g", _CLOSED, Stimulus.LOCAL_DISCONNECT, _READY, _ALL_BUT_0),
    Transition("h", _READY, Stimulus.LOCAL_RECONNECT, _CLOSED, frozenset({5, 6})),
)

_TARGETS = {
    (mode, row.source, row.stimulus): row.target for row in TRANSITIONS for mode in row.modes
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanics:
    """How the parts of one kind of relay obey; all times in milliseconds."""

    actuation_ms: int = 0
    # The reference firmware for IS 15959 meters closes by itself after 3000 scans of 10 ms.
    local_reconnect_ms: int = 30_000
    closing_lag_ms: int = 0  # added to the actuation when the contact closes
    opening_lag_ms: int = 0  # added to the actuation when the contact opens
    bounce_ms: int = 0  # above 0: the contact springs back and returns, this long each
    contact_moves: bool = True


class Movement(NamedTuple):
    """A movement of the contact that is still to come."""

    at_ms: int
    is_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """One relay as it stands after everything that was applied to it."""

    contact_is_closed: bool
    control_state: ControlState
    control_mode: ControlMode
    movements: tuple[Movement, ...] = ()  # still to come, earliest first; at most 3 (a bounce)
    local_reconnect_at_ms: int | None = None

    @property
    def next_change_ms(self) -> int | None:
        """When this relay changes next if nothing acts on it; None if it rests."""
        times = [movement.at_ms for movement in self.movements[:1]]
        if self.local_reconnect_at_ms is not None:
            times.append(self.local_reconnect_at_ms)
        return min(times, default=None)


@cache  # at most 2 x 3 x 7 values: resting relays of a large population share them
def resting(*, contact_is_closed: bool, state: ControlState, mode: ControlMode) -> Relay:
    """Give the relay that has nothing still to come."""
    return Relay(contact_is_closed=contact_is_closed, control_state=state, control_mode=mode)


def target_of(mode: ControlMode, state: ControlState, stimulus: Stimulus) -> ControlState | None:
    """Look up the table: the next control state, or None where the stimulus changes nothing."""
    return _TARGETS.get((mode, state, stimulus))


def relay_at(relay: Relay, at_ms: int, mechanics: Mechanics) -> Relay:
    """Give the relay as it stands at a time, its own timer and delays included."""
    timer_ms = relay.local_reconnect_at_ms
    if timer_ms is not None and timer_ms <= at_ms:
        before = _moved(relay, timer_ms)
        relay = stimulated(before, Stimulus.LOCAL_RECONNECT, timer_ms, mechanics)
    return _moved(relay, at_ms)


def stimulated(relay: Relay, stimulus: Stimulus, at_ms: int, mechanics: Mechanics) -> Relay:
    """Apply one stimulus to a relay that already stands at `at_ms`; no row, no change."""
    target = target_of(relay.control_mode, relay.control_state, stimulus)
    if target is None:
        return relay
    can_close_itself = target_of(relay.control_mode, target, Stimulus.LOCAL_RECONNECT) is not None
    changed = replace(
        relay,
        control_state=target,
        movements=_movements(relay, mechanics, at_ms, is_closed=target is ControlState.CONNECTED),
        local_reconnect_at_ms=at_ms + mechanics.local_reconnect_ms if can_close_itself else None,
    )
    return _moved(changed, at_ms)


def _movements(
    relay: Relay, mechanics: Mechanics, at_ms: int, *, is_closed: bool
) -> tuple[Movement, ...]:
    if not mechanics.contact_moves or relay.contact_is_closed is is_closed:
        return ()
    lag_ms = mechanics.closing_lag_ms if is_closed else mechanics.opening_lag_ms
    first_ms = at_ms + mechanics.actuation_ms + lag_ms
    if not mechanics.bounce_ms:
        return (Movement(first_ms, is_closed),)
    return (
        Movement(first_ms, is_closed),
        Movement(first_ms + mechanics.bounce_ms, not is_closed),
        Movement(first_ms + 2 * mechanics.bounce_ms, is_closed),
    )


def _moved(relay: Relay, at_ms: int) -> Relay:
    due = [movement for movement in relay.movements if movement.at_ms <= at_ms]
    contact_is_closed = due[-1].is_closed if due else relay.contact_is_closed
    still_to_come = relay.movements[len(due) :]
    if not still_to_come and relay.local_reconnect_at_ms is None:
        return resting(
            contact_is_closed=contact_is_closed,
            state=relay.control_state,
            mode=relay.control_mode,
        )
    if not due:
        return relay
    return replace(relay, contact_is_closed=contact_is_closed, movements=still_to_come)

"""Many simulated meters, made from a seed and a list of ids, asked by time.

Rules kept here:

* Same seed, ids and calls, same history (I14): nothing is drawn in the order of calls.
* A contact moves only because of a method, the button, the limiter or the meter's own timer.
* At most 200 bytes for each resting meter, its id included, so that 725,000 take 145 MB at most.
* Time never runs backwards here: an earlier time than the last one counts as the last one.
* The answers are the relay door's: a value, TimeoutError (no answer: nothing is known), or
  PermissionError with the meter's reason.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from meter_sim.faults import (
    EFFECTS,
    Effect,
    Fault,
    MeterRefusal,
    check_shares,
    choose_fault,
    seeded_fraction,
)
from meter_sim.relay_model import (
    ControlMode,
    ControlState,
    Mechanics,
    Relay,
    Stimulus,
    relay_at,
    resting,
    stimulated,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The time from asking a meter to its answer: most are near the lowest, with a long tail."""

    lowest_ms: int = 0
    highest_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse a range that is none."""
        if not 0 <= self.lowest_ms <= self.highest_ms:
            raise ValueError(
                f"latency from {self.lowest_ms} to {self.highest_ms} ms: "
                "give 0 <= lowest <= highest"
            )

    def at(self, fraction: float) -> int:
        """Give the milliseconds at a fraction of all exchanges."""
        # The cube puts half of the exchanges in the lowest eighth of the range.
        return self.lowest_ms + int((self.highest_ms - self.lowest_ms) * fraction**3)


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationPlan:
    """What a population is like; single meters can differ from the rest by name."""

    seed: int = 0
    initially_open: AbstractSet[str] = frozenset()
    control_mode: ControlMode = ControlMode.CLOSE
    modes: Mapping[str, ControlMode] = field(default_factory=dict)
    mechanics: Mechanics = field(default_factory=Mechanics)
    latency: Latency = field(default_factory=Latency)
    fault_shares: Mapping[Fault, float] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)
    keeps_history: bool = True


@dataclass(frozen=True, slots=True)
class _Kind:
    """What meters of one make and fault share."""

    effect: Effect
    mechanics: Mechanics
    fitted_state: ControlState


class SimulatedMeter:
    """One meter: what kind it is and how its relay stands."""

    __slots__ = ("kind", "relay")

    def __init__(self, kind: _Kind, relay: Relay) -> None:
        self.kind = kind
        self.relay = relay

    def report(self) -> tuple[bool, int, int]:
        """Read attributes 2, 3 and 4 as this meter tells them."""
        is_honest = self.kind.effect.reports_state
        state = self.relay.control_state if is_honest else self.kind.fitted_state
        return self.relay.contact_is_closed, int(state), int(self.relay.control_mode)


class MeterPopulation:
    """All meters of one simulation, with the true movements of their contacts."""

    def __init__(self, meters: Collection[str], plan: PopulationPlan) -> None:
        check_shares(plan.fault_shares)
        self._plan = plan
        self._kinds: dict[tuple[Fault, ControlState], _Kind] = {}
        self._meters = {meter: self._made(meter) for meter in meters}
        self._refuse_strangers(meters)
        self._now_ms = 0
        # (when, meter) of changes still to come; a superseded one finds nothing and is dropped.
        self._changes: list[tuple[int, str]] = []
        self.history: list[tuple[int, str, bool]] = []

    def __len__(self) -> int:
        return len(self._meters)

    def fault_of(self, meter: str) -> Fault:
        """Tell which fault a meter was made with."""
        chosen = self._plan.faults.get(meter)
        return chosen or choose_fault(self._plan.seed, meter, self._plan.fault_shares)

    def answer_ms(self, meter: str, at_ms: int) -> int:
        """Give the time from a question asked at `at_ms` to its answer, faults included."""
        latency = self._plan.latency
        base_ms = latency.lowest_ms
        if latency.highest_ms > latency.lowest_ms:
            base_ms = latency.at(seeded_fraction(self._plan.seed, "latency", meter, at_ms))
        asked = self._meters.get(meter)
        return base_ms + (asked.kind.effect.answer_lag_ms if asked else 0)

    def read(self, meter: str, at_ms: int) -> tuple[bool, int, int]:
        """Read (output_state, control_state, control_mode).

        Raises:
            TimeoutError: the meter does not answer, or is none of this population.
        """
        self.advance(at_ms)
        asked = self._meter(meter)
        if not asked.kind.effect.answers_reads:
            raise TimeoutError(f"meter {meter} did not answer a reading")
        return asked.report()

    def close(self, meter: str, at_ms: int) -> None:
        """Ask for remote_reconnect; to return means the meter answered success, no more.

        Raises:
            TimeoutError: no answer; whether the meter acted is unknown.
            PermissionError: the meter refuses; the text is a `MeterRefusal`.
        """
        refusal = self._meter(meter).kind.effect.refuses_close
        self._method(meter, at_ms, Stimulus.REMOTE_RECONNECT, refusal)

    def open(self, meter: str, at_ms: int) -> None:
        """Ask for remote_disconnect; raises as `close` does."""
        mode = self._meter(meter).relay.control_mode
        is_forbidden = mode is ControlMode.ALWAYS_CONNECTED
        refusal = MeterRefusal.MODE_FORBIDS if is_forbidden else None
        self._method(meter, at_ms, Stimulus.REMOTE_DISCONNECT, refusal)

    def press(self, meter: str, at_ms: int) -> None:
        """Press the meter's button: it closes an armed relay, opens a closed one if allowed."""
        self.advance(at_ms)
        is_ready = self._meter(meter).relay.control_state is ControlState.READY_FOR_RECONNECTION
        self._act(meter, Stimulus.MANUAL_RECONNECT if is_ready else Stimulus.MANUAL_DISCONNECT)

    def trip(self, meter: str, at_ms: int) -> None:
        """Let the meter's limiter open the relay, as at an overload."""
        self.advance(at_ms)
        self._act(meter, Stimulus.LOCAL_DISCONNECT)

    def advance(self, at_ms: int) -> None:
        """Let everything happen that is due by now, in the order of its time."""
        self._now_ms = max(self._now_ms, at_ms)
        while self._changes and self._changes[0][0] <= self._now_ms:
            due_ms, meter = heappop(self._changes)
            owner = self._meters[meter]
            self._stand(meter, relay_at(owner.relay, due_ms, owner.kind.mechanics), due_ms)

    def _made(self, meter: str) -> SimulatedMeter:
        is_open = meter in self._plan.initially_open
        state = ControlState.DISCONNECTED if is_open else ControlState.CONNECTED
        mode = self._plan.modes.get(meter, self._plan.control_mode)
        if is_open and mode is ControlMode.ALWAYS_CONNECTED:
            raise ValueError(f"meter {meter} is initially open, but in control mode 0 none can be")
        relay = resting(contact_is_closed=not is_open, state=state, mode=mode)
        return SimulatedMeter(self._kind(self.fault_of(meter), state), relay)

    def _kind(self, fault: Fault, fitted_state: ControlState) -> _Kind:
        key = (fault, fitted_state)
        if key not in self._kinds:
            effect = EFFECTS[fault]
            self._kinds[key] = _Kind(effect, effect.worsen(self._plan.mechanics), fitted_state)
        return self._kinds[key]

    def _refuse_strangers(self, meters: Collection[str]) -> None:
        if len(self._meters) != len(meters):
            raise ValueError(f"{len(meters) - len(self._meters)} meter ids are given twice")
        named = {*self._plan.initially_open, *self._plan.modes, *self._plan.faults}
        strangers = sorted(named - self._meters.keys())
        if strangers:
            raise ValueError(
                f"{strangers[0]} is named (initially open, mode or fault) but is none of the "
                f"{len(self._meters)} meters: add it to them or correct the id"
            )

    def _meter(self, meter: str) -> SimulatedMeter:
        found = self._meters.get(meter)
        if found is None:
            # To whoever asks down a line, a meter that does not exist is one that is silent.
            raise TimeoutError(f"no meter {meter} among the {len(self._meters)} simulated ones")
        return found

    def _method(
        self, meter: str, at_ms: int, stimulus: Stimulus, refusal: MeterRefusal | None
    ) -> None:
        self.advance(at_ms)
        effect = self._meter(meter).kind.effect
        if refusal is None:
            self._act(meter, stimulus)
        if not effect.answers_methods:
            raise TimeoutError(f"meter {meter} did not answer {stimulus.value}")
        if refusal is not None:
            raise PermissionError(refusal.value)

    def _act(self, meter: str, stimulus: Stimulus) -> None:
        owner = self._meter(meter)
        if not owner.kind.effect.obeys:
            return
        changed = stimulated(owner.relay, stimulus, self._now_ms, owner.kind.mechanics)
        self._stand(meter, changed, self._now_ms)

    def _stand(self, meter: str, relay: Relay, at_ms: int) -> None:
        owner = self._meters[meter]
        if relay is owner.relay:
            return
        has_moved = relay.contact_is_closed is not owner.relay.contact_is_closed
        owner.relay = relay
        if has_moved and self._plan.keeps_history:
            self.history.append((at_ms, meter, relay.contact_is_closed))
        self._await_change(meter, relay)

    def _await_change(self, meter: str, relay: Relay) -> None:
        next_ms = relay.next_change_ms
        if next_ms is None:
            return
        heappush(self._changes, (next_ms, meter))
        # At most two entries for each meter: more are superseded ones, and rebuilding drops them.
        if len(self._changes) > 2 * len(self._meters):
            self._changes = [
                (due_ms, name)
                for name, owner in self._meters.items()
                if (due_ms := owner.relay.next_change_ms) is not None
            ]
            heapify(self._changes)

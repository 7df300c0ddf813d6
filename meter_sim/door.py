"""The way to simulated meters that an agent is handed: asynchronous, with real lines' delays.

Rules kept here:

* To return from `close` or `open` means the meter answered success, which proves nothing about
  its contact; TimeoutError means nothing is known; PermissionError carries the meter's reason.
* The clock and the sleep are handed in. A wait of nothing is not awaited: with zero latency an
  exchange runs through without giving way to the event loop.
* A meter acts in the middle of the exchange, so an answer that is late or lost is lost after the
  contact was told to move.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from meter_sim.faults import Fault
from meter_sim.meters import Latency, MeterPopulation, PopulationPlan
from meter_sim.relay_model import ControlMode, Mechanics

_Answer = TypeVar("_Answer")

# How long a caller waits for a meter: one action on a cellular line takes up to 15 s.
ANSWER_TIMEOUT_MS = 15_000

_OPTIONS = frozenset({
    "meters", "initially_open", "seed", "control_mode", "modes", "actuation_ms",
    "local_reconnect_ms", "latency_ms", "answer_timeout_ms", "fault",
})  # fmt: skip


class SimulatedDoor:
    """A relay door over a population of simulated meters."""

    def __init__(
        self,
        population: MeterPopulation,
        *,
        clock_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
        answer_timeout_ms: int = ANSWER_TIMEOUT_MS,
    ) -> None:
        self.population = population
        self._clock_ms = clock_ms
        self._sleep = sleep
        self._answer_timeout_ms = answer_timeout_ms

    async def read(self, meter: str) -> tuple[bool, int, int]:
        """Read (output_state, control_state, control_mode).

        Raises:
            TimeoutError: the meter does not answer.
        """
        return await self._exchange(meter, self.population.read)

    async def close(self, meter: str) -> None:
        """Ask for remote_reconnect.

        Raises:
            TimeoutError: no answer; whether the meter acted is unknown.
            PermissionError: the meter refuses; the text is its reason.
        """
        await self._exchange(meter, self.population.close)

    async def open(self, meter: str) -> None:
        """Ask for remote_disconnect; raises as `close` does."""
        await self._exchange(meter, self.population.open)

    async def _exchange(self, meter: str, act: Callable[[str, int], _Answer]) -> _Answer:
        answer_ms = self.population.answer_ms(meter, self._clock_ms())
        there_ms = min(answer_ms // 2, self._answer_timeout_ms)
        await self._pause(there_ms)
        try:
            answer = act(meter, self._clock_ms())
        except TimeoutError:
            await self._pause(self._answer_timeout_ms - there_ms)
            raise
        except PermissionError:
            await self._pause(min(answer_ms, self._answer_timeout_ms) - there_ms)
            raise
        if answer_ms > self._answer_timeout_ms:
            await self._pause(self._answer_timeout_ms - there_ms)
            raise TimeoutError(
                f"meter {meter} had not answered after {self._answer_timeout_ms} ms; "
                "it may have acted"
            )
        await self._pause(answer_ms - there_ms)
        return answer

    async def _pause(self, wait_ms: int) -> None:
        if wait_ms > 0:
            await self._sleep(wait_ms / 1000)


def open_door(options: Mapping[str, object]) -> SimulatedDoor:
    """Make the door an agent's configuration names as `meter_sim.door:open_door`.

    Args:
        options: `meters` and `initially_open` (lists of ids), `seed`, `control_mode` (0..6),
            `modes` (meter to mode), `actuation_ms`, `local_reconnect_ms`, `latency_ms` (a number
            or [lowest, highest]), `answer_timeout_ms`, `fault` (meter to a fault's name). Only
            `meters` must be given.

    Raises:
        ValueError: an option is unknown or its value cannot be; the message says which.
    """
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ValueError(
            f"unknown option {unknown[0]!r} of the simulated meters; known: "
            f"{', '.join(sorted(_OPTIONS))}"
        )
    if "meters" not in options:
        raise ValueError("the simulated meters need the option 'meters', a list of meter ids")
    standard = Mechanics()
    plan = PopulationPlan(
        seed=_whole(options, "seed", 0),
        initially_open=frozenset(_ids(options, "initially_open")),
        control_mode=_mode("control_mode", options.get("control_mode", ControlMode.CLOSE)),
        modes={meter: _mode("modes", mode) for meter, mode in _table(options, "modes").items()},
        mechanics=Mechanics(
            actuation_ms=_whole(options, "actuation_ms", standard.actuation_ms),
            local_reconnect_ms=_whole(options, "local_reconnect_ms", standard.local_reconnect_ms),
        ),
        latency=_latency(options),
        faults={meter: _fault(name) for meter, name in _table(options, "fault").items()},
        keeps_history=False,
    )
    return SimulatedDoor(
        MeterPopulation(_ids(options, "meters"), plan),
        clock_ms=lambda: time.monotonic_ns() // 1_000_000,
        sleep=asyncio.sleep,
        answer_timeout_ms=_whole(options, "answer_timeout_ms", ANSWER_TIMEOUT_MS),
    )


def _whole(options: Mapping[str, object], name: str, default: int) -> int:
    value = options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"option {name!r} is {value!r}: give a whole number from 0")
    return value


def _ids(options: Mapping[str, object], name: str) -> Collection[str]:
    value = options.get(name, [])
    if not isinstance(value, list) or not all(isinstance(meter, str) for meter in value):
        raise ValueError(f"option {name!r} is {value!r}: give a list of meter ids")
    return value


def _table(options: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = options.get(name, {})
    if not isinstance(value, Mapping) or not all(isinstance(meter, str) for meter in value):
        raise ValueError(f"option {name!r} is {value!r}: give a table from meter ids to values")
    return value


def _mode(name: str, value: object) -> ControlMode:
    if isinstance(value, int) and not isinstance(value, bool) and value in set(ControlMode):
        return ControlMode(value)
    raise ValueError(f"option {name!r} holds control mode {value!r}: give 0 to 6")


def _fault(value: object) -> Fault:
    if isinstance(value, str) and value in set(Fault):
        return Fault(value)
    raise ValueError(f"option 'fault' names {value!r}; known faults: {', '.join(Fault)}")


def _latency(options: Mapping[str, object]) -> Latency:
    value = options.get("latency_ms", 0)
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2:
        raise ValueError(f"option 'latency_ms' is {value!r}: give a number or [lowest, highest]")
    lowest, highest = (_whole({"latency_ms": part}, "latency_ms", 0) for part in pair)
    return Latency(lowest_ms=lowest, highest_ms=highest)

"""Simulated meters that outlive their agent: each order to a relay is noted in a file first.

The product's simulated meters live in the agent's process and would be forgotten with it. These are
the same meters, but what they were told stands in a log beside the journal, and whoever comes next
begins with the contacts that follow from it. The log is also the witness: what it holds, a contact
was told, whatever journal and ledger say.
"""

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from meter_sim.door import SimulatedDoor
from meter_sim.meters import Latency, MeterPopulation, PopulationPlan
from meter_sim.relay_model import Mechanics
from tests.reliability.stages import told


class LastingMeters(MeterPopulation):
    """Meters whose log of orders survives SIGKILL."""

    def __init__(self, meters: Collection[str], plan: PopulationPlan, movements: Path) -> None:
        super().__init__(meters, plan)
        for at_ms, meter in told(movements):
            super().close(meter, at_ms)
        self._log = os.open(movements, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def close(self, meter: str, at_ms: int) -> None:
        # One write, so that a killed process leaves whole lines.
        os.write(self._log, f"{at_ms} {meter}\n".encode("ascii"))
        super().close(meter, at_ms)

    def open(self, meter: str, at_ms: int) -> None:
        raise AssertionError(f"nothing here may open a relay: {meter} at {at_ms}")


def open_door(options: Mapping[str, object]) -> SimulatedDoor:
    """The door that agent.toml names; options as those of `meter_sim.door`, and `movements`."""
    meters = options["meters"]
    latency_ms = options["latency_ms"]
    actuation_ms = options["actuation_ms"]
    assert isinstance(meters, list)
    assert isinstance(latency_ms, list)
    assert isinstance(actuation_ms, int)
    lowest_ms, highest_ms = latency_ms
    plan = PopulationPlan(
        initially_open=frozenset(meters),
        mechanics=Mechanics(actuation_ms=actuation_ms),
        latency=Latency(lowest_ms=lowest_ms, highest_ms=highest_ms),
        keeps_history=False,
    )
    return SimulatedDoor(
        LastingMeters(meters, plan, Path(str(options["movements"]))),
        # As the agent counts: across its death, and ahead when the page of `steering` says so.
        clock_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        sleep=asyncio.sleep,
    )


def true_movements(meters: Collection[str], movements: Path) -> list[tuple[str, bool]]:
    """Which contacts moved and where to, in order: the log played to fresh meters, all cut."""
    fresh = MeterPopulation(meters, PopulationPlan(initially_open=frozenset(meters)))
    latest_ms = 0
    for at_ms, meter in told(movements):
        fresh.close(meter, at_ms)
        latest_ms = max(latest_ms, at_ms)
    fresh.advance(latest_ms + 60_000)  # the slowest of them is there after a second
    return [(meter, is_closed) for _, meter, is_closed in fresh.history]

"""The door: what it raises, how long it waits, and which options it takes."""

import asyncio

import pytest

from meter_sim.door import ANSWER_TIMEOUT_MS, SimulatedDoor, open_door
from meter_sim.faults import Fault
from meter_sim.meters import Latency, MeterPopulation, PopulationPlan

METER = "MET-1"


class Hours:
    """A clock that moves only when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.slept_ms: list[int] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_ms.append(round(seconds * 1000))
        self.now_ms += self.slept_ms[-1]


def door_to(fault: Fault, hours: Hours, latency_ms: int = 0, **options: int) -> SimulatedDoor:
    plan = PopulationPlan(
        initially_open=frozenset({METER}),
        latency=Latency(lowest_ms=latency_ms, highest_ms=latency_ms),
        faults={METER: fault},
    )
    return SimulatedDoor(
        MeterPopulation([METER], plan), clock_ms=lambda: hours.now_ms, sleep=hours.sleep, **options
    )


async def test_relay_is_closed_and_opened_through_the_door():
    door = door_to(Fault.NONE, Hours())
    assert await door.read(METER) == (False, 0, 4)
    await door.close(METER)
    assert await door.read(METER) == (True, 1, 4)
    await door.open(METER)
    assert await door.read(METER) == (False, 0, 4)


def test_without_latency_an_exchange_never_gives_way_to_the_loop():
    door = open_door({"meters": [METER]})
    exchange = door.open(METER)
    with pytest.raises(StopIteration):  # the first step is the last: nothing was awaited
        exchange.send(None)


async def test_meter_acts_in_the_middle_of_the_exchange():
    hours = Hours()
    door = door_to(Fault.NONE, hours, latency_ms=301)
    await door.close(METER)
    assert door.population.history == [(150, METER, True)]
    assert hours.now_ms == 301


async def test_silent_meter_is_given_up_after_the_answer_timeout():
    hours = Hours()
    with pytest.raises(TimeoutError, match=METER):
        await door_to(Fault.SILENT, hours, latency_ms=300).read(METER)
    assert hours.now_ms == ANSWER_TIMEOUT_MS


async def test_answer_later_than_the_timeout_is_no_answer_though_the_meter_acted():
    hours = Hours()
    door = door_to(Fault.NONE, hours, latency_ms=1_000, answer_timeout_ms=600)
    with pytest.raises(TimeoutError, match="had not answered after 600 ms; it may have acted"):
        await door.close(METER)
    assert hours.now_ms == 600
    assert door.population.history == [(500, METER, True)]


async def test_question_slower_than_the_timeout_ends_at_the_timeout():
    hours = Hours()
    with pytest.raises(TimeoutError):
        await door_to(Fault.NONE, hours, latency_ms=5_000, answer_timeout_ms=600).read(METER)
    assert hours.now_ms == 600


async def test_refusal_arrives_after_the_latency_with_the_reason():
    hours = Hours()
    with pytest.raises(PermissionError, match=r"^load_side_voltage$"):
        await door_to(Fault.REFUSES, hours, latency_ms=300).close(METER)
    assert hours.now_ms == 300


async def test_stranger_is_silent():
    with pytest.raises(TimeoutError, match="MET-9"):
        await door_to(Fault.NONE, Hours()).close("MET-9")


async def test_door_is_opened_from_a_table_of_options():
    door = open_door({
        "meters": [METER, "MET-2", "MET-3"],
        "initially_open": [METER],
        "seed": 4,
        "control_mode": 2,
        "modes": {"MET-3": 3},
        "actuation_ms": 0,
        "local_reconnect_ms": 10,
        "latency_ms": [0, 0],
        "answer_timeout_ms": 0,
        "fault": {"MET-2": "silent"},
    })  # fmt: skip
    await door.close(METER)
    assert await door.read(METER) == (True, 1, 2)
    assert await door.read("MET-3") == (True, 1, 3)
    with pytest.raises(TimeoutError):
        await door.read("MET-2")
    assert door.population.history == []


async def test_door_from_options_runs_on_the_real_loop_with_a_latency():
    door = open_door({"meters": [METER], "latency_ms": 2})
    answers = await asyncio.gather(door.read(METER), door.read(METER))
    assert answers == [(True, 1, 4)] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "need the option 'meters'"),
        ({"meters": "MET-1"}, "option 'meters' is 'MET-1'"),
        ({"meters": [1]}, r"option 'meters' is \[1\]"),
        ({"meters": [], "latency": 1}, "unknown option 'latency'"),
        ({"meters": [], "seed": "x"}, "option 'seed' is 'x'"),
        ({"meters": [], "actuation_ms": -1}, "option 'actuation_ms' is -1"),
        ({"meters": [], "latency_ms": 1.5}, "option 'latency_ms' is 1.5"),
        ({"meters": [], "latency_ms": [1]}, r"option 'latency_ms' is \[1\]"),
        ({"meters": [], "latency_ms": [9, 1]}, "latency from 9 to 1 ms"),
        ({"meters": [], "control_mode": 7}, "control mode 7: give 0 to 6"),
        ({"meters": [], "modes": {"MET-1": True}}, "control mode True"),
        ({"meters": [], "fault": ["MET-1"]}, r"option 'fault' is \['MET-1'\]"),
        ({"meters": [METER], "fault": {METER: "dead"}}, "names 'dead'; known faults: none, stuck"),
        ({"meters": [], "initially_open": [METER]}, "MET-1 is named"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        open_door(options)

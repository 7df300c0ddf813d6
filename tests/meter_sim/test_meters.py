"""The population: history, seeds, size, and that contacts move only when something moves them."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_sim.faults import Fault
from meter_sim.meters import Latency, MeterPopulation, PopulationPlan
from meter_sim.relay_model import ControlMode, Mechanics

METERS = ["MET-1", "MET-2", "MET-3"]
MOVING_FAULTS = [
    Fault.NONE,
    Fault.STUCK,
    Fault.SILENT,
    Fault.ANSWER_LOST,
    Fault.LIES_ABOUT_STATE,
    Fault.DENIES_MOVEMENT,
    Fault.REFUSES,
]
ACTUATION_MS = 70
TIMER_MS = 500

acts = st.lists(
    st.tuples(
        st.sampled_from(["close", "open", "press", "trip", "read", "advance"]),
        st.sampled_from(METERS),
        st.integers(min_value=0, max_value=400),
    ),
    max_size=30,
)
plans = st.builds(
    PopulationPlan,
    seed=st.integers(0, 10),
    initially_open=st.just(frozenset({"MET-1"})),
    modes=st.fixed_dictionaries(
        {
            meter: st.sampled_from([mode for mode in ControlMode if mode or meter != "MET-1"])
            for meter in METERS
        }
    ),
    mechanics=st.just(Mechanics(actuation_ms=ACTUATION_MS, local_reconnect_ms=TIMER_MS)),
    faults=st.fixed_dictionaries({meter: st.sampled_from(MOVING_FAULTS) for meter in METERS}),
)


def play(population: MeterPopulation, script: list[tuple[str, str, int]]) -> list[object]:
    """Act in the order of the script, each act `gap` ms after the one before."""
    answers: list[object] = []
    at_ms = 0
    for act, meter, gap_ms in script:
        at_ms += gap_ms
        if act == "advance":
            population.advance(at_ms)
            continue
        try:
            answers.append(getattr(population, act)(meter, at_ms))
        except (TimeoutError, PermissionError) as refusal:
            answers.append(repr(refusal))
    population.advance(at_ms + 10**6)
    return answers


@given(plan=plans, script=acts)
def test_contact_moves_only_by_a_method_the_button_the_limiter_or_the_timer(plan, script):
    population = MeterPopulation(METERS, plan)
    play(population, script)
    causes: set[tuple[int, str]] = set()
    at_ms = 0
    for act, meter, gap_ms in script:
        at_ms += gap_ms
        if act in {"close", "open", "press", "trip"}:
            causes |= {(at_ms, meter), (at_ms + TIMER_MS, meter)}
    moved = {(at_ms - ACTUATION_MS, meter) for at_ms, meter, _ in population.history}
    assert moved <= causes


@given(plan=plans, script=acts)
def test_same_seed_and_acts_give_the_same_history_and_answers(plan, script):
    first, second = MeterPopulation(METERS, plan), MeterPopulation(METERS, plan)
    assert play(first, script) == play(second, script)
    assert first.history == second.history


@given(plan=plans, script=acts)
def test_reading_changes_no_history(plan, script):
    read, unread = MeterPopulation(METERS, plan), MeterPopulation(METERS, plan)
    play(read, script)
    play(unread, [(act if act != "read" else "advance", meter, gap) for act, meter, gap in script])
    assert read.history == unread.history


@given(plan=plans, script=acts)
def test_history_rises_in_time_and_each_contact_moves_to_and_fro(plan, script):
    population = MeterPopulation(METERS, plan)
    play(population, script)
    assert [row[0] for row in population.history] == sorted(row[0] for row in population.history)
    for meter in METERS:
        ways = [is_closed for _, mover, is_closed in population.history if mover == meter]
        starts_closed = meter not in plan.initially_open
        assert ways == [starts_closed == bool(step % 2) for step in range(len(ways))]


def test_population_is_as_planned():
    plan = PopulationPlan(
        initially_open=frozenset({"MET-2"}),
        control_mode=ControlMode.CLOSE_WITH_BUTTON,
        modes={"MET-3": ControlMode.ARM},
    )
    population = MeterPopulation(METERS, plan)
    assert len(population) == 3
    assert [population.read(meter, 0) for meter in METERS] == [
        (True, 1, 2),
        (False, 0, 2),
        (True, 1, 3),
    ]


def test_changes_of_many_meters_happen_in_the_order_of_time_within_one_advance():
    plan = PopulationPlan(
        initially_open=frozenset(METERS),
        mechanics=Mechanics(actuation_ms=100),
        faults={"MET-1": Fault.CLOSES_LATE},
    )
    population = MeterPopulation(METERS, plan)
    for at_ms, meter in enumerate(METERS):
        population.close(meter, at_ms)
    population.advance(10**6)
    assert population.history == [
        (101, "MET-2", True),
        (102, "MET-3", True),
        (90_100, "MET-1", True),
    ]


def test_superseded_changes_do_not_pile_up():
    plan = PopulationPlan(mechanics=Mechanics(actuation_ms=1_000))
    population = MeterPopulation(METERS, plan)
    population.open("MET-2", 0)
    for at_ms in range(0, 500, 2):
        population.open("MET-1", at_ms)
        population.close("MET-1", at_ms + 1)
    assert len(population._changes) <= 2 * len(METERS)
    population.open("MET-1", 600)
    population.advance(10**6)
    assert population.history == [(1_000, "MET-2", False), (1_600, "MET-1", False)]


def test_earlier_time_counts_as_the_latest_one():
    plan = PopulationPlan(mechanics=Mechanics(actuation_ms=10))
    population = MeterPopulation(METERS, plan)
    population.advance(1_000)
    population.open("MET-1", 5)
    population.advance(2_000)
    assert population.history == [(1_010, "MET-1", False)]


def test_meter_that_does_not_exist_is_silent():
    population = MeterPopulation(METERS, PopulationPlan())
    with pytest.raises(TimeoutError, match="no meter MET-9 among the 3"):
        population.read("MET-9", 0)


def test_button_closes_an_armed_meter_and_opens_a_closed_one_where_its_mode_allows():
    plan = PopulationPlan(
        initially_open=frozenset(METERS),
        modes={"MET-1": ControlMode.ARM_WITH_BUTTON, "MET-2": ControlMode.ARM},
    )
    population = MeterPopulation(METERS, plan)
    for at_ms, act in enumerate((population.press, population.close, population.press)):
        act("MET-1", at_ms)  # the first press finds an open relay, not armed: nothing happens
        act("MET-2", at_ms)
    population.press("MET-1", 3)
    population.press("MET-2", 3)
    assert population.history == [
        (2, "MET-1", True),
        (2, "MET-2", True),
        (3, "MET-1", False),
    ]


def test_history_can_be_switched_off():
    population = MeterPopulation(METERS, PopulationPlan(keeps_history=False))
    population.open("MET-1", 0)
    assert population.read("MET-1", 0)[0] is False
    assert population.history == []


@pytest.mark.parametrize(
    "plan",
    [
        PopulationPlan(initially_open=frozenset({"MET-9"})),
        PopulationPlan(modes={"MET-9": ControlMode.ARM}),
        PopulationPlan(faults={"MET-9": Fault.SLOW}),
    ],
)
def test_plan_that_names_a_meter_which_is_not_there_is_refused(plan):
    with pytest.raises(ValueError, match="MET-9 is named"):
        MeterPopulation(METERS, plan)


def test_meter_ids_given_twice_are_refused():
    with pytest.raises(ValueError, match="1 meter ids are given twice"):
        MeterPopulation([*METERS, "MET-1"], PopulationPlan())


def test_open_meter_of_mode_0_is_refused():
    plan = PopulationPlan(
        initially_open=frozenset({"MET-1"}), control_mode=ControlMode.ALWAYS_CONNECTED
    )
    with pytest.raises(ValueError, match="MET-1 is initially open, but in control mode 0"):
        MeterPopulation(METERS, plan)


def test_latency_stays_in_its_range_and_mostly_near_the_lowest():
    plan = PopulationPlan(latency=Latency(lowest_ms=100, highest_ms=900))
    population = MeterPopulation(METERS, plan)
    waits = [population.answer_ms("MET-1", at_ms) for at_ms in range(2_000)]
    assert min(waits) >= 100
    assert max(waits) <= 900
    assert max(waits) > 700
    # Half lie below 200 ms: 1,000 of 2,000 expected, standard deviation 22.
    assert 890 <= sum(wait < 200 for wait in waits) <= 1_110


@pytest.mark.parametrize("bounds", [(-1, 5), (6, 5)])
def test_latency_that_is_no_range_is_refused(bounds):
    with pytest.raises(ValueError, match="give 0 <= lowest <= highest"):
        Latency(lowest_ms=bounds[0], highest_ms=bounds[1])


def test_resting_meter_takes_at_most_200_bytes_after_it_was_opened_and_closed():
    count = 20_000
    tracemalloc.start()
    try:
        population = MeterPopulation(
            [f"MP-W-{number:08d}" for number in range(count)],
            PopulationPlan(keeps_history=False, mechanics=Mechanics(actuation_ms=5)),
        )
        for at_ms, meter in enumerate(population._meters):
            population.open(meter, at_ms)
            population.close(meter, at_ms + 50)
        population.advance(10**6)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / count <= 200

"""Every named fault, shown on one meter that is asked to close (and some to open)."""

import pytest

from meter_sim.faults import (
    EFFECTS,
    Fault,
    MeterRefusal,
    check_shares,
    choose_fault,
    seeded_fraction,
)
from meter_sim.meters import MeterPopulation, PopulationPlan
from meter_sim.relay_model import ControlMode, Mechanics

METER = "MET-1"
LONG_AFTER_MS = 10**7


def faulty(fault: Fault, *, is_open: bool = True, mode: ControlMode = ControlMode.CLOSE):
    plan = PopulationPlan(
        initially_open=frozenset({METER} if is_open else ()),
        control_mode=mode,
        mechanics=Mechanics(actuation_ms=100),
        faults={METER: fault},
    )
    return MeterPopulation([METER], plan)


def test_every_fault_has_one_entry_in_the_table():
    assert set(EFFECTS) == set(Fault)


def test_meter_without_fault_closes_and_says_so():
    meters = faulty(Fault.NONE)
    meters.close(METER, 0)
    assert meters.read(METER, 100) == (True, 1, 4)
    assert meters.history == [(100, METER, True)]


def test_stuck_meter_answers_success_and_never_moves():
    meters = faulty(Fault.STUCK)
    meters.close(METER, 0)
    meters.press(METER, 10)
    meters.trip(METER, 20)
    assert meters.read(METER, LONG_AFTER_MS) == (False, 0, 4)
    assert meters.history == []


def test_silent_meter_answers_nothing_and_never_moves():
    meters = faulty(Fault.SILENT)
    for at_ms, ask in enumerate((meters.read, meters.close, meters.open)):
        with pytest.raises(TimeoutError, match=METER):
            ask(METER, at_ms * LONG_AFTER_MS)
    meters.advance(3 * LONG_AFTER_MS)
    assert meters.history == []


def test_meter_whose_answer_is_lost_has_moved_all_the_same():
    meters = faulty(Fault.ANSWER_LOST)
    with pytest.raises(TimeoutError, match="remote_reconnect"):
        meters.close(METER, 0)
    assert meters.read(METER, 100) == (True, 1, 4)


def test_slow_meter_answers_and_moves_late():
    meters = faulty(Fault.SLOW)
    effect = EFFECTS[Fault.SLOW]
    assert meters.answer_ms(METER, 0) == effect.answer_lag_ms > 0
    meters.close(METER, 0)
    due_ms = 100 + effect.closing_lag_ms
    assert meters.read(METER, due_ms - 1)[0] is False
    assert meters.read(METER, due_ms)[0] is True


def test_slow_meter_opens_late_too():
    meters = faulty(Fault.SLOW, is_open=False)
    meters.open(METER, 0)
    meters.advance(LONG_AFTER_MS)
    assert meters.history == [(100 + EFFECTS[Fault.SLOW].opening_lag_ms, METER, False)]


def test_lying_meter_says_connected_while_its_contact_stays_open():
    meters = faulty(Fault.LIES_ABOUT_STATE)
    meters.close(METER, 0)
    assert meters.read(METER, LONG_AFTER_MS) == (False, 1, 4)
    assert meters.history == []


def test_denying_meter_says_disconnected_while_its_contact_has_closed():
    meters = faulty(Fault.DENIES_MOVEMENT)
    meters.close(METER, 0)
    assert meters.read(METER, 100) == (True, 0, 4)
    meters.open(METER, 200)
    assert meters.read(METER, 300) == (False, 0, 4)


def test_late_meter_reports_success_and_closes_after_every_reader_gave_up():
    meters = faulty(Fault.CLOSES_LATE)
    meters.close(METER, 0)
    assert meters.read(METER, 45_000)[0] is False  # R15: modes 5 and 6 are watched for 45 s
    meters.advance(LONG_AFTER_MS)
    assert meters.history == [(100 + EFFECTS[Fault.CLOSES_LATE].closing_lag_ms, METER, True)]


def test_late_meter_opens_in_time():
    meters = faulty(Fault.CLOSES_LATE, is_open=False)
    meters.open(METER, 0)
    assert meters.read(METER, 100)[0] is False


def test_bouncing_meter_moves_three_times_and_ends_closed():
    meters = faulty(Fault.BOUNCES)
    meters.close(METER, 0)
    meters.advance(LONG_AFTER_MS)
    assert [is_closed for _, _, is_closed in meters.history] == [True, False, True]
    assert meters.read(METER, LONG_AFTER_MS) == (True, 1, 4)


def test_refusing_meter_gives_its_reason_and_stays_open():
    meters = faulty(Fault.REFUSES)
    with pytest.raises(PermissionError, match=f"^{MeterRefusal.LOAD_SIDE_VOLTAGE}$"):
        meters.close(METER, 0)
    assert meters.read(METER, LONG_AFTER_MS) == (False, 0, 4)


def test_refusing_meter_still_opens():
    meters = faulty(Fault.REFUSES, is_open=False)
    meters.open(METER, 0)
    assert meters.read(METER, 100)[0] is False


def test_meter_of_mode_0_refuses_to_open():
    meters = faulty(Fault.NONE, is_open=False, mode=ControlMode.ALWAYS_CONNECTED)
    with pytest.raises(PermissionError, match=f"^{MeterRefusal.MODE_FORBIDS}$"):
        meters.open(METER, 0)
    assert meters.read(METER, LONG_AFTER_MS) == (True, 1, 0)


def test_refusal_reasons_fit_the_reason_field_of_an_acknowledgement():
    assert all(len(reason.value) <= 32 and reason.value.isascii() for reason in MeterRefusal)


def test_faults_are_chosen_in_their_shares_by_seed_and_id_alone():
    shares = {Fault.SILENT: 0.25, Fault.STUCK: 0.25}
    ids = [f"MET-{number}" for number in range(4_000)]
    chosen = {meter: choose_fault(7, meter, shares) for meter in ids}
    assert {meter: choose_fault(7, meter, shares) for meter in reversed(ids)} == chosen
    assert {meter: choose_fault(8, meter, shares) for meter in ids} != chosen
    counts = {fault: list(chosen.values()).count(fault) for fault in set(chosen.values())}
    assert counts.keys() == {Fault.SILENT, Fault.STUCK, Fault.NONE}
    # 1,000 expected with a standard deviation of 27: five of them either way.
    assert 865 <= counts[Fault.SILENT] <= 1_135
    assert 865 <= counts[Fault.STUCK] <= 1_135


def test_share_of_one_gives_every_meter_the_fault():
    assert all(
        choose_fault(1, f"MET-{number}", {Fault.SLOW: 1.0}) is Fault.SLOW for number in range(500)
    )


def test_seeded_fractions_lie_in_the_unit_interval():
    fractions = [seeded_fraction(3, number) for number in range(1_000)]
    assert min(fractions) >= 0
    assert max(fractions) < 1


@pytest.mark.parametrize("shares", [{Fault.SLOW: -0.1}, {Fault.SLOW: 1.1}])
def test_share_outside_the_unit_interval_is_refused_by_name(shares):
    with pytest.raises(ValueError, match="share of slow is"):
        check_shares(shares)


def test_shares_above_one_together_are_refused():
    with pytest.raises(ValueError, match=r"add up to 1\.2"):
        check_shares({Fault.SLOW: 0.6, Fault.STUCK: 0.6})

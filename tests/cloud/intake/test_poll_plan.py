"""Which stretch is fetched next, and what may be said of it (R1)."""

from itertools import pairwise

from cloud.intake.poll_plan import (
    CATCH_UP_MAX_MS,
    DAY_MS,
    DEPTH_MS,
    EVERY_MS,
    HOUR_MS,
    LIST_LAG_MS,
    MINUTE_MS,
    SLICE_MS,
    PollPlan,
)
from cloud.intake.spool_schema import Sweep
from tests.wire.installation import NOW_MS

RECENT, LATE, DEEP = Sweep.RECENT, Sweep.LATE, Sweep.DEEP
MARKS = {RECENT: NOW_MS - MINUTE_MS, LATE: NOW_MS - MINUTE_MS, DEEP: NOW_MS - MINUTE_MS}


def run(plan, now_ms, *, turns=10_000):
    """Takes slices until none is due; what was taken."""
    taken = []
    for _ in range(turns):
        part = plan.next(now_ms)
        if part is None:
            return taken
        taken.append((part, plan.marks_after(part)))
        plan.done(part)
    raise AssertionError("never ends")


def test_first_start_of_all_reads_as_deep_as_any_sweep_in_one_go():
    taken = run(PollPlan({}, EVERY_MS, NOW_MS), NOW_MS)
    assert {part.sweep for part, _ in taken} == {RECENT}
    assert taken[0][0].from_ms == NOW_MS - DEPTH_MS[DEEP] - DEPTH_MS[RECENT]
    assert taken[-1][0].until_ms == NOW_MS
    assert taken[-1][1][RECENT] == NOW_MS - LIST_LAG_MS


def test_slices_leave_no_gap_and_marks_only_rise():
    taken = run(PollPlan({}, EVERY_MS, NOW_MS), NOW_MS)
    for (earlier, before), (later, after) in pairwise(taken):
        assert later.from_ms == earlier.until_ms
        assert before[RECENT] <= after[RECENT] <= later.until_ms - LIST_LAG_MS or (
            after[RECENT] == before[RECENT]
        )
    assert all(part.until_ms - part.from_ms <= SLICE_MS for part, _ in taken)


def test_first_slice_of_all_fixes_when_the_deeper_sweeps_begin():
    """Else restarts within the day would put them off for ever."""
    plan = PollPlan({}, EVERY_MS, NOW_MS)
    marks = plan.marks_after(plan.next(NOW_MS))
    assert (marks[LATE], marks[DEEP]) == (NOW_MS, NOW_MS)
    restarted = PollPlan(marks, EVERY_MS, NOW_MS + HOUR_MS)
    assert LATE in {part.sweep for part, _ in run(restarted, NOW_MS + HOUR_MS)}


def test_in_steady_state_a_minute_costs_one_slice_of_the_last_quarter_of_an_hour():
    plan = PollPlan(MARKS, EVERY_MS, NOW_MS)
    ((part, marks),) = run(plan, NOW_MS)
    assert part.from_ms == MARKS[RECENT] - 15 * MINUTE_MS
    assert part.until_ms == NOW_MS
    assert marks == {RECENT: NOW_MS - LIST_LAG_MS}
    assert plan.wait_ms(NOW_MS) == MINUTE_MS
    assert plan.next(NOW_MS + MINUTE_MS - 1) is None
    assert len(run(plan, NOW_MS + MINUTE_MS)) == 1


def test_slice_that_was_not_done_is_asked_for_again():
    plan = PollPlan(MARKS, EVERY_MS, NOW_MS)
    first = plan.next(NOW_MS)
    later = plan.next(NOW_MS + 5 * MINUTE_MS)
    assert later == first


def test_outage_of_ours_is_caught_up_with_from_where_we_were():
    away_ms = 30 * HOUR_MS
    plan = PollPlan(MARKS, EVERY_MS, NOW_MS + away_ms)
    recent = [part for part, _ in run(plan, NOW_MS + away_ms) if part.sweep is RECENT]
    assert recent[0].from_ms == MARKS[RECENT] - DEPTH_MS[RECENT]
    assert recent[-1].until_ms == NOW_MS + away_ms


def test_each_hour_and_each_day_the_past_is_read_from_where_that_sweep_began_before():
    plan = PollPlan(MARKS, EVERY_MS, NOW_MS)
    run(plan, NOW_MS)
    for sweep, pause_ms in ((LATE, HOUR_MS), (DEEP, DAY_MS)):
        began_ms = MARKS[sweep] if sweep is DEEP else plan._marks[sweep]
        now_ms = began_ms + pause_ms
        taken = [(part, marks) for part, marks in run(plan, now_ms) if part.sweep is sweep]
        assert taken[0][0].from_ms == began_ms - DEPTH_MS[sweep]
        assert taken[-1][0].until_ms == now_ms
        assert [marks for _, marks in taken if marks] == [{sweep: now_ms}]


def test_recent_sweep_goes_before_a_deep_one_under_way():
    """R1: the watermark must not be ten minutes old because the past is long."""
    plan = PollPlan(MARKS | {DEEP: NOW_MS - DAY_MS}, EVERY_MS, NOW_MS)
    now_ms = NOW_MS
    seen = []
    for _ in range(200):
        part = plan.next(now_ms)
        seen.append(part.sweep)
        plan.done(part)
        now_ms += 5_000
    recents = [place for place, sweep in enumerate(seen) if sweep is RECENT]
    assert {later - earlier for earlier, later in pairwise(recents)} == {12}
    assert seen.count(DEEP) > 170


def test_mark_that_a_wrong_clock_put_into_the_future_is_taken_back():
    ahead = dict.fromkeys(Sweep, NOW_MS + DAY_MS)
    plan = PollPlan(ahead, EVERY_MS, NOW_MS)
    ((part, marks),) = run(plan, NOW_MS)
    assert (part.from_ms, part.until_ms) == (NOW_MS - 15 * MINUTE_MS, NOW_MS)
    assert marks[RECENT] <= NOW_MS


def test_catching_up_is_bounded():
    """I13: what is older than the spool's own memory is reconciled, not fetched."""
    now_ms = NOW_MS + 400 * DAY_MS
    plan = PollPlan(MARKS, EVERY_MS, now_ms)
    assert plan.next(now_ms).from_ms == now_ms - CATCH_UP_MAX_MS

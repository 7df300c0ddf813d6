"""How many opens, and when."""

from msgspec.structs import replace

from edge_agent.caps import agent_limit, is_within_windows
from tests.edge_agent.installation_by_hand import DAY_MS, NOON_MS, POLICY
from wire.documents import OpenWindow

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
LOCAL_DAY = (NOON_MS + 330 * MINUTE_MS) // DAY_MS


def within(earliest_ms: int, latest_ms: int | None = None, policy=POLICY) -> bool:
    return is_within_windows(policy, earliest_ms, latest_ms or earliest_ms)


def test_limit_is_two_percent_at_least_one_at_most_the_ceiling_and_none_below_small():
    policy = replace(POLICY, small=25)
    limits = {reached: agent_limit(policy, reached) for reached in (0, 24, 25, 99, 150, 999, 5_000)}
    assert limits == {0: 0, 24: 0, 25: 1, 99: 1, 150: 3, 999: 19, 5_000: 20}


def test_noon_of_a_working_day_is_within_the_window_and_its_edges_are_exact():
    assert within(NOON_MS)
    assert within(NOON_MS - HOUR_MS)
    assert not within(NOON_MS - HOUR_MS - 1)
    assert within(NOON_MS + 2 * HOUR_MS - 1)
    assert not within(NOON_MS + 2 * HOUR_MS)


def test_whole_interval_must_lie_in_the_window():
    assert not within(NOON_MS, NOON_MS + 2 * HOUR_MS)
    assert not within(NOON_MS - HOUR_MS - 1, NOON_MS)


def test_weekend_and_closed_days_have_no_window():
    assert [within(NOON_MS + day * DAY_MS) for day in range(7)] == [
        True, True, True, False, False, True, True,
    ]  # fmt: skip
    assert not within(NOON_MS, policy=replace(POLICY, closed_days=(LOCAL_DAY,)))
    assert within(NOON_MS, policy=replace(POLICY, closed_days=(LOCAL_DAY + 1,)))


def test_policy_without_windows_allows_no_open_at_all():
    assert not within(NOON_MS, policy=replace(POLICY, windows=()))


def test_touching_windows_count_as_one_also_over_midnight():
    parts = (
        OpenWindow(weekdays=127, from_minute=0, to_minute=720),
        OpenWindow(weekdays=127, from_minute=720, to_minute=1_440),
    )
    policy = replace(POLICY, windows=parts)
    assert within(NOON_MS - 1, NOON_MS + 1, policy)
    assert within(NOON_MS, NOON_MS + 13 * HOUR_MS, policy)
    gap = replace(policy, windows=(parts[0], replace(parts[1], from_minute=721)))
    assert not within(NOON_MS - 1, NOON_MS + 1, gap)


def test_utc_offset_decides_which_local_day_and_hour_it_is():
    west = replace(POLICY, utc_offset_minutes=720 - 330)
    assert not within(NOON_MS, policy=west)
    assert within(NOON_MS + 11 * HOUR_MS, policy=west)

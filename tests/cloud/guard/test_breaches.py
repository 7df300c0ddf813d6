"""A breach quarantines everything, and the guard stays shut until two approvers lift its stop."""

from tests.cloud.agent_by_hand import Message
from tests.cloud.guard.guarded import DAY_MS, LIFE_MS, MINUTE_MS
from tests.wire.installation import keyring
from wire.checking import Checked, check
from wire.vocabulary import Role

FEEDER_LIMIT = 5


def asked_of(world, homes):
    return [world.row(home) for home in homes]


def breached(world):
    """One open more than a small feeder's limit, and another behind it."""
    world.homes(range(4, 20))
    return world.ask(*asked_of(world, range(1, FEEDER_LIMIT + 3)))


def test_breach_quarantines_the_command_and_all_that_wait_behind_it(world):
    turned = breached(world)
    words = [one.reason or one.verdict.value for one in turned.answers]
    assert words == ["signed"] * FEEDER_LIMIT + ["breach"] * 2
    assert world.alarm_codes() == ["breach", "quarantined", "quarantined"]
    detail = world.rows("SELECT detail FROM alarms WHERE code = 'breach'")
    assert detail == [(f"feeder over {FEEDER_LIMIT}",)]


def test_breach_is_a_stop_signed_by_the_guard_and_said_every_minute(world):
    (outgoing,) = breached(world).outgoing
    assert (outgoing.topic, outgoing.is_retained) == ("stop", True)
    message = Message(outgoing.topic, outgoing.payload, is_retained=True)
    checked = check(message, keyring(), at_ms=world.now_ms)
    assert isinstance(checked, Checked)
    assert checked.roles == {Role.GUARD}
    assert checked.message.number_ms == world.now_ms
    assert world.hear().outgoing == ()
    world.now_ms += MINUTE_MS
    assert world.hear().outgoing == (outgoing,)


def test_breached_guard_stays_shut_across_a_restart(world):
    breached(world)
    world.store.close()
    world.start()
    assert world.verdict(world.row(10)) == "breach"
    assert len(world.hear().outgoing) == 0
    assert world.rows("SELECT number_ms, is_breach FROM freezes") == [(world.now_ms, 1)]


def test_only_two_different_approvers_lift_a_breach(world):
    breached(world)
    breach_ms = world.now_ms
    for by in (
        ("approver-1",),
        ("approver-1", "approver-1-second-key"),
        ("approver-1", "stop"),
        ("guard",),
        ("engine",),
    ):
        world.resume(breach_ms, *by)
        assert world.verdict(world.row(10, sequence_ms=world.now_ms)) == "breach"
        world.now_ms += 1
    world.resume(breach_ms, "approver-1", "approver-2")
    assert world.verdict(world.row(10)) == "signed"


def test_resume_of_an_earlier_stop_does_not_lift_the_breach(world):
    world.resume(world.now_ms - 1, "approver-1", "approver-2")
    breached(world)
    world.resume(world.now_ms - 1, "approver-1", "approver-2")
    assert world.verdict(world.row(10)) == "breach"


def test_breach_is_above_whatever_was_lifted_ahead_of_time(world):
    lifted_ms = world.now_ms + MINUTE_MS
    world.resume(lifted_ms, "approver-1", "approver-2")
    breached(world)
    assert world.rows("SELECT number_ms FROM freezes WHERE is_breach = 1") == [(lifted_ms + 1,)]
    assert world.verdict(world.row(10)) == "breach"


def test_counting_begins_anew_when_people_lifted_the_breach(world):
    breached(world)
    world.resume(world.now_ms, "approver-1", "approver-2")
    world.now_ms += 1
    verdicts = [world.verdict(world.row(home)) for home in range(8, 14)]
    assert verdicts == ["signed"] * FEEDER_LIMIT + ["breach"]


def test_resume_that_lifts_nothing_resets_no_count(world):
    world.homes(range(4, 20))
    for home in range(1, 1 + FEEDER_LIMIT):
        assert world.verdict(world.row(home)) == "signed"
    world.resume(world.now_ms, "approver-1", "approver-2")
    assert world.verdict(world.row(6)) == "breach"


def test_stop_of_the_control_room_leaves_what_is_asked_to_lapse(world):
    world.stop(world.now_ms)
    assert world.verdict(world.row()) == "stop"
    assert world.answers() == []
    assert world.hear().outgoing == ()
    world.resume(world.now_ms, "approver-1", "approver-2")
    assert world.verdict(world.row()) == "signed"


def test_stop_from_the_future_is_ignored_and_alarmed(world):
    world.stop(world.now_ms + MINUTE_MS + 1)
    assert world.verdict(world.row()) == "signed"
    assert world.alarm_codes() == ["stop_from_future"]


def test_resume_from_the_future_lifts_nothing(world):
    world.stop(world.now_ms)
    world.resume(world.now_ms + MINUTE_MS + 1, "approver-1", "approver-2")
    assert world.verdict(world.row()) == "stop"


def test_meter_counts_once_however_often_it_is_signed_for(world):
    world.homes(range(4, 20))
    for _ in range(3):
        assert world.verdict(world.row(1)) == "signed"
        world.later(LIFE_MS)
    for home in range(2, 1 + FEEDER_LIMIT):
        assert world.verdict(world.row(home)) == "signed"
    assert world.verdict(world.row(6)) == "breach"


def test_second_signature_for_a_counted_meter_is_no_further_home(world):
    world.homes(range(4, 20))
    for home in range(1, 1 + FEEDER_LIMIT):
        assert world.verdict(world.row(home)) == "signed"
    world.later(LIFE_MS)
    assert world.verdict(world.row(1)) == "signed"
    assert world.verdict(world.row(6)) == "breach"


def test_meter_gets_three_signatures_a_day_and_no_more(world):
    for _ in range(3):
        assert world.verdict(world.row()) == "signed"
        world.later(LIFE_MS)
    assert world.verdict(world.row()) == "signed_too_often"
    world.later(DAY_MS - 20 * MINUTE_MS)
    assert world.verdict(world.row()) == "signed"


def test_feeder_is_counted_for_fifteen_minutes(world):
    world.homes(range(4, 20))
    for home in range(1, 1 + FEEDER_LIMIT):
        assert world.verdict(world.row(home)) == "signed"
    world.later(15 * MINUTE_MS)
    assert world.verdict(world.row(6)) == "signed"


def test_transformer_is_counted_over_its_feeders(world):
    world.homes(range(4, 20))
    header = "meter_id,account_id,agent_id,feeder,transformer"
    world.give("meters", header, *(f"M-{n},A-{n},AG-1,F-{n},T-1" for n in range(1, 8)))
    verdicts = [world.verdict(world.row(home)) for home in range(1, 7)]
    assert verdicts == ["signed"] * FEEDER_LIMIT + ["breach"]


FILL = """
    WITH RECURSIVE some (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < ?)
    INSERT INTO meters SELECT 'FILL-' || n, 'A-1', 'AG-FILL', 'F-FILL', 'T-FILL', 0 FROM some"""


def spread(world, homes, agents, meters=1):
    """Homes on feeders and transformers of their own, over so many agents, among other meters."""
    world.homes(homes)
    header = "meter_id,account_id,agent_id,feeder,transformer"
    lines = (f"M-{n},A-{n},AG-{n % agents},F-{n},T-{n}" for n in homes)
    assert world.give("meters", header, *lines).is_good
    world.store.execute(FILL, (meters,))


def sign(world, homes, agents):
    """The verdicts of opens of these homes, each by its agent, in one minute."""
    rows = [world.row(home, agent=f"AG-{home % agents}") for home in homes]
    return [one.reason or one.verdict.value for one in world.ask(*rows).answers]


def test_agent_is_counted_over_the_day(world):
    spread(world, range(10, 40), 1, meters=10_000)
    assert sign(world, range(10, 30), 1) == ["signed"] * 20
    world.later(60 * MINUTE_MS)
    assert sign(world, range(30, 31), 1) == ["breach"]
    assert "agent over 20" in world.rows("SELECT detail FROM alarms WHERE code = 'breach'")[0]


def test_all_meters_are_counted_over_the_day(world):
    spread(world, range(10, 100), 40)
    assert sign(world, range(10, 21), 40) == ["signed"] * 10 + ["breach"]
    assert world.rows("SELECT detail FROM alarms WHERE code = 'breach'") == [("day over 10",)]


def test_day_is_compared_with_the_days_before(world):
    spread(world, range(10, 170), 40, meters=20_000)
    assert sign(world, range(10, 61), 40) == ["signed"] * 50 + ["breach"]
    assert world.rows("SELECT detail FROM alarms WHERE code = 'breach'") == [("mean over 50",)]
    world.resume(world.now_ms, "approver-1", "approver-2")
    world.later(DAY_MS)
    assert world.rows("SELECT meters FROM days") == [(50,)]
    assert sign(world, range(100, 161), 40) == ["signed"] * 61  # three times 50 is the limit now


def test_hour_is_counted_over_everything(world):
    spread(world, range(10, 520), 100, meters=200_000)
    world.store.execute("INSERT INTO days VALUES (0, 0)")
    world.store.executemany(
        "INSERT INTO days VALUES (?, 5000)", [(20_700 + place,) for place in range(10)]
    )
    done = []
    for begin in range(10, 510, 50):
        done += sign(world, range(begin, begin + 50), 100)
        world.later(2 * MINUTE_MS)
    assert done == ["signed"] * 500
    assert sign(world, range(510, 511), 100) == ["breach"]
    assert world.rows("SELECT detail FROM alarms WHERE code = 'breach'") == [("hour over 500",)]

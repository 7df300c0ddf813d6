"""kill -9 in the middle, of each part: nothing is lost, nothing happens twice (I1, I2, I6)."""

from threading import Event

from tests.walk.conftest import FAST, SLOW
from tests.walk.facts import (
    commands_of,
    demand_closed_once,
    demand_one_command_each,
    demand_posted_once,
    ended,
    posted,
    rows,
    until_closed,
    waiting_for,
)
from tests.walk.installation import OWED_PAISE


def test_engine_killed_in_the_middle_of_twenty_payments_closes_each_relay_once(walk):
    consumers = walk.take(SLOW, 20)
    before, after = consumers[:10], consumers[10:]
    assert set(walk.provider.report(before, OWED_PAISE)) == {200}
    walk.until("published commands", waiting_for(walk, commands_of(before), 1))
    walk.kill("engine")
    assert len(rows(walk, ended(before))) < len(before)  # else it was killed behind the work
    assert set(walk.provider.report(after, OWED_PAISE)) == {200}
    assert rows(walk, posted(after)) == []
    walk.start("engine")
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)
    demand_one_command_each(walk, consumers)


def test_intake_killed_between_answer_and_forwarding_loses_nothing(walk):
    """I1: what was answered 200 is on the disk, and nowhere else."""
    consumers = walk.take(FAST, 6)
    walk.kill("broker")
    assert set(walk.provider.report(consumers, OWED_PAISE)) == {200}
    walk.kill("intake")
    assert rows(walk, posted(consumers)) == []
    walk.start("broker", "intake")
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)


def test_broker_killed_under_a_hundred_payments_loses_and_repeats_nothing(walk):
    """A killed mosquitto forgets what it acknowledged; every hop has an answer of its own."""
    fast, slow = walk.take(FAST, 84), walk.take(SLOW, 16)
    consumers = [one for pair in zip(fast[:16], slow, strict=True) for one in pair] + fast[16:]
    is_back = Event()

    def restart_broker() -> None:
        walk.until("first posted payments", waiting_for(walk, posted(consumers), 20))
        walk.kill("broker")
        walk.start("broker")
        is_back.set()

    statuses = walk.provider.report_and(restart_broker, consumers, OWED_PAISE)
    assert is_back.is_set()
    assert statuses == 100 * [200]
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)
    demand_one_command_each(walk, consumers)

"""Step 6: counters, windows, and whose turn it is (I7)."""

import pytest
from sqlalchemy import update

from cloud.outbox import LIFE_MS
from cloud.schema import agents, commands, meters
from tests.cloud.engine_world import SECOND_MS, World, sent
from tests.wire.installation import EPOCH
from wire.vocabulary import Action, Outcome, PaymentKind


def cut_many(world: World, numbers: range, agent: str) -> None:
    for number in numbers:
        world.add_home(number, agent)
        world.cut(number)


def pay_many(world: World, numbers: range):
    items = [world.item(f"pay_{number}", account_hint=f"A-{number}") for number in numbers]
    return world.pay(*items)


@pytest.mark.parametrize("ahead", [-5, 0, 7])
def test_counter_is_above_the_last_the_floor_and_the_clock(world: World, ahead: int):
    """I7, R4: sequence = max(last of the meter + 1, floor of the agent + 1, now)."""
    last, floor = world.now_ms + ahead, world.now_ms + 3
    world.execute(update(meters).values(last_epoch=EPOCH, last_sequence=last))
    world.execute(update(agents).values(floor_epoch=EPOCH, floor_sequence=floor))
    (close,) = sent(world.pay())
    assert close.body.sequence_ms == max(last + 1, floor + 1, world.now_ms)
    assert (close.body.epoch, close.body.expires_at_ms - close.body.sequence_ms) == (EPOCH, LIFE_MS)


def test_counters_of_another_epoch_do_not_raise_ours(world: World):
    """A clock that once ran far ahead is left behind by the next epoch."""
    far = world.now_ms + 10**9
    world.execute(update(meters).values(last_epoch=EPOCH - 1, last_sequence=far))
    world.execute(update(agents).values(floor_epoch=EPOCH - 1, floor_sequence=far))
    (close,) = sent(world.pay())
    assert close.body.sequence_ms == world.now_ms


def test_counters_only_rise_while_the_clock_goes_back(world: World):
    """I7."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    world.execute(update(commands).values(due_at_ms=0))
    world.now_ms -= 3_600_000
    world.start()
    (again,) = sent(world.turn())
    assert again.body.sequence_ms == close.body.sequence_ms + 1


def test_what_is_stored_is_what_is_sent(world: World):
    (close,) = sent(world.pay())
    row = world.command()
    assert (row.envelope, row.command_id) == (close.payload, close.command_id)
    assert (row.epoch, row.sequence_ms) == (close.body.epoch, close.body.sequence_ms)
    assert row.expires_at_ms == close.body.expires_at_ms


def test_agent_that_never_said_hello_is_sent_nothing(world: World):
    world.add_agent("AG-2")
    world.start()
    cut_many(world, range(2, 3), "AG-2")
    assert sent(pay_many(world, range(2, 3))) == []
    assert sent(world.later(SECOND_MS)) == []
    (close,) = sent(world.turn(world.agents["AG-2"].hello()))
    assert close.body.meter == "M-2"


def test_agent_holds_at_most_its_window_and_the_rest_wait_unsigned(world: World):
    agent = world.agents["AG-1"]
    world.turn(agent.hello(window=3))
    cut_many(world, range(2, 9), "AG-1")
    closes = sent(pay_many(world, range(2, 9)))
    assert len(closes) == 3
    waiting = world.commands(state="queued")
    assert len(waiting) == 4
    assert all(row.envelope is None and row.sequence_ms is None for row in waiting)
    outgoing = world.turn(agent.says(agent.final(closes[0], Outcome.CLOSED)))
    assert [one.body.meter for one in sent(outgoing)] == ["M-5"]


def test_withdraw_is_not_counted_and_goes_first(world: World):
    agent = world.agents["AG-1"]
    world.turn(agent.hello(window=1))
    cut_many(world, range(2, 5), "AG-1")
    (close,) = sent(pay_many(world, range(2, 5)))
    refund = world.item("pay_2", account_hint="A-2", kind=PaymentKind.REFUNDED)
    (withdraw,) = sent(world.pay(refund))
    assert (withdraw.body.action, withdraw.body.meter) == (Action.WITHDRAW, close.body.meter)


def test_overtaken_close_stays_live_until_its_end_is_known(world: World):
    """R3: a lock is not effective while the close under the withdrawal may still act."""
    world.pay()
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    overtaken, withdraw = world.commands()
    assert (overtaken.state, overtaken.is_overtaken) == ("published", 1)
    assert (withdraw.state, withdraw.is_overtaken) == ("published", 0)

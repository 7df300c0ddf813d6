"""The life of a command: once, one at a time per meter, across crashes at every commit."""

import pytest

from edge_agent.journal import InvariantBroken
from edge_agent.relay import AskToAct, RelayResult
from edge_agent.settings import Effects
from meter_sim.meters import PopulationPlan
from meter_sim.relay_model import ControlMode
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import command_id, sealed
from wire.decoding import encode
from wire.messages import ReceivedItem, RelayReading
from wire.topics import MessageType
from wire.vocabulary import Outcome

OPEN_READING = RelayReading(output=False, control_state=0, control_mode=4)
CLOSED_READING = RelayReading(output=True, control_state=1, control_mode=4)


@pytest.fixture
def world(tmp_path) -> World:
    world = World(path=tmp_path / "journal.db")
    world.greet()
    return world


def test_close_is_journaled_acted_read_back_and_acknowledged(world):
    """I5 and I8: written down before it moves; the answer is what was read back."""
    item = world.outcome(world.command("close"))
    assert (item.number, item.outcome, item.reason) == (1, "closed", None)
    assert (item.before, item.after) == (OPEN_READING, CLOSED_READING)
    assert item.received_at_ms <= item.acted_at_ms <= item.read_at_ms
    assert world.is_closed()


def test_command_that_comes_twice_gets_the_stored_answer_and_moves_nothing(world):
    """I6: however often it arrives."""
    command = world.command("close")
    world.do(command, command)
    assert world.movements() == 1
    world.sent.clear()
    assert not world.receive(command).jobs
    assert len(world.sent) == 1
    world.crash()
    world.greet()
    assert not world.receive(command).jobs
    assert world.movements() == 1


def test_nothing_moves_and_nothing_is_stored_before_a_welcome_of_this_boot(world):
    """I5: a welcome of the boot before is none; not now leaves no trace."""
    world.crash()
    world.connect()
    made, sent = world.agent.journal.made, len(world.sent)
    command = world.command("close")
    assert world.receive(command) == Effects()
    assert world.agent.not_now == {"no_welcome": 1}
    assert world.agent.journal.commands.known(command_id(command)) is None
    assert (world.agent.journal.made, len(world.sent)) == (made, sent)
    world.greet()
    assert world.outcome(command).outcome == "closed"


def test_full_window_is_not_now_without_a_trace_and_the_resend_is_taken_later():
    """I13: the queue of an agent is its window."""
    small = World(window=1)
    small.greet()
    first, second = small.command("close", "M-1"), small.command("close", "M-2")
    jobs = small.receive(first, second).jobs
    assert [job.meter for job in jobs] == ["M-1"]
    assert small.agent.not_now == {"window_full": 1}
    assert small.agent.journal.commands.highest("M-2") is None
    small.run(jobs)
    assert small.outcome(second).outcome == "closed"


def test_withdraw_is_taken_when_the_window_is_full():
    small = World(window=1)
    small.greet()
    close = small.command("close")
    assert small.receive(close).jobs
    withdraw = small.command("withdraw")
    small.receive(withdraw)
    assert small.final_item(withdraw).outcome == "withdrew"
    assert small.final_item(close).outcome == "withdrawn"


def test_counters_of_a_meter_only_rise_across_restarts(world):
    """I7: a recorded close does not close the relay again after it was opened."""
    sequence_ms = world.now_ms
    recorded = world.command("close", sequence_ms=sequence_ms, life_ms=900_000)
    world.do(world.command("close", sequence_ms=sequence_ms + 1))
    for _ in range(2):
        world.do(recorded)
        assert world.final_item(recorded).reason == "low_counter"
        world.crash()
        world.greet()
    assert world.agent.journal.commands.highest("M-1").sequence_ms == sequence_ms + 1


def test_higher_counter_ends_a_lower_one_that_is_only_received(world):
    """I6: a superseded command never moves, even if its operation already asks."""
    first, second = world.command("close"), world.command("close")
    (job,) = world.receive(first).jobs
    assert world.receive(second).jobs == ()  # the line is still busy with the first
    assert world.final_item(first).outcome == "superseded"
    world.run([job])
    assert world.final_item(second).outcome == "closed"
    assert world.movements() == 1


def test_read_beside_a_close_waits_its_turn_and_ends_neither(world):
    close, read = world.command("close"), world.command("read")
    jobs = world.receive(close, read).jobs
    assert len(jobs) == 1
    world.run(jobs)
    assert world.final_item(close).outcome == "closed"
    assert world.final_item(read).outcome == "read"
    assert world.final_item(read).after == CLOSED_READING


def acting(world: World, command) -> None:
    """Bring a command to `actuating`, and leave its operation under way."""
    world.receive(command)
    asked = AskToAct(command_id(command), OPEN_READING)
    effects = world.keep(world.agent.begin([asked]))
    assert effects.may_act == {command_id(command)}


def test_command_that_is_acting_is_waited_for_by_a_higher_one(world):
    first, second = world.command("close"), world.command("close")
    acting(world, first)
    assert world.receive(second).jobs == ()
    done = RelayResult(
        command_id=command_id(first),
        meter="M-1",
        outcome=Outcome.CLOSED,
        before=OPEN_READING,
        after=CLOSED_READING,
    )
    effects = world.keep(world.agent.finish([done]))
    assert world.final_item(first).outcome == "closed"
    assert [job.command_id for job in effects.jobs] == [command_id(second)]


def test_withdrawal_with_nothing_below_it_says_so(world):
    withdraw = world.command("withdraw")
    world.receive(withdraw)
    assert world.final_item(withdraw).outcome == "nothing_pending"
    late = world.command("close", sequence_ms=world.now_ms - 1)
    world.receive(late)
    assert world.final_item(late).reason == "low_counter"


def test_withdrawal_in_one_batch_with_what_it_means_goes_first(world):
    close, withdraw = world.command("close"), world.command("withdraw")
    assert not world.receive(close, withdraw).jobs
    assert world.final_item(withdraw).outcome == "nothing_pending"
    assert world.final_item(close).reason == "low_counter"


def test_withdrawal_that_comes_too_late_says_so_with_what_was_read_back(world):
    """I8: too late is no guess, it carries a reading from behind the ACTION."""
    close, withdraw = world.command("close"), world.command("withdraw")
    acting(world, close)
    world.receive(withdraw)
    assert command_id(withdraw) not in {item.command for item in world.told()}
    world.relays.close("M-1", world.elapsed_ms)
    done = RelayResult(
        command_id=command_id(close), meter="M-1", outcome=Outcome.CLOSED, after=CLOSED_READING
    )
    effects = world.keep(world.agent.finish([done]))
    world.run(effects.jobs)
    item = world.final_item(withdraw)
    assert (item.outcome, item.after) == ("too_late", CLOSED_READING)


def test_withdrawn_command_does_not_act_even_if_its_operation_asks(world):
    """I6."""
    close = world.command("close")
    (job,) = world.receive(close).jobs
    world.receive(world.command("withdraw"))
    world.run([job])
    assert not world.is_closed()
    assert world.final_item(close).outcome == "withdrawn"


def test_command_that_expires_while_it_waits_does_not_act(world):
    """I5: expiry is looked at again immediately before the ACTION."""
    close = world.command("close", life_ms=10_000)
    jobs = world.receive(close).jobs
    world.elapsed_ms += 10_000
    world.run(jobs)
    item = world.final_item(close)
    assert (item.outcome, item.reason, item.before) == ("refused", "expired", OPEN_READING)
    assert not world.is_closed()


def test_stop_that_arrives_while_an_open_waits_stops_it(world):
    world.age_and_reach()
    opening = world.command("open", "M-3")
    jobs = world.receive(opening).jobs
    world.receive(world.stop(world.now_ms))
    world.run(jobs)
    assert world.final_item(opening).reason == "stop"
    assert world.is_closed("M-3")


def test_opens_of_one_batch_cannot_pass_the_cap_together(world):
    """The cap counts what is journaled as acting, so the second of two sees the first."""
    world.age_and_reach()
    first, second = world.command("open", "M-3"), world.command("open", "M-1")
    world.relays.close("M-1", world.elapsed_ms)
    jobs = world.receive(first, second).jobs
    assert len(jobs) == 2
    world.run(jobs)
    assert {world.final_item(one).reason for one in (first, second)} == {None, "cap_agent"}


def test_operation_that_asks_twice_stops_the_process(world):
    """I6: our own mistake is not acted on."""
    close = world.command("close")
    acting(world, close)
    with pytest.raises(InvariantBroken, match="I6"):
        world.agent.begin([AskToAct(command_id(close), OPEN_READING)])


# Waiting


def test_times_of_an_item_stand_in_order_when_a_welcome_sets_the_clock_back(world):
    close = world.command("close")
    jobs = world.receive(close).jobs
    world.receive(world.welcome(world.connect(), now_ms=world.now_ms - 100_000))
    world.run(jobs)
    item = world.final_item(close)
    assert item.received_at_ms <= item.acted_at_ms <= item.read_at_ms


def test_command_without_outcome_after_five_seconds_is_told_once_as_received(world):
    close = world.command("close")
    world.receive(close)
    world.pass_time(4_999)
    assert world.told() == []
    world.pass_time(1)
    (item,) = world.told()
    assert isinstance(item, ReceivedItem)
    assert item.command == command_id(close)
    world.pass_time(60_000)
    assert len(world.told()) == 1


def test_armed_relay_is_not_reported_as_closed():
    """I8: mode 3 waits for the button."""
    plan = PopulationPlan(initially_open=frozenset({"M-1"}), modes={"M-1": ControlMode.ARM})
    world = World(plan=plan)
    world.greet()
    item = world.outcome(world.command("close"))
    assert (item.outcome, item.after.output, item.after.control_state) == ("armed", False, 2)


def test_commands_of_thirty_meters_share_three_transactions(tmp_path):
    meters = tuple(f"M-{number}" for number in range(30))
    world = World(
        path=tmp_path / "j.db",
        meters=meters,
        plan=PopulationPlan(initially_open=frozenset(meters)),
    )
    world.greet()
    commits = []
    world.journal._connection.set_trace_callback(
        lambda sql: commits.append(sql) if sql == "COMMIT" else None
    )
    items = world.do(*[world.command("close", meter) for meter in meters])
    assert len(commits) == 3
    assert [item.outcome for item in items] == ["closed"] * 30
    acknowledgements = [topic for topic, _ in world.sent if topic.startswith("acknowledgement")]
    assert len(acknowledgements) == 1


def test_junk_changes_nothing_and_is_counted(world):
    good = world.command("close")
    bad = type(good)(good.topic, good.payload[:-1] + bytes([good.payload[-1] ^ 1]))
    retained = type(good)(good.topic, good.payload, is_retained=True)
    elsewhere = type(good)("command/AGENT-2/M-1", good.payload)
    unknown = type(good)("coffee/AGENT-1", good.payload)
    sent, standing = len(world.sent), world.agent.journal.standing
    world.elapsed_ms += 1_000
    assert world.receive(bad, retained, elsewhere, unknown) == Effects()
    assert sum(world.agent.junk.values()) == 4
    assert world.agent.journal.standing == standing
    assert world.agent.journal.made == 0
    assert len(world.sent) == sent
    roster = sealed(MessageType.STOP, encode(world.body("close")), topic="stop")
    world.receive(roster)
    assert sum(world.agent.junk.values()) == 5

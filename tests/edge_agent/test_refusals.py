"""Every refusal an agent can give, through bytes, journal and answer: final and stored."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edge_agent.caps import COOL_OFF_MS
from meter_sim.meters import PopulationPlan
from tests.edge_agent.documents_by_hand import cooled_off, manifest, manifest_id
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import (
    DAY_MS,
    ENGINE,
    GUARD,
    NOON_MS,
    POLICY,
    Delivered,
    registry,
    trust_message,
)
from wire.vocabulary import REFUSALS_THAT_KEEP_COUNTER, RefusalReason

CASES: dict[str, Callable[[World], Delivered]] = {}


def case(make: Callable[[World], Delivered]) -> Callable[[World], Delivered]:
    CASES[make.__name__] = make
    return make


@case
def before_welcome(world: World) -> Delivered:
    hello = world.connect()
    world.receive(world.welcome(hello, floor_sequence=world.now_ms))
    return world.command("close", sequence_ms=world.now_ms)


@case
def low_counter(world: World) -> Delivered:
    world.do(world.command("close", sequence_ms=world.now_ms))
    return world.command("close", sequence_ms=world.now_ms - 1)


@case
def from_future(world: World) -> Delivered:
    return world.command("close", sequence_ms=world.now_ms + 61_000)


@case
def life_too_long(world: World) -> Delivered:
    return world.command("close", life_ms=900_001)


@case
def expired(world: World) -> Delivered:
    return world.command("close", sequence_ms=world.now_ms - 10_000, life_ms=10_000)


@case
def unknown_meter(world: World) -> Delivered:
    return world.command("close", "M-99")


@case
def unknown_action(world: World) -> Delivered:
    return world.command("blink")


@case
def missing_guard(world: World) -> Delivered:
    return world.command("open", "M-3", signers=(ENGINE,))


@case
def trust_expired(world: World) -> Delivered:
    document = registry(version=2, expires_at_ms=world.now_ms + 60_000)
    world.receive(trust_message(document))
    world.registry = document
    world.pass_time(120_000)
    return world.command("open", "M-3")


@case
def trust_old(world: World) -> Delivered:
    world.receive(world.welcome(world.connect(), trust_version=2))
    return world.command("open", "M-3")


@case
def clock_untrusted(world: World) -> Delivered:
    world.receive(world.welcome(world.connect(), now_ms=world.now_ms + 121_000))
    return world.command("open", "M-3")


@case
def stop(world: World) -> Delivered:
    world.receive(world.stop(world.now_ms))
    return world.command("open", "M-3")


@case
def protected(world: World) -> Delivered:
    return world.command("open", "M-PROTECTED")


@case
def window(world: World) -> Delivered:
    world.elapsed_ms += 2 * 3_600_000  # 14:00
    world.greet()
    return world.command("open", "M-3")


@case
def dwell(world: World) -> Delivered:
    assert world.outcome(world.command("close", "M-1")).outcome == "closed"
    return world.command("open", "M-1")


@case
def cap_meter(world: World) -> Delivered:
    for action in ("open", "close", "open", "close"):
        assert world.outcome(world.command(action, "M-3")).outcome != "refused"
        world.pass_time(60_000)
    return world.command("open", "M-3")


@case
def cap_agent(world: World) -> Delivered:
    assert world.outcome(world.command("open", "M-3")).outcome == "opened"
    return world.command("open", "M-4")  # five meters reached: one open in 24 h


@case
def manifest_unknown(world: World) -> Delivered:
    return world.command("open", "M-3", manifest=bytes(16))


@case
def manifest_cooling(world: World) -> Delivered:
    held = manifest(world, "M-3")
    world.receive(held)
    world.pass_time(COOL_OFF_MS - 1)
    return world.command("open", "M-3", manifest=manifest_id(held))


@case
def manifest_expired(world: World) -> Delivered:
    held = manifest(world, "M-3", expires_at_ms=world.now_ms + 2 * COOL_OFF_MS)
    world.receive(held)
    world.pass_time(2 * COOL_OFF_MS)
    world.greet()
    return world.command("open", "M-3", manifest=manifest_id(held))


@case
def meter_not_in_manifest(world: World) -> Delivered:
    return world.command("open", "M-3", manifest=cooled_off(world, "M-4"))


@case
def manifest_used(world: World) -> Delivered:
    held = cooled_off(world, "M-3")
    for action, named in (("open", held), ("close", None)):
        item = world.outcome(world.command(action, "M-3", manifest=named))
        assert item.outcome in ("opened", "closed")
    world.pass_time(60_000)
    return world.command("open", "M-3", manifest=held)


@case
def guarded(world: World) -> Delivered:
    assert world.outcome(world.command("guarded", "M-1")).outcome == "set"
    return world.command("close", "M-1")


@case
def mode_cannot_arm(world: World) -> Delivered:
    command = world.command("arm", "M-1")
    world.do(command)
    return command


@case
def relay_closed(world: World) -> Delivered:
    command = world.command("disarm", "M-3")
    world.do(command)
    return command


@case
def restarted(world: World) -> Delivered:
    command = world.command("open", "M-3")
    assert world.receive(command).jobs
    world.crash()
    world.greet()
    return command


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    reason = request.getfixturevalue("reason")
    meters = ("M-1", "M-2", "M-3", "M-4", "M-PROTECTED")
    generous = replace(POLICY, per_mille=1_000) if reason == "cap_meter" else POLICY
    world = World(
        meters=meters,
        plan=PopulationPlan(initially_open=frozenset({"M-1", "M-2"})),
        protected=frozenset({"M-PROTECTED"}),
        policy=generous,
    )
    world.greet()
    world.age_and_reach()
    return world


@pytest.mark.parametrize("reason", CASES)
def test_refusal_is_final_moves_nothing_and_its_stored_item_answers_every_replay(world, reason):
    """I6: a refused command never moves a relay, however often it arrives, across a restart."""
    command = CASES[reason](world)
    world.receive(command)
    meter = command.topic.rsplit("/", 1)[1]
    moved = world.movements(meter)
    item = world.final_item(command)
    assert (item.outcome, item.reason) == ("refused", reason)
    assert (item.acted_at_ms, item.after) == (None, None)
    for _ in range(2):
        raw, made = world.raw[item.number], world.agent.journal.made
        world.sent.clear()
        assert not world.receive(command).jobs
        assert len(world.sent) == 1  # and World checks that the item's bytes are the same
        assert (world.agent.journal.made, world.raw[item.number]) == (made, raw)
        world.crash()
        world.greet()
    assert world.movements(meter) == moved


@pytest.mark.parametrize("reason", sorted(CASES.keys() - {"restarted"}))
def test_refusal_raises_the_counter_unless_it_is_about_the_counter(world, reason):
    """I7: what was refused cannot be undercut afterwards; an invented counter locks nobody out."""
    command = CASES[reason](world)
    meter = command.topic.rsplit("/", 1)[1]
    before = world.agent.journal.commands.highest(meter)
    world.receive(command)
    after = world.agent.journal.commands.highest(meter)
    if RefusalReason(reason) in REFUSALS_THAT_KEEP_COUNTER:
        assert after == before
    else:
        item = world.final_item(command)
        assert (after.epoch, after.sequence_ms) == (item.epoch, item.sequence_ms)


@pytest.mark.parametrize("reason", ["unknown_meter", "expired", "life_too_long"])
def test_refused_read_raises_no_counter(world, reason):
    """I7: a read is outside the counters."""
    changes = {
        "unknown_meter": {"meter": "M-99"},
        "expired": {"sequence_ms": world.now_ms - 10, "life_ms": 10},
        "life_too_long": {"life_ms": 900_001},
    }[reason]
    read = world.command("read", **changes)
    before = world.agent.journal.commands.counters()
    world.receive(read)
    assert world.final_item(read).reason == reason
    assert world.agent.journal.commands.counters() == before


@pytest.mark.parametrize("reason", ["low_counter"])
def test_low_counter_names_the_highest(world, reason):
    command = CASES[reason](world)
    world.receive(command)
    highest = world.final_item(command).highest
    assert highest == world.agent.journal.commands.highest("M-1")


def test_every_refusal_reason_is_tested_here():
    assert CASES.keys() == {reason.value for reason in RefusalReason}


def test_command_refused_as_from_the_future_stays_refused_when_its_time_has_come():
    """I6: the journal keeps what could be replayed for as long as it could be."""
    world = World()
    world.greet()
    command = world.command("close", sequence_ms=world.now_ms + 61_000)
    world.receive(command)
    world.pass_time(62_000)
    assert not world.receive(command).jobs
    assert world.final_item(command).reason == "from_future"
    assert not world.is_closed()


def test_new_journal_refuses_opens_for_a_day_of_running_time():
    world = World()
    world.greet()
    item = world.outcome(world.command("open", "M-3"))
    assert item.reason == "cap_meter"


def test_meters_not_read_for_a_week_of_running_time_are_no_base_for_opens():
    world = World()
    world.greet()
    world.age_and_reach()
    world.age(8 * DAY_MS)
    assert world.outcome(world.command("open", "M-3")).reason == "cap_agent"


def test_open_signed_by_engine_and_guard_within_all_rules_opens_the_relay():
    world = World()
    world.greet()
    world.age_and_reach()
    item = world.outcome(world.command("open", "M-3", signers=(GUARD, ENGINE)))
    assert item.outcome == "opened"
    assert item.after.output is False
    assert not world.is_closed("M-3")
    assert item.received_at_ms >= NOON_MS

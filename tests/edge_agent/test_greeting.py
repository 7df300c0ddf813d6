"""Hello and welcome: what is believed, what is not, and when it is asked again."""

import pytest

from edge_agent.greeting import believed
from edge_agent.settings import Effects
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import (
    DAY_MS,
    EPOCH,
    INSTALLATION,
    NEXT_ENGINE,
    STRANGER,
    Delivered,
    key,
    registry,
    registry_key,
    trust_message,
)
from wire.decoding import encode
from wire.documents import Trust
from wire.envelope import seal
from wire.messages import AlarmItem, Counter
from wire.trust import TrustRefusedError
from wire.vocabulary import JournalVerdict, Role


@pytest.fixture
def world(tmp_path) -> World:
    return World(path=tmp_path / "journal.db")


def alarms(world: World) -> list[str]:
    return [item.code for item in world.told() if isinstance(item, AlarmItem)]


# Hello


def test_hello_tells_boot_number_nonce_and_what_is_held(world):
    hello = world.connect()
    assert (hello.boot, hello.number, hello.protocol) == (world.journal.standing.boot, 1, 1)
    assert (hello.trust_version, hello.roster_version, hello.meters) == (0, 7, 3)
    assert (hello.made, hello.head) == (0, world.head(0))
    again = world.connect()
    assert (again.boot, again.number) == (hello.boot, 2)
    assert again.nonce != hello.nonce
    world.crash()
    assert world.connect().boot > hello.boot


def test_boot_number_is_stored_before_its_first_hello(world):
    """I7: a boot number is never used twice."""
    world.agent.journal.close()
    world.journal = type(world.journal).open(world.path, "AGENT-1", world.ids)
    assert world.journal.standing.boot > 0  # no hello was ever sent


def test_disk_restored_from_a_copy_never_takes_the_boot_it_lost(world):
    """I6: with that boot it would be known, and a command whose rows are gone could act again."""
    world.agent.journal.close()
    copy = world.path.read_bytes()
    world.crash()
    lost = world.connect()
    world.agent.journal.close()
    world.path.write_bytes(copy)
    world.crash()
    restored = world.connect()
    assert restored.journal == lost.journal
    assert restored.boot != lost.boot


def test_hello_without_welcome_is_repeated_after_5_15_and_45_seconds_then_the_broker_is_left(world):
    world.connect()
    for wait_ms, number in ((5_000, 2), (15_000, 3)):
        assert world.pass_time(wait_ms - 1) == Effects()
        world.pass_time(1)
        assert world.hellos[-1].number == number
    assert world.pass_time(44_999) == Effects()
    assert world.pass_time(1) == Effects(move_broker=True)
    world.connect()
    assert world.hellos[-1].number == 4


def test_hello_comes_again_ten_minutes_after_a_welcome_give_or_take_a_fifth(world):
    world.greet()
    due_ms = world.agent._greeting.next_hello_ms - world.elapsed_ms
    assert 480_000 <= due_ms <= 720_000
    world.pass_time(due_ms)
    assert world.hellos[-1].number == 2


# Welcome


def test_second_welcome_for_one_nonce_changes_nothing(world):
    hello = world.connect()
    world.receive(trust_message(world.registry), world.welcome(hello))
    before = world.agent.journal.standing
    world.receive(world.welcome(hello, floor_sequence=world.now_ms, generation_ms=2_000))
    assert world.agent.journal.standing == before
    assert world.agent.junk == {"welcome": 1}


def test_trust_and_welcome_come_before_the_commands_of_their_batch(world):
    hello = world.connect()
    close = world.command("close")
    world.do(close, world.welcome(hello), trust_message(world.registry))
    assert world.final_item(close).outcome == "closed"


def test_welcome_of_an_earlier_boot_is_not_believed(world):
    hello = world.connect()
    world.crash()
    world.connect()
    world.receive(trust_message(world.registry), world.welcome(hello))
    assert not world.agent.is_welcomed


def test_only_the_last_three_nonces_are_believed(world):
    hellos = [world.connect() for _ in range(4)]
    world.receive(trust_message(world.registry), world.welcome(hellos[0]))
    assert not world.agent.is_welcomed
    world.receive(world.welcome(hellos[1]))
    assert world.agent.is_welcomed


def test_floor_only_rises_and_is_kept_across_restarts(world):
    """I7."""
    world.greet(floor_sequence=1_000)
    world.greet(floor_sequence=500)
    assert world.agent.journal.standing.floor == Counter(epoch=EPOCH, sequence_ms=1_000)
    world.crash()
    assert world.agent.journal.standing.floor == Counter(epoch=EPOCH, sequence_ms=1_000)


def test_floor_over_a_minute_ahead_of_its_own_now_is_ignored(world):
    """A thief could otherwise burn every counter of this epoch by one welcome."""
    world.greet(floor_sequence=world.now_ms + 3_600_000)
    assert world.agent.journal.standing.floor == Counter(epoch=0, sequence_ms=0)
    assert world.agent.is_welcomed
    world.greet(floor_sequence=world.now_ms + 60_000)
    assert world.agent.journal.standing.floor.sequence_ms == world.now_ms + 60_000


def test_floor_of_another_epoch_than_the_signing_keys_is_ignored(world):
    world.greet(floor_epoch=EPOCH + 1, floor_sequence=0)
    assert world.agent.journal.standing.floor == Counter(epoch=0, sequence_ms=0)


def test_floor_of_the_next_epoch_ends_the_old_one(world):
    world.registry = registry(
        more=(registry_key(NEXT_ENGINE, Role.ENGINE, "engine-host", epoch=EPOCH + 1),)
    )
    hello = world.connect()
    welcome = world.welcome(hello, signer=NEXT_ENGINE, floor_epoch=EPOCH + 1)
    world.receive(trust_message(world.registry), welcome)
    old = world.command("close")
    world.receive(old)
    assert world.final_item(old).reason == "before_welcome"
    new = world.command("close", epoch=EPOCH + 1, signers=(NEXT_ENGINE,))
    assert world.outcome(new).outcome == "closed"


def test_welcome_with_a_slow_round_trip_gives_floor_but_no_time(world):
    hello = world.connect()
    world.elapsed_ms += 10_001
    world.receive(trust_message(world.registry), world.welcome(hello, floor_sequence=77))
    assert world.agent.journal.standing.floor.sequence_ms == 77
    assert not world.agent.is_welcomed
    due_ms = world.agent._greeting.next_hello_ms - world.elapsed_ms
    assert due_ms <= 72_000  # asked again soon


def test_welcome_of_an_older_ledger_is_ignored_as_a_whole(world):
    world.greet(generation_ms=5_000)
    hello = world.connect()
    world.receive(world.welcome(hello, generation_ms=4_999, floor_sequence=99))
    assert world.agent.journal.standing.generation_ms == 5_000
    assert world.agent.journal.standing.floor.sequence_ms == 0


def test_contradicting_welcome_raises_one_alarm_and_the_dispute_outlives_a_restart(world):
    world.greet()
    world.greet(now_ms=world.now_ms + 3_600_000)
    world.greet(now_ms=world.now_ms + 3_600_000)
    assert alarms(world) == ["clock_disputed"]
    world.crash()
    world.greet()
    assert world.agent._greeting.time().is_disputed
    assert world.outcome(world.command("close")).outcome == "closed"


# A new journal


@pytest.mark.parametrize("verdict", [JournalVerdict.ROLLED_BACK, JournalVerdict.RETIRED])
def test_journal_the_engine_does_not_believe_in_is_put_aside(world, verdict):
    """I7: its successor inherits what only rises, and its caps count as used."""
    world.greet(floor_sequence=500)
    world.age_and_reach()
    world.do(world.command("close"))
    world.receive(world.stop(world.now_ms))
    old = world.agent.journal.standing
    highest = world.agent.journal.commands.highest("M-1")
    hello = world.connect()
    pending = world.command("close", "M-2")
    effects = world.receive(world.welcome(hello, verdict=verdict), pending)
    new = world.agent.journal.standing
    assert effects.jobs == ()
    assert new.journal_id != old.journal_id
    assert (new.running_ms, world.agent.journal.made) == (0, 0)
    assert (new.stop_ms, new.floor) == (old.stop_ms, old.floor)
    assert world.agent.journal.commands.highest("M-1") == highest
    assert world.hellos[-1].journal == new.journal_id
    assert not world.agent.is_welcomed
    assert len(list(world.path.parent.glob("*.retired-*"))) == 1
    world.items.clear()
    world.raw.clear()
    world.receive(world.welcome(world.hellos[-1]), world.resume(world.now_ms))
    assert world.outcome(pending).outcome == "closed"
    assert world.outcome(world.command("open", "M-3")).reason == "cap_meter"


def test_operation_of_a_journal_put_aside_gets_no_leave_and_its_end_is_dropped(world):
    """I6."""
    world.greet()
    jobs = world.receive(world.command("close")).jobs
    world.receive(world.welcome(world.connect(), verdict=JournalVerdict.RETIRED))
    world.run(jobs)
    assert not world.is_closed()
    assert world.agent.journal.made == 0


def test_journals_are_put_aside_once_a_minute_at_most(world):
    """I13: an engine that says so for ever does not fill the disk."""
    world.greet()
    world.receive(world.welcome(world.connect(), verdict=JournalVerdict.RETIRED))
    second = world.agent.journal.standing.journal_id
    world.receive(world.welcome(world.hellos[-1], verdict=JournalVerdict.RETIRED))
    assert world.agent.journal.standing.journal_id == second
    world.pass_time(60_000)
    assert world.agent.journal.standing.journal_id != second


# Trust


def test_trust_is_stored_before_use_and_found_again(world):
    world.greet()
    world.crash()
    assert world.connect().trust_version == 1


def test_unknown_key_asks_by_a_hello_once_a_minute(world):
    world.greet()
    asked = len(world.hellos)
    foreign = world.command("close", signers=(STRANGER,))
    world.receive(foreign)
    world.pass_time(1)
    assert len(world.hellos) == asked + 1
    world.receive(world.welcome(world.hellos[-1]), foreign)
    world.pass_time(30_000)
    assert len(world.hellos) == asked + 1
    world.pass_time(30_000)
    world.receive(foreign)
    world.pass_time(1)
    assert len(world.hellos) == asked + 2


def test_older_forged_and_expired_trust_changes_nothing(world):
    world.registry = registry(version=2)
    world.greet()
    forged = seal(INSTALLATION, "registry", encode(registry(version=3)), [STRANGER])
    world.receive(
        trust_message(registry(version=1)),
        Delivered("trust", encode(Trust(roots=(), registry=forged))),
        Delivered("trust/AGENT-2", trust_message(registry(version=3)).payload),
        trust_message(registry(version=4, expires_at_ms=world.now_ms - 1)),
        Delivered("trust", b"\xc1"),
    )
    assert world.agent._greeting.authorities.registry_version == 2
    assert sum(world.agent.junk.values()) == 5
    assert alarms(world) == []


def test_registry_of_one_version_in_two_texts_raises_one_alarm(world):
    world.greet()
    for _ in range(2):
        world.receive(trust_message(registry(version=1, expires_at_ms=world.now_ms + DAY_MS)))
    assert alarms(world) == ["trust_forked"]
    assert world.agent._greeting.authorities.registry.expires_at_ms == world.registry.expires_at_ms


def test_production_agent_refuses_a_registry_with_a_development_key(tmp_path):
    document = registry(mark="development")
    refusing = World(path=tmp_path / "production.db")
    refusing.receive(trust_message(document))
    assert refusing.agent._greeting.authorities.registry is None
    trusting = World(path=tmp_path / "development.db", is_production=False)
    trusting.receive(trust_message(document))
    assert trusting.agent._greeting.authorities.registry_version == 1


def test_stored_root_that_is_not_the_pinned_one_stops_the_start(world):
    world.greet()
    settings = type(world.agent.settings)(
        agent="AGENT-1",
        signing_key=key(9),
        first_root=b"",
        pin=bytes(32),
        is_production=True,
    )
    with pytest.raises(TrustRefusedError, match="pin"):
        believed(settings, world.agent.journal)

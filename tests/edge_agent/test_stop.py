"""Stop and resume: two maxima, kept, and believed only from now."""

import pytest

from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import ANNA, ENGINE, sealed
from wire.decoding import encode
from wire.documents import Resume
from wire.messages import AlarmItem
from wire.topics import MessageType
from wire.vocabulary import JournalVerdict


@pytest.fixture
def world(tmp_path) -> World:
    return World(path=tmp_path / "journal.db")


def alarms(world: World) -> list[str]:
    return [item.code for item in world.told() if isinstance(item, AlarmItem)]


def test_stop_is_kept_across_restarts_and_lifted_by_two_people_only(world):
    world.greet()
    world.receive(world.stop(world.now_ms))
    world.crash()
    world.greet(lifted_ms=world.now_ms)  # the engine's word lifts nothing
    assert world.agent.journal.standing.is_stopped
    one = encode(Resume(lifts_ms=world.now_ms, note=""))
    world.receive(sealed(MessageType.RESUME, one, ANNA, topic="resume"))
    world.receive(sealed(MessageType.RESUME, one, ENGINE, topic="resume"))
    assert world.agent.journal.standing.is_stopped
    world.receive(world.resume(world.now_ms))
    assert not world.agent.journal.standing.is_stopped


def test_resume_older_than_the_stop_lifts_nothing(world):
    world.greet()
    world.receive(world.stop(world.now_ms), world.resume(world.now_ms - 1))
    assert world.agent.journal.standing.is_stopped


def test_stop_in_a_welcome_freezes_too(world):
    world.greet(stop_ms=123)
    assert world.agent.journal.standing.is_stopped
    world.receive(world.resume(123))
    assert not world.agent.journal.standing.is_stopped


def test_stop_or_resume_from_the_future_is_ignored_and_alarmed(world):
    """It could never be lifted again."""
    world.greet()
    ahead_ms = world.now_ms + 3_600_000
    world.receive(world.stop(ahead_ms), world.resume(ahead_ms))
    standing = world.agent.journal.standing
    assert (standing.stop_ms, standing.lifted_ms) == (0, 0)
    assert alarms(world) == ["stop_from_future", "resume_from_future"]


def test_stop_that_arrived_before_any_time_was_known_outlives_a_journal_put_aside(world):
    world.greet()
    world.crash()
    number_ms = world.now_ms
    world.connect()
    world.receive(world.stop(number_ms))
    world.receive(world.welcome(world.hellos[-1], verdict=JournalVerdict.RETIRED))
    assert world.agent.journal.standing.stop_ms == 0
    world.receive(world.welcome(world.hellos[-1], verdict=JournalVerdict.NEW))
    assert world.agent.journal.standing.stop_ms == number_ms


def test_stop_that_arrives_before_any_time_is_known_is_judged_at_the_welcome(world):
    world.greet()
    world.crash()
    number_ms = world.now_ms
    world.receive(world.stop(number_ms))
    assert world.agent.journal.standing.stop_ms == 0
    world.greet()
    assert world.agent.journal.standing.stop_ms == number_ms

"""The engine's vectors through a real engine on a ledger file."""

import pytest

from tests.vectors import rows
from tests.vectors.engine_sight import StepSeen
from tests.vectors.engine_world import EngineWorld, state_of
from tests.wire import vectors


@pytest.fixture
def world_of(tmp_path):
    made = []

    def make(row) -> EngineWorld:
        made.append(EngineWorld(state_of(row), tmp_path / "ledger.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("row", rows.words_to("engine"), ids=rows.name_of)
def test_engine_does_with_a_word_what_the_vector_says(row, world_of):
    StepSeen(world_of(row)).deliver(vectors.message(row), row["at_ms"]).expect(row["verdict"])


@pytest.mark.parametrize("row", rows.sequences("engine"), ids=rows.name_of)
def test_engine_lives_through_a_sequence(row, world_of):
    world = world_of(row)
    for step in row["steps"]:
        assert step["event"] == "deliver"
        StepSeen(world).deliver(vectors.message(step), step["at_ms"]).expect(step["expect"])


def test_junk_is_counted_by_the_engine_and_leaves_no_row(world_of):
    """One ledger for all of them: what one had changed, the next comparison would show."""
    world = world_of({})
    before = world.everything()
    for row in rows.junk("engine"):
        counted = world.engine.junk.total()
        left = world.deliver(vectors.message(row), at_ms=row["at_ms"])
        assert left == [], row["name"]
        assert world.engine.junk.total() == counted + 1, row["name"]
        assert world.everything() == before, row["name"]


@pytest.mark.parametrize("row", rows.envelopes("engine"), ids=rows.name_of)
def test_genuine_message_is_no_junk_to_the_engine(row, world_of):
    world = world_of({})
    before = world.everything()
    world.deliver(vectors.message(row), at_ms=row["at_ms"])
    assert not world.engine.junk
    assert world.everything() != before


def test_what_is_meant_for_others_is_junk_to_the_engine(world_of):
    world = world_of({})
    before = world.everything()
    others = [*rows.envelopes("agent"), *rows.envelopes("intake")]
    others = [row for row in others if row not in rows.for_everybody()]
    messages = [vectors.message(row) for row in others]
    left = world.deliver(*messages, at_ms=world.state["now_ms"])
    assert left == []
    assert world.engine.junk.total() == len(others)
    assert world.everything() == before


@pytest.mark.parametrize("row", rows.for_everybody(), ids=rows.name_of)
def test_stop_and_resume_are_kept_by_the_engine_and_told_to_all(row, world_of):
    world = world_of({})
    message = vectors.message(row)
    left = world.deliver(message, at_ms=row["at_ms"])
    assert not world.engine.junk
    told = [(one.topic, one.payload) for one in left if one.is_retained]
    assert told == [(message.topic, message.payload)]

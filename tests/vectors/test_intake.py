"""The intake's vectors through a real forwarder on a spool file."""

import pytest

from cloud.intake.counting import Counted
from tests.vectors import rows
from tests.vectors.intake_world import IGNORED, IntakeWorld
from tests.wire import vectors


@pytest.fixture
def world_of(tmp_path):
    made = []

    def make(row) -> IntakeWorld:
        path = tmp_path / "spool.db"
        made.append(IntakeWorld(path, row["at_ms"], intake=row["receiver"]))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("row", rows.words_to("intake"), ids=rows.name_of)
def test_intake_does_with_a_word_what_the_vector_says(world_of, row):
    """I1: what was not receipted goes on being offered, now and by the next process."""
    world = world_of(row)
    before = world.rows()
    world.deliver(vectors.message(row))
    assert row["verdict"] == {"ignored": True, "unreceipted": [4_711]}
    assert world.rows() == before
    assert world.counted(*IGNORED) == 1
    assert world.counted(Counted.RECEIPT_JUNK) == 0
    assert world.forwarder.unreceipted == 1
    assert world.reopened() == row["verdict"]["unreceipted"]


@pytest.mark.parametrize("row", rows.junk("intake"), ids=rows.name_of)
def test_junk_is_counted_by_the_intake_and_leaves_no_row(world_of, row):
    world = world_of(row)
    before = world.rows()
    world.deliver(vectors.message(row))
    assert world.counted(Counted.RECEIPT_JUNK) == 1
    assert world.rows() == before
    assert world.forwarder.unreceipted == 1


@pytest.mark.parametrize("row", rows.envelopes("intake"), ids=rows.name_of)
def test_genuine_receipt_ends_the_number_it_names(world_of, row):
    world = world_of(row)
    world.deliver(vectors.message(row))
    assert world.counted(Counted.RECEIPTED) == 1
    assert world.forwarder.unreceipted == 0
    assert world.reopened() == []

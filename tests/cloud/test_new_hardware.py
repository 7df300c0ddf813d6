"""An agent on new hardware: the same id, a new key of a higher serial, a new journal (R16, R5)."""

from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.identities import read_identities
from cloud.schema import agents, journals
from tests.cloud.agent_by_hand import AgentByHand
from tests.cloud.engine_world import World, sent, welcome
from tests.cloud.test_trust_files import statement
from tests.wire.installation import EPOCH, authorities
from wire.fields import AgentId, JournalId
from wire.keys import SigningKey
from wire.vocabulary import JournalVerdict, Outcome

NEW_KEY = SigningKey(b"n" * 32)


class Hardware:
    """AG-1 as it was, and the box that takes its place."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.old = world.agents["AG-1"]
        self.new = AgentByHand(AgentId("AG-1"), NEW_KEY, JournalId(b"new disk"))
        self.enrol(self.old.key, 1)

    def enrol(self, signing: SigningKey, serial: int) -> None:
        """Put a statement into the folder; the running engine picks it up."""
        (self.folder / f"AG-1-{serial}.identity").write_bytes(statement("AG-1", signing, serial))
        read = read_identities(self.folder, authorities(), known_serials={})
        assert read.left_out == ()
        self.world.engine.believe(authorities(), read.keys)

    def replace(self) -> None:
        self.enrol(NEW_KEY, 2)


@pytest.fixture
def hardware(world: World, tmp_path: Path) -> Hardware:
    folder = tmp_path / "identities"
    folder.mkdir()
    return Hardware(world, folder)


def test_old_hardware_is_heard_until_the_new_statement_comes(hardware: Hardware):
    assert welcome(hardware.world.turn(hardware.old.hello())).verdict is JournalVerdict.KNOWN
    assert hardware.world.turn(hardware.new.hello()) == []


def test_what_old_hardware_says_is_junk_once_the_new_identity_is_read(hardware: Hardware):
    (close,) = sent(hardware.world.pay())
    hardware.replace()
    before = hardware.world.everything()
    hardware.world.turn(
        hardware.old.hello(), hardware.old.says(hardware.old.final(close, Outcome.CLOSED))
    )
    assert hardware.world.everything() == before
    assert sum(hardware.world.engine.junk.values()) == 2


def test_new_hardware_begins_with_a_floor_above_everything_and_retires_the_old_journal(
    hardware: Hardware,
):
    """I7: nothing recorded for the old box can act at the new one."""
    world = hardware.world
    (close,) = sent(world.pay())
    hardware.replace()
    answered = world.turn(hardware.new.hello())
    told = welcome(answered)
    assert told.verdict is JournalVerdict.NEW
    assert (told.floor_epoch, told.through) == (EPOCH, 0)
    assert told.floor_sequence >= close.body.sequence_ms
    (again,) = sent(answered)
    assert again.body.sequence_ms > told.floor_sequence
    assert world.command(id=1).state == "void"
    standing = {row.journal: row.standing for row in world.rows(select(journals))}
    assert standing == {hardware.old.journal: "retired", b"new disk": "current"}
    world.turn(hardware.new.says(hardware.new.final(again, Outcome.CLOSED)))
    assert world.episode().ended_at_ms is not None


def test_old_journal_in_the_new_box_is_turned_away(hardware: Hardware):
    """A disk moved over with the new key: its journal is over for ever."""
    hardware.replace()
    hardware.world.turn(hardware.new.hello())
    moved = AgentByHand(AgentId("AG-1"), NEW_KEY, hardware.old.journal, boot=9)
    assert welcome(hardware.world.turn(moved.hello())).verdict is JournalVerdict.RETIRED


def test_hello_notes_roster_and_generation_of_its_agent(hardware: Hardware):
    hardware.world.turn(hardware.old.hello(roster_version=4, generation_ms=7))
    row = hardware.world.one(select(agents))
    assert (row.roster_version, row.generation_ms) == (4, 7)

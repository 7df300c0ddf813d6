"""What the journal's own schema refuses, whoever writes to it; and what it gives back."""

import sqlite3

import pytest
from sqlite_utils import Database

from edge_agent.command_rows import Step
from edge_agent.journal import Journal, JournalError, _migrations
from edge_agent.journal_file import RETIRED_FILES_MAX
from tests.edge_agent.engine_by_hand import Ids, World
from tests.edge_agent.installation_by_hand import AGENT
from wire.messages import AlarmItem, Counter


@pytest.fixture
def journal(tmp_path):
    found = Journal.open(tmp_path / "j.db", AGENT, Ids())
    with found.transaction(0):
        for number in (1, 2, 3):
            found.append(AlarmItem(number=number, code="x", meter=None, at_ms=0))
        found.commands.raise_highest("M-1", Counter(epoch=3, sequence_ms=100))
        found.commands.write(step("received", body=b"body"), 0)
    yield found
    found.close()


def step(name: str, **more) -> Step:
    return Step(
        command_id=bytes(16), step=name, meter="M-1", action="close", at_ms=1, expires_at_ms=2,
        **more,
    )  # fmt: skip


NEVER_RECEIVED = """
INSERT INTO steps (command_id, step, meter, action, at_ms, running_ms, expires_at_ms)
VALUES (x'11111111111111111111111111111111', 'actuating', 'M', 'close', 0, 0, 0)
"""


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("UPDATE items SET item = x'00' WHERE number = 2", "I3"),
        ("DELETE FROM items WHERE number = 1", "I3"),
        ("INSERT INTO items VALUES (9, x'00', zeroblob(32))", "I3"),
        ("INSERT INTO checkpoints VALUES (1, zeroblob(32), 0)", "I3"),
        ("UPDATE steps SET at_ms = 9", "I3"),
        ("DELETE FROM steps", "I3"),
        ("UPDATE meters SET sequence_ms = 99", "I7"),
        ("UPDATE meters SET epoch = 2, sequence_ms = 999", "I7"),
        ("DELETE FROM meters", "I7"),
        ("DELETE FROM standing", "I7"),
        ("UPDATE standing SET floor_epoch = floor_epoch - 1", "I7"),
        ("UPDATE standing SET boot = boot - 1", "I7"),
        ("UPDATE standing SET stop_ms = stop_ms - 1", "I7"),
        ("UPDATE standing SET lifted_ms = lifted_ms - 1", "I7"),
        ("UPDATE standing SET generation_ms = generation_ms - 1", "I7"),
        ("UPDATE standing SET running_ms = running_ms - 1", "I7"),
        ("UPDATE standing SET journal_id = zeroblob(8)", "I7"),
        (
            NEVER_RECEIVED,
            "I5",
        ),
    ],
)
def test_schema_itself_refuses_what_breaks_an_invariant(journal, statement, invariant):
    """I3, I5 and I7 hold for any program that opens the file."""
    with pytest.raises(sqlite3.IntegrityError, match=invariant):
        journal._execute(statement)


def test_command_that_has_its_outcome_can_neither_act_nor_end_again(journal):
    """I6."""
    with journal.transaction(0):
        journal.commands.write(step("outcome", item=3), 0)
    for again in (step("actuating"), step("outcome", item=2)):
        with pytest.raises(sqlite3.IntegrityError), journal.transaction(0):
            journal.commands.write(again, 0)


def write_what_then_fails(journal) -> None:
    journal.append(AlarmItem(number=4, code="x", meter=None, at_ms=0))
    journal.change(stop_ms=9)
    journal._execute("DELETE FROM meters")


def test_failed_transaction_leaves_file_and_object_as_they_were(journal):
    before = (journal.made, journal.head, journal.standing)
    with pytest.raises(sqlite3.IntegrityError), journal.transaction(5_000):
        write_what_then_fails(journal)
    assert (journal.made, journal.head, journal.standing) == before
    assert journal.items_after(3, 9) == []


def test_file_is_durable_and_opened_once(journal, tmp_path):
    mode = journal._execute("PRAGMA journal_mode").fetchone()[0]
    assert (mode, journal._execute("PRAGMA synchronous").fetchone()[0]) == ("wal", 2)
    with pytest.raises(JournalError, match="in use"):
        Journal.open(tmp_path / "j.db", AGENT, Ids())
    reader = Journal.read(tmp_path / "j.db")
    assert (reader.made, reader.head) == (3, journal.head)
    reader.close()


def test_journal_of_another_agent_and_a_file_that_is_none_are_refused(journal, tmp_path):
    journal.close()
    with pytest.raises(JournalError, match="AGENT-1, not of AGENT-2"):
        Journal.open(tmp_path / "j.db", "AGENT-2", Ids())
    (tmp_path / "letter.db").write_text("Dear Sir, " * 500)
    with pytest.raises(JournalError, match=r"letter\.db"):
        Journal.open(tmp_path / "letter.db", AGENT, Ids())
    with pytest.raises(JournalError, match=r"none\.db"):
        Journal.read(tmp_path / "none.db")


def test_journal_id_is_born_with_the_file_and_stays(tmp_path):
    ids = Ids()
    born = Journal.open(tmp_path / "j.db", AGENT, ids)
    journal_id = born.standing.journal_id
    born.close()
    found = Journal.open(tmp_path / "j.db", AGENT, ids)
    assert found.standing.journal_id == journal_id
    found.close()


def test_crash_between_the_two_renames_of_a_new_journal_is_survived(tmp_path):
    """I7: the successor was complete before the old one was put aside."""
    ids, path = Ids(), tmp_path / "j.db"
    journal = Journal.open(path, AGENT, ids)
    with journal.transaction(0):
        journal.commands.raise_highest("M-1", Counter(epoch=3, sequence_ms=100))
    successor = journal.start_anew(ids)
    journal_id = successor.standing.journal_id
    successor.close()
    path.rename(tmp_path / "j.db.next")
    found = Journal.open(path, AGENT, ids)
    assert found.standing.journal_id == journal_id
    assert found.commands.highest("M-1") == Counter(epoch=3, sequence_ms=100)
    found.close()


def test_only_the_newest_journals_put_aside_are_kept(tmp_path):
    """I13."""
    ids, path = Ids(), tmp_path / "j.db"
    journal = Journal.open(path, AGENT, ids)
    for _ in range(RETIRED_FILES_MAX + 3):
        journal = journal.start_anew(ids)
    journal.close()
    assert len(list(tmp_path.glob("*.retired-*"))) == RETIRED_FILES_MAX


def test_full_journal_takes_no_command_and_leaves_no_trace(monkeypatch):
    """I13: the bound is kept, and nothing that matters is dropped for it."""
    monkeypatch.setattr("edge_agent.journal.ITEMS_MAX", 2)
    world = World()
    world.greet()
    for _ in range(3):
        world.do(world.command("close"))
    assert world.agent.not_now == {"journal_full": 1}
    assert [item.kind for item in world.told()] == ["command", "command", "alarm"]
    assert world.told()[2].code == "journal_full"
    world.receive(world.filed(3))
    assert [number for number, _ in world.agent.journal.items_after(0, 9)] == [1, 2, 3]


def test_journal_of_version_1_is_opened_with_all_it_holds(tmp_path):
    """Whatever an agent knew before its program became newer, it knows afterwards (I7)."""
    path = tmp_path / "journal.db"
    old = Database(path)
    _migrations.apply(old, stop_before="second_tables")
    assert "manifests" not in old.table_names()
    with old.conn:
        old.execute(
            "INSERT INTO standing (one, journal_id, agent, stop_ms) VALUES (1, ?, 'AGENT-1', 77)",
            (bytes(8),),
        )
        old.execute("INSERT INTO meters (meter, epoch, sequence_ms) VALUES ('M-1', 3, 500)")
        old.execute(
            "INSERT INTO steps (command_id, step, meter, action, at_ms, running_ms, body,"
            " expires_at_ms) VALUES (?, 'received', 'M-1', 'close', 1, 1, ?, 2)",
            (bytes(16), b"-"),
        )
    old.close()
    for _ in range(2):
        journal = Journal.open(path, AGENT, Ids())
        assert (journal.standing.stop_ms, journal.standing.roster_version) == (77, 0)
        assert journal.commands.counters() == [("M-1", 3, 500)]
        assert [one.attempts for one in journal.commands.begun()] == [0]
        assert journal.manifests.count() == 0
        journal.close()

"""The auditor on an installation that ran: nothing is found; whatever is changed is found."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.audit.auditing import audit
from cloud.audit.evidence import Places
from cloud.audit.signatures import EvidenceError
from cloud.cli.audit import places_of
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from tests.walk.conftest import made
from tests.walk.facts import until_closed
from tests.walk.installation import OWED_PAISE, AgentPlan
from tests.walk.provider import captured

AGENT = "AGENT-1"
PAID = 6


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """An installation in which six consumers paid and got their supply back, then stopped."""
    folder = tmp_path_factory.mktemp("audit") / "i"
    for walk in made(folder, {AGENT: AgentPlan(meters=9)}, made_at_ms=clock_ms()):
        paying = walk.take(AGENT, PAID)
        for one in paying:
            assert walk.provider.post(captured(one, OWED_PAISE)) == 200
        until_closed(walk, paying)
        for name in ("intake", "engine", AGENT):
            if name in walk.processes:
                walk.stop(name)
        installation = Installation(walk.config)
        yield places_of(installation, (walk.journal(AGENT),))


@pytest.fixture
def evidence(ran, tmp_path):
    """A copy to be spoiled."""

    def copied(path: Path) -> Path:
        target = tmp_path / path.name
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        return target

    root = tmp_path / "root-1"
    shutil.copy(ran.first_root, root)
    return replace(
        ran,
        ledger=copied(ran.ledger),
        spools=tuple(map(copied, ran.spools)),
        journals=tuple(map(copied, ran.journals)),
        first_root=root,
    )


def spoil(path: Path, statement: str) -> None:
    """Change a database as somebody would who can write the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("PRAGMA foreign_keys = OFF")
        changed = database.execute(statement).rowcount
        assert changed > 0, statement


def checks(places: Places) -> set[str]:
    """Which invariants are found broken, besides the missing triggers."""
    report = audit(places, is_at_rest=True)
    return {one.check for one in report.findings if "its trigger against" not in one.detail}


def test_nothing_is_found_in_an_installation_that_ran(ran):
    report = audit(ran, is_at_rest=True)
    assert report.findings == []
    seen = report.looked_at
    assert seen["commands"] == seen["commands in journals"] == seen["payments"] == PAID
    assert min(seen[what] for what in ("reports", "receipts", "postings", "decisions")) >= PAID
    assert min(seen["filed items"], seen["items in journals"], seen["relays"]) >= PAID


def test_missing_triggers_are_found(evidence):
    spoil(evidence.ledger, "UPDATE ledger SET epoch = epoch")
    report = audit(evidence, is_at_rest=True)
    assert sum("its trigger against" in one.detail for one in report.findings) == 8


SPOILED_LEDGER = {
    "a payment's amount was changed": (
        "I2",
        "UPDATE payments SET amount_paise = amount_paise + 1 WHERE rowid = 1",
    ),
    "a payment was removed": ("I2", "DELETE FROM payments WHERE rowid = 1"),
    "an entry was changed": ("I3", "UPDATE entries SET amount_paise = 1 WHERE id = 1"),
    "an entry was removed": ("I3", "DELETE FROM entries WHERE id = 1"),
    "a decision was changed": ("I4", "UPDATE decisions SET record = x'00' WHERE rowid = 1"),
    "a command names another decision": (
        "I4",
        (
            "UPDATE commands SET decision = (SELECT digest FROM decisions LIMIT 1 OFFSET 3)"
            " WHERE id = 1"
        ),
    ),
    "a command was altered after it was signed": (
        "I4",
        (
            "UPDATE commands SET envelope ="
            " cast(substr(envelope, 1, 60) || x'00' || substr(envelope, 62) AS blob)"
            " WHERE id = 1"
        ),
    ),
    "a command claims to be an open": ("I11", "UPDATE commands SET action = 'open' WHERE id = 1"),
    "a command was given another counter": (
        "I4",
        "UPDATE commands SET sequence_ms = sequence_ms + 1 WHERE id = 1",
    ),
    "a filed item was changed": (
        "I3",
        (
            "UPDATE filed_items SET item ="
            " cast(substr(item, 1, length(item) - 2) || x'0000' AS blob)"
            " WHERE number = 1"
        ),
    ),
    "a lock was cleared by money that must not be": (
        "I10",
        (
            "UPDATE locks SET kind = 'theft' WHERE id = (SELECT id FROM locks"
            " WHERE cleared_because = 'quote covered' LIMIT 1)"
        ),
    ),
    "a stored item was removed": ("I1", "DELETE FROM payment_items WHERE number = 1"),
    "a relay is open behind its episode's end": (
        "I12",
        (
            "UPDATE meters SET output = 0 WHERE meter_id ="
            " (SELECT meter_id FROM episodes WHERE state = 'ended' LIMIT 1)"
        ),
    ),
    "an episode was forgotten": (
        "I9",
        (
            "UPDATE episodes SET ended_at_ms = NULL, state = 'paid' WHERE id ="
            " (SELECT id FROM episodes WHERE state = 'ended' LIMIT 1)"
        ),
    ),
}


@pytest.mark.parametrize("what", SPOILED_LEDGER)
def test_changed_ledger_is_found(evidence, what):
    check, statement = SPOILED_LEDGER[what]
    spoil(evidence.ledger, statement)
    assert check in checks(evidence)


SPOILED_SPOOL = {
    "a report was changed": "UPDATE reports SET raw = x'7b7d' WHERE id = 1",
    "an item was changed": "UPDATE items SET item = (SELECT item FROM items WHERE number = 2)"
    " WHERE number = 1",
    "a number is missing": "DELETE FROM items WHERE number = 2",
}


@pytest.mark.parametrize("what", SPOILED_SPOOL)
def test_changed_spool_is_found(evidence, what):
    (spool,) = evidence.spools
    spoil(spool, SPOILED_SPOOL[what])
    assert checks(evidence) == {"I1"}


ONE_COMMAND = "(SELECT command_id FROM steps WHERE step = 'actuating' LIMIT 1)"
SPOILED_JOURNAL = {
    "it moved without having been received": (
        "I5",
        f"DELETE FROM steps WHERE step = 'received' AND command_id = {ONE_COMMAND}",
    ),
    "its body is another command's": (
        "I5",
        (
            "UPDATE steps SET body = (SELECT body FROM steps WHERE step = 'received'"
            f" AND command_id <> {ONE_COMMAND} LIMIT 1)"
            f" WHERE step = 'received' AND command_id = {ONE_COMMAND}"
        ),
    ),
    "an item was changed": (
        "I3",
        "UPDATE items SET item = (SELECT item FROM items WHERE number = 2) WHERE number = 1",
    ),
    "an item was removed": ("I3", "DELETE FROM items WHERE number = 2"),
}


@pytest.mark.parametrize("what", SPOILED_JOURNAL)
def test_changed_journal_is_found(evidence, what):
    (journal,) = evidence.journals
    check, statement = SPOILED_JOURNAL[what]
    spoil(journal, statement)
    assert check in checks(evidence)


def test_audit_under_another_pin_says_that_it_proves_nothing(evidence):
    with pytest.raises(EvidenceError, match="not the pinned one"):
        audit(replace(evidence, pin="00" * 32), is_at_rest=True)

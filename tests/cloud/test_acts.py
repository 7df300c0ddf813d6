"""What people did: chained, and recomputed by code that shares nothing with what wrote it."""

import sqlite3
from contextlib import closing

import pytest

from cloud.acts import Act, note
from cloud.audit.findings import Report
from cloud.audit.people import check_acts
from cloud.audit.signatures import Trusted
from cloud.schema import ledger
from cloud.store import migrate, open_store, sqlite_url

INSTALLATION = bytes(range(16))
TRUST = Trusted(INSTALLATION, {}, (), 1)
NAMES = ("Anna", "Bala", "x" * 31, "x" * 32, "x" * 300, "इंदौर " * 60)
TIMES = (0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 1_800_000_000_000)


@pytest.fixture
def store(tmp_path):
    found = open_store(sqlite_url(tmp_path / "ledger.db"))
    migrate(found)
    with found.begin() as transaction:
        given = {"id": 1, "installation": INSTALLATION, "generation_ms": 1, "epoch": 1}
        transaction.execute(ledger.insert(), given)
        for name in NAMES:
            for at_ms in TIMES:
                act = Act(who=name, act="lock", subject="N1", detail="")
                note(transaction, act, now_ms=at_ms)
    yield tmp_path / "ledger.db"
    found.dispose()


def found(path, statement=None):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        if statement is not None:
            for act in ("update", "delete"):
                database.execute(f"DROP TRIGGER acts_refuse_{act}")
            assert database.execute(statement).rowcount > 0
        report = Report()
        check_acts(database, TRUST, report)
        return report


def test_chain_is_the_same_by_both_codes(store):
    report = found(store)
    assert (report.findings, report.looked_at["acts"]) == ([], len(NAMES) * len(TIMES))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE acts SET detail = 'later' WHERE id = 7",
        "UPDATE acts SET who = 'Bala' WHERE id = 1",
        "DELETE FROM acts WHERE id = 5",
        "UPDATE acts SET id = id + 1000 WHERE id = 60",
    ],
)
def test_act_that_was_changed_or_taken_out_shows(store, statement):
    (finding,) = found(store, statement).findings
    assert finding.check == "I3"


def test_schema_refuses_to_change_an_act(store):
    with (
        closing(sqlite3.connect(store)) as database,
        pytest.raises(sqlite3.IntegrityError, match="acts is append-only"),
    ):
        database.execute("UPDATE acts SET who = 'Bala'")

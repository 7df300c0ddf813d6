import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cloud.doctor import stores
from cloud.doctor.findings import Code, Finding, Note, NotProven
from cloud.schema import APPEND_ONLY

FILES = pytest.mark.parametrize("name", ["ledger.db", "spool.db"])
MOUNTS = """22 27 0:21 / / rw - ext4 /dev/a rw
23 22 0:22 / /srv rw shared:1 - xfs /dev/b rw
24 23 0:23 / /srv/fast rw,relatime - tmpfs none rw
"""


def found(remarks) -> list[Code]:
    assert not [one for one in remarks if isinstance(one, NotProven)]
    return [one.code for one in remarks if isinstance(one, Finding)]


def change(path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def triggers(path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return [name for (name,) in rows]


def test_missing_ledger_is_found(folder, subject):
    (folder / "ledger.db").unlink()
    assert found(stores.can_be_read(subject())) == [Code.STORE_UNUSABLE]


@FILES
def test_file_that_is_no_database_is_found(folder, subject, name):
    for path in folder.glob(f"{name}*"):
        path.unlink()
    (folder / name).write_bytes(b"no database at all, however long it is" * 100)
    assert found(stores.can_be_read(subject())) == [Code.STORE_UNUSABLE]


@FILES
def test_store_without_wal_is_found(folder, subject, name):
    change(folder / name, "PRAGMA journal_mode = DELETE")
    assert found(stores.commits_are_durable(subject())) == [Code.STORE_NOT_DURABLE]


def test_ledger_that_is_opened_with_less_than_is_asked_for_is_found(subject, monkeypatch):
    monkeypatch.setattr(stores, "_FULL", 3)
    assert found(stores.commits_are_durable(subject())) == [Code.STORE_NOT_DURABLE]


@FILES
def test_damaged_page_is_found(folder, subject, name):
    change(folder / name, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode = DELETE")
    with (folder / name).open("r+b") as file:
        file.seek(-2_048, os.SEEK_END)
        file.write(b"\xff" * 2_048)
        file.seek(4_096 * 2)
        file.write(b"\xff" * 4_096)
    assert found(stores.is_whole(subject())) == [Code.STORE_DAMAGED]


def test_reference_to_a_missing_row_is_found(folder, subject):
    change(folder / "spool.db", "INSERT INTO items VALUES (1, 77, 0, x'00')")
    assert found(stores.is_whole(subject())) == [Code.STORE_DAMAGED]


def test_file_too_large_to_read_now_is_not_called_good(subject, monkeypatch):
    monkeypatch.setattr(stores, "LOOK_MAX_S", -1.0)
    monkeypatch.setattr(stores, "STEPS_PER_LOOK", 1)
    remarks = stores.is_whole(subject())
    assert len(remarks) == 2
    assert all(isinstance(one, NotProven) for one in remarks)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("act", ["update", "delete"])
def test_history_of_the_ledger_that_could_be_changed_is_found(folder, subject, table, act):
    """I3: whoever drops a trigger can change what happened."""
    change(folder / "ledger.db", f"DROP TRIGGER {table}_refuse_{act}")
    (remark,) = stores.history_is_append_only(subject())
    assert remark.code is Code.HISTORY_CHANGEABLE
    assert remark.text.endswith(f"lets {act.upper()} change {table}")


def test_each_trigger_that_keeps_reports_is_missed(folder, subject):
    """I1: what was taken in stays as it was taken in."""
    path = folder / "spool.db"
    kept = ("reports_never_change", "items_never_change", "receipts_never_change")
    for number, trigger in enumerate((*kept, "items_stay_until_receipted"), 1):
        assert trigger in triggers(path)
        change(path, f"DROP TRIGGER {trigger}")
        assert found(stores.history_is_append_only(subject())) == number * [Code.HISTORY_CHANGEABLE]


def test_trial_of_the_schema_leaves_the_file_as_it_was(folder, subject):
    before = (folder / "ledger.db").read_bytes()
    assert stores.history_is_append_only(subject()) == []
    assert (folder / "ledger.db").read_bytes() == before


def test_schema_of_another_release_is_found(folder, subject):
    change(folder / "ledger.db", "UPDATE alembic_version SET version_num = '9999'")
    assert found(stores.schema_is_of_this_release(subject())) == [Code.SCHEMA_DIFFERS]


def test_database_that_is_no_ledger_is_found_and_stops_no_check(folder, subject):
    (folder / "ledger.db").unlink()
    change(folder / "ledger.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)")
    assert found(stores.schema_is_of_this_release(subject())) == [Code.SCHEMA_DIFFERS]
    assert set(found(stores.history_is_append_only(subject()))) == {Code.HISTORY_CHANGEABLE}


@pytest.mark.parametrize("limit", ["DISK_LEAST_BYTES", "DISK_LEAST_SHARE"])
def test_disk_with_less_room_than_the_limit_is_found(subject, monkeypatch, limit):
    monkeypatch.setattr(stores, limit, 1 << 60)
    assert found(stores.has_room(subject())) == [Code.DISK_LOW, Code.DISK_LOW]


def test_file_system_of_a_path_is_that_of_the_innermost_mount():
    for path, kind in (("/etc", "ext4"), ("/srv/slow", "xfs"), ("/srv/fast/ledger.db", "tmpfs")):
        assert stores.file_system_of(Path(path), MOUNTS) == kind


def test_store_in_memory_is_found_in_production_and_noted_elsewhere(folder, subject, monkeypatch):
    kind = stores.file_system_of(folder, Path("/proc/self/mountinfo").read_text())
    monkeypatch.setattr(stores, "_IN_MEMORY", (kind,))
    assert [type(one) for one in stores.is_on_a_disk(subject())] == [Note, Note]
    found_in_production = found(stores.is_on_a_disk(subject(is_production=True)))
    assert found_in_production == 2 * [Code.STORE_IN_MEMORY]

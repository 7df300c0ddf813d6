"""What may take a ledger's place, and how its file gets there (R13, R23)."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.backup import side_files
from cloud.ledger_file import LedgerInUseError, held
from cloud.restore import HORIZON_MS, restore
from cloud.schema import accounts
from tests.cloud.engine_world import MINUTE_MS, World
from tests.cloud.restoring import accounts_in, back_up_now, order_of, refused, restored
from tests.wire.installation import EPOCH, INSTALLATION, OTHER_INSTALLATION


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


# The file


def test_restored_ledger_is_the_backup_and_the_former_one_is_kept(world: World, target: Path):
    back_up_now(world, target)
    world.add_home(2)
    done = restored(world, target)
    assert {row.account_id for row in world.rows(select(accounts))} == {"A-1"}
    assert done.replaced is not None
    assert accounts_in(done.replaced) == {"A-1", "A-2"}
    assert not any(path.exists() for path in side_files(done.replaced))
    assert accounts_in(target) == {"A-1"}


def as_after_a_kill(world: World, folder: Path) -> Path:
    """The ledger as a killed engine leaves it: its last commits stand in the log alone."""
    folder.mkdir()
    with world.store.connect() as connection:  # an open connection keeps the log
        world.add_home(2)
        for path in (world.path, *side_files(world.path)):
            if path.exists():
                shutil.copyfile(path, folder / path.name)
        connection.rollback()
    assert accounts_in_file_alone(folder) == {"A-1"}
    return folder / world.path.name


def accounts_in_file_alone(folder: Path) -> set[str]:
    alone = folder / "alone"
    shutil.copyfile(folder / "ledger.db", alone)
    found = accounts_in(alone)
    for path in (alone, *side_files(alone)):
        path.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("former", ["readable", "damaged", "gone"])
def test_log_of_the_former_ledger_is_never_applied_to_the_restored_one(
    world: World, target: Path, tmp_path: Path, former: str
):
    """SQLite applies whatever `-wal` lies beside a file to that file."""
    world.store.dispose()  # the last connection that goes writes the log into the file
    back_up_now(world, target)
    path = as_after_a_kill(world, tmp_path / "killed")
    log = path.with_name("ledger.db-wal").read_bytes()
    if former == "damaged":
        path.write_bytes(b"no ledger any more" * 1_000)
    elif former == "gone":
        path.unlink()
    done = restore(replace(order_of(world, target), ledger=path), now_ms=world.now_ms)
    assert accounts_in(path) == {"A-1"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT generation_ms FROM ledger").fetchone() == (world.now_ms,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = path.with_name(f"ledger.db.replaced-{world.now_ms}")
    assert done.replaced == (None if former == "gone" else kept)
    if former == "readable":
        assert accounts_in(kept) == {"A-1", "A-2"}
    else:
        assert kept.with_name(kept.name + "-wal").read_bytes() == log


def test_second_restore_at_the_same_moment_keeps_both_former_ledgers(world: World, target: Path):
    back_up_now(world, target)
    first, second = restored(world, target), restored(world, target)
    assert first.replaced != second.replaced
    assert second.generation_ms == first.generation_ms + 1


def test_ledger_that_an_engine_has_is_not_replaced(world: World, target: Path):
    back_up_now(world, target)
    with held(world.path):
        world.store.dispose()
        before = world.path.read_bytes()
        with pytest.raises(LedgerInUseError, match="in use by an engine"):
            restore(order_of(world, target), now_ms=world.now_ms)
        assert world.path.read_bytes() == before
    restored(world, target)


def test_second_engine_on_one_ledger_is_refused(tmp_path: Path):
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "ledger.db")
    with (
        held(tmp_path / "ledger.db"),
        pytest.raises(LedgerInUseError, match="one at a time"),
        held(link),
    ):
        pass
    with held(link):
        pass


def test_ledger_that_another_program_has_open_is_not_replaced(world: World, target: Path):
    back_up_now(world, target)
    world.store.dispose()
    with closing(sqlite3.connect(world.path)) as reader:
        reader.execute("SELECT * FROM ledger").fetchall()
        with pytest.raises(LedgerInUseError, match="open in another program"):
            restore(order_of(world, target), now_ms=world.now_ms)
    restored(world, target)


# What is refused


def test_backup_cut_short_is_refused(world: World, target: Path):
    back_up_now(world, target)
    target.write_bytes(target.read_bytes()[:-1])
    assert "was cut short or changed" in refused(world, target)


def test_backup_of_another_installation_is_refused(world: World, target: Path):
    back_up_now(world, target)
    said = refused(world, target, installation=OTHER_INSTALLATION)
    assert INSTALLATION.hex() in said
    assert "--new-installation" in said


def test_production_takes_no_copy_of_another_installation(world: World, target: Path):
    back_up_now(world, target)
    changes = {"installation": OTHER_INSTALLATION, "is_new_installation": True}
    assert "production" in refused(world, target, **changes, is_production=True)


def test_own_backup_is_no_new_installation(world: World, target: Path):
    back_up_now(world, target)
    assert "this very installation" in refused(world, target, is_new_installation=True)


def test_backup_older_than_what_agents_keep_is_refused_until_a_person_insists(
    world: World, target: Path
):
    back_up_now(world, target)
    world.now_ms += HORIZON_MS + 1
    assert "35 days" in refused(world, target)
    restored(world, target, is_older_than_horizon=True)


def test_backup_within_the_horizon_is_restored(world: World, target: Path):
    back_up_now(world, target)
    world.now_ms += HORIZON_MS
    assert restored(world, target).generation_ms == world.now_ms


def test_backup_of_a_newer_release_is_refused(world: World, target: Path):
    with world.transaction() as transaction:
        transaction.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    back_up_now(world, target)
    assert "schema 9999" in refused(world, target)


def test_backup_from_the_future_is_refused(world: World, target: Path):
    """A clock that is behind would give a generation that agents ignore."""
    back_up_now(world, target)
    world.now_ms -= 2 * MINUTE_MS
    assert "set the clock first" in refused(world, target)


def test_engine_key_of_an_older_epoch_is_refused(world: World, target: Path):
    back_up_now(world, target)
    assert f"epoch {EPOCH - 1}" in refused(world, target, epoch=EPOCH - 1)

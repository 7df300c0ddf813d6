"""`relight backup` and `relight restore`: what a person reads."""

import pytest

from tests.cloud.cli.commands import change, done, refused


def test_backup_is_restored_and_the_command_says_what_is_left_to_do(folder, config):
    said = done("backup", folder / "copy", "--config", config)
    assert f"keep {folder / 'copy'}.json with it" in said
    told = done("restore", folder / "copy", "--config", config)
    (kept,) = folder.glob("ledger.db.replaced-*")
    assert f"The former ledger is kept as {kept}." in told
    assert "Import again what was imported since" in told


def test_lost_ledger_is_restored(folder, config):
    done("backup", folder / "copy", "--config", config)
    (folder / "ledger.db").unlink()
    done("restore", folder / "copy", "--config", config)
    assert list(folder.glob("ledger.db.replaced-*")) == []
    done("backup", folder / "second", "--config", config)


def test_backup_is_not_overwritten(folder, config):
    done("backup", folder / "copy", "--config", config)
    said = refused("backup", folder / "copy", "--config", config)
    assert said == f"{folder / 'copy'} exists: a backup overwrites nothing, choose another name"


def test_missing_ledger_is_named_not_made(folder, config):
    (folder / "ledger.db").unlink()
    assert f"no ledger {folder / 'ledger.db'}" in refused(
        "backup", folder / "c", "--config", config
    )
    assert not (folder / "ledger.db").exists()


def test_missing_backup_is_named(folder, config):
    said = refused("restore", folder / "none", "--config", config)
    assert str(folder / "none.json") in said


@pytest.mark.parametrize(("command", "cure"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_database_server_has_its_own_tools(folder, config, command, cure):
    change(config, 'ledger = "ledger.db"', 'ledger = "postgresql+psycopg://db/relight"')
    said = refused(command, folder / "copy", "--config", config)
    assert "is a database server, not a file" in said
    assert cure in said

"""`relight import`: exit codes and messages; the rules of each file stand in test_imports."""

import pytest
from sqlalchemy import func, select

from cloud.configuration import Installation
from cloud.schema import accounts
from cloud.store import open_store, reading
from tests.cloud.cli.commands import change, done, refused, relight

GOOD = "account_id,zone,language\nN-1,INDORE-EAST,hi\nN-2,INDORE-EAST,en\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text(GOOD)
    return path


def account_count(config) -> int:
    store = open_store(Installation(config).ledger_url())
    with reading(store) as connection:
        count = connection.scalar(select(func.count()).select_from(accounts))
    store.dispose()
    return int(count or 0)


def test_good_file_is_imported_and_counted(config, file):
    said = done("import", "accounts", file, "--config", config)
    assert said == f"{file}: 2 accounts: 2 added, 0 changed, 0 were there already\n"
    assert account_count(config) == 2


def test_file_imported_again_changes_nothing_and_is_no_failure(config, file):
    done("import", "accounts", file, "--config", config)
    said = done("import", "accounts", file, "--config", config)
    assert said == f"{file}: these 2 accounts were imported before, nothing changed\n"


def test_dry_run_says_what_would_be_and_writes_nothing(config, file):
    said = done("import", "accounts", file, "--dry-run", "--config", config)
    assert said.endswith(
        "2 added, 0 changed, 0 were there already (dry run: nothing was written)\n"
    )
    assert account_count(config) == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_every_bad_row_is_listed_and_nothing_of_the_file_imported(config, file, options):
    file.write_text(GOOD + "n 3,INDORE-EAST,hi\nN-4,INDORE-EAST,hindi\n")
    result = relight("import", "accounts", file, *options, "--config", config)
    assert result.exit_code == 1
    first, second, last = result.output.splitlines()
    assert first.startswith(f"{file}:4: account_id 'n 3' is no id")
    assert second.startswith(f"{file}:5: language 'hindi' is no language code")
    assert last == f"{file}: 2 faults, nothing imported: mend them all"
    assert account_count(config) == 0


def test_missing_file_is_named(config, tmp_path):
    assert str(tmp_path / "no.csv") in refused(
        "import", "accounts", tmp_path / "no.csv", "--config", config
    )


def test_unknown_kind_of_file_is_a_usage_error(config, file):
    result = relight("import", "tariffs", file, "--config", config)
    assert result.exit_code == 2
    assert "'tariffs' is not one of 'accounts', 'meters', 'bills', 'cuts'" in result.stderr


def test_import_into_a_ledger_that_does_not_exist_is_refused_and_makes_none(config, file):
    change(config, 'ledger = "ledger.db"', 'ledger = "leger.db"')
    mistyped = config.parent / "leger.db"
    said = refused("import", "accounts", file, "--config", config)
    assert str(mistyped) in said
    assert not mistyped.exists()


def test_import_into_a_file_that_is_no_ledger_is_refused(config, file):
    (config.parent / "ledger.db").write_bytes(b"not a database, " * 100)
    assert "ledger.db" in refused("import", "accounts", file, "--config", config)

"""`relight init`: a whole installation in one folder, once."""

from sqlalchemy import select

from cloud.cli.processes import make_engine
from cloud.configuration import Installation
from cloud.schema import ledger
from cloud.store import open_store, reading
from tests.cloud.cli.commands import done, refused, relight


def contents(folder) -> dict[str, bytes]:
    files = (one for one in folder.rglob("*") if one.is_file())
    return {str(one.relative_to(folder)): one.read_bytes() for one in files}


def test_installation_is_made_and_says_how_to_run_it(tmp_path):
    said = done("init", tmp_path / "i", "--agent", "A-1", "--broker-port", "18885")
    config = tmp_path / "i" / "relight.toml"
    assert said == (
        f"installation in {tmp_path / 'i'}; run it with: relight up --config {config}\n"
    )
    installation = Installation(config)
    assert installation.configuration.broker.addresses == ("127.0.0.1:18885",)
    engine = make_engine(installation).engine
    assert engine is not None


def test_every_private_file_of_an_installation_belongs_to_its_owner_alone(folder):
    private = [*folder.rglob("*.key"), folder / "secrets" / "razorpay"]
    assert len(private) > 10
    assert [one.name for one in private if one.stat().st_mode & 0o077] == []


def test_ledger_of_an_installation_begins_its_generation_when_it_is_made(config):
    store = open_store(Installation(config).ledger_url())
    with reading(store) as connection:
        row = connection.execute(select(ledger)).one()
    store.dispose()
    root = Installation(config).authorities(latest_ms=0).root
    assert (row.installation, row.generation_ms, row.epoch) == (
        root.installation,
        root.issued_at_ms,
        1,
    )


def test_installation_that_exists_is_not_touched(folder):
    before = contents(folder)
    assert "holds keys already" in refused("init", folder)
    assert contents(folder) == before


def test_agent_whose_name_is_no_id_makes_no_installation(tmp_path):
    refused("init", tmp_path / "i", "--agent", "agent 1")
    assert not (tmp_path / "i").exists()


def test_port_that_cannot_be_makes_no_installation(tmp_path):
    refused("init", tmp_path / "i", "--broker-port", "0")
    assert not (tmp_path / "i").exists()


def test_intake_port_that_cannot_be_is_a_usage_error(tmp_path):
    assert relight("init", tmp_path / "i", "--intake-port", "0").exit_code == 2
    assert not (tmp_path / "i").exists()

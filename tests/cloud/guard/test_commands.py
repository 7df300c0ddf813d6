"""The guard's commands on an installation of the test keys."""

import pytest

from tests.cloud.cli.commands import change, done, refused, relight
from tests.cloud.guard.guarded import Guarded
from tests.wire.installation import NOW_MS, ROOT_1_ENVELOPE, ROOT_PIN, TRUST, sealed
from wire.decoding import encode
from wire.documents import Resume

CONFIG = f"""
[trust]
pin = "{ROOT_PIN.hex()}"
root = "root-1"
documents = "documents"
[broker]
addresses = ["127.0.0.1:8883"]
[engine]
name = "ENGINE-1"
key = "none"
[guard]
name = "GUARD-1"
key = "none"
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "root-1").write_bytes(ROOT_1_ENVELOPE)
    (tmp_path / "documents").write_bytes(encode(TRUST))
    path = tmp_path / "relight.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def breached(config, monkeypatch):
    """A store whose guard has stopped everything; its stop's number. The clock stands still."""
    monkeypatch.setattr("cloud.cli.guard.clock_ms", lambda: NOW_MS + 1)
    world = Guarded(config.parent)
    world.homes(range(4, 20))
    world.ask(*(world.row(home) for home in range(1, 8)))
    world.store.close()
    return world.now_ms


def statement(config, lifts_ms, *by):
    path = config.parent / "resume"
    path.write_bytes(sealed("resume", encode(Resume(lifts_ms=lifts_ms, note="looked")), *by))
    return path


def test_files_are_imported_and_their_faults_listed(config, tmp_path):
    file = tmp_path / "accounts.csv"
    file.write_text("account_id,zone,language\nA-1,Z,hi\n")
    command = ("guard", "--config", config, "import", "accounts", file)
    assert done(*command) == "accounts.csv: 1 accounts imported\n"
    file.write_text("account_id,zone,language\na,Z,hi\n")
    result = relight(*command)
    assert (result.exit_code, result.stdout) == (
        1,
        "nothing imported: 1 faults\naccounts.csv:2: account_id 'a' is no id\n",
    )


@pytest.mark.usefixtures("breached")
def test_release_by_one_person_is_refused(config):
    file = statement(config, 0, "approver-1", "approver-1-second-key")
    told = refused("guard", "--config", config, "release", "--statement", file)
    assert "is no resume of two different approvers (signers)" in told


def test_release_of_an_older_stop_is_refused(config, breached):
    file = statement(config, breached - 1, "approver-1", "approver-2")
    told = refused("guard", "--config", config, "release", "--statement", file)
    assert f"--lifts {breached}" in told
    assert "SHUT by its own stop" in done("guard", "--config", config, "status")


def test_release_by_two_approvers_lifts_the_breach(config, breached):
    file = statement(config, breached, "approver-1", "approver-2")
    told = done("guard", "--config", config, "release", "--statement", file)
    assert told.startswith("released")
    status = done("guard", "--config", config, "status")
    assert status.startswith("open: no stop stands")
    assert "24 h: 5 signed, 2 quarantined" in status
    assert "feeder over 5" in status


def test_commands_without_a_store_do_not_make_one(config):
    assert "run the guard first" in refused("guard", "--config", config, "status")
    assert not (config.parent / "guard.db").exists()


def test_guard_without_its_section_says_so(config):
    change(config, '[guard]\nname = "GUARD-1"\nkey = "none"\n', "")
    assert "has no [guard] section" in refused("guard", "--config", config)


def test_guard_on_a_ledger_that_is_no_file_says_so(config):
    change(config, "[guard]\n", 'ledger = "postgresql://x/y"\n[guard]\n')
    assert "a SQLite file" in refused("guard", "--config", config)

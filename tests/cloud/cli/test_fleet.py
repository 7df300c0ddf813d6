"""`relight-sim fleet`: what it refuses before it connects anywhere."""

import shutil

from click.testing import CliRunner

from meter_sim.__main__ import main


def refused(folder) -> str:
    result = CliRunner().invoke(main, ["fleet", str(folder)])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    return line.removeprefix("Error: ")


def write_agent(folder, installation) -> None:
    folder.mkdir()
    shutil.copy(installation / "trust" / "root-1", folder / "root-1")
    shutil.copy(installation / "trust" / "keys" / "AGENT-1.key", folder / "agent.key")
    pin = (installation / "trust" / "pin").read_text().strip()
    (folder / "roster.csv").write_text("meter,serial,flags,line\nM-1,S1,,simulated\n")
    (folder / "agent.toml").write_text(
        f"""agent = "AGENT-1"
installation_pin = "{pin}"
root_document = "root-1"
key = "agent.key"
production = false
brokers = ["127.0.0.1:1"]
[relay]
door = "meter_sim.door:open_door"
[relay.options]
meters = ["M-1"]
"""
    )


def test_folder_without_an_agent_is_refused(tmp_path):
    assert refused(tmp_path) == f"no agent.toml in or below {tmp_path}"


def test_fleet_with_one_bad_configuration_names_it(tmp_path, folder):
    write_agent(tmp_path / "good", folder)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "agent.toml").write_text("agent = 7\n")
    assert str(tmp_path / "bad" / "agent.toml") in refused(tmp_path)


def test_fleet_with_an_unknown_relay_door_names_it(tmp_path, folder):
    write_agent(tmp_path / "one", folder)
    path = tmp_path / "one" / "agent.toml"
    path.write_text(path.read_text().replace("meter_sim.door:open_door", "meter_sim.door:no_door"))
    assert "meter_sim.door:no_door" in refused(tmp_path)


def test_fleet_with_a_file_that_is_no_journal_names_it(tmp_path, folder):
    write_agent(tmp_path / "one", folder)
    journal = tmp_path / "one" / "journal.db"
    journal.write_bytes(b"not a database, " * 100)
    assert str(journal) in refused(tmp_path)


def test_two_agents_over_one_journal_are_refused(tmp_path, folder):
    write_agent(tmp_path / "one", folder)
    write_agent(tmp_path / "two", folder)
    path = tmp_path / "two" / "agent.toml"
    path.write_text('journal = "../one/journal.db"\n' + path.read_text())
    assert "journal.db" in refused(tmp_path)

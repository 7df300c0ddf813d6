"""agent.toml: what is right is read, what is wrong is named."""

import pytest
from click.testing import CliRunner

from edge_agent.__main__ import main
from edge_agent.configuration import (
    ConfigurationError,
    agent_settings,
    link_settings,
    read_configuration,
    read_roster,
)
from edge_agent.journal import Journal
from tests.edge_agent.engine_by_hand import Ids
from tests.edge_agent.installation_by_hand import AGENT_KEY, root_document, root_pin
from wire.key_files import write_signing_key
from wire.messages import Counter

GOOD = """
agent = "AGENT-1"
installation_pin = "{pin}"
root_document = "root.msgpack"
key = "agent.key"
production = false
brokers = ["localhost:18883", "127.0.0.1"]

[relay]
door = "meter_sim.door:open_door"
[relay.options]
meters = ["M-1"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "root.msgpack").write_bytes(root_document())
    write_signing_key(tmp_path / "agent.key", AGENT_KEY)
    (tmp_path / "roster.csv").write_text("meter,serial,flags,line\nM-1,S,,a\n")
    (tmp_path / "agent.toml").write_text(GOOD.format(pin=root_pin().hex()))
    return tmp_path


def changed(folder, old: str, new: str):
    path = folder / "agent.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_good_configuration_gives_settings_roster_and_link(folder):
    path = folder / "agent.toml"
    found = read_configuration(path)
    settings = agent_settings(found)
    assert (settings.agent, settings.signing_key.key_id) == ("AGENT-1", AGENT_KEY.key_id)
    assert not settings.is_production
    assert list(read_roster(found).meters) == ["M-1"]
    link = link_settings(found, path)
    assert [(one.host, one.port) for one in link.brokers] == [
        ("localhost", 18883), ("127.0.0.1", 8883),
    ]  # fmt: skip
    assert (link.will.topic, link.will.payload) == ("presence/AGENT-1", b"offline")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("production = false", "", "production"),
        ("production = false", "prodution = false", "prodution"),
        ("production = false", 'production = "no"', "'no'"),
        ('agent = "AGENT-1"', 'agent = "agent one"', "'agent one'"),
        ('"localhost:18883"', '"localhost:0"', "localhost:0"),
        ('"localhost:18883"', '"broker.example:8883"', r"\[tls\]"),
        ("meter_sim.door:open_door", "meter_sim.door", "meter_sim.door"),
        ("[relay]", "[relay", "not TOML"),
        ("production = false", "production = false\nwindow = 65", "65"),
    ],
)
def test_wrong_configuration_is_refused_with_file_field_and_value(folder, old, new, words):
    path = changed(folder, old, new)
    with pytest.raises(ConfigurationError, match=words) as error:
        read_configuration(path)
    assert "agent.toml" in str(error.value)


def test_root_document_that_is_not_the_pinned_one_is_refused(folder):
    path = changed(folder, root_pin().hex(), "00" * 32)
    with pytest.raises(ConfigurationError, match="pin"):
        agent_settings(read_configuration(path))


def test_key_that_others_can_read_is_refused(folder):
    (folder / "agent.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 0600"):
        agent_settings(read_configuration(folder / "agent.toml"))


def test_missing_files_are_named(folder):
    for name in ("root.msgpack", "roster.csv"):
        (folder / name).unlink()
    found = read_configuration(folder / "agent.toml")
    with pytest.raises(ConfigurationError, match=r"root\.msgpack"):
        agent_settings(found)
    with pytest.raises(ConfigurationError, match=r"roster\.csv"):
        read_roster(found)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_configuration(folder / "none.toml")


def test_show_prints_what_the_journal_stands_for(folder):
    journal = Journal.open(folder / "journal.db", "AGENT-1", Ids())
    with journal.transaction(1):
        journal.commands.raise_highest("M-1", Counter(epoch=3, sequence_ms=77))
    shown = CliRunner().invoke(main, ["show", str(folder / "agent.toml")])
    journal.close()
    assert shown.exit_code == 0
    assert "counter     M-1 3/77" in shown.output
    assert journal.standing.journal_id.hex() in shown.output


def test_show_reads_a_journal_whose_agent_is_stopped(folder):
    Journal.open(folder / "journal.db", "AGENT-1", Ids()).close()
    shown = CliRunner().invoke(main, ["show", str(folder / "agent.toml")])
    assert shown.exit_code == 0
    assert "made 0, filed 0, removed 0" in shown.output


@pytest.mark.parametrize("door", ["meter_sim.door:nothing", "no.such.module:door"])
def test_run_refuses_a_door_that_is_not_there(folder, door):
    path = changed(folder, "meter_sim.door:open_door", door)
    ended = CliRunner().invoke(main, ["run", str(path)])
    assert ended.exit_code == 1
    assert door in ended.output


def test_run_refuses_wrong_options_of_the_door(folder):
    path = changed(folder, 'meters = ["M-1"]', 'metres = ["M-1"]')
    ended = CliRunner().invoke(main, ["run", str(path)])
    assert ended.exit_code == 1
    assert "metres" in ended.output

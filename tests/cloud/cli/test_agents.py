"""An agent is enrolled: a token at the desk, a key at the concentrator, an identity at the desk."""

import pytest
from click.testing import CliRunner

from edge_agent.__main__ import main as agent_main
from edge_agent.configuration import agent_settings, read_configuration
from tests.cloud.cli.commands import change, done, refused
from wire.key_files import read_signing_key


@pytest.fixture
def desk(folder, config, tmp_path):
    return Desk(folder, config, tmp_path)


class Desk:
    def __init__(self, folder, config, tmp_path):
        self.config = config
        self.token = tmp_path / "NEW-1.token"
        self.concentrator = tmp_path / "concentrator"
        self.key = folder / "trust" / "keys" / "ENROL.key"

    def hand_out(self):
        done("agents", "enrol", "NEW-1", "--out", self.token, "--config", self.config)

    def enrol(self, folder=None):
        arguments = ["enrol", str(self.token), str(folder or self.concentrator)]
        return CliRunner().invoke(agent_main, arguments)

    def accept(self, folder=None):
        request = (folder or self.concentrator) / "request.json"
        return ("agents", "accept", request, "--key", self.key, "--config", self.config)


def test_agent_with_a_token_makes_its_own_key_and_the_desk_signs_it(desk):
    desk.hand_out()
    assert desk.enrol().exit_code == 0
    key = read_signing_key(desk.concentrator / "agent.key")
    said = done(*desk.accept())
    assert said == f"NEW-1: identity 1 of key {key.key_id.hex()}\n"
    assert (desk.concentrator / "agent.key").stat().st_mode & 0o777 == 0o600


def test_configuration_that_enrolment_makes_needs_only_its_door(desk):
    desk.hand_out()
    desk.enrol()
    change(desk.concentrator / "agent.toml", 'door = ""', 'door = "a:b"')
    settings = agent_settings(read_configuration(desk.concentrator / "agent.toml"))
    assert (settings.agent, settings.is_production) == ("NEW-1", True)


def test_token_serves_once(desk):
    desk.hand_out()
    desk.enrol()
    done(*desk.accept())
    assert "no open token of NEW-1: it was used" in refused(*desk.accept())


def test_token_that_was_handed_out_again_ends_the_one_before(desk):
    desk.hand_out()
    desk.enrol()
    desk.hand_out()
    assert "was not made with its token" in refused(*desk.accept())


def test_agent_on_new_hardware_gets_the_next_serial(desk, tmp_path):
    for serial in (1, 2):
        folder = tmp_path / f"hardware-{serial}"
        desk.hand_out()
        desk.enrol(folder)
        assert f"identity {serial} of key" in done(*desk.accept(folder))


def test_enrolment_does_not_write_over_a_working_agent(desk):
    desk.hand_out()
    desk.enrol()
    before = (desk.concentrator / "agent.key").read_bytes()
    again = desk.enrol()
    assert (again.exit_code, (desk.concentrator / "agent.key").read_bytes()) == (1, before)
    assert "holds an agent's key already" in again.stderr


def test_agent_whose_name_is_no_id_gets_no_token(desk):
    assert "is no id" in refused("agents", "enrol", "new/1", "--config", desk.config)

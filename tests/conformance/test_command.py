"""What `relight-agent conformance` says when it cannot even begin."""

import pytest
from click.testing import CliRunner

from edge_agent.__main__ import main
from tests.broker.running_broker import free_port
from tests.conformance.conformance_run import broker_in


def invoke(*arguments):
    return CliRunner().invoke(main, ["conformance", *arguments])


@pytest.mark.parametrize("broker", ["broker.example:8883", "127.0.0.1", "127.0.0.1:0"])
def test_broker_elsewhere_is_refused_with_the_reason(broker, tmp_path):
    result = invoke(broker, "--broker-folder", str(tmp_path))
    assert result.exit_code == 2
    assert broker in result.output
    assert "127.0.0.1:PORT" in result.output


def test_missing_certificate_is_named_with_its_cure(tmp_path):
    result = invoke("127.0.0.1:1", "--broker-folder", str(tmp_path))
    assert result.exit_code == 2
    assert "certificates/ca.crt is missing" in result.output
    assert "relight broker init" in result.output


def test_broker_that_is_not_there_is_no_word_about_the_agent(tmp_path):
    with broker_in(tmp_path / "broker") as broker:
        folder = str(broker.directory)
    result = invoke(f"127.0.0.1:{free_port()}", "--broker-folder", folder, "--agent", "A1")
    assert result.exit_code == 2
    assert "rows passed" not in result.output


def test_agent_command_that_does_not_exist_is_an_error(tmp_path):
    with broker_in(tmp_path / "broker") as broker:
        result = invoke(
            *(f"127.0.0.1:{broker.port}", "--broker-folder", str(broker.directory)),
            *("--agent", "A1", "--agent-command", "/nowhere/agent {agent_json}"),
        )
    assert result.exit_code == 2
    assert "/nowhere/agent" in result.output


def test_agent_that_ends_at_once_fails_its_row_with_that_reason(tmp_path):
    with broker_in(tmp_path / "broker") as broker:
        result = invoke(
            *(f"127.0.0.1:{broker.port}", "--broker-folder", str(broker.directory)),
            *("--agent", "A1", "--agent-command", "true", "--only", "command/close"),
        )
    assert result.exit_code == 1
    assert "the agent's process has ended" in result.output


def test_pattern_that_no_row_holds_is_refused(tmp_path):
    result = invoke("127.0.0.1:1", "--broker-folder", str(tmp_path), "--only", "nothing like it")
    assert result.exit_code == 2
    assert "nothing like it" in result.output

"""`relight doctor` on a development installation with its broker running, and without it."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.cli.demo_world import free_ports, is_listening
from cloud.cli.installation import DevelopmentPlan, make_development_installation
from cloud.cli.processes import clock_ms
from cloud.doctor.examination import BROKER_CHECKS, CHECKS, COPY_CHECKS
from mosquitto.broker import command
from tests.broker.running_broker import LONGEST_WAIT_S
from tests.cloud.cli.commands import change, done, refused, relight

EVERY_CHECK = len(BROKER_CHECKS) + len(COPY_CHECKS) + len(CHECKS) + 1  # and the way in


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installation") / "made"
    ports = free_ports(2)
    plan = DevelopmentPlan(
        folder=folder, agents=("AGENT-1",), broker_port=ports[0], intake_port=ports[1]
    )
    path = make_development_installation(plan, now_ms=clock_ms())
    change(folder / "broker" / "mosquitto.conf", "autosave_interval 5", "autosave_interval 1")
    return path


@pytest.fixture
def _broker(made) -> Iterator[None]:
    with (made.parent / "log").open("ab") as log:
        process = subprocess.Popen(command(made.parent / "broker"), stderr=log)
    port = int(made.read_text().split('addresses = ["127.0.0.1:')[1].split('"')[0])
    give_up_s = time.monotonic() + LONGEST_WAIT_S
    while not is_listening(port):
        assert time.monotonic() < give_up_s
    yield
    process.kill()
    process.wait(LONGEST_WAIT_S)


@pytest.mark.usefixtures("_broker")
def test_good_installation_ends_with_status_0_and_says_what_could_not_be_proven(made):
    lines = done("doctor", "--config", made).splitlines()
    assert lines[-1].startswith(f"Doctor: {EVERY_CHECK} checks, 0 findings, ")
    assert any(one.startswith("not proven  engine: the engine is not running") for one in lines)
    assert any(one.startswith("good        strangers: ") for one in lines)


@pytest.mark.usefixtures("_broker")
def test_each_finding_is_one_line_with_its_cure_and_the_status_is_1(made):
    secret = made.parent / "secrets" / "razorpay"
    secret.chmod(0o644)
    result = relight("doctor", "--config", made)
    secret.chmod(0o600)
    assert result.exit_code == 1
    (line,) = [one for one in result.stdout.splitlines() if one.startswith("FINDING")]
    assert "private_file_open: secrets/razorpay has mode 0644. Cure: chmod 0600" in line


def test_findings_are_told_to_programs_too(made):
    result = relight("doctor", "--json", "--config", made)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    (unreachable,) = told["checks"][0]["remarks"]
    assert unreachable["finding"] == "broker_unreachable"


def test_configuration_that_is_not_there_is_refused(tmp_path):
    assert "no configuration" in refused("doctor", "--config", tmp_path / "relight.toml")

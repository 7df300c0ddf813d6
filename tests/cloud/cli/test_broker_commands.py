"""`relight broker init` and `run`: what they refuse; what they do stands in tests/mosquitto."""

import os
import shutil

import pytest

from cloud.cli.installation import DESK, DOCTOR, ENGINE, GUARD, INTAKE, LIVE_READER
from tests.cloud.cli.commands import done, refused, relight


def test_broker_is_made_with_every_name(tmp_path):
    said = done("broker", "init", tmp_path / "b", "--port", "18884", "--agent", "A-1")
    assert f"relight broker run {tmp_path / 'b'}" in said
    certificates = {one.name for one in (tmp_path / "b" / "certificates").glob("*.crt")}
    everybody = ("A-1", ENGINE, GUARD, INTAKE, DESK, LIVE_READER, DOCTOR)
    assert {f"{one}.crt" for one in everybody} <= certificates
    assert "listener 18884 127.0.0.1" in (tmp_path / "b" / "mosquitto.conf").read_text()


def test_broker_that_exists_is_not_written_over(tmp_path):
    done("broker", "init", tmp_path / "b")
    before = (tmp_path / "b" / "certificates" / "ca.key").read_bytes()
    assert "exists" in refused("broker", "init", tmp_path / "b")
    assert (tmp_path / "b" / "certificates" / "ca.key").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("--agent", "a+b"), ("--agent", "ENGINE-1"), ("--port", "70000")]
)
def test_broker_that_could_never_work_is_refused(arguments, tmp_path):
    refused("broker", "init", tmp_path / "b", *arguments)
    assert not (tmp_path / "b").exists()


def test_folder_without_a_broker_is_not_run(tmp_path):
    said = refused("broker", "run", tmp_path)
    assert "mosquitto.conf does not exist; make it with: relight broker init" in said


def test_machine_without_mosquitto_is_told_what_to_install(tmp_path, monkeypatch):
    done("broker", "init", tmp_path / "b")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert "apt-get install mosquitto" in refused("broker", "run", tmp_path / "b")


def test_too_old_mosquitto_is_refused_with_its_version(tmp_path, monkeypatch):
    done("broker", "init", tmp_path / "b")
    old = tmp_path / "bin" / "mosquitto"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho mosquitto version 1.4.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}{os.pathsep}{os.environ['PATH']}")
    assert "mosquitto version 1.4.8" in refused("broker", "run", tmp_path / "b")


def test_port_that_is_no_number_is_a_usage_error(tmp_path):
    result = relight("broker", "init", tmp_path / "b", "--port", "many")
    assert result.exit_code == 2
    assert "'many' is not a valid integer" in result.stderr

import resource
from pathlib import Path

import pytest

from mosquitto import broker
from mosquitto.broker import BrokerMissingError, command, program, raise_open_file_limit


def install(folder: Path, says: str) -> None:
    folder.mkdir()
    (folder / "mosquitto").write_text(f"#!/bin/sh\necho '{says}'\nexit 3\n")
    (folder / "mosquitto").chmod(0o755)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without mosquitto; what is installed into the folder is on its PATH."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(broker, "_SBIN", str(tmp_path / "sbin"))
    return folder


@pytest.mark.usefixtures("nowhere")
def test_missing_program_is_told_with_its_cure():
    with pytest.raises(BrokerMissingError, match="apt-get install mosquitto"):
        program()


def test_old_program_is_refused_with_its_version(nowhere):
    install(nowhere, "mosquitto version 1.6.12")
    with pytest.raises(BrokerMissingError, match=r"mosquitto version 1\.6\.12; 2\.0\.11 or later"):
        program()


def test_other_program_of_the_name_is_refused(nowhere):
    install(nowhere, "buzz")
    with pytest.raises(BrokerMissingError, match="no mosquitto version"):
        program()


@pytest.mark.parametrize("version", ["2.0.11", "2.1.0", "10.0.0"])
def test_new_program_is_found_whatever_its_exit_status(nowhere, version):
    install(nowhere, f"mosquitto version {version}")
    assert program() == nowhere / "mosquitto"


@pytest.mark.usefixtures("nowhere")
def test_program_outside_the_path_is_found_where_debian_puts_it(tmp_path):
    install(tmp_path / "sbin", "mosquitto version 2.0.11")
    assert program() == tmp_path / "sbin" / "mosquitto"


def test_directory_without_a_broker_is_told_with_its_cure(tmp_path):
    with pytest.raises(BrokerMissingError, match="relight broker init"):
        command(tmp_path)


def test_soft_limit_of_open_files_is_raised_up_to_the_hard_one():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        raised = raise_open_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

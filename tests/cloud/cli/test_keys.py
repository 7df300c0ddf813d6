"""`relight keys development`: what it makes, and that nothing it made is ever replaced."""

from pathlib import Path

from cloud.configuration import Installation
from tests.cloud.cli.commands import done, refused
from wire.key_files import read_signing_key
from wire.trust import DEVELOPMENT_MARK


def modes(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}


def test_keys_are_made_for_everybody_and_belong_to_their_owner_alone(tmp_path):
    done("keys", "development", tmp_path / "trust", "--agent", "A-1", "--agent", "A-2")
    made = modes(tmp_path / "trust" / "keys")
    everybody = (
        *("ROOT", "ENROL", "ENGINE-1", "GUARD-1", "INTAKE-1", "A-1", "A-2"),
        *("APPROVER-A", "APPROVER-B", "DESK-1"),
    )
    assert made == dict.fromkeys((f"{name}.key" for name in everybody), 0o600)
    identities = {one.name for one in (tmp_path / "trust" / "identities").iterdir()}
    assert identities == {"A-1.identity", "A-2.identity"}


def test_pin_that_is_told_is_the_one_that_is_written(tmp_path):
    said = done("keys", "development", tmp_path)
    pin = (tmp_path / "pin").read_text().strip()
    assert said == f"keys in {tmp_path}; pin of root document 1: {pin}\n"


def test_every_key_of_the_registry_is_marked_development(config):
    registry = Installation(config).authorities(latest_ms=0).registry
    assert registry is not None
    assert {one.mark for one in registry.keys} == {DEVELOPMENT_MARK}


def test_keys_that_exist_are_not_written_over(tmp_path):
    done("keys", "development", tmp_path)
    before = {one.name: one.read_bytes() for one in (tmp_path / "keys").iterdir()}
    said = refused("keys", "development", tmp_path, "--agent", "A-1")
    assert said == f"{tmp_path} holds keys already: choose another folder"
    assert {one.name: one.read_bytes() for one in (tmp_path / "keys").iterdir()} == before


def test_key_without_its_root_is_not_written_over_either(tmp_path):
    done("keys", "development", tmp_path)
    (tmp_path / "root-1").unlink()  # what a crash in the middle leaves
    before = read_signing_key(tmp_path / "keys" / "ROOT.key")
    assert "holds keys already" in refused("keys", "development", tmp_path)
    assert read_signing_key(tmp_path / "keys" / "ROOT.key").key_id == before.key_id


def test_agent_whose_name_is_no_id_gets_no_keys(tmp_path):
    said = refused("keys", "development", tmp_path / "trust", "--agent", "../A")
    assert "'../A'" in said
    assert not (tmp_path / "trust").exists()


def test_agent_named_twice_gets_no_keys(tmp_path):
    said = refused("keys", "development", tmp_path / "trust", "--agent", "A", "--agent", "A")
    assert "A" in said
    assert not (tmp_path / "trust").exists()


def test_agent_named_like_another_party_gets_no_keys(tmp_path):
    said = refused("keys", "development", tmp_path / "trust", "--agent", "ENGINE-1")
    assert "ENGINE-1" in said
    assert not (tmp_path / "trust").exists()

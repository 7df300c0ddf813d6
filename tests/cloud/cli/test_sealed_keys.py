"""Private keys of the cloud's processes: sealed, opened with the passphrase's file, or refused."""

import pytest

from cloud.configuration import ConfigurationError, Installation
from tests.cloud.cli.commands import change
from wire.key_files import read_signing_key, write_whole
from wire.sealed_keys import seal_key

PASSPHRASE = "correct horse battery"


def counted(size: int) -> bytes:
    return bytes(range(size))


@pytest.fixture
def sealed(folder, config):
    """The engine's key under a passphrase; the configuration knows its file."""
    path = folder / "trust" / "keys" / "ENGINE-1.key"
    key = read_signing_key(path)
    write_whole(path, seal_key(key, PASSPHRASE, counted).encode("ascii"), mode=0o600)
    write_whole(folder / "secrets" / "passphrase", f"{PASSPHRASE}\n".encode("ascii"), mode=0o600)
    change(config, "is_production = false", 'passphrase = "secrets/passphrase"')
    return key


def test_sealed_key_is_opened_with_the_passphrase_of_the_configuration(config, sealed):
    assert Installation(config).signing_key("trust/keys/ENGINE-1.key") == sealed


@pytest.mark.usefixtures("sealed")
def test_sealed_key_without_a_passphrase_says_what_is_missing(config):
    change(config, 'passphrase = "secrets/passphrase"', "")
    with pytest.raises(ConfigurationError, match="name the file that holds its passphrase"):
        Installation(config).signing_key("trust/keys/ENGINE-1.key")


def test_production_refuses_a_key_that_lies_open(config, sealed):
    change(config, "passphrase =", "is_production = true\npassphrase =")
    assert Installation(config).signing_key("trust/keys/ENGINE-1.key") == sealed
    with pytest.raises(ConfigurationError, match="lies open"):
        Installation(config).signing_key("trust/keys/INTAKE-1.key")

"""A private key under a passphrase."""

import pytest

from wire.key_files import KeyFileError, read_signing_key, write_whole
from wire.keys import SigningKey
from wire.sealed_keys import SealedKeyError, is_sealed, open_key, seal_key

KEY = SigningKey(bytes(range(32)))
PASSPHRASE = "correct horse battery"


def counted(size: int) -> bytes:
    return bytes(range(size))


def test_sealed_key_opens_with_its_passphrase():
    line = seal_key(KEY, PASSPHRASE, counted)
    assert is_sealed(line)
    assert KEY.seed.hex() not in line
    assert open_key(line, PASSPHRASE) == KEY


def test_sealed_key_does_not_open_with_another_passphrase():
    with pytest.raises(SealedKeyError, match="passphrase is wrong"):
        open_key(seal_key(KEY, PASSPHRASE, counted), PASSPHRASE + "!")


def test_sealed_key_that_was_changed_does_not_open():
    line = seal_key(KEY, PASSPHRASE, counted)
    changed = line[:-1] + ("0" if line[-1] != "0" else "1")
    with pytest.raises(SealedKeyError, match="it was changed"):
        open_key(changed, PASSPHRASE)


@pytest.mark.parametrize(
    "line",
    [
        "relight-key-1 2 99999999999 " + "00" * 16 + " " + "00" * 72,
        "relight-key-1 999 67108864 " + "00" * 16 + " " + "00" * 72,
        "relight-key-2 2 67108864 " + "00" * 16 + " " + "00" * 72,
        "relight-key-1 2 67108864 00 " + "00" * 72,
    ],
)
def test_sealed_key_whose_costs_or_kind_are_out_of_bounds_is_refused(line):
    with pytest.raises(SealedKeyError, match="known kind"):
        open_key(line, PASSPHRASE)


def test_line_of_another_shape_is_no_sealed_key():
    with pytest.raises(SealedKeyError, match="five words"):
        open_key("relight-key-1 2", PASSPHRASE)


def test_short_passphrase_is_refused():
    with pytest.raises(SealedKeyError, match="at least 12 characters"):
        seal_key(KEY, "short", counted)


def test_sealed_key_file_asks_for_its_passphrase(tmp_path):
    path = tmp_path / "GUARD-1.key"
    write_whole(path, seal_key(KEY, PASSPHRASE, counted).encode("ascii"), mode=0o600)
    with pytest.raises(KeyFileError, match="is sealed"):
        read_signing_key(path)
    assert read_signing_key(path, PASSPHRASE) == KEY

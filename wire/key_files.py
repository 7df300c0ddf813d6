"""Private keys and documents at rest.

Rules kept here: a private key's file belongs to its owner alone (mode 0600) or is refused; files
are written whole, fsynced and renamed into place, so a crash leaves the old one or the new one.
"""

import os
from pathlib import Path

from wire.keys import SEED_BYTES, SigningKey
from wire.sealed_keys import SealedKeyError, is_sealed, open_key

PRIVATE_MODE = 0o600


class KeyFileError(ValueError):
    """A key file that may not be used, with the cure."""


def read_signing_key(path: Path, passphrase: str | None = None) -> SigningKey:
    """The key in `path`: sealed under a passphrase, or a bare seed of 64 hex digits.

    Raises:
        KeyFileError: missing, readable by others, not a key, or sealed and not opened.
    """
    text = read_private(path)
    if is_sealed(text):
        if passphrase is None:
            raise KeyFileError(f"{path} is sealed: name the file that holds its passphrase")
        try:
            return open_key(text, passphrase)
        except SealedKeyError as error:
            raise KeyFileError(f"{path} {error}") from None
    try:
        return SigningKey(bytes.fromhex(text))
    except ValueError:
        raise KeyFileError(f"{path} does not hold {2 * SEED_BYTES} hex digits") from None


def is_sealed_file(path: Path) -> bool:
    """Whether the key in `path` is under a passphrase.

    Raises:
        KeyFileError: missing, or readable by others.
    """
    return is_sealed(read_private(path))


def read_private(path: Path) -> str:
    """The one line of a file that is its owner's alone.

    Raises:
        KeyFileError: missing, readable by others, or not text.
    """
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise KeyFileError(f"no key file {path}: create it, mode 0600") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read key file {path}: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} has mode {mode:04o}; others can read it: chmod 0600 {path}")
    return text


def write_signing_key(path: Path, key: SigningKey) -> None:
    """Write a private key's file, mode 0600."""
    write_whole(path, (key.seed.hex() + "\n").encode("ascii"), mode=PRIVATE_MODE)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` durably: all of `content` or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""How a person hands a command their private key: its file, and what opens it.

Rules kept here: a passphrase comes from a file of its owner alone or is asked for, never from the
command line, where everybody on the machine could read it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from wire.key_files import is_sealed_file, read_private, read_signing_key
from wire.keys import SigningKey

_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Where a person's key is, and perhaps what opens it."""

    path: Path
    passphrase_file: Path | None

    def read(self) -> SigningKey:
        """The key; asks for the passphrase when it must."""
        passphrase = None
        if self.passphrase_file is not None:
            passphrase = read_private(self.passphrase_file)
        elif is_sealed_file(self.path):
            passphrase = str(click.prompt("Passphrase", hide_input=True, err=True))
        return read_signing_key(self.path, passphrase)


def gathered(
    name: str, made: type, *options: Callable[[Callable[..., None]], Callable[..., None]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options that reach the command as one argument: `made` of their values."""

    def around(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            mine = {one.name: given.pop(one.name) for one in fields(made)}
            command(**given, **{name: made(**mine)})

        for option in reversed(options):
            option(run)
        return run

    return around


KEY = gathered(
    "key_file",
    KeyFile,
    click.option("--key", "path", type=_FILE, required=True, help="The signer's private key."),
    click.option(
        "--passphrase-file",
        type=_FILE,
        help="Its one line, mode 0600; a sealed key asks for it otherwise.",
    ),
)

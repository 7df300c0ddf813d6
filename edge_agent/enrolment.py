"""A new agent: from a one-time token to a key of its own, its configuration and its request.

Rules kept here: the private key is made here and never leaves; nothing that exists is written
over, so a token cannot take a working agent's key away; the root is the one the token pins.
"""

import json
from collections.abc import Callable
from pathlib import Path

from wire.enrolment import EnrolmentError, Request, Token, request_of, to_json
from wire.key_files import write_signing_key, write_whole
from wire.keys import SEED_BYTES, SigningKey


def enrol(token: Token, folder: Path, *, random_bytes: Callable[[int], bytes]) -> Request:
    """Write agent.key, root-1, agent.toml and request.json into `folder`.

    Raises:
        EnrolmentError: the folder holds an agent already.
    """
    if (folder / "agent.key").exists():
        raise EnrolmentError(f"{folder} holds an agent's key already: choose another folder")
    key = SigningKey(random_bytes(SEED_BYTES))
    request = request_of(token, key.public)
    write_signing_key(folder / "agent.key", key)
    write_whole(folder / "root-1", bytes.fromhex(token.root_document))
    write_whole(folder / "agent.toml", _configuration(token).encode("utf-8"))
    write_whole(folder / "request.json", to_json(request))
    return request


def _configuration(token: Token) -> str:
    return f"""# Made by `relight-agent enrol`; fill in what is empty, then `relight-agent run`.
agent = "{token.agent}"
installation_pin = "{token.pin}"
root_document = "root-1"
key = "agent.key"
production = true
brokers = {json.dumps(token.brokers)}
roster = "roster.csv"

[tls]
ca = "ca.crt"
certificate = "agent.crt"
key = "agent-tls.key"

[relay]
door = ""  # "package.module:factory" of the way to the meters
"""

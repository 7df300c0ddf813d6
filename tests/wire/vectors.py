"""Reads docs/vectors/*.json for any test: the committed bytes, not the ones made anew.

* `negative(needs="agent")`: the messages an agent's tests must judge; `states()["agent"]` merged
  with a message's `given` is where its agent stands.
* `sequences(needs="engine")`: the same, step by step.
* `envelopes()`, `bodies()`, `keys()`, `documents()`, `signatures()`, `chain()`: the rest.
* `keyring()`: the keys an engine knows; `Message` can be handed to `wire.checking.check`.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wire.decoding import decode_body
from wire.documents import Trust
from wire.fields import InstallationId
from wire.keys import SigningKey
from wire.trust import Authorities, Keyring, accept, anchor, identity_key, open_identity

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "vectors"


@dataclass(frozen=True, slots=True)
class Message:
    """What a broker delivers."""

    topic: str
    payload: bytes
    is_retained: bool = False


def unhexed(value: Any) -> Any:
    """Bytes back from "0x..." everywhere inside."""
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, list):
        return [unhexed(one) for one in value]
    if isinstance(value, dict):
        return {name: unhexed(one) for name, one in value.items()}
    return value


@cache
def _read(name: str) -> Any:
    return unhexed(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def keys() -> dict[str, Any]:
    return _read("keys")


def bodies() -> list[dict[str, Any]]:
    return _read("bodies")


def envelopes() -> list[dict[str, Any]]:
    return _read("envelopes")


def envelope(name: str) -> dict[str, Any]:
    """The positive vector of that name."""
    return next(one for one in envelopes() if one["name"] == name)


def chain() -> dict[str, Any]:
    return _read("chain")


def states() -> dict[str, dict[str, Any]]:
    """Where the agent, intake and engine of the vectors stand before a message."""
    return _read("negative")["states"]


def negative(needs: str | None = None) -> list[dict[str, Any]]:
    """Messages with their verdicts; `needs` is "nothing", "agent", "engine" or "intake"."""
    return [one for one in _read("negative")["messages"] if needs in (None, one["needs"])]


def documents() -> list[dict[str, Any]]:
    return _read("negative")["documents"]


def signatures() -> list[dict[str, Any]]:
    return _read("negative")["signatures"]


def sequences(needs: str | None = None) -> list[dict[str, Any]]:
    return [one for one in _read("sequences") if needs in (None, one["needs"])]


def message(row: dict[str, Any]) -> Message:
    """A vector or a step as a delivered message."""
    return Message(row["topic"], row["payload"], row.get("is_retained", False))


def signing_key(name: str) -> SigningKey:
    """The private key of that name, from its published seed."""
    return SigningKey(next(one["seed"] for one in keys()["keys"] if one["name"] == name))


def installation() -> InstallationId:
    return InstallationId(keys()["installation"])


@cache
def root_only() -> Authorities:
    """What a holder believes that was handed the pin and root document 1, and nothing else."""
    return anchor(keys()["first_root"], keys()["root_pin"])


@cache
def authorities() -> Authorities:
    """What a holder believes after the trust message."""
    trust = decode_body(Trust, next(one["body"] for one in bodies() if one["name"] == "trust"))
    return accept(root_only(), trust, latest_ms=keys()["now_ms"], is_production=False)


@cache
def keyring() -> Keyring:
    """The registry's keys and the agents' identities."""
    held = authorities()
    agents = [identity_key(open_identity(held, statement)) for statement in keys()["identities"]]
    return held.keyring({one.key_id: one for one in agents})

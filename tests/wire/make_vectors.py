"""Writes docs/vectors/*.json and the byte tables of docs/protocol.md.

`python -m tests.wire.make_vectors` in the project's root writes them; the same input gives the
same bytes on every machine, and a test compares them with the committed files.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from tests.wire import (
    documents,
    junk,
    junk_items,
    junk_signers,
    refused,
    refused_opens,
    refused_rosters,
    sequences,
    signatures,
)
from tests.wire.bodies import BODIES, HEADS, ITEMS
from tests.wire.case import Case, topic_of
from tests.wire.installation import (
    AGENT,
    AGENT_KEYS,
    ALL_KEYS,
    INSTALLATION,
    INTAKE,
    JOURNAL,
    NOW_MS,
    REGISTERED,
    ROOT_1_ENVELOPE,
    ROOT_2_ENVELOPE,
    ROOT_PIN,
    ROOTS,
    key,
)
from tests.wire.page import with_tables
from tests.wire.spelling import signed
from wire.decoding import decode_item, encode
from wire.envelope import digest
from wire.fields import Array
from wire.topics import MessageType
from wire.vocabulary import Role

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "docs" / "vectors"
PAGE = ROOT / "docs" / "protocol.md"

TO_INTAKE = {"receipt"}
SIGNERS = {
    "hello": ("agent",),
    "acknowledgement": ("agent",),
    "payment": ("intake",),
    "watermark": ("intake",),
    "manifest": ("approver-1", "approver-2"),
    "resume": ("approver-1", "approver-2"),
    "roster": ("enrol",),
    "stop": ("stop",),
    "root-1": ("root-1",),
    "root-2": ("root-1", "root-2-a", "root-2-b"),
    "registry": ("root-2-a", "root-2-b"),
    "identity": ("enrol",),
    "command-open": ("engine", "guard"),
    "command-disarm": ("engine", "guard"),
    "command-unguarded": ("engine", "guard"),
    "command-open-by-manifest": ("engine", "guard"),
}


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes as "0x" and hex, a structure as its fields in order."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, msgspec.Raw):
        return plain(decode_item(bytes(value)))
    if isinstance(value, Array):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def keys() -> dict[str, Any]:
    def row(name: str) -> dict[str, Any]:
        whole = {"name": name, "seed": key(name).seed, "public": key(name).public}
        whole["key_id"] = key(name).key_id
        if name in REGISTERED:
            return whole | {"stands_in": "registry", **asdict(REGISTERED[name])}
        if name in ROOTS:
            return whole | {"stands_in": "root", "role": Role.ROOT, "subject": ROOTS[name]}
        if name in AGENT_KEYS:
            role = {"role": Role.AGENT, "subject": AGENT_KEYS[name]}
            return whole | {"stands_in": "identity", **role}
        return whole | {"stands_in": "nothing"}

    return {
        "installation": INSTALLATION,
        "now_ms": NOW_MS,
        "root_pin": ROOT_PIN,
        "first_root": ROOT_1_ENVELOPE,
        "later_roots": [ROOT_2_ENVELOPE],
        "registry": envelope_of("registry"),
        "identities": [envelope_of("identity"), envelope_of("identity-other-agent")],
        "keys": [row(name) for name in ALL_KEYS],
    }


def bodies() -> list[dict[str, Any]]:
    def row(name: str, type_name: str, body: Array) -> dict[str, Any]:
        encoded = encode(body)
        whole: dict[str, Any] = {"name": name, "type": type_name, "fields": body, "body": encoded}
        if type_name == "item":
            return whole | {"item_digest": sha256(encoded).digest()}
        if type_name == "trust":
            return whole
        found = digest(INSTALLATION, type_name, encoded)
        return whole | {"digest": found, "id": found[:16]}

    return [row(name, *one) for name, one in BODIES.items()]


def signers_of(name: str, type_name: str) -> tuple[str, ...]:
    return SIGNERS.get(name) or SIGNERS.get(type_name) or ("engine",)


def envelope_of(name: str) -> bytes:
    type_name, body = BODIES[name]
    return signed(type_name, encode(body), *signers_of(name, type_name))


def receiver_of(type_name: str) -> str | None:
    """Whose judgement the vector is: the agent's, the intake's, or the engine's (null)."""
    if type_name in ("payment", "watermark", "hello", "acknowledgement"):
        return None
    return INTAKE if type_name == "receipt" else AGENT


def envelopes() -> list[dict[str, Any]]:
    rows = []
    for name, (type_name, body) in BODIES.items():
        if type_name in ("item", "trust"):
            continue
        encoded = encode(body)
        is_message = type_name in list(MessageType)
        rows.append(
            {
                "name": name,
                "type": type_name,
                "topic": topic_of(type_name, body) if is_message else None,
                "receiver": receiver_of(type_name) if is_message else None,
                "at_ms": NOW_MS,
                "signers": signers_of(name, type_name),
                "payload": envelope_of(name),
                "digest": digest(INSTALLATION, type_name, encoded),
            }
        )
    return rows


def case_row(case: Case) -> dict[str, Any]:
    row = asdict(case)
    if not case.given:
        del row["given"]
    return row


def negative() -> dict[str, Any]:
    modules: list[Callable[[], Any]] = [
        junk_signers.all_cases,
        refused.all_cases,
        refused_opens.all_cases,
        refused_rosters.all_cases,
        junk.all_cases,
        junk_items.all_cases,
    ]
    return {
        "states": refused.STATES,
        "messages": [case_row(case) for cases in modules for case in cases()],
        "documents": [asdict(case) for case in documents.all_cases()],
        "signatures": [asdict(case) for case in signatures.all_cases()],
    }


def chain() -> dict[str, Any]:
    rows = [
        {"number": number, "name": name, "item": encode(item), "head": HEADS[number]}
        for number, (name, item) in enumerate(ITEMS.items(), 1)
    ]
    return {"agent": AGENT, "journal": JOURNAL, "first_head": HEADS[0], "items": rows}


def all_files() -> dict[Path, str]:
    """Every generated file's whole text."""
    made = {
        "keys": keys(),
        "bodies": bodies(),
        "envelopes": envelopes(),
        "negative": negative(),
        "sequences": [asdict(one) for one in sequences.all_sequences()],
        "chain": chain(),
    }
    files = {
        VECTORS / f"{name}.json": json.dumps(plain(content), indent=1) + "\n"
        for name, content in made.items()
    }
    if PAGE.exists():
        files[PAGE] = with_tables(PAGE.read_text(encoding="utf-8"))
    return files


if __name__ == "__main__":
    for path, text in all_files().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(text):,} characters")  # noqa: T201  # a command

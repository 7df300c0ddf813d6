"""Decisions and commands: each command is signed, counted, and exists for a stored decision."""

import sqlite3
from hashlib import sha256
from typing import Any

from cloud.audit.findings import Report
from cloud.audit.signatures import Trusted, digest, signers, unpacked
from cloud.audit.unpacking import SpellingError

TWO_KEYS = frozenset({"open", "disarm", "unguarded"})
LIFE_MAX_MS = 900_000
TWO_KEYS_LIFE_MAX_MS = 600_000


def check_decisions(ledger: sqlite3.Connection, report: Report) -> None:
    """I4: a decision is what its digest says, and begins with its own random bytes (R22)."""
    seen: set[bytes] = set()
    for row in ledger.execute("SELECT digest, record FROM decisions"):
        report.saw("decisions")
        subject = f"decision {row['digest'].hex()[:16]}"
        if sha256(row["record"]).digest() != row["digest"]:
            report.add("I4", subject, "the record is not the one that was decided")
            continue
        salt = row["record"][:20]
        if salt in seen:
            report.add("I4", subject, "its random bytes were used before")
        seen.add(salt)


def check_commands(ledger: sqlite3.Connection, trust: Trusted, report: Report) -> None:
    """I4, I7, I11: each published command against its bytes, its decision and its meter's order."""
    highest: dict[str, tuple[int, int]] = {}
    for row in ledger.execute(
        "SELECT c.*, d.digest AS known_decision FROM commands c"
        " LEFT JOIN decisions d ON d.digest = c.decision"
        " ORDER BY c.meter_id, c.epoch, c.sequence_ms"
    ):
        subject = f"command {row['id']} ({row['action']} of {row['meter_id']})"
        if row["known_decision"] is None:
            report.add("I4", subject, "its decision is not stored")
        if row["envelope"] is None:
            continue
        report.saw("commands")
        counter = (row["epoch"], row["sequence_ms"])
        if counter <= highest.get(row["meter_id"], (-1, -1)):
            report.add("I7", subject, f"counter {counter} was given before")
        highest[row["meter_id"]] = counter
        try:
            _check_bytes(row, trust, report, subject)
        except SpellingError as error:
            report.add("I4", subject, str(error))


def _check_bytes(row: sqlite3.Row, trust: Trusted, report: Report, subject: str) -> None:
    sealed, keys = signers(row["envelope"], "command", trust, at_ms=row["sequence_ms"])
    body: list[Any] = unpacked(sealed.body)
    told = [
        *(1, row["action"], row["agent_id"], row["meter_id"]),
        *(row["epoch"], row["sequence_ms"], row["expires_at_ms"], row["decision"]),
    ]
    if body[:8] != told:
        report.add("I4", subject, f"the bytes say {body[1:7]}, the row {told[1:7]}")
    if digest(trust.installation, "command", sealed.body)[:16] != row["command_id"]:
        report.add("I4", subject, "its id is not that of its bytes")
    roles = sorted(key.role for key in keys)
    if row["action"] in TWO_KEYS:
        # Before it is sent an open lies in the ledger with the engine's signature alone (R7).
        is_sent = row["sends"] > 0
        if is_sent and roles != ["engine", "guard"]:
            report.add("I11", subject, f"was signed by {' and '.join(roles)}")
    elif "engine" not in roles:
        report.add("I4", subject, f"was signed by {' and '.join(roles)}")
    if any(key.role == "engine" and key.epoch != row["epoch"] for key in keys):
        report.add("I7", subject, f"epoch {row['epoch']} is not that of the key that signed")
    life_ms = row["expires_at_ms"] - row["sequence_ms"]
    allowed_ms = TWO_KEYS_LIFE_MAX_MS if row["action"] in TWO_KEYS else LIFE_MAX_MS
    if not 0 < life_ms <= allowed_ms:
        report.add("I5", subject, f"lives {life_ms} ms, {allowed_ms} are allowed")

"""Journals and what agents filed: received before it moved, moved once, told as it was read."""

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from cloud.audit.findings import Report
from cloud.audit.signatures import Trusted, digest, unpacked
from cloud.audit.unpacking import SpellingError

# What a read-back must show for an outcome to be true: output, control state or any (None).
READ_BACK: dict[str, tuple[bool, int | None]] = {
    "closed": (True, None),
    "already_closed": (True, None),
    "opened": (False, None),
    "already_open": (False, None),
    "disarmed": (False, 0),
    "armed": (False, 2),
}


def first_head(journal: bytes, agent: str) -> bytes:
    """The head of an empty journal."""
    return sha256(b"RELIGHT1 journal" + journal + agent.encode("ascii")).digest()


def next_head(head: bytes, item: bytes) -> bytes:
    """The head behind one more item."""
    return sha256(head + sha256(item).digest()).digest()


def check_filed(ledger: sqlite3.Connection, report: Report) -> None:
    """I3, I8: every journal's chain, recomputed from the items that were filed."""
    for journal in ledger.execute("SELECT * FROM journals").fetchall():
        report.saw("journals in the ledger")
        subject = f"journal {journal['journal'].hex()} of {journal['agent_id']}"
        head, through = first_head(journal["journal"], journal["agent_id"]), 0
        for row in ledger.execute(
            "SELECT number, item FROM filed_items WHERE journal_id = ? ORDER BY number",
            (journal["id"],),
        ):
            report.saw("filed items")
            _check_item(row["item"], row["number"], subject, report)
            if row["number"] == through + 1 and through < journal["through"]:
                head, through = next_head(head, row["item"]), row["number"]
        if (through, head) != (journal["through"], journal["head"]):
            report.add("I3", subject, f"the chain to {journal['through']} is not that of its items")


def _check_item(item: bytes, number: int, subject: str, report: Report) -> None:
    try:
        fields = unpacked(item)
    except SpellingError as error:
        report.add("I3", f"{subject} item {number}", str(error))
        return
    if fields[0] != number:
        report.add("I3", f"{subject} item {number}", f"calls itself {fields[0]}")
    if fields[1] == "command":
        _check_outcome(fields, f"{subject} item {number}", report)


def _check_outcome(fields: list[Any], subject: str, report: Report) -> None:
    """I8: an acknowledgement says what was read back."""
    outcome, after, read_ms = fields[6], fields[9], fields[12]
    wanted = READ_BACK.get(outcome)
    if wanted is None:
        return
    if after is None or read_ms is None:
        report.add("I8", subject, f"{outcome} without a read-back")
    elif after[0] is not wanted[0] or wanted[1] not in (None, after[1]):
        report.add("I8", subject, f"{outcome}, but the relay said {after}")


def check_journal(
    journal: sqlite3.Connection, ledger: sqlite3.Connection, trust: Trusted, report: Report
) -> None:
    """I5, I6, I7 and the items of one agent's journal, against what it filed."""
    standing = journal.execute("SELECT journal_id, agent FROM standing").fetchone()
    if standing is None:
        report.add("I5", "journal", "has no standing")
        return
    report.saw("journals")
    subject = f"journal {standing['journal_id'].hex()} of {standing['agent']}"
    _check_steps(journal.execute("SELECT * FROM steps ORDER BY running_ms"), subject, trust, report)
    _check_items(journal, ledger, standing, subject, report)


def _check_steps(
    steps: Iterable[sqlite3.Row], subject: str, trust: Trusted, report: Report
) -> None:
    of_command: dict[bytes, list[sqlite3.Row]] = {}
    for step in steps:
        of_command.setdefault(step["command_id"], []).append(step)
    accepted: dict[str, list[tuple[int, int, int]]] = {}
    for command_id, rows in of_command.items():
        report.saw("commands in journals")
        name = f"{subject} command {command_id.hex()}"
        received = [row for row in rows if row["step"] == "received"]
        acting = [row for row in rows if row["step"] == "actuating"]
        if acting and (not received or received[0]["running_ms"] > acting[0]["running_ms"]):
            report.add("I5", name, "moved its relay before it was received")
        if len(acting) > 2 or sum(row["step"] == "outcome" for row in rows) > 1:
            report.add("I6", name, f"{len(acting)} movements")
        if any(row["action"] in ("open", "disarm") for row in acting) and len(acting) > 1:
            report.add("I6", name, "an open moved twice")
        if received:
            body = received[0]["body"]
            _check_body(body, command_id, trust, name, report)
            fields = unpacked(body)
            if fields[1] != "read":
                place = (received[0]["running_ms"], fields[4], fields[5])
                accepted.setdefault(fields[3], []).append(place)
    for meter, places in accepted.items():
        counters = [place[1:] for place in sorted(places)]
        if counters != sorted(set(counters)):
            report.add("I7", f"{subject} {meter}", "accepted counters do not rise")


def _check_body(body: bytes, command_id: bytes, trust: Trusted, name: str, report: Report) -> None:
    if digest(trust.installation, "command", body)[:16] != command_id:
        report.add("I5", name, "its bytes are another command's")


def _check_items(
    journal: sqlite3.Connection,
    ledger: sqlite3.Connection,
    standing: sqlite3.Row,
    subject: str,
    report: Report,
) -> None:
    """I3: what is in the journal is what was filed, and its own chain is whole."""
    filed = {
        row["number"]: row["item"]
        for row in ledger.execute(
            "SELECT f.number, f.item FROM filed_items f JOIN journals j ON j.id = f.journal_id"
            " WHERE j.journal = ? AND j.agent_id = ?",
            (standing["journal_id"], standing["agent"]),
        )
    }
    mark = journal.execute("SELECT number, head FROM checkpoints ORDER BY number DESC").fetchone()
    head = mark["head"] if mark else first_head(standing["journal_id"], standing["agent"])
    last = mark["number"] if mark else 0
    for row in journal.execute("SELECT number, item, head FROM items ORDER BY number"):
        report.saw("items in journals")
        if row["number"] <= last:
            continue
        head = next_head(head, row["item"])
        if row["number"] != last + 1 or head != row["head"]:
            report.add("I3", f"{subject} item {row['number']}", "the journal's own chain is broken")
        last, head = row["number"], row["head"]
        if filed.get(row["number"], row["item"]) != row["item"]:
            report.add("I3", f"{subject} item {row['number']}", "other bytes were filed")

"""Money: reports reached their end, payments were posted once, every posting sums to zero."""

import sqlite3
from hashlib import sha256

from cloud.audit.findings import Report
from cloud.audit.signatures import unpacked
from cloud.audit.unpacking import SpellingError

APPEND_ONLY = ("entries", "decisions", "filed_items", "acts")
# Locks that money may clear; everything else is cleared by its owner (I10).
CLEARED_BY_MONEY = "quote covered"


def check_spool(spool: sqlite3.Connection, ledger: sqlite3.Connection, report: Report) -> None:
    """I1: what was answered 2xx is there byte for byte, numbered, and the ledger knows it."""
    own = spool.execute("SELECT id, made FROM spool").fetchone()
    if own is None:
        report.add("I1", "spool", "has no row of its own")
        return
    for row in spool.execute("SELECT id, sha256, raw FROM reports"):
        report.saw("reports")
        if sha256(row["raw"]).digest() != row["sha256"]:
            report.add("I1", f"report {row['id']}", "its bytes are not the ones that came")
    last = 0
    for row in spool.execute("SELECT number FROM items ORDER BY number"):
        if last and row["number"] != last + 1:
            report.add("I1", f"item {row['number']}", f"follows {last}: a number is missing")
        last = row["number"]
    if last and last != own["made"]:
        report.add("I1", f"spool {own['id'].hex()}", f"gave {own['made']} numbers, holds to {last}")
    _check_receipts(spool, ledger, own["id"], report)


def _check_receipts(
    spool: sqlite3.Connection, ledger: sqlite3.Connection, spool_id: bytes, report: Report
) -> None:
    stored = {
        row["number"]: row
        for row in ledger.execute(
            "SELECT i.number, i.raw, i.verdict, i.amount_paise FROM payment_items i"
            " JOIN spools s ON s.id = i.spool_id WHERE s.spool = ?",
            (spool_id,),
        )
    }
    for row in spool.execute(
        "SELECT i.number, i.item, r.verdict FROM items i JOIN receipts r ON r.number = i.number"
    ):
        report.saw("receipts")
        subject = f"item {row['number']} of spool {spool_id.hex()}"
        known = stored.get(row["number"])
        if known is None:
            report.add("I1", subject, f"was receipted as {row['verdict']}, the ledger has it not")
            continue
        try:
            item = unpacked(row["item"])
        except SpellingError as error:
            report.add("I1", subject, str(error))
            continue
        if (item[1], item[7]) != (known["raw"], known["amount_paise"]):
            report.add("I1", subject, "the ledger stored another report or amount")


def check_payments(ledger: sqlite3.Connection, report: Report) -> None:
    """I2: one posting for each captured payment, of its amount, and none without a capture."""
    posted = {
        row["posting"]: -row["amount_paise"]
        for row in ledger.execute(
            "SELECT posting, amount_paise FROM entries WHERE head = 'receivable'"
            " AND (posting LIKE '% captured %' OR posting LIKE '% realised %')"
        )
    }
    captures: dict[tuple[str, str], list[str]] = {}
    for row in ledger.execute(
        "SELECT provider, payment_id, provider || ' ' || kind || ' ' || object_id AS posting"
        " FROM payment_items WHERE kind IN ('captured', 'realised')"
        " AND verdict IN ('stored', 'misposted')"
    ):
        captures.setdefault((row["provider"], row["payment_id"]), []).append(row["posting"])
    for row in ledger.execute("SELECT * FROM payments"):
        report.saw("payments")
        subject = f"payment {row['provider']} {row['payment_id']}"
        names = captures.get((row["provider"], row["payment_id"]), [])
        if len(names) != 1:
            report.add("I2", subject, f"stands on {len(names)} stored captures")
            continue
        _check_posting(row, posted.pop(names[0], None), subject, report)
    for posting in posted:
        report.add("I2", posting, "was posted without a payment")


def _check_posting(row: sqlite3.Row, paise: int | None, subject: str, report: Report) -> None:
    if row["account_id"] is None:
        if paise is not None:
            report.add("I2", subject, "was posted, and has no account")
    elif paise != row["amount_paise"]:
        report.add("I2", subject, f"of {row['amount_paise']} paise was posted as {paise}")
    if not 0 <= row["returned_paise"] <= row["amount_paise"]:
        report.add("I2", subject, f"returned {row['returned_paise']} paise")


def check_entries(ledger: sqlite3.Connection, report: Report) -> None:
    """I3: debits equal credits in every posting; the schema forbids to change what is written."""
    for row in ledger.execute(
        "SELECT posting, count(*) AS lines, sum(amount_paise) AS paise,"
        " count(DISTINCT account_id) AS accounts FROM entries GROUP BY posting"
    ):
        report.saw("postings")
        if (row["lines"], row["paise"], row["accounts"]) != (2, 0, 1):
            detail = f"{row['lines']} entries that sum to {row['paise']} paise"
            report.add("I3", f"posting {row['posting']}", detail)
    triggers = {
        row["name"]
        for row in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    }
    for table in APPEND_ONLY:
        for act in ("update", "delete"):
            if f"{table}_refuse_{act}" not in triggers:
                report.add("I3", table, f"its trigger against {act} is gone")


def check_locks(ledger: sqlite3.Connection, report: Report) -> None:
    """I10: money clears non_payment and no other lock."""
    for row in ledger.execute("SELECT id, account_id, kind, cleared_because FROM locks"):
        report.saw("locks")
        if row["kind"] != "non_payment" and row["cleared_because"] == CLEARED_BY_MONEY:
            report.add("I10", f"lock {row['id']}", f"{row['kind']} was cleared by money")

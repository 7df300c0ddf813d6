"""What must hold when nothing is under way: nobody forgotten, relays as the ledger says."""

import sqlite3

from cloud.audit.findings import Report


def check_episodes(ledger: sqlite3.Connection, report: Report) -> None:
    """I9: a paid episode without another lock ended, is armed, or has a crew ticket."""
    for row in ledger.execute(
        "SELECT e.id, e.account_id, e.meter_id, e.paid_at_ms FROM episodes e"
        " WHERE e.ended_at_ms IS NULL AND e.state = 'paid'"
        " AND NOT EXISTS (SELECT 1 FROM crew_tickets t WHERE t.episode_id = e.id"
        "  AND t.closed_at_ms IS NULL)"
        " AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.account_id = e.account_id"
        "  AND l.cleared_at_ms IS NULL AND l.kind <> 'non_payment')"
    ):
        detail = f"{row['account_id']} paid at {row['paid_at_ms']}, {row['meter_id']} is still open"
        report.add("I9", f"episode {row['id']}", detail)


def check_relays(ledger: sqlite3.Connection, report: Report) -> None:
    """I12: where an episode ended, the newest reading behind its end shows supply."""
    for row in ledger.execute(
        "SELECT e.id, e.meter_id, m.output FROM episodes e"
        " JOIN meters m ON m.meter_id = e.meter_id"
        " WHERE e.state = 'ended' AND m.output IS NOT NULL"
        " AND m.read_at_ms >= e.ended_at_ms - 900000"
        " AND NOT EXISTS (SELECT 1 FROM episodes l WHERE l.meter_id = e.meter_id AND l.id > e.id)"
    ):
        report.saw("relays")
        if row["output"] != 1:
            report.add("I12", f"meter {row['meter_id']}", f"is open after episode {row['id']}")
    for row in ledger.execute(
        "SELECT s.intake, s.through, s.watermark_made FROM spools s"
        " WHERE s.through < s.watermark_made"
    ):
        missing = row["watermark_made"] - row["through"]
        report.add("I1", f"intake {row['intake']}", f"{missing} of its numbers are not stored")

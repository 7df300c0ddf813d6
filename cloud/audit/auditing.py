"""The audit of an installation: every check over every database it is given."""

from cloud.audit import field, instructions, money, people, rest
from cloud.audit.evidence import Places, opened
from cloud.audit.findings import Report
from cloud.audit.signatures import EvidenceError, trusted


def audit(places: Places, *, is_at_rest: bool) -> Report:
    """Look at everything; what contradicts an invariant.

    Args:
        places: the evidence.
        is_at_rest: nothing is under way, so whatever waits was forgotten (I9, I12).

    Raises:
        EvidenceError: the evidence cannot be read, or its root is not the pinned one.
    """
    report = Report()
    try:
        documents = [path.read_bytes() for path in places.documents]
        trust = trusted(places.first_root.read_bytes(), bytes.fromhex(places.pin), documents)
    except OSError as error:
        raise EvidenceError(str(error)) from None
    with opened(places.ledger) as ledger:
        found = ledger.execute("SELECT installation FROM ledger").fetchone()
        if found["installation"] != trust.installation:
            raise EvidenceError("the ledger is of another installation than the root")
        for check in (money.check_payments, money.check_entries, money.check_locks):
            check(ledger, report)
        instructions.check_decisions(ledger, report)
        instructions.check_commands(ledger, trust, report)
        field.check_filed(ledger, report)
        people.check_acts(ledger, trust, report)
        for path in places.spools:
            with opened(path) as spool:
                money.check_spool(spool, ledger, report)
        for path in places.journals:
            with opened(path) as journal:
                field.check_journal(journal, ledger, trust, report)
        if is_at_rest:
            rest.check_episodes(ledger, report)
            rest.check_relays(ledger, report)
    return report

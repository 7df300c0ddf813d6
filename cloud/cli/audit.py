"""The command `relight audit`: what the auditor says of an installation."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from cloud.audit.auditing import audit as audited
from cloud.audit.evidence import Places
from cloud.audit.findings import Report
from cloud.cli.ledger_access import CONFIG, told
from cloud.configuration import Installation

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--journal", "journals", multiple=True, type=_FILE, help="An agent's journal file.")
@click.option("--documents", "older", multiple=True, type=_FILE, help="An older trust document.")
@click.option("--at-rest", is_flag=True, help="Nothing is under way: what waits is forgotten.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@CONFIG
@told()
def audit(
    journals: tuple[Path, ...],
    older: tuple[Path, ...],
    config: Path,
    *,
    at_rest: bool,
    as_json: bool,
) -> None:
    """Verify ledger, spool and journals by code that shares nothing with what wrote them."""
    installation = Installation(config)
    report = audited(places_of(installation, journals, older), is_at_rest=at_rest)
    click.echo(_json(report) if as_json else in_words(report))
    if report.findings:
        raise SystemExit(1)


def places_of(
    installation: Installation, journals: Sequence[Path], older: Sequence[Path] = ()
) -> Places:
    """Where an installation's evidence stands."""
    trust = installation.configuration.trust
    spool = installation.at(installation.intake.spool)
    return Places(
        ledger=installation.at(installation.engine.ledger),
        first_root=installation.at(trust.root),
        pin=trust.pin,
        documents=(*older, installation.at(trust.documents)),
        spools=(spool,) if spool.is_file() else (),
        journals=tuple(journals),
    )


def in_words(report: Report) -> str:
    """One line per finding, and what was looked at."""
    seen = ", ".join(f"{count} {what}" for what, count in sorted(report.looked_at.items()))
    lines = [str(one) for one in report.findings]
    if report.left_out:
        lines.append(f"and {report.left_out} more")
    return "\n".join([*lines, f"audit: {len(report.findings) + report.left_out} findings; {seen}"])


def _json(report: Report) -> str:
    return json.dumps(
        {
            "findings": [
                {"check": one.check, "subject": one.subject, "detail": one.detail}
                for one in report.findings
            ],
            "findings_left_out": report.left_out,
            "looked_at": dict(sorted(report.looked_at.items())),
        },
        indent=1,
    )

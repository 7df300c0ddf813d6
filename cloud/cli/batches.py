"""Intended opens: `relight opens propose`, and `relight batch list`, `show`, `cancel`.

Rules kept here: each act is one transaction with its row in the record of acts; nothing here sends
anything: what may go, the engine and the guard say.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

import click
from sqlalchemy import Connection

from cloud import batches
from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.processes import clock_ms
from cloud.import_proposals import ProposalFile
from cloud.import_proposals import propose as propose_file
from cloud.spelling import ist, rupees
from cloud.store import migrate, reading

_FILE = click.Path(path_type=Path, dir_okay=False)
_BY = click.option("--by", "name", required=True, help="Who asks: it is stored with the act.")


@click.group()
def opens() -> None:
    """Intended opens: supply taken away, lawfully, slowly, within the caps."""


@opens.command("propose")
@click.argument("file", type=_FILE)
@_BY
@click.option("--reason", required=True, help="Why: approvers sign it.")
@click.option("--dry-run", is_flag=True, help="Check everything, propose nothing.")
@CONFIG
def propose(file: Path, name: str, reason: str, config: Path, *, dry_run: bool) -> None:
    """Make a batch of FILE: all of it or, with every bad row named, nothing."""
    asked = ProposalFile(path=file, requester=name, reason=reason, is_dry_run=dry_run)
    with told(), opened_ledger(config) as store:
        migrate(store)
        made = propose_file(store, asked, now_ms=clock_ms(), random_bytes=secrets.token_bytes)
    click.echo("\n".join(made.lines()))
    if not made.is_good:
        raise SystemExit(1)


@click.group()
def batch() -> None:
    """Batches of intended opens."""


@batch.command("list")
@CONFIG
def list_(config: Path) -> None:
    """Name the newest batches and where they stand."""
    with told(), opened_ledger(config) as store, reading(store) as connection:
        lines = [
            f"{row.id}  {row.state}  {row.total} opens  {ist(row.proposed_at_ms)[:19]}"
            f"  {row.requester}: {row.reason}"
            for row in batches.newest(connection)
        ]
    click.echo("\n".join(lines) or "no batch was ever proposed")


@batch.command("show")
@click.argument("number", type=click.IntRange(1))
@CONFIG
def show(number: int, config: Path) -> None:
    """Tell where each open of a batch stands, and why."""
    with told(), opened_ledger(config) as store, reading(store) as connection:
        lines = list(_shown(connection, number))
    click.echo("\n".join(lines))


def _shown(connection: Connection, number: int) -> Iterator[str]:
    row = batches.find(connection, number)
    yield f"batch {row.id}, proposed at {ist(row.proposed_at_ms)[:19]} by {row.requester}"
    yield f"  reason: {row.reason}"
    yield f"  {row.state} since {ist(row.state_at_ms)[:19]}: {row.state_because}"
    yield f"  TOTAL {row.total} opens, digest {row.digest.hex()}"
    counts = batches.counts_of(connection, number)
    yield "  " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    for one in batches.proposals_of(connection, number):
        canary = " canary" if one.is_canary else ""
        because = f": {one.reasons}" if one.reasons else ""
        yield (
            f"  {one.meter_id}  {one.account_id}  {rupees(one.sum_paise)}"
            f"  {one.state}{canary}{because}"
        )


@batch.command("cancel")
@click.argument("number", type=click.IntRange(1))
@_BY
@CONFIG
def cancel(number: int, name: str, config: Path) -> None:
    """Cancel what of a batch was not sent yet; nothing of it follows."""
    with told(), opened_ledger(config) as store, store.begin() as transaction:
        done = batches.cancel(transaction, number, name, now_ms=clock_ms())
    click.echo(f"batch {number}: {done}")

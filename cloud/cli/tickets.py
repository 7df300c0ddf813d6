"""`relight tickets`: what crews have to do, oldest first."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.processes import clock_ms
from cloud.store import Found, reading
from cloud.tickets import count_open, listed_tickets
from cloud.trace_steps import duration, tell_reasons

LISTED_MAX = 1_000  # of the oldest: more is a flood, and its first thousand say what it is


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@CONFIG
def tickets(config: Path, *, as_json: bool) -> None:
    """List the open crew tickets, oldest first: where, whose, why, how old."""
    with told(), opened_ledger(config) as store, reading(store) as connection:
        rows = listed_tickets(connection, at_most=LISTED_MAX)
        count = count_open(connection)
    click.echo(_json(rows, count) if as_json else _text(rows, count, now_ms=clock_ms()))


def _why(row: Found) -> str:
    held = f" ({row.held_because.replace('_', ' ')})" if row.held_because else ""
    return f"{tell_reasons(row.reasons)}{held}"


def _text(rows: Sequence[Found], count: int, *, now_ms: int) -> str:
    if not count:
        return "no crew ticket is open"
    lines = [
        (
            str(row.id),
            row.zone,
            row.account_id,
            row.meter_id,
            duration(now_ms - row.opened_at_ms),
            "" if row.paid_at_ms is None else duration(now_ms - row.paid_at_ms),
            _why(row),
        )
        for row in rows
    ]
    heads = ("ticket", "zone", "account", "meter", "open for", "paid since", "why")
    widths = [max(len(line[place]) for line in (heads, *lines)) for place in range(len(heads))]
    table = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *lines)
    ]
    if count > len(rows):
        table.append(f"and {count - len(rows)} more")
    return "\n".join(table)


def _json(rows: Sequence[Found], count: int) -> str:
    names = (
        "zone", "account_id", "meter_id", "agent_id", "feeder", "transformer", "episode_id",
        "opened_at_ms", "paid_at_ms", "held_because",
    )  # fmt: skip
    listed = [
        {"ticket": row.id, "reasons": row.reasons.split()}
        | {name: getattr(row, name) for name in names}
        for row in rows
    ]
    return json.dumps({"open": count, "tickets": listed})

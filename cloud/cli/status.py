"""`relight status`: what is stuck and why, on one screen; `--watch` draws it again and again.

Rules kept here: the first line is the one that matters; a screen is drawn in one write, over the
one before, so that nothing flickers; what is no terminal gets one text behind the other.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.processes import clock_ms
from cloud.spelling import ist
from cloud.status import Intake, Status, read_status
from cloud.status_agents import Agents, Backlog, Version
from cloud.status_funnel import Funnel, Step
from cloud.trace_steps import duration

EVERY_S = 2.0
QUIET_MS = 60_000  # an engine with an intake writes each 30 s: quiet for longer, it says so
_ERASE_SCREEN = "\x1b[2J"
_HOME, _ERASE_LINE, _ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.option("--watch", is_flag=True, help="Draw it again and again, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0.5, 3_600), default=EVERY_S, show_default=True,
    help="Seconds between two looks with --watch.",
)  # fmt: skip
@CONFIG
def status(config: Path, every_s: float, *, watch: bool, as_json: bool) -> None:
    """Tell what is paid but dark and why, and how fast the rest is."""
    is_drawn = watch and not as_json and sys.stdout.isatty()
    with told(), opened_ledger(config) as store:
        if is_drawn:
            click.echo(_ERASE_SCREEN, nl=False)
        while True:
            found = read_status(store, now_ms=clock_ms())
            text = as_object(found) if as_json else render(found)
            size = shutil.get_terminal_size()
            click.echo(frame(text, size.columns, size.lines) if is_drawn else text, nl=not is_drawn)
            if not watch:
                return
            time.sleep(every_s)
            if not is_drawn and not as_json:
                click.echo()


def as_object(found: Status) -> str:
    """One JSON object; docs/operations.md names its fields."""
    return json.dumps(asdict(found))


def frame(text: str, columns: int, lines: int) -> str:
    """A screen over the one before: nothing is erased before its new text is there."""
    shown = [line[:columns] + _ERASE_LINE for line in text.splitlines()[: lines - 1]]
    return _HOME + "\n".join(shown) + "\n" + _ERASE_BELOW


def render(found: Status) -> str:
    """The screen."""
    parts = (
        _head(found),
        _stuck(found),
        _funnel(found.funnel),
        [*_backlog(found.backlog, found.at_ms), *_agents(found.agents)],
        [line for one in found.intakes for line in _intake(one, found.at_ms)],
        _standing(found),
    )
    return "\n\n".join("\n".join(part) for part in parts if part)


def _ago(at_ms: int | None, now_ms: int) -> str:
    return "never" if at_ms is None else f"{duration(max(now_ms - at_ms, 0))} ago"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _head(found: Status) -> list[str]:
    first = f"paid but dark: {found.paid_but_dark:,}"
    if found.stuck:
        oldest = found.stuck[0]
        since = duration(found.at_ms - oldest.paid_at_ms)
        first += f", the oldest for {since} ({oldest.stage}: {oldest.reason})"
    last = f"engine: last turn {_ago(found.last_turn_at_ms, found.at_ms)}"
    if found.last_turn_at_ms is None or found.at_ms - found.last_turn_at_ms > QUIET_MS:
        last += ": it does not run, or nobody speaks to it"
    return [first, last]


def _stuck(found: Status) -> list[str]:
    if not found.stuck:
        return []
    heads = ("dark for", "account", "meter", "agent", "stage", "ticket", "reason")
    rows = [
        (
            duration(found.at_ms - one.paid_at_ms),
            one.account_id,
            one.meter_id,
            one.agent_id,
            one.stage,
            "" if one.ticket is None else str(one.ticket),
            one.reason,
        )
        for one in found.stuck
    ]
    return ["stuck the longest", *_table((heads, *rows))]


def _funnel(funnel: Funnel) -> list[str]:
    def line(step: Step) -> tuple[str, ...]:
        spans = (step.p50_ms, step.p90_ms, step.p99_ms)
        told = ("-" if one is None else duration(one) for one in spans)
        return (step.step.replace("_", " "), f"{step.count:,}", *told)

    heads = ("step", "count", "p50", "p90", "p99")
    capped = ", or more" if funnel.is_capped else ""
    armed = f"; {funnel.armed:,} armed, waiting for the button" if funnel.armed else ""
    lines = [line(step) for step in (*funnel.steps, funnel.captured_to_closed)]
    title = f"last hour{capped}; each step since the one before{armed}"
    return [title, *_table((heads, *lines))]


def _backlog(backlog: Backlog, now_ms: int) -> list[str]:
    oldest = ""
    if backlog.oldest_due_at_ms is not None:
        oldest = f" (the oldest since {duration(now_ms - backlog.oldest_due_at_ms)})"
    lines = [
        (
            f"backlog: {backlog.queued_due:,} due{oldest}, {backlog.queued_later:,} later by the"
            f" ladder, {backlog.live:,} published"
        )
    ]
    lines += [
        f"  {one.agent_id}: {one.queued_due:,} due, {one.live:,} published,"
        f" heard {_ago(one.heard_at_ms, now_ms)}"
        for one in backlog.worst_agents
    ]
    return lines


def _versions(name: str, versions: Iterable[Version]) -> str:
    return f"{name} " + (", ".join(f"{one.version or '?'}: {one.agents:,}" for one in versions))


def _agents(agents: Agents) -> list[str]:
    lines = [
        (
            f"agents: {agents.known:,} known, {agents.heard_10_min:,} heard in 10 min,"
            f" {agents.heard_24_h:,} in 24 h, {agents.silent:,} silent,"
            f" {agents.suspended:,} suspended, {agents.forked_journals:,} journals forked"
        )
    ]
    told = {"software": agents.software, "trust": agents.trust, "roster": agents.roster}
    lines += [f"  {_versions(name, some)}" for name, some in told.items() if some]
    return lines


def _intake(one: Intake, now_ms: int) -> list[str]:
    watermark = _ago(one.watermark_at_ms or None, now_ms)
    missing = max(one.made - one.stored, 0)
    gap = f", {missing:,} under way" if missing else ""
    lines = [
        (
            f"intake {one.intake}, spool {one.spool}: watermark {watermark},"
            f" {one.made:,} made, {one.stored:,} stored{gap}"
        )
    ]
    lines += [
        f"  {each.provider}: complete to {ist(each.complete_to_ms)[:19]}" for each in one.providers
    ]
    return lines


def _standing(found: Status) -> list[str]:
    locks = ", ".join(
        f"{one.kind.replace('_', ' ')} {one.effective:,}"
        + (f" and {one.pending:,} pending" if one.pending else "")
        for one in found.locks
    )
    tickets = f"crew tickets: {found.tickets.open:,} open"
    if found.tickets.oldest_opened_at_ms is not None:
        tickets += f", the oldest since {duration(found.at_ms - found.tickets.oldest_opened_at_ms)}"
    alarms = ", ".join(f"{one.code} {one.count:,}" for one in found.alarms_24_h)
    life = found.ledger
    lines = [f"generation {life.generation_ms}, epoch {life.epoch}"]
    if life.restored_at_ms is not None:
        lines.append(f"restored {_ago(life.restored_at_ms, found.at_ms)}")
    if life.locks_wait_until_ms > found.at_ms:
        lines.append(f"locks wait until {ist(life.locks_wait_until_ms)[:19]}")
    if life.opens_frozen_since_ms is not None:
        lines.append(f"opens frozen since {ist(life.opens_frozen_since_ms)[:19]} by the restore")
    if life.standing_stop_ms is not None:
        since = ist(life.standing_stop_ms)[:19]
        named = f"{life.standing_stop_ms} ({life.standing_stop_note})"
        lines.append(f"opens frozen since {since} by stop {named}")
    return [
        f"locks: {locks or 'none'}",
        tickets,
        f"alarms in 24 h: {alarms or 'none'}",
        f"ledger: {'; '.join(lines)}",
    ]

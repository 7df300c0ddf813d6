"""The guard's commands: run it, hand it files, lift its stop, look at it.

Rules kept here: who hands it files has a shell on the guard's host and no other right; a breach is
lifted by a document of two approvers alone, whoever brings it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from cloud.cli.ledger_access import CONFIG, told
from cloud.cli.processes import clock_ms, run_guard
from cloud.configuration import ConfigurationError, Installation
from cloud.guard import freezes
from cloud.guard.arrivals import Belief, remembered, take_all
from cloud.guard.file_kinds import Kind
from cloud.guard.imports import import_file
from cloud.guard.store import open_store, read_life, writing
from cloud.spelling import ist
from wire.topics import MessageType

_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOWN_MAX = 20  # newest alarms that are shown
_ALARMS = f"""
    SELECT raised_at_ms, code, subject, detail FROM alarms
    ORDER BY id DESC LIMIT {_SHOWN_MAX}"""
_ANSWERS = "SELECT verdict, count(*) FROM answers WHERE answered_at_ms > ? GROUP BY verdict"
_DAY_MS = 86_400_000


@click.group(invoke_without_command=True)
@CONFIG
@click.pass_context
def guard(context: click.Context, config: Path) -> None:
    """Run the guard, which co-signs opens; or one of its commands."""
    context.obj = config
    if context.invoked_subcommand is None:
        with told():
            run_guard(Installation(config))


@guard.command("import")
@click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
@click.argument("file", type=_FILE)
@click.pass_obj
def import_(config: Path, kind: str, file: Path) -> None:
    """Tell the guard a file: all of it or, with every bad row listed, nothing."""
    with told(), _store(Installation(config), is_begun=False) as store:
        report = import_file(store, Kind(kind), file, now_ms=clock_ms())
    click.echo(report.text())
    if not report.is_good:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Brought:
    """A document that a person brings, as if a broker had."""

    topic: str
    payload: bytes
    is_retained: bool = False


@guard.command()
@click.option("--statement", type=_FILE, required=True, help="A resume that two approvers signed.")
@click.pass_obj
def release(config: Path, statement: Path) -> None:
    """Lift the guard's stop, by the resume that `relight resume` made: no broker is needed."""
    with told():
        installation = Installation(config)
        brought = _Brought(MessageType.RESUME.value, statement.read_bytes())
        authorities = installation.authorities(latest_ms=clock_ms())
        is_production = installation.configuration.trust.is_production
        with _store(installation) as store:
            belief = remembered(store, Belief(authorities=authorities, is_production=is_production))
            with writing(store) as transaction:
                took = take_all(transaction, [brought], belief, now_ms=clock_ms())
            freeze = freezes.read(store)
    if took.junk:
        raise click.ClickException(
            f"{statement} is no resume of two different approvers ({took.junk[0]}): nothing changed"
        )
    if freeze.is_stopped:
        raise click.ClickException(
            f"the stop of {ist(freeze.stop_ms)} still stands; sign one with"
            f" `relight resume --lifts {freeze.stop_ms}`"
        )
    click.echo(f"released: opens up to {ist(freeze.lifted_ms)} are lifted; counting begins anew")


@guard.command("status")
@click.pass_obj
def status_(config: Path) -> None:
    """Say whether the guard is shut, what it answered in 24 hours, and its newest alarms."""
    with told(), _store(Installation(config)) as store:
        click.echo("\n".join(_status(store, clock_ms())))


def _status(store: sqlite3.Connection, now_ms: int) -> Iterator[str]:
    freeze, life = freezes.read(store), read_life(store)
    if freeze.is_breached:
        yield f"SHUT by its own stop {freeze.breach_ms} of {ist(freeze.breach_ms)}"
    elif freeze.is_stopped:
        yield f"stopped by stop {freeze.stop_ms} of {ist(freeze.stop_ms)}"
    else:
        yield "open: no stop stands"
    left_ms = life.used_up_until_ms - life.running_ms
    if left_ms > 0:
        yield f"new or restored store: nothing is signed for {left_ms // 60_000} min of running"
    yield f"last seen running at {ist(life.seen_at_ms)}"
    answered = dict(store.execute(_ANSWERS, (now_ms - _DAY_MS,)).fetchall())
    yield "24 h: " + ", ".join(f"{answered.get(one, 0)} {one}" for one in ("signed", "quarantined"))
    for raised_at_ms, code, subject, detail in store.execute(_ALARMS):
        yield f"{ist(raised_at_ms)}  {code}  {subject}  {detail}"


@contextmanager
def _store(installation: Installation, *, is_begun: bool = True) -> Iterator[sqlite3.Connection]:
    path = installation.at(installation.guard.store)
    if is_begun and not path.is_file():
        raise ConfigurationError(f"no store {path}: run the guard first, or correct [guard] store")
    try:
        with closing(open_store(path, now_ms=clock_ms())) as store:
            yield store
    except sqlite3.Error as error:
        raise click.ClickException(f"{path}: {error}") from None

"""The command `relight`: install, import, run, look."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from cloud.cli.demo import run_demo
from cloud.cli.demo_world import DemoError
from cloud.cli.installation import (
    DESK,
    DOCTOR,
    ENGINE,
    GUARD,
    INTAKE,
    INTAKE_SCOPE,
    LIVE_READER,
    PROVIDER,
    DevelopmentPlan,
    make_development_installation,
)
from cloud.cli.keys import KeyPlan, make_development_keys
from cloud.cli.processes import clock_ms, run_engine, run_intake_process, run_up
from cloud.configuration import Installation
from cloud.imports import import_file
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.store import migrate, open_store
from cloud.trace import render
from cloud.trace import trace as trace_of
from mosquitto.broker import BrokerMissingError
from mosquitto.broker import run as run_broker
from mosquitto.configuration import BrokerPlan
from mosquitto.initialisation import initialise

_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="relight.toml",
    show_default=True,
    help="The installation's configuration.",
)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_PORT = click.IntRange(1, 65_535)


@click.group()
@click.option("--verbose", is_flag=True, help="Log every step, not only what needs a person.")
def main(*, verbose: bool) -> None:
    """Turns a paid electricity bill back into light."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


@main.group()
def keys() -> None:
    """Keys and trust documents."""


@keys.command("development")
@click.argument("folder", type=_FOLDER)
@click.option("--agent", "agents", multiple=True, help="An agent's id; may be repeated.")
def keys_development(folder: Path, agents: tuple[str, ...]) -> None:
    """Make a root, a registry marked development, identities and a test guard key in FOLDER."""
    plan = KeyPlan(
        folder=folder,
        engines=(ENGINE,),
        intakes={INTAKE: INTAKE_SCOPE},
        guards=(GUARD,),
        agents=agents,
    )
    with _told():
        pin = make_development_keys(plan, now_ms=clock_ms(), random_bytes=secrets.token_bytes)
    click.echo(f"keys in {folder}; pin of root document 1: {pin}")


@main.group()
def broker() -> None:
    """The MQTT broker: configuration, access list, certificates, and running it."""


@broker.command("init")
@click.argument("folder", type=_FOLDER)
@click.option("--port", default=8883, show_default=True, help="Where it listens, on 127.0.0.1.")
@click.option("--agent", "agents", multiple=True, help="An agent's id; may be repeated.")
def broker_init(folder: Path, port: int, agents: tuple[str, ...]) -> None:
    """Write mosquitto.conf, acl and development certificates into FOLDER."""
    plan = BrokerPlan(
        directory=folder,
        port=port,
        engines=(ENGINE,),
        guards=(GUARD,),
        intakes=((INTAKE, (PROVIDER,)),),
        desks=(DESK,),
        dashboards=(LIVE_READER,),
        doctors=(DOCTOR,),
        agents=agents,
    )
    with _told():
        initialise(plan, now=datetime.now(UTC))
    click.echo(f"broker in {folder}; start it with: relight broker run {folder}")


@broker.command("run")
@click.argument("folder", type=_FOLDER)
def broker_run(folder: Path) -> None:
    """Run the broker of FOLDER in the foreground."""
    with _told():
        raise SystemExit(run_broker(folder))


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--agent", "agents", multiple=True, help="An agent's id; may be repeated.")
@click.option("--broker-port", default=8883, show_default=True)
@click.option("--intake-port", default=8080, show_default=True, type=_PORT)
def init(folder: Path, agents: tuple[str, ...], broker_port: int, intake_port: int) -> None:
    """Make a development installation in FOLDER: keys, broker, ledger, relight.toml."""
    plan = DevelopmentPlan(
        folder=folder, agents=agents, broker_port=broker_port, intake_port=intake_port
    )
    with _told():
        path = make_development_installation(plan, now_ms=clock_ms())
    click.echo(f"installation in {folder}; run it with: relight up --config {path}")


@main.command("import")
@click.argument("kind", type=click.Choice(["accounts", "meters", "bills", "cuts"]))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything, import nothing.")
@_CONFIG
def import_(kind: str, file: Path, config: Path, *, dry_run: bool) -> None:
    """Import a CSV file: all of it or, with every bad row listed, nothing."""
    with _told(), _ledger(config) as store:
        migrate(store)
        report = import_file(
            store, kind, file, now_ms=clock_ms(), is_dry_run=dry_run, policy=MP_WEST_FIRST_PHASE
        )
    click.echo(report.text())
    if not report.is_good:
        raise SystemExit(1)


@main.command()
@click.argument("identifier")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_CONFIG
def trace(identifier: str, config: Path, *, as_json: bool) -> None:
    """Tell the timeline of a payment, episode, account or meter, with durations and reasons."""
    with _told(), _ledger(config) as store:
        found = trace_of(store, identifier)
    if found is None:
        raise click.ClickException(f"nothing is known of {identifier!r}")
    click.echo(found.json() if as_json else render(found))


@main.command()
@_CONFIG
def up(config: Path) -> None:
    """Run intake and engine together on this machine."""
    with _told():
        installation = Installation(config)
        # Both would only end and be started again, for ever, without their sections.
        _ = installation.engine, installation.intake
        run_up(config)


@main.command()
@_CONFIG
def engine(config: Path) -> None:
    """Run the engine: payments in, commands out, facts filed."""
    with _told():
        run_engine(Installation(config))


@main.command()
@_CONFIG
def intake(config: Path) -> None:
    """Run the intake: providers' reports in, sealed payments out."""
    with _told():
        run_intake_process(Installation(config))


@main.command()
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the times as JSON."
)
@click.option("--stay", is_flag=True, help="Keep everything up until Ctrl-C.")
@click.option("--folder", type=_FOLDER, help="Where to build it; a temporary folder otherwise.")
def demo(report: Path | None, folder: Path | None, *, stay: bool) -> None:
    """Cut one consumer, pay, watch the light come back; then forge and replay."""
    with _told():
        run_demo(click.echo, report=report, stays=stay, folder=folder)


@contextmanager
def _ledger(config: Path) -> Iterator[Engine]:
    """The ledger of an installation, closed at the end."""
    store = open_store(Installation(config).ledger_url())
    try:
        yield store
    except DBAPIError as error:
        raise click.ClickException(f"ledger {store.url}: {error.orig}") from None
    finally:
        store.dispose()


@contextmanager
def _told() -> Iterator[None]:
    """Tell a person what was wrong in one line, instead of a trace."""
    try:
        yield
    except DBAPIError as error:  # the database's own words; the statement is nobody's concern here
        raise click.ClickException(f"ledger: {error.orig}") from None
    except (ValueError, OSError, BrokerMissingError, DemoError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()

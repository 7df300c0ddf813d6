"""The command `relight`: install, import, run, look."""

import logging
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cloud.cli.agents import agents
from cloud.cli.audit import audit
from cloud.cli.backup import backup, restore
from cloud.cli.batches import batch, opens
from cloud.cli.ceremony import COMMANDS as CEREMONY
from cloud.cli.demo import run_demo
from cloud.cli.doctor import doctor
from cloud.cli.freezes import resume, stop
from cloud.cli.guard import guard
from cloud.cli.installation import (
    APPROVERS,
    DESK,
    DOCTOR,
    ENGINE,
    GUARD,
    INTAKE,
    LIVE_READER,
    PROVIDER,
    DevelopmentPlan,
    check_providers,
    intake_scope,
    make_development_installation,
)
from cloud.cli.keys import KeyPlan, make_development_keys
from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.processes import clock_ms, run_engine, run_intake_process, run_up
from cloud.cli.requests import agent, lock, ticket
from cloud.cli.status import status
from cloud.cli.tickets import tickets
from cloud.configuration import Installation
from cloud.imports import import_file
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.store import migrate
from cloud.trace import render
from cloud.trace import trace as trace_of
from mosquitto.broker import run as run_broker
from mosquitto.configuration import BrokerPlan
from mosquitto.initialisation import initialise

_FOLDER = click.Path(path_type=Path, file_okay=False)
_PORT = click.IntRange(1, 65_535)
_SIGNED = click.option(
    "--provider",
    "signed",
    multiple=True,
    help="A provider besides RAZORPAY, whose webhooks are signed (docs/webhooks.md); repeatable.",
)
_POLLED = click.option(
    "--poll-razorpay", "is_polled", is_flag=True, help="Razorpay's lists are fetched as well."
)


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
@_SIGNED
@_POLLED
def keys_development(
    folder: Path, agents: tuple[str, ...], signed: tuple[str, ...], *, is_polled: bool
) -> None:
    """Make a root, a registry marked development, identities and a test guard key in FOLDER."""
    with told():
        check_providers(signed)
    plan = KeyPlan(
        folder=folder,
        engines=(ENGINE,),
        intakes={INTAKE: intake_scope(signed, is_polled=is_polled)},
        guards=(GUARD,),
        agents=agents,
        approvers=APPROVERS,
        stops=(DESK,),
    )
    with told():
        pin = make_development_keys(plan, now_ms=clock_ms(), random_bytes=secrets.token_bytes)
    click.echo(f"keys in {folder}; pin of root document 1: {pin}")


for ceremony_command in CEREMONY:
    keys.add_command(ceremony_command)


@main.group()
def broker() -> None:
    """The MQTT broker: configuration, access list, certificates, and running it."""


@broker.command("init")
@click.argument("folder", type=_FOLDER)
@click.option("--port", default=8883, show_default=True, help="Where it listens, on 127.0.0.1.")
@click.option("--agent", "agents", multiple=True, help="An agent's id; may be repeated.")
@_SIGNED
def broker_init(folder: Path, port: int, agents: tuple[str, ...], signed: tuple[str, ...]) -> None:
    """Write mosquitto.conf, acl and development certificates into FOLDER."""
    with told():
        check_providers(signed)
    plan = BrokerPlan(
        directory=folder,
        port=port,
        engines=(ENGINE,),
        guards=(GUARD,),
        intakes=((INTAKE, (PROVIDER, *signed)),),
        desks=(DESK,),
        dashboards=(LIVE_READER,),
        doctors=(DOCTOR,),
        agents=agents,
    )
    with told():
        initialise(plan, now=datetime.now(UTC))
    click.echo(f"broker in {folder}; start it with: relight broker run {folder}")


@broker.command("run")
@click.argument("folder", type=_FOLDER)
def broker_run(folder: Path) -> None:
    """Run the broker of FOLDER in the foreground."""
    with told():
        raise SystemExit(run_broker(folder))


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--agent", "agents", multiple=True, help="An agent's id; may be repeated.")
@click.option("--broker-port", default=8883, show_default=True)
@click.option("--intake-port", default=8080, show_default=True, type=_PORT)
@_SIGNED
@_POLLED
def init(folder: Path, **plan: Any) -> None:
    """Make a development installation in FOLDER: keys, broker, ledger, relight.toml."""
    with told():
        made = DevelopmentPlan(folder=folder, **plan)
        path = make_development_installation(made, now_ms=clock_ms())
    if made.is_polled:
        secrets_folder = folder / "secrets"
        click.echo(
            f"put the API key into {secrets_folder}/razorpay-key-id and -key-secret, mode 0600"
        )
    click.echo(f"installation in {folder}; run it with: relight up --config {path}")


@main.command("import")
@click.argument("kind", type=click.Choice(["accounts", "meters", "bills", "cuts"]))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything, import nothing.")
@CONFIG
def import_(kind: str, file: Path, config: Path, *, dry_run: bool) -> None:
    """Import a CSV file: all of it or, with every bad row listed, nothing."""
    with told(), opened_ledger(config) as store:
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
@CONFIG
def trace(identifier: str, config: Path, *, as_json: bool) -> None:
    """Tell the timeline of a payment, episode, account or meter, with durations and reasons."""
    with told(), opened_ledger(config) as store:
        found = trace_of(store, identifier)
    if found is None:
        raise click.ClickException(f"nothing is known of {identifier!r}")
    click.echo(found.json() if as_json else render(found))


@main.command()
@CONFIG
def up(config: Path) -> None:
    """Run intake, engine and guard together on this machine."""
    with told():
        installation = Installation(config)
        # Both would only end and be started again, for ever, without their sections.
        _ = installation.engine, installation.intake
        run_up(config)


@main.command()
@CONFIG
def engine(config: Path) -> None:
    """Run the engine: payments in, commands out, facts filed."""
    with told():
        run_engine(Installation(config))


@main.command()
@CONFIG
def intake(config: Path) -> None:
    """Run the intake: providers' reports in, sealed payments out."""
    with told():
        run_intake_process(Installation(config))


@main.command()
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the times as JSON."
)
@click.option("--stay", is_flag=True, help="Keep everything up until Ctrl-C.")
@click.option("--folder", type=_FOLDER, help="Where to build it; a temporary folder otherwise.")
def demo(report: Path | None, folder: Path | None, *, stay: bool) -> None:
    """Cut one consumer, pay, watch the light come back; then forge and replay."""
    with told():
        run_demo(click.echo, report=report, stays=stay, folder=folder)


for command in (
    status,
    audit,
    agents,
    tickets,
    ticket,
    lock,
    agent,
    opens,
    batch,
    guard,
    backup,
    restore,
    doctor,
    stop,
    resume,
):
    main.add_command(command)


if __name__ == "__main__":
    main()

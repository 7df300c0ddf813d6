"""The command `relight-agent`: enrol, run and show one agent; examine any agent."""

import asyncio
import gc
import importlib
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import click
import uvloop

from edge_agent.agent import Agent
from edge_agent.configuration import (
    Configuration,
    ConfigurationError,
    agent_settings,
    link_settings,
    read_configuration,
    read_roster,
)
from edge_agent.conformance.__main__ import conformance
from edge_agent.enrolment import enrol as make_agent
from edge_agent.host import Host, Surroundings
from edge_agent.journal import Journal, JournalError
from edge_agent.relay import RelayDoor
from wire.enrolment import EnrolmentError, token_from_json
from wire.link import Link
from wire.trust import TrustRefusedError

GC_THRESHOLD = 20_000  # new objects between two collections
DoorFactory = Callable[[Mapping[str, Any]], RelayDoor]


def elapsed_ms() -> int:
    """CLOCK_BOOTTIME: it counts while the machine sleeps, and nobody can set it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Relight's agent: one per concentrator."""


main.add_command(conformance)


@main.command()
@click.argument("token", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def enrol(token: Path, folder: Path) -> None:
    """Make a key and a configuration in FOLDER from a one-time TOKEN."""
    try:
        request = make_agent(
            token_from_json(token.read_bytes()), folder, random_bytes=secrets.token_bytes
        )
    except (EnrolmentError, OSError) as error:
        raise click.ClickException(str(error)) from None
    print(f"{folder}: key {request.key_id.hex()}; carry {folder / 'request.json'} to the desk")


@main.command()
@click.argument("configuration", type=click.Path(path_type=Path))
def run(configuration: Path) -> None:
    """Run the agent that CONFIGURATION (agent.toml) describes, until SIGTERM."""
    try:
        host, agent = make_host(configuration)
    except (ConfigurationError, JournalError, TrustRefusedError, OSError) as error:
        raise click.ClickException(str(error)) from None
    standing = agent.journal.standing
    print(f"agent {standing.agent}, journal {standing.journal_id.hex()}, boot {standing.boot}")
    settle_memory()
    uvloop.run(_until_told(host))
    agent.journal.close()


@main.command()
@click.argument("configuration", type=click.Path(path_type=Path))
def show(configuration: Path) -> None:
    """Show what the journal of CONFIGURATION's agent stands for, also while it runs."""
    try:
        found = read_configuration(configuration)
        journal = Journal.read(found.path(found.journal))
    except (ConfigurationError, JournalError) as error:
        raise click.ClickException(str(error)) from None
    standing = journal.standing
    print(f"agent       {standing.agent}")
    print(f"journal     {standing.journal_id.hex()}, boot {standing.boot}")
    print(f"items       made {journal.made}, filed {standing.filed}, removed {journal.checkpoint}")
    print(f"head        {journal.head.hex()}")
    print(f"generation  {standing.generation_ms}")
    print(f"floor       {standing.floor_epoch}/{standing.floor_sequence_ms}")
    print(
        f"stop        {max(standing.stop_ms, standing.welcome_stop_ms)}"
        f", lifted {standing.lifted_ms}: opens {'frozen' if standing.is_stopped else 'allowed'}"
    )
    print(f"running     {standing.running_ms} ms")
    signed = f"version {standing.roster_version}, signed" if standing.roster_version else "the file"
    print(f"roster      {signed}")
    for meter, epoch, sequence_ms in journal.commands.counters():
        print(f"counter     {meter} {epoch}/{sequence_ms}")
    journal.close()


def settle_memory() -> None:
    """Take what start-up made out of the collector's sight.

    It lives as long as the process; walking it costs tens of milliseconds in the middle of a
    command.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def make_host(configuration: Path) -> tuple[Host, Agent]:
    """Everything that agent.toml describes, ready to run.

    Raises:
        ConfigurationError, JournalError, TrustRefusedError, OSError: with what is wrong.
    """
    found = read_configuration(configuration)
    agent = _agent(found)
    door = _door(found)
    link = Link(link_settings(found, configuration), randomness=random.SystemRandom())
    surroundings = Surroundings(elapsed_ms=elapsed_ms)
    return Host(agent, link, door, surroundings, found.meters_at_once), agent


def _agent(found: Configuration) -> Agent:
    settings = agent_settings(found)
    roster = read_roster(found)
    journal = Journal.open(found.path(found.journal), settings.agent, os.urandom)
    return Agent(
        settings=settings,
        journal=journal,
        roster=roster,
        elapsed_ms=elapsed_ms,
        new_id=os.urandom,
    )


def _door(found: Configuration) -> RelayDoor:
    """Make the door by its dotted name.

    Raises:
        ConfigurationError: nothing of that name, or its options are wrong.
    """
    module, _, name = found.relay.door.partition(":")
    try:
        factory = cast("DoorFactory", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"[relay] door {found.relay.door!r}: {error}") from None
    try:
        return factory(found.relay.options)
    except ValueError as error:
        raise ConfigurationError(f"[relay.options]: {error}") from None


async def _until_told(host: Host) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(host.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The commands of the commissioning desk: `relight agents enrol` and `relight agents accept`."""

import secrets
from pathlib import Path

import click

from cloud.cli.ledger_access import CONFIG, told
from cloud.cli.person_keys import KEY, KeyFile
from cloud.cli.processes import clock_ms
from cloud.commissioning import Desk
from cloud.configuration import Installation
from wire.enrolment import EnrolmentError, request_from_json, to_json
from wire.fields import AgentId
from wire.key_files import PRIVATE_MODE, write_whole
from wire.topics import is_id

_FILE = click.Path(path_type=Path, dir_okay=False)
_TOKENS = "trust/tokens"


@click.group()
def agents() -> None:
    """Agents: how they come to belong to this installation."""


@agents.command()
@click.argument("agent")
@click.option("--out", type=_FILE, help="The token's file; AGENT.token otherwise.")
@CONFIG
@told()
def enrol(agent: str, out: Path | None, config: Path) -> None:
    """Hand out a one-time token for AGENT; carry it to the concentrator yourself."""
    if not is_id(agent):
        raise EnrolmentError(f"{agent!r} is no id: use 1 to 32 of A-Z, 0-9 and -")
    desk, path = _desk(Installation(config)), out or Path(f"{agent}.token")
    token = desk.hand_out(AgentId(agent), now_ms=clock_ms(), random_bytes=secrets.token_bytes)
    write_whole(path, to_json(token), mode=PRIVATE_MODE)
    click.echo(f"{path}: on the concentrator run: relight-agent enrol {path.name} FOLDER")


@agents.command()
@click.argument("request", type=_FILE)
@KEY
@CONFIG
@told()
def accept(request: Path, key_file: KeyFile, config: Path) -> None:
    """Sign, with the key of the role enrol, the identity of the agent that made REQUEST."""
    made = request_from_json(request.read_bytes())
    installation = Installation(config)
    identity = _desk(installation).take(made, key_file.read(), now_ms=clock_ms())
    click.echo(f"{identity.agent}: identity {identity.serial} of key {made.key_id.hex()}")


def _desk(installation: Installation) -> Desk:
    trust = installation.configuration.trust
    return Desk(
        first_root=installation.at(trust.root).read_bytes(),
        pin=trust.pin,
        brokers=installation.configuration.broker.addresses,
        tokens=installation.at(_TOKENS),
        identities=installation.at(installation.engine.identities),
    )

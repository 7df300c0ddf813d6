"""The command `relight-agent conformance`: does an agent do what docs/protocol.md says?"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import click

from edge_agent.conformance.report import Verdict, as_json, line, summary
from edge_agent.conformance.runner import ConformanceError, Plan, play, wanted_cases
from wire.fields import AgentId
from wire.link_settings import BrokerAddress
from wire.topics import is_id

OUR_AGENT = f"{sys.executable} -m edge_agent run {{agent_toml}}"
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_FOLDER = click.Path(path_type=Path, file_okay=False)


def _address(_context: object, _parameter: object, value: str) -> BrokerAddress:
    host, _, port = value.rpartition(":")
    if host not in _LOOPBACK or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise click.BadParameter(
            f"{value!r}: give 127.0.0.1:PORT; the runner stands between agent and broker and"
            " cuts their line, so all three are on this machine"
        )
    return BrokerAddress(host, int(port))


def _agent(_context: object, _parameter: object, value: str) -> AgentId:
    if not is_id(value):
        raise click.BadParameter(f"{value!r} is no agent id: A-Z, 0-9 and -, at most 32")
    return AgentId(value)


@click.command()
@click.argument("broker", callback=_address)
@click.option(
    "--broker-folder",
    type=_FOLDER,
    required=True,
    help="As `relight broker init FOLDER --agent ID` wrote it: the certificates.",
)
@click.option(
    "--agent",
    default="AGENT-1",
    show_default=True,
    callback=_agent,
    help="The agent's id, one that the broker knows.",
)
@click.option(
    "--agent-command",
    "command",
    default=OUR_AGENT,
    help="Starts the agent under test in the foreground; {agent_json} and {agent_toml}"
    " stand for what it is given. Default: this agent.",
)
@click.option("--folder", type=_FOLDER, help="Where that is written; default: a temporary folder.")
@click.option("--only", multiple=True, help="Rows whose name holds this; may be repeated.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table to this file too.",
)
def conformance(**told: object) -> None:
    """Play engine and hostile broker against an agent on BROKER (host:port), row by row.

    Exit code 1 if a row fails, 2 if the run could not begin. See docs/conformance.md.
    """
    json_file, folder = told.pop("json_file"), told.pop("folder")
    if not wanted_cases(told["only"]):  # type: ignore[arg-type]  # click's tuple of texts
        raise click.UsageError(f"--only {told['only']}: no row's name holds it")
    with tempfile.TemporaryDirectory(prefix="relight-conformance-") as temporary:
        plan = Plan(folder=folder or Path(temporary), **told)  # type: ignore[arg-type]  # by name
        try:
            rows = asyncio.run(play(plan, lambda row: click.echo(line(row))))
        except ConformanceError as error:
            click.echo(f"Error: {error}", err=True)
            raise SystemExit(2) from None
    click.echo(summary(rows))
    if isinstance(json_file, Path):
        json_file.write_text(json.dumps(as_json(rows), indent=2) + "\n", encoding="utf-8")
    if any(row.verdict is Verdict.FAILED for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    conformance()

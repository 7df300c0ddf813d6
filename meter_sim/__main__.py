"""The command `relight-sim`: simulated meters, and fleets of real agents over them."""

import asyncio
import signal
from pathlib import Path

import click
import uvloop

from meter_sim.fleet import FleetError, run_fleet


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Relight's meters made of code."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def fleet(folder: Path) -> None:
    """Host every agent whose agent.toml stands in or below FOLDER, until SIGTERM."""
    configurations = sorted(folder.rglob("agent.toml"))
    if not configurations:
        raise click.ClickException(f"no agent.toml in or below {folder}")
    try:
        uvloop.run(_until_told(configurations))
    except FleetError as error:
        raise click.ClickException(str(error)) from None


async def _until_told(configurations: list[Path]) -> None:
    serving = asyncio.ensure_future(run_fleet(configurations))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        click.echo("stopped", err=True)


if __name__ == "__main__":
    main()

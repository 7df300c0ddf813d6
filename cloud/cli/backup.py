"""`relight backup` and `relight restore`: the ledger's copies, made and put back."""

from pathlib import Path

import click

from cloud.backup import back_up
from cloud.cli.ledger_access import CONFIG, told
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.restore import RestoreOrder
from cloud.restore import restore as restore_ledger
from cloud.spelling import ist

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@_FILE
@CONFIG
def backup(file: Path, config: Path) -> None:
    """Copy the running ledger to FILE, checked, with FILE.json beside it."""
    with told():
        installation = Installation(config)
        ledger = _sqlite_ledger(installation, "back it up with pg_dump --format=custom")
        installation.ledger_url()  # says it when there is no such ledger
        facts = back_up(ledger, file, now_ms=clock_ms())
    click.echo(
        f"{file}: {facts.size_bytes:,} bytes, {sum(facts.rows.values()):,} rows, checked;"
        f" keep {file}.json with it"
    )


@click.command()
@_FILE
@click.option(
    "--new-installation",
    is_flag=True,
    help="Make a copy for tests of another installation's ledger; never in production.",
)
@click.option(
    "--older-than-horizon",
    is_flag=True,
    help="Restore a backup of more than 35 days; payments in between may be lost.",
)
@CONFIG
def restore(file: Path, config: Path, *, new_installation: bool, older_than_horizon: bool) -> None:
    """Put the backup FILE in the place of the ledger; the engine must not run."""
    with told():
        installation = Installation(config)
        now_ms = clock_ms()
        authorities = installation.authorities(latest_ms=now_ms)
        _, key = installation.engine_key(authorities)
        done = restore_ledger(
            RestoreOrder(
                ledger=_sqlite_ledger(installation, "restore it with pg_restore"),
                backup=file,
                installation=authorities.root.installation,
                epoch=key.epoch,
                is_production=installation.configuration.trust.is_production,
                is_new_installation=new_installation,
                is_older_than_horizon=older_than_horizon,
            ),
            now_ms=now_ms,
        )
    click.echo(
        f"restored as of {ist(done.facts.made_at_ms)}, generation {done.generation_ms}.\n"
        + (f"The former ledger is kept as {done.replaced}.\n" if done.replaced else "")
        + f"Locks are pending until {ist(done.locks_wait_until_ms)}; opens are frozen.\n"
        "Import again what was imported since, place again the locks that people placed since,"
        " then start the engine: intakes and agents offer again what they kept."
    )


def _sqlite_ledger(installation: Installation, cure: str) -> Path:
    path = installation.ledger_path()
    if path is None:
        raise ValueError(
            f"[engine] ledger of {installation.path} is a database server, not a file: {cure}"
        )
    return path

"""The ledger of an installation for one command: its option, opening it, errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from cloud.cli.demo_world import DemoError
from cloud.configuration import Installation
from cloud.store import open_store
from mosquitto.broker import BrokerMissingError

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="relight.toml",
    show_default=True,
    help="The installation's configuration.",
)


@contextmanager
def opened_ledger(config: Path) -> Iterator[Engine]:
    """The ledger of an installation, closed at the end."""
    store = open_store(Installation(config).ledger_url())
    try:
        yield store
    except DBAPIError as error:
        raise click.ClickException(f"ledger {store.url}: {error.orig}") from None
    finally:
        store.dispose()


@contextmanager
def told() -> Iterator[None]:
    """Tell a person what was wrong in one line, instead of a trace."""
    try:
        yield
    except DBAPIError as error:  # the database's own words; the statement is nobody's concern here
        raise click.ClickException(f"ledger: {error.orig}") from None
    except (ValueError, OSError, BrokerMissingError, DemoError) as error:
        raise click.ClickException(str(error)) from None

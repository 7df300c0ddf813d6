"""`relight doctor`: proves an installation's configuration; exit status 1 when it is wrong."""

import asyncio
import secrets
from pathlib import Path

import click

from cloud.cli.installation import DOCTOR
from cloud.cli.ledger_access import CONFIG, told
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.doctor.examination import examine
from cloud.doctor.findings import Report, Subject


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--broker-folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where mosquitto.conf and acl are; the folder above [broker] certificates otherwise.",
)
@click.option("--name", default=DOCTOR, show_default=True, help="The doctor's certificate.")
@CONFIG
def doctor(config: Path, broker_folder: Path | None, name: str, *, as_json: bool) -> None:
    """Try what must fail, judge by what is delivered; one line for each check."""
    with told():
        report = asyncio.run(examine(subject_of(config, broker_folder=broker_folder, name=name)))
    click.echo(report.json() if as_json else text_of(report))
    if report.findings:
        raise SystemExit(1)


def subject_of(config: Path, *, broker_folder: Path | None = None, name: str = DOCTOR) -> Subject:
    """What is to be examined, now.

    Raises:
        ConfigurationError: the configuration cannot be used at all.
    """
    installation = Installation(config)
    return Subject(
        installation=installation,
        name=name,
        now_ms=clock_ms(),
        random_bytes=secrets.token_bytes,
        broker_folder=broker_folder or _broker_folder(installation),
    )


def text_of(report: Report) -> str:
    """The report in lines, the summary last."""
    lines = [line for one in report.examined for line in one.lines()]
    return "\n".join([*lines, f"Doctor: {report.summary()}"])


def _broker_folder(installation: Installation) -> Path | None:
    """Where `relight broker init` puts them: the certificates are a folder of the broker's."""
    folder = installation.at(installation.configuration.broker.certificates).parent
    return folder if (folder / "mosquitto.conf").is_file() else None

"""A person's acts: `relight ticket`, `relight lock`, `relight agent`; the engine weighs each.

Rules kept here: the command writes a row and waits a little for the engine's answer; it changes
nothing else. Exit status 0: done; 1: refused; 3: stored, the engine has not answered yet.
"""

import time
from pathlib import Path

import click

from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.processes import clock_ms
from cloud.requests import REFUSED, Request, ask, result_of
from cloud.store import reading
from cloud.vocabulary import LockKind, RequestKind

ANSWER_WITHIN_S = 5.0  # the engine looks each second; longer means it does not run, or is very busy
LOOK_EVERY_S = 0.1
NOT_ANSWERED = 3

_BY = click.option("--by", "name", required=True, help="Who asks: it is stored with the act.")
_KIND = click.Choice([kind.value for kind in LockKind])


@click.group()
def ticket() -> None:
    """A crew's word on a ticket."""


@ticket.command("done")
@click.argument("number", type=click.IntRange(1))
@_BY
@click.option("--note", required=True, help="What the crew did.")
@CONFIG
def ticket_done(number: int, name: str, note: str, config: Path) -> None:
    """The crew restored supply: the episode ends."""
    _ask(config, RequestKind.TICKET_DONE, (str(number), note), name)


@ticket.command("retry")
@click.argument("number", type=click.IntRange(1))
@_BY
@CONFIG
def ticket_retry(number: int, name: str, config: Path) -> None:
    """Take the meter's refusal back and try remotely again, the ladder from its beginning."""
    _ask(config, RequestKind.TICKET_RETRY, (str(number), ""), name)


@click.group()
def lock() -> None:
    """Reasons a relay may not be closed."""


@lock.command("place")
@click.argument("account")
@click.argument("kind", type=_KIND)
@_BY
@click.option("--document", required=True, help="The paper that orders it: number and date.")
@CONFIG
def lock_place(account: str, kind: str, name: str, document: str, config: Path) -> None:
    """Lock ACCOUNT: a live close is withdrawn, and none follows while the lock stands."""
    _ask(config, RequestKind.LOCK_PLACE, (account, f"{kind} {document}"), name)


@lock.command("clear")
@click.argument("account")
@click.argument("kind", type=_KIND)
@_BY
@click.option("--document", required=True, help="The paper that allows it: number and date.")
@CONFIG
def lock_clear(account: str, kind: str, name: str, document: str, config: Path) -> None:
    """Clear a lock of ACCOUNT and decide anew."""
    _ask(config, RequestKind.LOCK_CLEAR, (account, f"{kind} {document}"), name)


@click.group()
def agent() -> None:
    """What people say of an agent."""


@agent.command("gone")
@click.argument("agent_id", metavar="AGENT")
@_BY
@click.option("--note", default="confirmed", show_default=True, help="How that is known.")
@CONFIG
def agent_gone(agent_id: str, name: str, note: str, config: Path) -> None:
    """AGENT is out of service for good: meters that moved away from it are released."""
    _ask(config, RequestKind.AGENT_GONE, (agent_id, note), name)


def _ask(config: Path, kind: RequestKind, what: tuple[str, str], name: str) -> None:
    """Store the request, then tell what the engine says."""
    subject, detail = what
    request = Request(kind=kind, subject=subject, detail=detail, asked_by=name)
    with told(), opened_ledger(config) as store:
        with store.begin() as transaction:
            request_id = ask(transaction, request, now_ms=clock_ms())
        until = time.monotonic() + ANSWER_WITHIN_S
        result = None
        while result is None and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
            with reading(store) as connection:
                result = result_of(connection, request_id)
    if result is None:
        click.echo(
            f"the engine has not answered yet: request {request_id} is stored, and weighed as soon"
            " as the engine runs; relight trace will tell",
            err=True,
        )
        raise SystemExit(NOT_ANSWERED)
    if result.startswith(REFUSED):
        raise click.ClickException(result)
    click.echo(result)

"""`relight stop` and `relight resume`: one person freezes every open, two let them go on (R9).

Rules kept here:
 * A stop goes both ways at once: into the ledger, from where the engine tells everybody, and on the
   broker, which also reaches guard and agents while the engine is down. One way is enough.
 * What is signed here is judged first as every receiver will judge it, so a wrong key, role or note
   is told to the person and not found out in an incident.
 * A resume is a draft that two approvers sign, each where their key is; whoever sends it needs no
   right of their own. Only the engine publishes it.
"""

import asyncio
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import click
from sqlalchemy import func, select

from cloud import freezes
from cloud.ceremony.draft import DocumentKind, Draft, draft_of, from_json, signed, to_json
from cloud.ceremony.telling import in_words
from cloud.cli.installation import DESK
from cloud.cli.ledger_access import CONFIG, opened_ledger, told
from cloud.cli.person_keys import KEY, KeyFile, gathered
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.freezes import Brought
from cloud.schema import agents
from cloud.spelling import ist
from cloud.store import reading
from wire import envelope
from wire.checking import Junk, check
from wire.decoding import encode
from wire.documents import Resume, Stop
from wire.fields import MILLISECOND_LIMIT
from wire.key_files import write_whole
from wire.keys import SigningKey
from wire.link import Link, LinkError, LinkSettings
from wire.topics import MessageType
from wire.trust import Authorities
from wire.vocabulary import Role

PUBLISH_WITHIN_S = 10.0  # connecting and PUBACK; the ledger's way does not wait for it
LOOK_EVERY_S = 0.2
SESSION_EXPIRY_S = 1  # nobody speaks to this session: nothing may wait for it at the broker
NOTE_MAX = 64  # characters, as the wire has it

_FILE = click.Path(path_type=Path, dir_okay=False)
_NOTE = click.option("--note", required=True, help="Why, in 64 plain characters; it is signed.")


@dataclass(frozen=True, slots=True)
class _Reach:
    """How a stop goes out, and how long the command looks who has it."""

    desk: str
    wait_s: float


_REACH = gathered(
    "reach",
    _Reach,
    click.option(
        "--desk",
        default=DESK,
        show_default=True,
        help="Whose certificate speaks to the broker; a session of that name is interrupted.",
    ),
    click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(0, 600),
        default=10.0,
        show_default=True,
        help="Seconds to look whether agents say that they hold it.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Document:
    """A signed document, judged as if a broker had brought it."""

    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a person wants stopped, and with which key."""

    authorities: Authorities
    key: SigningKey
    note: str
    by: str


@click.command()
@_NOTE
@KEY
@click.option("--by", "name", default="", help="Who stops; the signer's name is stored anyway.")
@_REACH
@CONFIG
@told()
def stop(note: str, key_file: KeyFile, name: str, reach: _Reach, config: Path) -> None:
    """Freeze every open, everywhere, at once; closing goes on. Two approvers lift it."""
    installation = Installation(config)
    order = _Order(
        authorities=installation.authorities(latest_ms=clock_ms()),
        key=key_file.read(),
        note=_plain(note),
        by=name,
    )
    said = _signed_stop(order, clock_ms())  # whom nobody would believe hears it before all else
    not_stored = not_published = None
    try:
        with opened_ledger(config) as store, store.begin() as transaction:
            number_ms = freezes.next_stop_ms(transaction, now_ms=clock_ms())
            said = _signed_stop(order, number_ms)
            answer = freezes.take(transaction, said, now_ms=clock_ms())
        not_stored = "; ".join(answer.reasons) or None
    except (ValueError, OSError, click.ClickException) as error:
        not_stored = str(error)
    try:
        asyncio.run(
            _publish(_settings(installation, reach.desk), MessageType.STOP.value, said.envelope)
        )
    except TimeoutError:
        not_published = f"no broker took it within {PUBLISH_WITHIN_S:.0f} s"
    except (LinkError, ValueError, OSError) as error:
        not_published = str(error)
    _tell_stopped(said, not_stored, not_published)
    if not_stored is None:
        _tell_hellos(config, said, reach.wait_s)


@click.group()
def resume() -> None:
    """Let opens go on: a draft that two approvers sign."""


@resume.command("draft")
@click.argument("file", type=_FILE)
@_NOTE
@click.option(
    "--lifts",
    "lifts_ms",
    type=click.IntRange(1, MILLISECOND_LIMIT - 1),
    help="The number of the stop; everything up to it is lifted. The one that stands, otherwise.",
)
@CONFIG
@told()
def resume_draft(file: Path, note: str, lifts_ms: int | None, config: Path) -> None:
    """Write FILE, the draft of a resume."""
    if file.exists():
        raise click.ClickException(f"{file} exists: choose another name")
    installation = Installation(config)
    authorities = installation.authorities(latest_ms=clock_ms())
    if lifts_ms is None:
        with opened_ledger(config) as store, reading(store) as connection:
            freeze = freezes.read(connection)
        if not freeze.is_frozen:
            raise click.ClickException("opens are not frozen: there is nothing to lift")
        lifts_ms, _ = freeze.marks
    found = Resume(lifts_ms=lifts_ms, note=_plain(note))
    draft = draft_of(found, authorities.root.installation)
    _write(file, draft)
    click.echo(f"{file}: digest {draft.digest.hex()}\n{in_words(draft.document)}")
    click.echo(f"two approvers sign it: relight resume sign {file} --key KEY")


@resume.command("sign")
@click.argument("file", type=_FILE)
@KEY
@click.option("--yes", is_flag=True, help="Sign without asking; it is shown all the same.")
@told()
def resume_sign(file: Path, key_file: KeyFile, *, yes: bool) -> None:
    """Show FILE whole, then sign it with an approver's key."""
    draft = _read(file)
    click.echo(f"{in_words(draft.document)}\ndigest {draft.digest.hex()}")
    key = key_file.read()
    if not yes and not click.confirm(f"Sign {file.name} with key {key.key_id.hex()}?"):
        raise click.ClickException(f"{file} was not signed")
    _write(file, signed(draft, key))
    click.echo(f"{file}: {len(draft.signatures) + 1} signed")


@resume.command("send")
@click.argument("file", type=_FILE)
@click.option(
    "--statement", type=_FILE, help="Also write the signed document, for `relight guard release`."
)
@CONFIG
@told()
def resume_send(file: Path, statement: Path | None, config: Path) -> None:
    """Hand FILE to the engine, which tells everybody."""
    payload = _read(file).envelope()
    authorities = Installation(config).authorities(latest_ms=clock_ms())
    checked = check(
        _Document(MessageType.RESUME.value, payload), authorities.keyring(), at_ms=clock_ms()
    )
    if isinstance(checked, Junk):
        raise click.ClickException(
            f"{file} is not signed by exactly two different approvers of registry"
            f" {authorities.registry_version}, with keys in their life ({checked.reason})"
        )
    brought, intakes = Brought(checked=checked, envelope=payload), _intakes(authorities)
    with opened_ledger(config) as store, store.begin() as transaction:
        answer = freezes.take(transaction, brought, now_ms=clock_ms(), intakes=intakes)
        freeze = freezes.read(transaction)
    if statement is not None and not answer.reasons:
        write_whole(statement, payload)
    if answer.reasons:
        raise click.ClickException(f"not resumed: {'; '.join(answer.reasons)}")
    stop_ms, lifted_ms = freeze.marks
    click.echo(f"{'taken' if answer.is_new else 'known already'}: lifted up to {ist(lifted_ms)}")
    if freeze.is_frozen:
        click.echo(f"opens stay frozen: stop {stop_ms} of {ist(stop_ms)} is not lifted by it")
    else:
        click.echo("opens may go on; the engine tells guard and agents")


def _signed_stop(order: _Order, number_ms: int) -> Brought:
    body = encode(Stop(number_ms=number_ms, note=order.note))
    name = MessageType.STOP.value
    payload = envelope.seal(order.authorities.root.installation, name, body, [order.key])
    checked = check(_Document(name, payload), order.authorities.keyring(), at_ms=clock_ms())
    if isinstance(checked, Junk):
        raise click.ClickException(
            f"key {order.key.key_id.hex()} may not stop ({checked.reason}): it must be a key of"
            f" role stop or approver in registry {order.authorities.registry_version}, in its life"
        )
    return Brought(checked=checked, envelope=payload, by=order.by)


def _settings(installation: Installation, desk: str) -> LinkSettings:
    found = installation.link_settings(desk, ())
    return replace(found, canary=None, session_expiry_s=SESSION_EXPIRY_S)


async def _publish(settings: LinkSettings, topic: str, payload: bytes) -> None:
    """Publish it, retained, and wait for the broker's answer.

    Raises:
        TimeoutError, LinkError: the broker has it not, or nobody knows.
    """
    link = Link(settings, randomness=random.Random())  # noqa: S311  # jitter only
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(PUBLISH_WITHIN_S):
            await link.next_connection(0)
            await link.publish(topic, payload, retain=True)
    finally:
        await link.stop()
        await running


def _tell_stopped(said: Brought, not_stored: str | None, not_published: str | None) -> None:
    if not_stored is not None and not_published is not None:
        raise click.ClickException(
            f"NOBODY heard the stop: the ledger: {not_stored}; the broker: {not_published}"
        )
    number_ms = cast("Stop", said.checked.message).number_ms
    click.echo(f"stop {number_ms} of {ist(number_ms)}: every open is frozen")
    if not_stored is None:
        click.echo("ledger: stored; the engine tells everybody, and every agent at its welcome")
    else:
        click.echo(f"ledger: NOT stored ({not_stored}); the engine hears it from the broker")
    if not_published is None:
        click.echo("broker: published to engine, guard and every agent that is connected")
    else:
        click.echo(f"broker: NOT published ({not_published}); a running engine publishes it")


def _tell_hellos(config: Path, said: Brought, wait_s: float) -> None:
    """How many agents say that they hold it; an agent says hello every ten minutes or so."""
    number_ms = cast("Stop", said.checked.message).number_ms
    until = time.monotonic() + wait_s
    holding = select(func.count()).select_from(agents).where(agents.c.stop_ms >= number_ms)
    with opened_ledger(config) as store:
        while True:
            with reading(store) as connection:
                known = connection.scalar(select(func.count()).select_from(agents)) or 0
                held = connection.scalar(holding) or 0
            if held == known or time.monotonic() >= until:
                break
            time.sleep(LOOK_EVERY_S)
    click.echo(
        f"agents: {known:,} known, {held:,} have said in a hello that they hold it;"
        " each says a hello within 12 minutes"
    )


def _intakes(authorities: Authorities) -> set[str]:
    keys = authorities.keyring().keys.values()
    return {key.subject for key in keys if key.role is Role.INTAKE}


def _plain(note: str) -> str:
    if len(note) > NOTE_MAX or not (note.isascii() and note.isprintable()):
        raise click.ClickException(f"--note {note!r}: at most {NOTE_MAX} plain ASCII characters")
    return note


def _read(file: Path) -> Draft:
    draft = from_json(file.read_text(encoding="utf-8"))
    if draft.kind is not DocumentKind.RESUME:
        raise click.ClickException(f"{file} is the draft of a {draft.kind}, not of a resume")
    return draft


def _write(file: Path, draft: Draft) -> None:
    write_whole(file, to_json(draft).encode("utf-8"))

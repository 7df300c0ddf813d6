"""The commands of a ceremony: create, ceremony, sign, finish, rotate, revoke, add, renew, show.

Rules kept here: every private key is sealed under a passphrase and never written over; who signs
sees the whole document first; a change is a draft until enough of the root's holders signed it.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from cloud.ceremony import changes
from cloud.ceremony.draft import Draft, draft_of, from_json, signed, to_json
from cloud.ceremony.placing import PlacingError, held, place
from cloud.ceremony.plan import OnlineKey, read_plan, registry_key, registry_of, root_of
from cloud.ceremony.telling import in_words
from cloud.cli.ledger_access import told
from cloud.cli.person_keys import KEY, KeyFile
from cloud.cli.processes import clock_ms
from wire.documents import Registry, RegistryKey, Root
from wire.fields import InstallationId
from wire.key_files import PRIVATE_MODE, read_private, write_whole
from wire.keys import SEED_BYTES, KeyId, SigningKey
from wire.sealed_keys import seal_key
from wire.topics import is_id
from wire.trust import Authorities
from wire.vocabulary import Role

HOUR_MS = 3_600_000
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_PASSPHRASE = click.option(
    "--passphrase-file", type=_FILE, help="Its one line, mode 0600; asked for otherwise."
)
_TRUST = click.option("--trust", type=_FOLDER, default="trust", show_default=True)
_OUT = click.argument("out", type=_FOLDER)


@click.command()
@click.argument("name")
@click.option("--out", type=_FOLDER, default=".", show_default=True)
@_PASSPHRASE
@told()
def create(name: str, out: Path, passphrase_file: Path | None) -> None:
    """Make NAME's private key, sealed, and its public half: OUT/NAME.key and OUT/NAME.public."""
    path = out / f"{name}.key"
    if not is_id(name):
        raise click.ClickException(f"{name!r} is no id: use 1 to 32 of A-Z, 0-9 and -")
    if path.exists():
        raise click.ClickException(f"{path} exists: a key is never written over")
    key = SigningKey(secrets.token_bytes(SEED_BYTES))
    sealed = seal_key(key, _new_passphrase(passphrase_file), secrets.token_bytes)
    write_whole(path, f"{sealed}\n".encode("ascii"), mode=PRIVATE_MODE)
    write_whole(out / f"{name}.public", f"{key.public.hex()}\n".encode("ascii"))
    click.echo(f"{path}: key {key.key_id.hex()}, public {key.public.hex()}")


@click.command()
@click.argument("plan", type=_FILE)
@_OUT
@_TRUST
@told()
def ceremony(plan: Path, out: Path, trust: Path) -> None:
    """Draft what PLAN (ceremony.toml) says into OUT: the first root and registry, or the next."""
    now_ms, found, before = clock_ms(), read_plan(plan), held(trust)
    if before is None:
        installation = InstallationId(
            bytes.fromhex(found.installation) if found.installation else secrets.token_bytes(16)
        )
        root = root_of(found, installation, version=1, now_ms=now_ms)
        registry_version = 1
    else:
        root = root_of(
            found,
            before.root.installation,
            version=before.root.root_version + 1,
            now_ms=now_ms,
        )
        registry_version = before.registry_version + 1
    registry = registry_of(
        found, version=registry_version, root_version=root.root_version, now_ms=now_ms
    )
    _write_drafts(out, [root, registry], root.installation)


@click.command()
@click.argument("drafts", nargs=-1, required=True, type=_FILE)
@click.option(
    "--yes", is_flag=True, help="Sign without asking; the document is shown all the same."
)
@KEY
@told()
def sign(drafts: tuple[Path, ...], key_file: KeyFile, *, yes: bool) -> None:
    """Show each of DRAFTS whole, then sign it with a root holder's key."""
    key = key_file.read()
    for path in drafts:
        draft = from_json(path.read_text(encoding="utf-8"))
        click.echo(f"{in_words(draft.document)}\ndigest {draft.digest.hex()}")
        if not yes and not click.confirm(f"Sign {path.name} with key {key.key_id.hex()}?"):
            raise click.ClickException(f"{path} was not signed")
        _write(path, signed(draft, key))
        click.echo(f"{path}: {len(draft.signatures) + 1} signed")


@click.command()
@_OUT
@_TRUST
@told()
def finish(out: Path, trust: Path) -> None:
    """Put the signed drafts of OUT into the trust folder, judged as every agent judges them."""
    drafts = [from_json(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.draft"))]
    after = place(trust, drafts, now_ms=clock_ms())
    click.echo(
        f"{trust}: registry {after.registry_version} under root {after.root.root_version} is in"
        f" place; pin of root document 1: {(trust / 'pin').read_text(encoding='ascii').strip()}"
    )


@click.command()
@_OUT
@click.option(
    "--replace",
    "replacing",
    multiple=True,
    required=True,
    metavar="KEYID=FILE",
    help="An old key's id and the new key's .public file; may be repeated.",
)
@click.option("--overlap-hours", type=click.IntRange(0, 24), default=24, show_default=True)
@_TRUST
@told()
def rotate(out: Path, replacing: tuple[str, ...], overlap_hours: int, trust: Path) -> None:
    """Draft a registry in which new keys stand beside the old ones, until the overlap ends."""
    before = _in_force(trust)
    wanted: dict[KeyId, bytes] = {}
    for one in replacing:
        name, equals, file = one.partition("=")
        if not equals:
            raise click.ClickException(f"--replace {one}: write KEYID=FILE")
        wanted[_key_id(name)] = _public(Path(file))
    after = changes.rotated(
        _registry(before),
        wanted,
        _issue(before),
        overlap_ms=overlap_hours * HOUR_MS,
    )
    _write_drafts(out, [after], before.root.installation)


@click.command()
@_OUT
@click.argument("key_ids", nargs=-1, required=True)
@click.option("--add", "adding", multiple=True, metavar="ROLE:SUBJECT:FILE", help="As `add` does.")
@_TRUST
@told()
def revoke(out: Path, key_ids: tuple[str, ...], adding: tuple[str, ...], trust: Path) -> None:
    """Draft a registry without keys that are lost or stolen; their engine epochs end too."""
    before = _in_force(trust)
    registry, lost = _registry(before), [_key_id(one) for one in key_ids]
    fresh = _additions(registry, adding)
    after = changes.revoked(registry, lost, _issue(before), fresh=fresh)
    _write_drafts(out, [after], before.root.installation)


@click.command()
@_OUT
@click.argument("additions", nargs=-1, required=True, metavar="ROLE:SUBJECT:FILE...")
@_TRUST
@told()
def add(out: Path, additions: tuple[str, ...], trust: Path) -> None:
    """Draft a registry with more keys, by their .public files; an engine's is of the next epoch."""
    before = _in_force(trust)
    registry = _registry(before)
    after = changes.added(registry, _additions(registry, additions), _issue(before))
    _write_drafts(out, [after], before.root.installation)


@click.command()
@_OUT
@click.option("--life-days", type=click.IntRange(1, 60), default=60, show_default=True)
@_TRUST
@told()
def renew(out: Path, life_days: int, trust: Path) -> None:
    """Draft the same registry for another life."""
    before = _in_force(trust)
    after = changes.renewed(_registry(before), _issue(before, life_days))
    _write_drafts(out, [after], before.root.installation)


@click.command()
@_TRUST
@told()
def show(trust: Path) -> None:
    """Tell the root and the registry in force."""
    before = _in_force(trust)
    click.echo(f"{in_words(before.root)}\n{in_words(_registry(before))}")


COMMANDS = (create, ceremony, sign, finish, rotate, revoke, add, renew, show)


def _issue(authorities: Authorities, life_days: int = 60) -> changes.Issue:
    return changes.Issue(
        root_version=authorities.root.root_version,
        now_ms=clock_ms(),
        life_ms=life_days * 24 * HOUR_MS,
    )


def _in_force(trust: Path) -> Authorities:
    found = held(trust)
    if found is None:
        raise PlacingError(f"{trust} holds no root: begin with `relight keys ceremony`")
    return found


def _registry(authorities: Authorities) -> Registry:
    if authorities.registry is None:
        raise PlacingError("no registry is in place: begin with `relight keys ceremony`")
    return authorities.registry


def _write_drafts(
    out: Path, documents: Sequence[Root | Registry], installation: InstallationId
) -> None:
    for document in documents:
        draft = draft_of(document, installation)
        path = out / f"{draft.kind}.draft"
        if path.exists():
            raise click.ClickException(f"{path} exists: finish that ceremony or choose a folder")
        _write(path, draft)
        click.echo(f"{path}: digest {draft.digest.hex()}\n{in_words(document)}")


def _write(path: Path, draft: Draft) -> None:
    write_whole(path, to_json(draft).encode("utf-8"))


def _new_passphrase(file: Path | None) -> str:
    if file is not None:
        return read_private(file)
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True))


def _public(file: Path) -> bytes:
    try:
        public = bytes.fromhex(file.read_text(encoding="ascii"))
    except ValueError:
        raise click.ClickException(f"{file} holds no public key of 64 hex digits") from None
    if len(public) != SEED_BYTES:
        raise click.ClickException(f"{file} holds {len(public)} bytes, a public key has 32")
    return public


def _key_id(text: str) -> KeyId:
    try:
        return KeyId(bytes.fromhex(text))
    except ValueError:
        raise click.ClickException(f"{text!r} is no key id: see `relight keys show`") from None


def _additions(registry: Registry, texts: Sequence[str]) -> list[RegistryKey]:
    next_epoch = max(one.epoch for one in registry.keys) + 1
    now_ms = clock_ms()
    return [
        registry_key(
            OnlineKey(
                role=role,
                subject=subject,
                public=_public(file).hex(),
                epoch=next_epoch if role is Role.ENGINE else 0,
                scope=_scope_of(registry, role, subject),
            ),
            now_ms=now_ms,
        )
        for role, subject, file in map(_addition, texts)
    ]


def _addition(text: str) -> tuple[Role, str, Path]:
    role, _, rest = text.partition(":")
    subject, _, file = rest.partition(":")
    if role not in set(Role) or not subject or not file:
        raise click.ClickException(f"{text}: write ROLE:SUBJECT:FILE")
    return Role(role), subject, Path(file)


def _scope_of(registry: Registry, role: Role, subject: str) -> tuple[str, ...]:
    """A key that comes for another has the scope of that one."""
    for one in registry.keys:
        if (one.role, one.subject) == (role, subject):
            return one.scope
    return ()

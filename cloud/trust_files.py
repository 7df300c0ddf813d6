"""What a cloud process believes: its trust files, read at its start and again while it runs.

Rules kept here (R12):
 * What was accepted once is held: the documents and the agents' serials are remembered beside the
   process's own store, fsynced before they are used, so an older file that somebody puts back is
   refused, after a restart too.
 * A file that cannot be believed changes nothing and is told of; a process without any belief at
   all does not start.
 * An expired registry is warned of and stops no payment and no close. What is held already is
   judged by its keys, not its age: else a registry that nobody renewed would stop every close at
   the next restart.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.identities import IDENTITY_SUFFIX, read_identities
from cloud.spelling import ist
from wire.decoding import decode_trust, encode
from wire.envelope import MalformedError
from wire.key_files import PRIVATE_MODE, write_whole
from wire.keys import KeyId
from wire.trust import Authorities, Key, TrustRefusedError, accept, anchor

LOOK_EVERY_MS = 10_000  # how soon a new identity or registry counts without a restart
REMEMBERED_SUFFIX = ".trust"
_LOG = logging.getLogger(__name__)

_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPlaces:
    """Where an installation's documents are: root document 1 and its digest, the newest others."""

    root: Path
    pin: bytes
    documents: Path
    is_production: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Something a person must look at: the alarm's code, the file, the reason."""

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """What is believed now."""

    authorities: Authorities
    identities: Mapping[KeyId, Key]


def read_authorities(places: TrustPlaces) -> Authorities:
    """The files' documents, whatever was accepted before.

    Raises:
        OSError, ValueError: they cannot be read or believed.
    """
    held = anchor(places.root.read_bytes(), places.pin)
    documents = decode_trust(places.documents.read_bytes())
    return accept(held, documents, latest_ms=None, is_production=places.is_production)


def warn_if_expired(authorities: Authorities, documents: Path, *, at_ms: int) -> None:
    """Say so in the log when the registry's time is over."""
    registry = authorities.registry
    if registry is not None and registry.expires_at_ms <= at_ms:
        _LOG.warning(
            "alarm: registry %d expired at %s: payments and closes go on, opens are refused; "
            "put a newer one into %s",
            *(registry.registry_version, ist(registry.expires_at_ms), documents),
        )


class TrustFiles:
    """One process's belief, kept in step with its files.

    Args:
        places: the documents.
        beside: the process's own store; what was accepted is remembered beside it.
        identities: the folder of agents' statements; None where no agent is heard.
        complain: told what cannot be believed, once.
    """

    def __init__(
        self,
        places: TrustPlaces,
        *,
        beside: Path,
        identities: Path | None,
        complain: Callable[[Sequence[Complaint]], None],
    ) -> None:
        self._places = places
        self._identities_folder = identities
        self._remembered_path = beside.with_name(beside.name + REMEMBERED_SUFFIX)
        self._complain = complain
        self._held: Authorities
        self._serials: Mapping[str, int] = {}
        self._remembered: bytes | None = None
        self._stamp: _Stamp | None = None
        self._told: set[Complaint] = set()

    def begin(self, *, now_ms: int) -> Believed:
        """What a starting process believes.

        Raises:
            OSError, ValueError: there is nothing it could believe.
        """
        places = self._places
        self._held = anchor(places.root.read_bytes(), places.pin)
        if self._remembered_path.exists():
            self._remember_again()
        else:
            self._held = read_authorities(places)
        believed = self._read(now_ms)
        warn_if_expired(self._held, places.documents, at_ms=now_ms)
        return believed

    def look_again(self, clock_ms: Callable[[], int]) -> Believed | None:
        """What is believed from now on; None: no file changed.

        Raises:
            OSError: it cannot be remembered, so it is not believed either; ask again later.
        """
        return None if self._stamps() == self._stamp else self._read(clock_ms())

    def _read(self, now_ms: int) -> Believed:
        """Take what is newer and good of the files; complain of the rest."""
        stamp = self._stamps()  # first: what changes while it is read is read again
        complaints: list[Complaint] = []
        held = self._newest(now_ms, complaints)
        identities, serials = self._identities(held, complaints)
        self._remember(held, serials)
        self._held, self._serials, self._stamp = held, serials, stamp
        fresh = [one for one in complaints if one not in self._told]
        self._told = set(complaints)
        if fresh:
            self._complain(fresh)
        return Believed(authorities=held, identities=identities)

    def _newest(self, now_ms: int, complaints: list[Complaint]) -> Authorities:
        places, held = self._places, self._held
        try:
            documents = decode_trust(places.documents.read_bytes())
            # By its age too: what is held serves until somebody brings one that lives.
            return accept(held, documents, latest_ms=now_ms, is_production=places.is_production)
        except (OSError, MalformedError, TrustRefusedError) as error:
            reason = f"{error}; registry {held.registry_version} stays in force"
            subject = str(places.documents)
            complaints.append(Complaint(code="trust_refused", subject=subject, detail=reason))
            return held

    def _identities(
        self, held: Authorities, complaints: list[Complaint]
    ) -> tuple[Mapping[KeyId, Key], Mapping[str, int]]:
        folder = self._identities_folder
        if folder is None:
            return {}, {}
        read = read_identities(folder, held, known_serials=self._serials)
        complaints += [
            Complaint(code="identity_refused", subject=str(one.path), detail=one.reason)
            for one in read.left_out
        ]
        return read.keys, read.serials

    def _remember(self, held: Authorities, serials: Mapping[str, int]) -> None:
        told = {"documents": encode(held.documents()).hex(), "serials": dict(serials)}
        content = json.dumps(told, sort_keys=True).encode("ascii")
        if content != self._remembered:
            write_whole(self._remembered_path, content, mode=PRIVATE_MODE)
            self._remembered = content

    def _remember_again(self) -> None:
        path = self._remembered_path
        try:
            self._remembered = path.read_bytes()
            told = json.loads(self._remembered)
            documents = decode_trust(bytes.fromhex(told["documents"]))
            self._serials = {str(agent): int(serial) for agent, serial in told["serials"].items()}
            self._held = accept(
                self._held, documents, latest_ms=None, is_production=self._places.is_production
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrustRefusedError(
                f"{path} remembers what this process accepted and cannot be believed ({error});"
                " remove it only if you know why: older documents and keys would count again"
            ) from None

    def _stamps(self) -> _Stamp:
        """What changes when a file is written, removed or put back."""
        paths = [self._places.documents]
        if self._identities_folder is not None:
            paths += sorted(self._identities_folder.glob(f"*{IDENTITY_SUFFIX}"))
        stamps = []
        for path in paths:
            try:
                found = path.stat()
            except OSError:
                continue  # gone: the list differs
            stamps.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(stamps)


def tell(complaints: Sequence[Complaint]) -> None:
    """Say them in the log."""
    for one in complaints:
        _LOG.error("alarm: %s: %s: %s", one.code, one.subject, one.detail)


def nothing_new() -> Believed | None:
    """The look of a process whose belief never changes."""
    return None


async def watch_trust(
    look: Callable[[], Believed | None], believe: Callable[[Believed], None]
) -> None:
    """Look every ten seconds, in a thread of its own, and hand on what is believed from now on."""
    while True:
        await asyncio.sleep(LOOK_EVERY_MS / 1_000)
        try:
            newer = await asyncio.to_thread(look)
        except OSError as error:  # what is held stays in force; the next look tries again
            _LOG.error("alarm: newer trust cannot be remembered, so it waits: %s", error)
            continue
        if newer is not None:
            believe(newer)

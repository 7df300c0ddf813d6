"""relight.toml: what one installation's cloud processes are told.

Rules kept here: every path is relative to the file itself; an unknown key, a wrong type or a
missing file is refused with the file, the key and the cure; secrets stand in files of mode 0600,
never in the configuration; an expired registry is warned of and stops no payment and no close
(R12).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from cloud.store import sqlite_url
from cloud.trust_files import (
    Believed,
    Complaint,
    TrustFiles,
    TrustPlaces,
    read_authorities,
    warn_if_expired,
)
from wire.key_files import KeyFileError, is_sealed_file, read_private, read_signing_key
from wire.keys import SigningKey
from wire.link import BrokerAddress, LinkSettings, TlsFiles
from wire.topics import canary_topic
from wire.trust import Authorities, Key
from wire.vocabulary import Role

_Read = TypeVar("_Read")


class ConfigurationError(ValueError):
    """A configuration that cannot be used, with what to change."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: what stands here and nothing else."""


class TrustSection(_Section, frozen=True, kw_only=True):
    """[trust]: the pinned root, and the newest documents under it."""

    pin: str
    root: str = "trust/root-1"
    documents: str = "trust/documents"
    passphrase: str | None = None  # the file of the one under which the private keys are sealed
    is_production: bool = False


class BrokerSection(_Section, frozen=True, kw_only=True):
    """[broker]: where the brokers listen, and the folder of certificates."""

    addresses: tuple[str, ...]
    certificates: str = "broker/certificates"


class EngineSection(_Section, frozen=True, kw_only=True):
    """[engine]: its name on the wire, its key, the ledger, the agents' identities."""

    name: str
    key: str
    ledger: str = "ledger.db"
    identities: str = "trust/identities"


class RazorpaySection(_Section, frozen=True, kw_only=True):
    """[intake.razorpay]: webhook secrets, the merchant; with an API key its lists are polled too.

    Without `key_id` and `key_secret` nothing is polled; without secrets no webhook is taken in.
    """

    secrets: tuple[str, ...]
    merchant: str | None = None
    key_id: str | None = None
    key_secret: str | None = None
    api: str = "https://api.razorpay.com"
    recent_every_s: Annotated[int, msgspec.Meta(ge=10, le=300)] = 60
    late_every_s: Annotated[int, msgspec.Meta(ge=300, le=86_400)] = 3_600
    deep_every_s: Annotated[int, msgspec.Meta(ge=3_600, le=172_800)] = 86_400


NO_RAZORPAY = RazorpaySection(secrets=())  # the section is not there


class SignedSection(_Section, frozen=True, kw_only=True):
    """[intake.signed.NAME]: a source that signs as docs/webhooks.md says."""

    secrets: tuple[str, ...]
    tolerance_s: int = 300


class IntakeSection(_Section, frozen=True, kw_only=True):
    """[intake]: its name on the wire, its key, where it listens, its spool, its providers."""

    name: str
    key: str
    razorpay: RazorpaySection = NO_RAZORPAY
    signed: dict[str, SignedSection] = {}
    host: str = "127.0.0.1"
    port: int = 8080
    spool: str = "spool.db"


class GuardSection(_Section, frozen=True, kw_only=True):
    """[guard]: its name on the wire, its key, its own store."""

    name: str
    key: str
    store: str = "guard.db"


class Configuration(_Section, frozen=True, kw_only=True):
    """The whole file; a process needs only its own sections."""

    trust: TrustSection
    broker: BrokerSection
    engine: EngineSection | None = None
    intake: IntakeSection | None = None
    guard: GuardSection | None = None


class Installation:
    """A configuration beside its folder: gives each process the values it is made of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent
        try:
            self.configuration = msgspec.toml.decode(path.read_bytes(), type=Configuration)
        except FileNotFoundError:
            raise ConfigurationError(f"no configuration {path}: name it with --config") from None
        except (msgspec.DecodeError, OSError) as error:
            raise ConfigurationError(f"{path}: {error}") from None

    @property
    def engine(self) -> EngineSection:
        """The [engine] section."""
        return self._section(self.configuration.engine, "engine")

    @property
    def intake(self) -> IntakeSection:
        """The [intake] section."""
        return self._section(self.configuration.intake, "intake")

    @property
    def guard(self) -> GuardSection:
        """The [guard] section."""
        return self._section(self.configuration.guard, "guard")

    def at(self, relative: str) -> Path:
        """A path of the file, as an absolute one."""
        return self.folder / relative

    def ledger_url(self) -> str:
        """The database of [engine]: a path is SQLite, an address is taken as it is.

        Raises:
            ConfigurationError: no such file. SQLite would make an empty one, and a mistyped name
                would become a second, empty ledger.
        """
        ledger = self.engine.ledger
        if "://" in ledger:
            return ledger
        path = self.at(ledger)
        if not path.is_file():
            raise ConfigurationError(f"no ledger {path}: correct [engine] ledger of {self.path}")
        return sqlite_url(path)

    def ledger_path(self) -> Path | None:
        """Where a SQLite ledger is, or would be; None: the ledger is an address."""
        ledger = self.engine.ledger
        return None if "://" in ledger else self.at(ledger)

    def authorities(self, *, latest_ms: int) -> Authorities:
        """The pinned root and the registry under it, which may have expired (R12).

        As the files say it, whatever engine or intake accepted before: for commands that look.
        """
        try:
            found = read_authorities(self._trust_places())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.path} [trust]: {error}") from None
        documents = self.at(self.configuration.trust.documents)
        warn_if_expired(found, documents, at_ms=latest_ms)
        return found

    def engine_trust(self, complain: Callable[[Sequence[Complaint]], None]) -> TrustFiles:
        """What the engine believes: documents and identities, remembered beside the ledger."""
        beside = self.ledger_path() or self.folder / self.engine.name
        identities = self.at(self.engine.identities)
        return TrustFiles(
            self._trust_places(), beside=beside, identities=identities, complain=complain
        )

    def intake_trust(self, complain: Callable[[Sequence[Complaint]], None]) -> TrustFiles:
        """What the intake believes: the documents, remembered beside the spool."""
        return TrustFiles(
            self._trust_places(),
            beside=self.at(self.intake.spool),
            identities=None,
            complain=complain,
        )

    def guard_trust(self, complain: Callable[[Sequence[Complaint]], None]) -> TrustFiles:
        """What the guard believes: the documents, remembered beside its own store."""
        return TrustFiles(
            self._trust_places(),
            beside=self.at(self.guard.store),
            identities=None,
            complain=complain,
        )

    def begin(self, trust: TrustFiles, *, now_ms: int) -> Believed:
        """What a starting process believes.

        Raises:
            ConfigurationError: nothing, with the reason.
        """
        try:
            return trust.begin(now_ms=now_ms)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.path} [trust]: {error}") from None

    def engine_key(self, authorities: Authorities) -> tuple[SigningKey, Key]:
        """The engine's private key, and what the registry says of it."""
        return self._registered(self.engine, Role.ENGINE, authorities)

    def guard_key(self, authorities: Authorities) -> tuple[SigningKey, Key]:
        """The guard's private key, and what the registry says of it."""
        return self._registered(self.guard, Role.GUARD, authorities)

    def _registered(
        self, section: EngineSection | GuardSection, role: Role, authorities: Authorities
    ) -> tuple[SigningKey, Key]:
        key = self.signing_key(section.key)
        entry = authorities.keyring().keys.get(key.key_id)
        if entry is None or entry.subject != section.name or entry.role is not role:
            raise ConfigurationError(f"{section.key} is no key of {section.name} in the registry")
        return key, entry

    def _trust_places(self) -> TrustPlaces:
        section = self.configuration.trust
        try:
            pin = bytes.fromhex(section.pin)
        except ValueError:
            raise ConfigurationError(
                f"{self.path} [trust]: pin {section.pin!r} is not hexadecimal"
            ) from None
        return TrustPlaces(
            root=self.at(section.root),
            pin=pin,
            documents=self.at(section.documents),
            is_production=section.is_production,
        )

    def signing_key(self, relative: str) -> SigningKey:
        """A private key of this installation.

        Raises:
            ConfigurationError: it cannot be read or opened, or lies open in production.
        """
        trust = self.configuration.trust
        path = self.at(relative)
        try:
            is_open = trust.is_production and not is_sealed_file(path)
            passphrase = read_private(self.at(trust.passphrase)) if trust.passphrase else None
            key = read_signing_key(path, passphrase)
        except KeyFileError as error:
            raise ConfigurationError(str(error)) from None
        if is_open:
            raise ConfigurationError(
                f"{path} lies open: in production a private key is sealed under a passphrase, as"
                " `relight keys create` makes it"
            )
        return key

    def secrets(self, files: tuple[str, ...]) -> tuple[str, ...]:
        """Secrets from files of mode 0600."""
        try:
            return tuple(read_private(self.at(one)) for one in files)
        except KeyFileError as error:
            raise ConfigurationError(str(error)) from None

    def link_settings(self, name: str, subscriptions: tuple[str, ...]) -> LinkSettings:
        """How the process called `name` reaches the broker."""
        section = self.configuration.broker
        folder = self.at(section.certificates)
        return LinkSettings(
            client_id=name,
            brokers=tuple(self._address(one) for one in section.addresses),
            tls=TlsFiles(
                ca=folder / "ca.crt",
                certificate=folder / f"{name}.crt",
                key=folder / f"{name}.key",
            ),
            subscriptions=subscriptions,
            canary=canary_topic(name),
        )

    def _address(self, text: str) -> BrokerAddress:
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigurationError(f"{self.path} [broker]: {text!r} is not HOST:PORT")
        return BrokerAddress(host, int(port))

    def _section(self, section: _Read | None, name: str) -> _Read:
        if section is None:
            raise ConfigurationError(f"{self.path} has no [{name}] section, which this needs")
        return section

"""relight.toml: what one installation's cloud processes are told.

Rules kept here: every path is relative to the file itself; an unknown key, a wrong type or a
missing file is refused with the file, the key and the cure; secrets stand in files of mode 0600,
never in the configuration; an expired registry is warned of and stops no payment and no close
(R12).
"""

import logging
from pathlib import Path
from typing import TypeVar

import msgspec

from cloud.identities import read_identities
from cloud.spelling import ist
from cloud.store import sqlite_url
from wire.decoding import decode_trust
from wire.envelope import MalformedError
from wire.key_files import KeyFileError, read_private, read_signing_key
from wire.keys import KeyId, SigningKey
from wire.link import BrokerAddress, LinkSettings, TlsFiles
from wire.topics import canary_topic
from wire.trust import Authorities, Key, TrustRefusedError, accept, anchor

_Read = TypeVar("_Read")
_LOG = logging.getLogger(__name__)


class ConfigurationError(ValueError):
    """A configuration that cannot be used, with what to change."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: what stands here and nothing else."""


class TrustSection(_Section, frozen=True, kw_only=True):
    """[trust]: the pinned root, and the newest documents under it."""

    pin: str
    root: str = "trust/root-1"
    documents: str = "trust/documents"
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
    """[intake.razorpay]: files of up to two live webhook secrets, and the merchant's account id."""

    secrets: tuple[str, ...]
    merchant: str | None = None


class IntakeSection(_Section, frozen=True, kw_only=True):
    """[intake]: its name on the wire, its key, where it listens, its spool."""

    name: str
    key: str
    razorpay: RazorpaySection
    host: str = "127.0.0.1"
    port: int = 8080
    spool: str = "spool.db"


class Configuration(_Section, frozen=True, kw_only=True):
    """The whole file; a process needs only its own sections."""

    trust: TrustSection
    broker: BrokerSection
    engine: EngineSection | None = None
    intake: IntakeSection | None = None


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

    def authorities(self, *, latest_ms: int) -> Authorities:
        """The pinned root and the registry under it, which may have expired.

        R12: under an expired registry opens are refused and closes go on, with an alarm. These
        documents were accepted before and are what this process holds, as an agent's journal is
        what it holds, so a restart judges their keys, not their age: else a registry that nobody
        renewed would stop every close at the next restart.
        """
        section = self.configuration.trust
        try:
            held = anchor(self.at(section.root).read_bytes(), bytes.fromhex(section.pin))
            documents = decode_trust(self.at(section.documents).read_bytes())
            found = accept(held, documents, latest_ms=None, is_production=section.is_production)
        except (OSError, TrustRefusedError, MalformedError, ValueError) as error:
            raise ConfigurationError(f"{self.path} [trust]: {error}") from None
        registry = found.registry
        if registry is not None and registry.expires_at_ms <= latest_ms:
            _LOG.warning(
                "alarm: registry %d expired at %s: payments and closes go on, opens are refused; "
                "put a newer one into %s",
                *(registry.registry_version, ist(registry.expires_at_ms)),
                self.at(section.documents),
            )
        return found

    def identities(self, authorities: Authorities, *, at_ms: int) -> dict[KeyId, Key]:
        """The agents' keys."""
        try:
            folder = self.at(self.engine.identities)
            return dict(read_identities(folder, authorities, at_ms=at_ms))
        except TrustRefusedError as error:
            raise ConfigurationError(str(error)) from None

    def signing_key(self, relative: str) -> SigningKey:
        """A private key of this installation."""
        try:
            return read_signing_key(self.at(relative))
        except KeyFileError as error:
            raise ConfigurationError(str(error)) from None

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

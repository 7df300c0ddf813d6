"""agent.toml: everything an agent is told, checked when it is read.

Rules kept here: an error names the file, the field, its value and the cure; what is not understood
is refused, because a mistyped `production` must not be the default; paths are relative to the file.

    agent = "AGENT-1"                         journal = "journal.db"
    installation_pin = "<64 hex digits>"      roster = "roster.csv"
    root_document = "root-1.msgpack"          brokers = ["broker.example:8883"]
    key = "agent.key"                         production = true
    [tls]    ca = "ca.crt", certificate = "agent.crt", key = "agent-tls.key"
    [relay]  door = "package.module:factory", [relay.options] ...
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_agent.host import METERS_AT_ONCE, OFFLINE
from edge_agent.roster import Roster, RosterError, parse_roster
from edge_agent.settings import AgentSettings
from wire.envelope import MalformedError
from wire.fields import ID_PATTERN, AgentId
from wire.key_files import KeyFileError, read_signing_key
from wire.link import BrokerAddress, LinkSettings, TlsFiles, Will
from wire.messages import WINDOW_MAX
from wire.topics import agent_subscriptions, canary_topic, presence_topic
from wire.trust import TrustRefusedError, anchor

BROKER_PORT = 8883


class ConfigurationError(ValueError):
    """A configuration that cannot be used: file, field, value, cure."""


class TlsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[tls]` table."""

    ca: str
    certificate: str
    key: str


class RelayTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[relay]` table: who makes the door, and what it is told."""

    door: Annotated[str, Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")]
    options: dict[str, Any] = {}


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file as it stands; `folder` is where it stands."""

    agent: Annotated[str, Meta(pattern=ID_PATTERN)]
    installation_pin: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    root_document: str
    key: str
    production: bool
    brokers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    relay: RelayTable
    tls: TlsTable | None = None  # only a broker on loopback may be reached without
    journal: str = "journal.db"
    roster: str = "roster.csv"
    window: Annotated[int, Meta(ge=1, le=WINDOW_MAX)] = 32
    meters_at_once: Annotated[int, Meta(ge=1, le=WINDOW_MAX)] = METERS_AT_ONCE
    folder: str = ""

    def path(self, name: str) -> Path:
        """A path of the file, seen from the file."""
        return Path(self.folder) / name

    @property
    def agent_id(self) -> AgentId:
        """The agent's id."""
        return AgentId(self.agent)


def read_configuration(path: Path) -> Configuration:
    """Read and check agent.toml.

    Raises:
        ConfigurationError: with file, field, value and cure.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    try:
        found = msgspec.convert({**raw, "folder": str(path.parent)}, Configuration)
    except msgspec.ValidationError as error:
        value = _value_at(raw, str(error))
        raise ConfigurationError(
            f"{path}: {error}{value}; see edge_agent/configuration.py"
        ) from None
    _demand_tls(path, found)
    return found


def _value_at(raw: dict[str, Any], error: str) -> str:
    """The value that msgspec's path (`$.relay.door`, `$.brokers[0]`) points at, in words."""
    _, _, where = error.partition("at `$.")
    value: object = raw
    for name in where.rstrip("`").split("[")[0].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None or value is raw else f": it is {value!r}"


def _demand_tls(path: Path, found: Configuration) -> None:
    hosts = {one.host for one in broker_addresses(found, path)}
    if found.tls is None and not hosts <= {"localhost", "127.0.0.1", "::1"}:
        raise ConfigurationError(
            f"{path}: brokers {', '.join(sorted(hosts))} without a table [tls]: "
            "name ca, certificate and key; only loopback may do without"
        )


def broker_addresses(found: Configuration, path: Path) -> tuple[BrokerAddress, ...]:
    """The brokers in the order of preference."""
    addresses = []
    for text in found.brokers:
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, str(BROKER_PORT)
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigurationError(f"{path}: brokers: {text!r} is not host:port")
        addresses.append(BrokerAddress(host=host, port=int(port)))
    return tuple(addresses)


def agent_settings(found: Configuration) -> AgentSettings:
    """The core's settings, with the key and the root document read and the pin checked.

    Raises:
        ConfigurationError: a file is missing or is not what it must be.
    """
    root_path = found.path(found.root_document)
    pin = bytes.fromhex(found.installation_pin)
    try:
        first_root = root_path.read_bytes()
        anchor(first_root, pin)
        key = read_signing_key(found.path(found.key))
    except OSError as error:
        raise ConfigurationError(f"root_document {root_path}: {error}") from None
    except (TrustRefusedError, MalformedError) as error:
        raise ConfigurationError(
            f"root_document {root_path}: {error}; ask commissioning for a new enrolment"
        ) from None
    except KeyFileError as error:
        raise ConfigurationError(f"key: {error}") from None
    return AgentSettings(
        agent=found.agent_id,
        signing_key=key,
        first_root=first_root,
        pin=pin,
        is_production=found.production,
        window=found.window,
    )


def read_roster(found: Configuration) -> Roster:
    """The meters this agent answers for.

    Raises:
        ConfigurationError: missing, or a row is wrong.
    """
    path = found.path(found.roster)
    try:
        return parse_roster(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, RosterError) as error:
        raise ConfigurationError(f"roster {path}: {error}") from None


def link_settings(found: Configuration, path: Path) -> LinkSettings:
    """The durable session of this agent, with presence as its will."""
    tls = None
    if found.tls is not None:
        tls = TlsFiles(
            ca=found.path(found.tls.ca),
            certificate=found.path(found.tls.certificate),
            key=found.path(found.tls.key),
        )
    will = Will(topic=presence_topic(found.agent_id), payload=OFFLINE, retain=True)
    return LinkSettings(
        client_id=found.agent,
        brokers=broker_addresses(found, path),
        tls=tls,
        subscriptions=agent_subscriptions(found.agent_id),
        canary=canary_topic(found.agent),
        will=will,
    )

"""A whole development installation in one folder: keys, broker, configuration, one set of secrets.

Rules kept here: everything listens on loopback; every key is marked `development`; running it again
on the same folder is refused, so no key that something trusts is ever replaced.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cloud.cli.keys import FIRST_EPOCH, KeyPlan, check_keys, make_development_keys
from cloud.configuration import Installation
from cloud.schema import ledger
from cloud.store import migrate, open_store, sqlite_url
from mosquitto.configuration import BrokerPlan, Identity
from mosquitto.initialisation import add_identity, initialise
from wire.checking import WEBHOOK_ONLY_PREFIX
from wire.decoding import decode_body
from wire.documents import Root
from wire.envelope import unpack
from wire.key_files import PRIVATE_MODE, write_whole
from wire.topics import is_id

ENGINE = "ENGINE-1"
GUARD = "GUARD-1"
INTAKE = "INTAKE-1"
LIVE_READER = "LIVE-1"
DESK = "DESK-1"
DOCTOR = "DOCTOR-1"
APPROVERS = ("APPROVER-A", "APPROVER-B")
PROVIDER = "RAZORPAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentPlan:
    """Where a development installation lives and which agents it has."""

    folder: Path
    agents: Sequence[str]
    broker_port: int
    intake_port: int
    extra: Sequence[Identity] = ()  # more broker identities: a witness, the clients of a floor
    signed: Sequence[str] = ()  # providers besides Razorpay, who sign as docs/webhooks.md says
    is_polled: bool = False  # Razorpay's lists are fetched; its API key is to be put in place


class ProviderNameError(ValueError):
    """A provider's name that cannot stand in a topic, or stands twice."""


def check_providers(signed: Sequence[str]) -> None:
    """Refuses names that an intake could not speak for.

    Raises:
        ProviderNameError: with the name.
    """
    seen = {PROVIDER}
    for name in signed:
        if not is_id(name):
            raise ProviderNameError(
                f"{name!r} is no provider's name: use 1 to 32 of A-Z, 0-9 and -, not first a -"
            )
        if name in seen:
            raise ProviderNameError(f"provider {name} stands twice: each has a name of its own")
        seen.add(name)


def intake_scope(signed: Sequence[str], *, is_polled: bool) -> tuple[str, ...]:
    """What the intake may speak for. What is not polled promises no completeness (security.md)."""
    razorpay = PROVIDER if is_polled else f"{WEBHOOK_ONLY_PREFIX}{PROVIDER}"
    return (razorpay, *(f"{WEBHOOK_ONLY_PREFIX}{name}" for name in signed))


def make_development_installation(
    plan: DevelopmentPlan,
    *,
    now_ms: int,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Path:
    """Write everything a cloud on one machine needs; the path of relight.toml.

    Raises:
        KeysExistError, KeyNameError, BrokerPlanError, ProviderNameError: nothing was written.
        OSError: the folder cannot be written.
    """
    check_providers(plan.signed)
    trust = plan.folder / "trust"
    keys = KeyPlan(
        folder=trust,
        engines=(ENGINE,),
        intakes={INTAKE: intake_scope(plan.signed, is_polled=plan.is_polled)},
        guards=(GUARD,),
        agents=plan.agents,
        approvers=APPROVERS,
        stops=(DESK,),
    )
    check_keys(keys)
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    initialise(
        BrokerPlan(
            directory=plan.folder / "broker",
            port=plan.broker_port,
            engines=(ENGINE,),
            guards=(GUARD,),
            intakes=((INTAKE, (PROVIDER, *plan.signed)),),
            desks=(DESK,),
            dashboards=(LIVE_READER,),
            doctors=(DOCTOR,),
            agents=tuple(plan.agents),
        ),
        now=now,
    )
    for identity in plan.extra:
        add_identity(plan.folder / "broker", identity, now=now)
    pin = make_development_keys(keys, now_ms=now_ms, random_bytes=random_bytes)
    for name in (PROVIDER, *plan.signed):
        secret = random_bytes(24).hex()
        path = plan.folder / "secrets" / name.lower()
        write_whole(path, f"{secret}\n".encode("ascii"), mode=PRIVATE_MODE)
    write_whole(plan.folder / "relight.toml", _configuration(plan, pin).encode("utf-8"))
    create_ledger(plan.folder / "ledger.db", trust / "root-1", now_ms=now_ms)
    return plan.folder / "relight.toml"


def write_simulated_agent(
    home: Path, agent: str, options: Mapping[str, object], *, folder: Path | None = None
) -> Path:
    """Write one agent's agent.toml and roster.csv; its relays are simulated.

    Args:
        home: the development installation the agent belongs to.
        agent: its id.
        options: what the simulated meters are told; `meters` is also the roster.
        folder: where the files and the journal go; `home/agents/AGENT` otherwise.

    Returns:
        The path of agent.toml.
    """
    folder = folder or home / "agents" / agent
    folder.mkdir(parents=True, exist_ok=True)
    meters = cast("Sequence[str]", options["meters"])
    rows = "".join(f"{meter},SIM-{meter},,simulated\n" for meter in meters)
    (folder / "roster.csv").write_text(f"meter,serial,flags,line\n{rows}", encoding="ascii")
    home = home.resolve()
    pin = (home / "trust" / "pin").read_text(encoding="ascii").strip()
    brokers = Installation(home / "relight.toml").configuration.broker.addresses
    told = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    path = folder / "agent.toml"
    path.write_text(
        f"""agent = "{agent}"
installation_pin = "{pin}"
root_document = "{home}/trust/root-1"
key = "{home}/trust/keys/{agent}.key"
production = false
brokers = {json.dumps(brokers)}

[tls]
ca = "{home}/broker/certificates/ca.crt"
certificate = "{home}/broker/certificates/{agent}.crt"
key = "{home}/broker/certificates/{agent}.key"

[relay]
door = "meter_sim.door:open_door"

[relay.options]
{told}
""",
        encoding="utf-8",
    )
    return path


def create_ledger(path: Path, root_1: Path, *, now_ms: int) -> None:
    """Make a new ledger of `root_1`'s installation; its generation begins now (R13)."""
    root = decode_body(Root, unpack(root_1.read_bytes()).body)
    path.touch(mode=PRIVATE_MODE)  # what consumers paid is nobody else's to read
    store = open_store(sqlite_url(path))
    migrate(store)
    with store.begin() as transaction:
        transaction.execute(
            ledger.insert(),
            {
                "id": 1,
                "installation": root.installation,
                "generation_ms": now_ms,
                "epoch": FIRST_EPOCH,
            },
        )
    store.dispose()


def _configuration(plan: DevelopmentPlan, pin: str) -> str:
    return f"""# A development installation on this machine; docs/operations.md explains every key.

[trust]
pin = "{pin}"  # digest of root document 1
root = "trust/root-1"
documents = "trust/documents"
is_production = false  # a production process refuses keys marked development

[broker]
addresses = ["127.0.0.1:{plan.broker_port}"]
certificates = "broker/certificates"

[engine]
name = "{ENGINE}"
key = "trust/keys/{ENGINE}.key"
ledger = "ledger.db"
identities = "trust/identities"

[intake]
name = "{INTAKE}"
key = "trust/keys/{INTAKE}.key"
host = "127.0.0.1"
port = {plan.intake_port}
spool = "spool.db"

[intake.razorpay]
secrets = ["secrets/razorpay"]  # up to two live ones, each in a file of mode 0600
{_POLLED if plan.is_polled else ""}{"".join(_signed(name) for name in plan.signed)}
[guard]  # on a host and as a user of its own, where it matters: else it has no independence
name = "{GUARD}"
key = "trust/keys/{GUARD}.key"
store = "guard.db"
"""


_POLLED = """key_id = "secrets/razorpay-key-id"  # the API key with which its lists are fetched
key_secret = "secrets/razorpay-key-secret"
"""


def _signed(name: str) -> str:
    return f"""
[intake.signed.{name}]  # POST /webhooks/{name.lower()}
secrets = ["secrets/{name.lower()}"]
"""

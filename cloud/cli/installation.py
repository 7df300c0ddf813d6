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
from wire.decoding import decode_body
from wire.documents import Root
from wire.envelope import unpack
from wire.key_files import PRIVATE_MODE, write_whole

ENGINE = "ENGINE-1"
GUARD = "GUARD-1"
INTAKE = "INTAKE-1"
LIVE_READER = "LIVE-1"
DESK = "DESK-1"
DOCTOR = "DOCTOR-1"
PROVIDER = "RAZORPAY"
# Razorpay is not polled yet, so its watermark promises no completeness (docs/security.md).
INTAKE_SCOPE = (f"WEBHOOK:{PROVIDER}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentPlan:
    """Where a development installation lives and which agents it has."""

    folder: Path
    agents: Sequence[str]
    broker_port: int
    intake_port: int
    extra: Sequence[Identity] = ()  # more broker identities: a witness, the clients of a floor


def make_development_installation(
    plan: DevelopmentPlan,
    *,
    now_ms: int,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Path:
    """Write everything a cloud on one machine needs; the path of relight.toml.

    Raises:
        KeysExistError, KeyNameError, BrokerPlanError: nothing was written.
        OSError: the folder cannot be written.
    """
    trust = plan.folder / "trust"
    keys = KeyPlan(
        folder=trust,
        engines=(ENGINE,),
        intakes={INTAKE: INTAKE_SCOPE},
        guards=(GUARD,),
        agents=plan.agents,
    )
    check_keys(keys)
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    initialise(
        BrokerPlan(
            directory=plan.folder / "broker",
            port=plan.broker_port,
            engines=(ENGINE,),
            guards=(GUARD,),
            intakes=((INTAKE, (PROVIDER,)),),
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
    secret = random_bytes(24).hex()
    secret_path = plan.folder / "secrets" / "razorpay"
    write_whole(secret_path, f"{secret}\n".encode("ascii"), mode=PRIVATE_MODE)
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
"""

"""The demo's world: broker, cloud, agents and meters as real processes over one folder.

Rules kept here: everything is on loopback and free ports; what was started is stopped, and nothing
else; each process writes a log of its own, named when something goes wrong.
"""

import contextlib
import csv
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sqlalchemy
from sqlalchemy import func, select

from cloud.cli.installation import (
    DevelopmentPlan,
    make_development_installation,
    write_simulated_agent,
)
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.schema import agents
from cloud.store import open_store, reading
from mosquitto.configuration import Identity, Kind

AGENTS = ("AGENT-1", "AGENT-2")
METERS_PER_AGENT = 20
WITNESS = "WITNESS-1"  # may do on the broker whatever the engine may; holds no signing key
START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
POLL_S = 0.002  # how often the demo looks whether something happened

INDIA = timezone(timedelta(minutes=330))
DARK_ACCOUNT = "N3000000001"
DARK_METER = "INDORE-000001"
BILL_RUPEES = "1842.50"
CHARGE_RUPEES = "150.00"  # for cutting, and again for reconnecting
ORDER = "order_DEMO0001"


class DemoError(RuntimeError):
    """The demo did not go as promised; the message says what was missing."""


@dataclass(slots=True, kw_only=True)
class DemoWorld:
    """A running installation."""

    folder: Path
    broker_port: int
    intake_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The installation's relight.toml."""
        return self.folder / "relight.toml"

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start one of our own processes, its output in logs/NAME.log."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(  # our own programs
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def relight(self, *arguments: str) -> str:
        """Run a `relight` command to its end; what it printed."""
        done = subprocess.run(  # our own program
            [sys.executable, "-m", "cloud.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"relight {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def wait_for(self, what: str, is_there: Callable[[], bool]) -> None:
        """Wait until `is_there`, at most START_WITHIN_S; name a process that ended meanwhile."""
        deadline = time.monotonic() + START_WITHIN_S
        while not is_there():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended: see {self.folder}/logs/{name}.log")
            if time.monotonic() > deadline:
                raise DemoError(f"no {what} within {START_WITHIN_S:.0f} s: see {self.folder}/logs")
            time.sleep(POLL_S)

    def ledger(self) -> sqlalchemy.Engine:
        """The ledger, to look at."""
        return open_store(Installation(self.config).ledger_url())

    def stop(self) -> None:
        """End every process that was started, the youngest first."""
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN_S)
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def demo_world(folder: Path) -> Iterator[DemoWorld]:
    """Build the installation, import its consumers, start everything, wait until it is ready."""
    ports = free_ports(2)
    world = DemoWorld(folder=folder, broker_port=ports[0], intake_port=ports[1])
    make_development_installation(
        DevelopmentPlan(
            folder=folder,
            agents=AGENTS,
            broker_port=world.broker_port,
            intake_port=world.intake_port,
            extra=(Identity(name=WITNESS, kind=Kind.ENGINE),),
        ),
        now_ms=clock_ms(),
    )
    for place, agent in enumerate(AGENTS):
        meters = _meters(place)
        write_simulated_agent(
            folder,
            agent,
            {
                "meters": meters,
                "initially_open": [meter for meter in meters if meter == DARK_METER],
                "actuation_ms": 120,
                "latency_ms": [20, 60],
                "seed": secrets.randbelow(1_000_000),
            },
        )
    try:
        world.start("broker", ("cloud.cli", "broker", "run", str(folder / "broker")))
        world.wait_for("broker", lambda: is_listening(world.broker_port))
        world.start("cloud", ("cloud.cli", "up", "--config", str(world.config)))
        _import_consumers(world)  # meanwhile the engine starts, so no agent's first hello is lost
        for agent in AGENTS:
            config = folder / "agents" / agent / "agent.toml"
            world.start(agent, ("edge_agent", "run", str(config)))
        world.wait_for("intake", lambda: is_listening(world.intake_port))
        ledger = world.ledger()
        world.wait_for("agents", lambda: _welcomed(ledger) == len(AGENTS))
        ledger.dispose()
        yield world
    finally:
        world.stop()


def free_ports(count: int) -> list[int]:
    """Ports of loopback nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _meters(place: int) -> list[str]:
    first = place * METERS_PER_AGENT + 1
    return [f"INDORE-{number:06d}" for number in range(first, first + METERS_PER_AGENT)]


def _import_consumers(world: DemoWorld) -> None:
    """Forty consumers; one was cut three hours ago for an unpaid bill."""
    now = datetime.now(INDIA)
    cut_at = (now - timedelta(hours=3)).isoformat(timespec="seconds")
    issued_on, due_on = (f"{now - timedelta(days=days):%Y-%m-%d}" for days in (40, 25))
    meters = [(agent, meter) for place, agent in enumerate(AGENTS) for meter in _meters(place)]
    accounts = [f"N300000{number:04d}" for number in range(1, len(meters) + 1)]
    tables: dict[str, list[Sequence[str]]] = {
        "accounts": [
            ("account_id", "zone", "language"),
            *((account, "INDORE-EAST", "hi") for account in accounts),
        ],
        "meters": [
            ("meter_id", "account_id", "agent_id", "installed_on", "mapped_on", "feeder",
             "transformer"),
            *(
                (meter, account, agent, "2022-06-01", "2022-06-01", "FEEDER-1", "DTR-1")
                for account, (agent, meter) in zip(accounts, meters, strict=True)
            ),
        ],
        "bills": [
            ("bill_id", "account_id", "amount", "issued_on", "due_on"),
            ("B-2026-000001", DARK_ACCOUNT, BILL_RUPEES, issued_on, due_on),
        ],
        "cuts": [
            ("account_id", "meter_id", "cut_at", "cut_by", "disconnection_charge",
             "reconnection_charge", "order"),
            (DARK_ACCOUNT, DARK_METER, cut_at, "remote", CHARGE_RUPEES,
             CHARGE_RUPEES, f"RAZORPAY:{ORDER}"),
        ],
    }  # fmt: skip
    folder = world.folder / "import"
    folder.mkdir()
    for kind, rows in tables.items():
        path = folder / f"{kind}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        world.relight("import", kind, str(path), "--config", str(world.config))


def _welcomed(ledger: sqlalchemy.Engine) -> int:
    with reading(ledger) as connection:
        count = connection.scalar(
            select(func.count()).select_from(agents).where(agents.c.heard_at_ms.is_not(None))
        )
    return int(count or 0)

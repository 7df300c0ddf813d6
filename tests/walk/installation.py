"""A whole installation as it is installed: every part a process of its own, so it can be killed.

What a process says stands in `logs/NAME.log`; a process that ends unasked fails whoever waits.
"""

import contextlib
import csv
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy

from cloud.cli.demo_world import free_ports
from cloud.cli.installation import (
    DevelopmentPlan,
    make_development_installation,
    write_simulated_agent,
)
from cloud.configuration import Installation
from cloud.store import open_store
from mosquitto.broker import command
from mosquitto.configuration import Identity, Kind
from tests.walk.provider import Consumer, Provider

# Whatever is waited for and is not there by then is missing. The longest honest waits are a new
# command after a void one (15 s) and a second re-send after a killed broker (10 s, 15 s).
LONGEST_WAIT_S = 60.0
STOP_WITHIN_S = 15.0
LOOK_S = 0.01
WITNESS = "WITNESS-1"  # may do on the broker whatever the engine may; holds no signing key
OWED_PAISE = 214_250  # a bill of Rs 1,842.50, Rs 150 for cutting and Rs 150 for reconnecting


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """One agent: how many meters, all cut, and how slow its line is."""

    meters: int
    latency_ms: tuple[int, int] = (1, 5)
    actuation_ms: int = 20


@dataclass(slots=True)
class Walk:
    """An installation with its processes; tests take consumers from it and pay for them."""

    folder: Path
    plan: dict[str, AgentPlan]
    made_at_ms: int
    ports: list[int] = field(default_factory=lambda: free_ports(2))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    dark: dict[str, list[Consumer]] = field(default_factory=dict)
    meters: dict[str, list[str]] = field(default_factory=dict)

    def build(self) -> None:
        broker_port, intake_port = self.ports
        make_development_installation(
            DevelopmentPlan(
                folder=self.folder,
                agents=tuple(self.plan),
                broker_port=broker_port,
                intake_port=intake_port,
                extra=(Identity(name=WITNESS, kind=Kind.ENGINE),),
            ),
            now_ms=self.made_at_ms,
        )
        number = 1
        for agent, plan in self.plan.items():
            everybody = [Consumer(number + at, agent) for at in range(plan.meters)]
            number += plan.meters
            self.meters[agent] = [one.meter for one in everybody]
            self.dark[agent] = everybody
            self.write_agent(agent)
        self._import([one for listed in self.dark.values() for one in listed])

    @property
    def config(self) -> Path:
        return self.folder / "relight.toml"

    @property
    def provider(self) -> Provider:
        installation = Installation(self.config)
        (secret,) = installation.secrets(installation.intake.razorpay.secrets)
        return Provider(self.ports[1], secret, events=time.time_ns())

    def journal(self, agent: str) -> Path:
        return self.folder / "agents" / agent / "journal.db"

    def take(self, agent: str, count: int) -> list[Consumer]:
        """Consumers nobody has paid for yet."""
        taken, self.dark[agent] = self.dark[agent][:count], self.dark[agent][count:]
        assert len(taken) == count, "give the plan more meters"
        return taken

    # Processes

    def command(self, name: str) -> list[str]:
        if name == "broker":  # itself, not its runner: what is killed must be mosquitto
            return command(self.folder / "broker")
        if name in self.plan:
            return [program("relight-agent"), "run", str(self.journal(name).parent / "agent.toml")]
        return [program("relight"), name, "--config", str(self.config)]

    def start(self, *names: str) -> None:
        """Start parts that do not run; returns when each is there for the others."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        for name in names:
            connected = self.connections(name)
            with (logs / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            if name == "broker":
                self.until("broker", lambda: is_listening(self.ports[0]))
            elif name in ("intake", "up"):
                self.until("intake", lambda: is_listening(self.ports[1]))
            else:
                until_one_more = partial(self._is_connected_again, name, connected)
                self.until(f"connection of {name}", until_one_more)

    def connections(self, name: str) -> int:
        """How often a part has connected to the broker, as the broker tells."""
        client = "ENGINE-1" if name == "engine" else name
        return self.log("broker").count(f" as {client} (")

    def _is_connected_again(self, name: str, before: int) -> bool:
        return self.connections(name) > before

    def start_all(self) -> None:
        """Start whatever of the installation does not run."""
        parts = ("broker", "engine", "intake", *self.plan)
        self.start(*(one for one in parts if one not in self.processes))

    def kill(self, *names: str) -> None:
        """kill -9, as a power cut does to a process."""
        for name in names:
            process = self.processes.pop(name)
            process.kill()
            process.wait(STOP_WITHIN_S)

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_WITHIN_S)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN_S)
            process.kill()
            process.wait(STOP_WITHIN_S)

    def relight(self, *arguments: str) -> str:
        """Run a command of `relight` to its end; what it printed."""
        return self.relight_alone(*arguments, "--config", str(self.config))

    def relight_alone(self, *arguments: str) -> str:
        """Run a command that needs no installation."""
        done = subprocess.run(
            [program("relight"), *arguments],
            capture_output=True, text=True, check=False, timeout=LONGEST_WAIT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def traces(self) -> list[str]:
        """The logs in which somebody's exception stands."""
        logs = sorted((self.folder / "logs").glob("*.log"))
        return [one.stem for one in logs if "Traceback" in one.read_text(encoding="utf-8")]

    # Waiting

    def until(self, what: str, is_there: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + LONGEST_WAIT_S
        while not is_there():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended by itself: {self.log(name)[-2_000:]}"
            assert time.monotonic() < give_up_s, f"no {what} within {LONGEST_WAIT_S:.0f} s"
            time.sleep(LOOK_S)

    def ledger(self) -> sqlalchemy.Engine:
        return open_store(Installation(self.config).ledger_url())

    # What it is made of

    def write_agent(self, agent: str, *, closed: Collection[str] = ()) -> None:
        """Its files; `closed` are the relays that are closed when it starts, all others open."""
        plan, meters = self.plan[agent], list(self.meters[agent])
        write_simulated_agent(
            self.folder,
            agent,
            {
                "meters": meters,
                "initially_open": [one for one in meters if one not in closed],
                "actuation_ms": plan.actuation_ms,
                "latency_ms": list(plan.latency_ms),
            },
        )

    def _import(self, consumers: Sequence[Consumer]) -> None:
        """Every consumer owes one bill and was cut three hours ago."""
        now = datetime.now(UTC)
        cut_at = (now - timedelta(hours=3)).isoformat(timespec="seconds")
        days = [f"{now - timedelta(days=one):%Y-%m-%d}" for one in (40, 25)]
        tables: dict[str, list[Sequence[str]]] = {
            "accounts": [("account_id", "zone", "language")],
            "meters": [("meter_id", "account_id", "agent_id", "installed_on", "mapped_on",
                        "feeder", "transformer")],
            "bills": [("bill_id", "account_id", "amount", "issued_on", "due_on")],
            "cuts": [("account_id", "meter_id", "cut_at", "cut_by", "disconnection_charge",
                      "reconnection_charge", "order")],
        }  # fmt: skip
        for one in consumers:
            account, meter = one.account, one.meter
            tables["accounts"].append((account, "INDORE-EAST", "hi"))
            tables["meters"].append(
                (meter, account, one.agent, "2022-06-01", "2022-06-01", "F1", "D1")
            )
            tables["bills"].append((f"B-{meter}", account, "1842.50", *days))
            tables["cuts"].append(
                (account, meter, cut_at, "remote", "150.00", "150.00", f"RAZORPAY:{one.order}")
            )
        for kind, rows in tables.items():
            path = self.folder / f"{kind}.csv"
            with path.open("w", newline="", encoding="ascii") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
            self.relight("import", kind, str(path))


def program(name: str) -> str:
    """A command as the installation put it beside the interpreter."""
    return str(Path(sys.executable).with_name(name))


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

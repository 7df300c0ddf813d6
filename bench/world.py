"""A real installation to measure: broker, cloud and a fleet as processes, accounts cut and owing.

Rules kept here: everything durable is on the disk of the folder, except the agents' journals, which
stand on a RAM disk because fifty concentrators do not share one disk; every output says so. CPU is
read from the kernel's own accounting of each process.
"""

import contextlib
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from bench.floor import FloorPlan, run_floor
from cloud.cli.demo_world import DemoWorld, free_ports, is_listening
from cloud.cli.installation import (
    PROVIDER,
    DevelopmentPlan,
    make_development_installation,
    write_simulated_agent,
)
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.imports import import_file
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import agents, commands, filed_items
from cloud.store import migrate, open_store, reading
from mosquitto.configuration import Identity, Kind

DISK = Path("/var/tmp")  # noqa: S108  # unlike /tmp it is never a RAM disk
RAM_DISK = Path("/dev/shm")  # noqa: S108  # the kernel's RAM disk, not a guessable temporary name
BILL_RUPEES = "1842.50"
OWED_PAISE = 184_250
FLOOR_INTAKE, FLOOR_ENGINE = "FLOOR-INTAKE", "FLOOR-ENGINE"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class BenchWorld:
    """A running installation under measurement."""

    world: DemoWorld
    meters: dict[str, list[str]]  # agent -> its meters
    floor_agents: list[str] = field(default_factory=list)

    @property
    def installation(self) -> Installation:
        """Its configuration."""
        return Installation(self.world.config)

    def accounts(self) -> list[tuple[str, str]]:
        """Every (account, meter), agents taking turns, as payments would come."""
        columns = list(self.meters.values())
        listed = [meters[row] for row in range(len(columns[0])) for meters in columns]
        return [(account_of(meter), meter) for meter in listed]

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, per process of the installation, its children included."""
        return {name: process_cpu_s(process.pid) for name, process in self.world.processes.items()}

    def filed(self) -> tuple[int, int]:
        """How many outcomes are filed, and when the last one was."""
        with reading(self.world.ledger()) as connection:
            count, last_ms = connection.execute(
                select(func.count(), func.max(filed_items.c.filed_at_ms)).where(
                    filed_items.c.kind == "command"
                )
            ).one()
        return int(count), int(last_ms or 0)

    def floor(self, count: int, **pace: float) -> dict[str, float]:
        """The same hops by C clients on the same listener; pace: `rate_per_s` or `window`."""
        return run_floor(
            FloorPlan(
                directory=self.world.folder / "broker",
                host="127.0.0.1",
                port=self.world.broker_port,
                intake=FLOOR_INTAKE,
                engine=FLOOR_ENGINE,
                agents=self.floor_agents,
                count=count,
                **pace,  # type: ignore[arg-type]  # one of the two, as the plan demands
            )
        )

    def outcomes(self) -> dict[str, int]:
        """How the commands ended."""
        with reading(self.world.ledger()) as connection:
            return dict(
                connection.execute(
                    select(
                        func.coalesce(commands.c.outcome, commands.c.state), func.count()
                    ).group_by(commands.c.outcome, commands.c.state)
                )
                .tuples()
                .all()
            )


def payment_of(meter: str) -> str:
    """The provider's id of the payment for a bench meter."""
    return f"pay_{meter.removeprefix('M-')}"


def order_of(meter: str) -> str:
    """The provider's order for a bench meter's quote."""
    return f"order_{meter.removeprefix('M-')}"


def account_of(meter: str) -> str:
    """The account of a bench meter."""
    return f"N{meter.removeprefix('M-')}"


@contextlib.contextmanager
def bench_world(*, agent_count: int, meters_per_agent: int) -> Iterator[BenchWorld]:
    """Build, import and start an installation; everything ends with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="relight-bench-", dir=DISK) as disk,
        tempfile.TemporaryDirectory(prefix="relight-bench-", dir=RAM_DISK) as ram,
    ):
        names = [f"A-{number:04d}" for number in range(agent_count)]
        floor_agents = [f"FLOOR-A{number:03d}" for number in range(agent_count)]
        ports = free_ports(2)
        world = DemoWorld(folder=Path(disk), broker_port=ports[0], intake_port=ports[1])
        make_development_installation(
            DevelopmentPlan(
                folder=Path(disk),
                agents=names,
                broker_port=ports[0],
                intake_port=ports[1],
                extra=_floor_identities(floor_agents),
            ),
            now_ms=clock_ms(),
        )
        meters = {
            name: [f"M-{place * meters_per_agent + at:07d}" for at in range(meters_per_agent)]
            for place, name in enumerate(names)
        }
        bench = BenchWorld(world=world, meters=meters, floor_agents=floor_agents)
        _import(bench)
        for name in names:
            options = {
                "meters": meters[name],
                "initially_open": meters[name],
                "actuation_ms": 0,
                "latency_ms": 0,
            }
            write_simulated_agent(Path(disk), name, options, folder=Path(ram) / name)
        try:
            _start(bench, Path(ram))
            yield bench
        finally:
            world.stop()


def _floor_identities(floor_agents: Sequence[str]) -> tuple[Identity, ...]:
    return (
        Identity(name=FLOOR_ENGINE, kind=Kind.ENGINE),
        Identity(name=FLOOR_INTAKE, kind=Kind.INTAKE, providers=("RZP",)),
        *(Identity(name=name, kind=Kind.AGENT) for name in floor_agents),
    )


def _start(bench: BenchWorld, ram: Path) -> None:
    world = bench.world
    world.start("broker", ("cloud.cli", "broker", "run", str(world.folder / "broker")))
    world.wait_for("broker", lambda: is_listening(world.broker_port))
    world.start("engine", ("cloud.cli", "engine", "--config", str(world.config)))
    world.start("intake", ("cloud.cli", "intake", "--config", str(world.config)))
    world.start("fleet", ("meter_sim", "fleet", str(ram)))
    world.wait_for("intake", lambda: is_listening(world.intake_port))
    ledger = world.ledger()

    def welcomed() -> bool:
        with reading(ledger) as connection:
            heard = (
                select(func.count()).select_from(agents).where(agents.c.heard_at_ms.is_not(None))
            )
            return connection.scalar(heard) == len(bench.meters)

    world.wait_for("agents", welcomed)
    ledger.dispose()


def _import(bench: BenchWorld) -> None:
    """Every account owes one bill and was cut an hour ago."""
    now_s = clock_ms() / 1_000
    day = [time.strftime("%Y-%m-%d", time.gmtime(now_s - days * 86_400)) for days in (40, 25)]
    cut_at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now_s - 3_600))
    of_meter = [(meter, name) for name, listed in bench.meters.items() for meter in listed]
    tables: dict[str, tuple[str, list[tuple[str, ...]]]] = {
        "accounts": (
            "account_id,zone,language",
            [(account_of(meter), "INDORE-EAST", "hi") for meter, _ in of_meter],
        ),
        "meters": (
            "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer",
            [
                (meter, account_of(meter), name, "2022-06-01", "2022-06-01", "F1", "D1")
                for meter, name in of_meter
            ],
        ),
        "bills": (
            "bill_id,account_id,amount,issued_on,due_on",
            [(f"B{meter}", account_of(meter), BILL_RUPEES, *day) for meter, _ in of_meter],
        ),
        "cuts": (
            "account_id,meter_id,cut_at,cut_by,disconnection_charge,reconnection_charge,order",
            [
                (account_of(meter), meter, cut_at, "remote", "0.00", "0.00",
                 f"{PROVIDER}:{order_of(meter)}")
                for meter, _ in of_meter
            ],
        ),
    }  # fmt: skip
    store = open_store(bench.installation.ledger_url())
    migrate(store)
    for kind, (header, rows) in tables.items():
        path = bench.world.folder / f"{kind}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            file.write(header + "\n")
            csv.writer(file).writerows(rows)
        report = import_file(
            store, kind, path, now_ms=clock_ms(), is_dry_run=False, policy=MP_WEST_FIRST_PHASE
        )
        if not report.is_good:
            raise RuntimeError(report.text())
    store.dispose()


def process_cpu_s(pid: int) -> float:
    """User and system CPU of a process, its live children, and those it waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return 0.0
    own = sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_S
    return own + sum(process_cpu_s(int(child)) for child in children)


def machine() -> str:
    """What the figures were measured on, in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores, {model}, Python {version}"

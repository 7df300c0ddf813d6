"""Restart: an engine killed with 100,000 commands outstanding; how soon it sends again.

A real `relight engine` on a ledger on disk in which every agent's window is full, against a real
broker with mutual TLS. Somebody who may read every topic listens to the commands; the time runs
from the start of the process to the first of them. The worst of several kills is given. After the
last one it listens until every command was sent again.

The floor is a bare Python client: interpreter, the link's imports, TLS, one message of that size.
"""

import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.outstanding import WINDOW, fill_ledger
from bench.world import DISK, FLOOR_ENGINE, machine
from cloud.cli.demo_world import DemoWorld, free_ports, is_listening
from cloud.cli.installation import DOCTOR, DevelopmentPlan, make_development_installation
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from mosquitto.configuration import Identity, Kind
from wire.checking import Junk, check
from wire.link import Delivery, Link

OUTSTANDING = 100_000
AGENTS = -(-OUTSTANDING // WINDOW)
KILLS = 3
SERVES_FOR_S = 3.0  # how long it is in full work before it is killed
QUIET_FOR_S = 1.0  # so long after the kill nothing of the killed one may be under way
FIRST_WITHIN_S = 60.0
ALL_WITHIN_S = 300.0
FLOOR_RUNS = 5
FLOOR_TOPIC = "command/FLOOR/FLOOR"
CHECKED = 500  # envelopes an agent's own check must find genuine


@dataclass(slots=True)
class _Ear:
    """What was heard since the last `forget`."""

    first_at_s: float = 0.0
    heard: dict[str, Delivery] = field(default_factory=dict)
    is_heard: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Begin anew."""
        self.first_at_s = 0.0
        self.heard.clear()
        self.is_heard.clear()

    def take(self, delivery: Delivery) -> None:
        """Note one command."""
        if not self.heard:
            self.first_at_s = time.perf_counter()
        self.heard.setdefault(delivery.topic, delivery)
        self.is_heard.set()


def run() -> dict[str, object]:
    """Measure; the figures with their units in the keys."""
    with _world() as world:
        count = fill_ledger(Installation(world.config), _agents(), now_ms=clock_ms())
        figures = asyncio.run(_measure(world, count))
    return {
        "bench": "restart",
        **figures,
        "outstanding": count,
        "agents": AGENTS,
        "kills": KILLS,
        "mutual_tls": True,
        "machine": machine(),
    }


def _agents() -> list[str]:
    return [f"A-{number:04d}" for number in range(AGENTS)]


@contextlib.contextmanager
def _world() -> Iterator[DemoWorld]:
    with tempfile.TemporaryDirectory(prefix="relight-bench-", dir=DISK) as disk:
        ports = free_ports(2)
        world = DemoWorld(folder=Path(disk), broker_port=ports[0], intake_port=ports[1])
        make_development_installation(
            DevelopmentPlan(
                folder=world.folder,
                agents=_agents(),
                broker_port=ports[0],
                intake_port=ports[1],
                extra=(Identity(name=FLOOR_ENGINE, kind=Kind.ENGINE),),
            ),
            now_ms=clock_ms(),
        )
        try:
            world.start("broker", ("cloud.cli", "broker", "run", str(world.folder / "broker")))
            world.wait_for("broker", lambda: is_listening(world.broker_port))
            yield world
        finally:
            world.stop()


async def _measure(world: DemoWorld, count: int) -> dict[str, object]:
    installation = Installation(world.config)
    settings = installation.link_settings(DOCTOR, ("command/#",))
    link = Link(settings, randomness=random.Random(1))
    ear = _Ear()
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(_listen(link, ear))]
    await asyncio.wait_for(link.until_ready(), 10)
    await _started(world, ear)
    resumed_ms = []
    for _ in range(KILLS):
        await asyncio.sleep(SERVES_FOR_S)
        await _kill(world, ear)
        began_s = await _started(world, ear)
        resumed_ms.append((ear.first_at_s - began_s) * 1_000)
    all_s = await _until_all(ear, count) - began_s
    _check_envelopes(installation, ear)
    await _kill(world, ear)
    parts = await asyncio.to_thread(_parts, world)
    floor_ms = [await _floor(world, ear) for _ in range(FLOOR_RUNS)]
    await link.stop()
    for task in tasks:
        task.cancel()
    return {
        "resume_ms": round(max(resumed_ms)),
        "resume_each_ms": [round(one) for one in resumed_ms],
        "resend_all_s": round(all_s, 1),
        "resent_per_s": round(count / all_s),
        "start_up": parts,
        "envelopes_verified": CHECKED,
        "floor": {"resume_ms": round(statistics.median(floor_ms))},
    }


async def _listen(link: Link, ear: _Ear) -> None:
    while True:
        deliveries = await link.receive(512)
        link.acknowledge(deliveries)
        for one in deliveries:
            ear.take(one)


async def _started(world: DemoWorld, ear: _Ear) -> float:
    """Start the engine and wait for its first command; when it was started."""
    ear.forget()
    began_s = time.perf_counter()
    world.start("engine", ("cloud.cli", "engine", "--config", str(world.config)))
    await asyncio.wait_for(ear.is_heard.wait(), FIRST_WITHIN_S)
    return began_s


async def _kill(world: DemoWorld, ear: _Ear) -> None:
    """Kill the engine and wait until nothing of it is under way any more."""
    engine = world.processes.pop("engine")
    engine.kill()
    await asyncio.to_thread(engine.wait)
    with contextlib.suppress(TimeoutError):
        while True:
            ear.is_heard.clear()
            await asyncio.wait_for(ear.is_heard.wait(), QUIET_FOR_S)


async def _until_all(ear: _Ear, count: int) -> float:
    """When the last command was heard for the first time."""
    async with asyncio.timeout(ALL_WITHIN_S):
        while len(ear.heard) < count:
            ear.is_heard.clear()
            await ear.is_heard.wait()
    return time.perf_counter()


def _check_envelopes(installation: Installation, ear: _Ear) -> None:
    """What was heard must be genuine to the agent it is for."""
    ring = installation.authorities(latest_ms=clock_ms()).keyring()
    for one in random.Random(1).sample(list(ear.heard.values()), CHECKED):
        checked = check(one, ring, at_ms=clock_ms(), receiver=one.topic.split("/")[1])
        if isinstance(checked, Junk):
            raise RuntimeError(  # noqa: TRY004  # the message is bad, no argument's type
                f"{one.topic}: an agent would drop it: {checked}"
            )


def _parts(world: DemoWorld) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.startup", str(world.config), str(time.time_ns())],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


async def _floor(world: DemoWorld, ear: _Ear) -> float:
    """From the start of a bare client to its message, ms."""
    ear.forget()
    certificates = str(world.folder / "broker" / "certificates")
    began_s = time.perf_counter()
    arguments = (certificates, FLOOR_ENGINE, str(world.broker_port), FLOOR_TOPIC)
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.bare_client", *arguments
    )
    await asyncio.wait_for(ear.is_heard.wait(), FIRST_WITHIN_S)
    await client.wait()
    return (ear.first_at_s - began_s) * 1_000

"""Intake: signed webhooks answered after fsync; how many a second, and how late at 300 a second.

A real `relight intake`: spool on disk (`synchronous=FULL`), a real broker with mutual TLS, receipts
by somebody in the engine's place who does nothing else. Open loop at 300 a second first, then flat
out. Afterwards every answered report must stand in the spool byte for byte, and be receipted.

The floor is a C program that answers the same requests of the same client after one fdatasync per
group, on the same disk: what this client, HTTP and the disk leave when nothing is verified, parsed,
indexed or forwarded.
"""

import contextlib
import hmac
import json
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.floor import compile_floor
from bench.http_load import CONNECTIONS, Answers, send_all
from bench.latency import percentile
from bench.webhooks import captured, request
from bench.world import DISK, OWED_PAISE, machine, process_cpu_s
from cloud.cli.demo_world import DemoWorld, free_ports, is_listening
from cloud.cli.installation import DevelopmentPlan, make_development_installation
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation

PACED_PER_S = 300
PACED = 6_000  # 20 s
FLAT_OUT = 20_000  # some 10 s
WARM_UP = 500  # imports and caches; not counted
RECEIPTED_WITHIN_S = 60.0
FLOOR_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    paced: Answers
    flat_out: Answers


def run() -> dict[str, object]:
    """Measure; the figures with their units in the keys."""
    with _world() as world:
        bodies = [_body(number) for number in range(WARM_UP + PACED + FLAT_OUT)]
        requests = _requests(Installation(world.config), bodies)
        before = {name: process_cpu_s(one.pid) for name, one in world.processes.items()}
        measured = _measure(world.intake_port, requests)
        after = {name: process_cpu_s(one.pid) for name, one in world.processes.items()}
        _wait_until_receipted(world)
        stored = _stored_byte_for_byte(world.folder / "spool.db", bodies)
        floor = _floor(requests, bodies)
    spent = {name: after[name] - before[name] for name in before}
    return {
        "bench": "intake",
        "rate_per_s": round(measured.flat_out.rate_per_s, 1),
        **_latency(measured.paced),
        "connections": CONNECTIONS,
        "report_bytes": len(bodies[0]),
        "reports": len(bodies),
        "stored_byte_for_byte_and_receipted": stored,
        "cpu_us_per_report": {
            name: round(cpu / len(bodies) * 1_000_000) for name, cpu in spent.items()
        },
        "receipts": "by a stand-in for the engine that stores nothing",
        "mutual_tls": True,
        "machine": machine(),
        "floor": floor,
    }


def _latency(answers: Answers) -> dict[str, float]:
    ordered = sorted(answers.latencies_ms)
    return {
        f"p50_ms_at_{PACED_PER_S}": round(percentile(ordered, 50), 2),
        f"p99_ms_at_{PACED_PER_S}": round(percentile(ordered, 99), 2),
        f"max_ms_at_{PACED_PER_S}": round(ordered[-1], 2),
    }


@contextlib.contextmanager
def _world() -> Iterator[DemoWorld]:
    """Broker, intake and the giver of receipts, on the disk."""
    with tempfile.TemporaryDirectory(prefix="relight-bench-", dir=DISK) as disk:
        ports = free_ports(2)
        world = DemoWorld(folder=Path(disk), broker_port=ports[0], intake_port=ports[1])
        plan = DevelopmentPlan(
            folder=world.folder, agents=("A-0001",), broker_port=ports[0], intake_port=ports[1]
        )
        make_development_installation(plan, now_ms=clock_ms())
        try:
            world.start("broker", ("cloud.cli", "broker", "run", str(world.folder / "broker")))
            world.wait_for("broker", lambda: is_listening(world.broker_port))
            world.start("receiver", ("bench.receiver", str(world.config)))
            world.start("intake", ("cloud.cli", "intake", "--config", str(world.config)))
            world.wait_for("intake", lambda: is_listening(world.intake_port))
            world.wait_for("intake's link", lambda: bool(_health(world)["is_connected"]))
            yield world
        finally:
            world.stop()


def _body(number: int) -> bytes:
    order, account = f"order_B{number:07d}", f"N{number:07d}"
    return captured(f"pay_B{number:07d}", order, account, OWED_PAISE)


def _requests(installation: Installation, bodies: Sequence[bytes]) -> list[bytes]:
    (secret,) = installation.secrets(installation.intake.razorpay.secrets)
    key = secret.encode("utf-8")
    return [
        request(body, hmac.digest(key, body, "sha256").hex(), number)
        for number, body in enumerate(bodies)
    ]


def _measure(port: int, requests: Sequence[bytes]) -> _Figures:
    async def measured() -> _Figures:
        paced = WARM_UP + PACED
        await send_all(port, requests[:WARM_UP])
        return _Figures(
            paced=await send_all(port, requests[WARM_UP:paced], rate_per_s=PACED_PER_S),
            flat_out=await send_all(port, requests[paced:]),
        )

    figures = uvloop.run(measured())
    refused = [one for one in figures.paced.statuses + figures.flat_out.statuses if one != 200]
    if refused:
        raise RuntimeError(f"{len(refused)} requests were not answered 200, {refused[0]} first")
    return figures


def _health(world: DemoWorld) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{world.intake_port}/health") as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _wait_until_receipted(world: DemoWorld) -> None:
    deadline = time.monotonic() + RECEIPTED_WITHIN_S
    while (left := int(_health(world)["unreceipted"])) > 0:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} reports without a receipt after {RECEIPTED_WITHIN_S} s")
        time.sleep(0.1)


def _stored_byte_for_byte(spool: Path, bodies: Sequence[bytes]) -> int:
    """How many reports stand in the spool: all that were answered, or this run counts nothing."""
    with contextlib.closing(sqlite3.connect(spool)) as connection:
        stored = {raw for (raw,) in connection.execute("SELECT raw FROM reports")}
    missing = [body for body in bodies if body not in stored]
    if missing or len(stored) != len(bodies):
        raise RuntimeError(
            f"{len(missing)} answered reports are not in the spool, {len(stored)} stand there"
        )
    return len(stored)


def _floor(requests: Sequence[bytes], bodies: Sequence[bytes]) -> dict[str, object]:
    """The same requests answered in C, several times: one such run is over in a second."""
    runs = [_answered_in_c(requests, bodies) for _ in range(FLOOR_RUNS)]
    rates = sorted(round(one.flat_out.rate_per_s, 1) for one in runs)
    middle = sorted(runs, key=lambda one: percentile(sorted(one.paced.latencies_ms), 99))
    return {
        "rate_per_s": rates[FLOOR_RUNS // 2],
        "rate_each_per_s": rates,
        **_latency(middle[FLOOR_RUNS // 2].paced),
    }


def _answered_in_c(requests: Sequence[bytes], bodies: Sequence[bytes]) -> _Figures:
    program = compile_floor("answerer")
    with tempfile.TemporaryDirectory(prefix="relight-bench-", dir=DISK) as disk:
        file = Path(disk) / "bodies"
        answerer = subprocess.Popen([program, str(file)], stdout=subprocess.PIPE, text=True)
        try:
            assert answerer.stdout is not None
            figures = _measure(int(answerer.stdout.readline()), requests)
        finally:
            answerer.terminate()
            answerer.communicate()
        stored, sent = file.stat().st_size, sum(map(len, bodies))
    if stored != sent:
        raise RuntimeError(f"the floor answered {sent} bytes and stored {stored}")
    return figures

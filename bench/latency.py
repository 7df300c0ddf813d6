"""Latency: one payment at a time through the whole idle system, webhook to filed acknowledgement.

500 webhooks at 20 a second over HTTP, each for another consumer. A walk begins when the webhook is
written to the socket and ends when the engine says, after the commit that filed the
acknowledgement, that the relay reads back closed. The floor passes the same hops with C clients on
the same listener.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time

from bench.webhooks import Poster, captured
from bench.world import (
    OWED_PAISE,
    BenchWorld,
    bench_world,
    machine,
    order_of,
    payment_of,
)
from cloud.cli.installation import ENGINE, LIVE_READER
from cloud.cli.processes import clock_ms
from cloud.live import DAY_MS
from wire.link import Link
from wire.topics import LIVE_SUMMARY

PAYMENTS = 500
RATE_PER_S = 20
AGENTS = 10
WARM_UP = 10  # the first payments pay for imports and caches, and are not counted
LAST_WAITS = 2_000  # of 10 ms, for the last relays to close


def run() -> dict[str, object]:
    """Measure; the figures with their units in the keys."""
    per_agent = -(-(PAYMENTS + WARM_UP) // AGENTS)
    with bench_world(agent_count=AGENTS, meters_per_agent=per_agent) as bench:
        samples = asyncio.run(_measure(bench))
        floor = bench.floor(PAYMENTS, rate_per_s=RATE_PER_S)
    samples.sort()
    return {
        "bench": "latency",
        "payments": len(samples),
        "rate_per_s": RATE_PER_S,
        "p50_ms": round(percentile(samples, 50), 2),
        "p99_ms": round(percentile(samples, 99), 2),
        "max_ms": round(samples[-1], 2),
        "mutual_tls": True,
        "agents_journals": "RAM disk",
        "machine": machine(),
        "floor": floor,
    }


def percentile(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile of sorted samples."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


async def _measure(bench: BenchWorld) -> list[float]:
    settings = bench.installation.link_settings(LIVE_READER, ("live/step/+",))
    link = Link(settings, randomness=random.Random(1))
    closed: dict[str, float] = {}
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(_listen(link, closed))]
    await asyncio.wait_for(link.until_ready(), 10)
    accounts = bench.accounts()[: PAYMENTS + WARM_UP]
    poster = await Poster.open(bench.installation, bench.world.intake_port)
    sent: dict[str, float] = {}
    started = time.perf_counter()
    for place, (account, meter) in enumerate(accounts):
        await asyncio.sleep(max(0.0, started + place / RATE_PER_S - time.perf_counter()))
        body = captured(payment_of(meter), order_of(meter), account, OWED_PAISE)
        sent[meter] = time.perf_counter()
        status = await poster.post(body)
        if status != 200:
            raise RuntimeError(f"webhook {place} was answered {status}")
    names = _pseudonyms(bench, [meter for _, meter in accounts])
    for _ in range(LAST_WAITS):
        if len(closed) == len(accounts):
            break
        await asyncio.sleep(0.01)
    missing = [meter for meter in sent if names[meter] not in closed]
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(sent)} relays never closed, {missing[0]} first")
    await link.stop()
    for task in tasks:
        task.cancel()
    counted = [meter for _, meter in accounts[WARM_UP:]]
    return [(closed[names[meter]] - sent[meter]) * 1_000 for meter in counted]


async def _listen(link: Link, closed: dict[str, float]) -> None:
    while True:
        deliveries = await link.receive(64)
        now = time.perf_counter()
        link.acknowledge(deliveries)
        steps = [json.loads(one.payload) for one in deliveries if one.topic != LIVE_SUMMARY]
        for step in steps:
            if step["step"] == "closed":
                closed.setdefault(step["meter"], now)


def _pseudonyms(bench: BenchWorld, meters: list[str]) -> dict[str, str]:
    """What the live topics call each meter today; only whoever holds the engine's key can tell."""
    seed = bench.installation.signing_key(f"trust/keys/{ENGINE}.key").seed
    key = hashlib.sha256(b"live" + seed).digest()
    day = hmac.digest(key, str(clock_ms() // DAY_MS).encode("ascii"), "sha256")
    return {meter: hmac.digest(day, meter.encode("ascii"), "sha256")[:8].hex() for meter in meters}

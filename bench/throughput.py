"""Throughput: sealed payments on the topic to filed acknowledgements, everything on one machine.

The bench stands where the intake stands: it seals payment lists with the intake's key and keeps a
bounded number unreceipted, as the intake does. Fifty agents in one process, broker and engine on
the same cores; ledger and broker on disk, agents' journals on a RAM disk; mutual TLS throughout.
The cold-load ramp is off: this is a capacity test.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Iterator, Sequence

from bench.world import (
    OWED_PAISE,
    BenchWorld,
    bench_world,
    machine,
    order_of,
    payment_of,
)
from cloud.cli.installation import INTAKE, PROVIDER
from cloud.cli.processes import clock_ms
from wire import envelope
from wire.decoding import decode_body, encode
from wire.fields import IntakeId, ProviderId, SpoolId
from wire.link import Link
from wire.messages import Payment, PaymentItem, Receipt
from wire.topics import SHARDS, intake_subscriptions, payment_shard, payment_topic
from wire.vocabulary import PaymentKind

AGENTS = 50
METERS_PER_AGENT = 400
ITEMS_PER_LIST = 32
UNRECEIPTED_MAX = 4_096  # the intake's own bound
FLOOR_CHAINS = 20_000
FLOOR_WINDOW = 100
FINISH_WITHIN_S = 180
POLL_S = 0.2

Sealed = tuple[str, bytes, int]  # topic, payload, items in it


def run() -> dict[str, object]:
    """Measure; the figures with their units in the keys."""
    count = AGENTS * METERS_PER_AGENT
    with bench_world(agent_count=AGENTS, meters_per_agent=METERS_PER_AGENT) as bench:
        bench.world.processes.pop("intake").terminate()  # its place on the wire is taken here
        before = bench.cpu_s()
        started_at_ms, ended_at_ms = asyncio.run(_measure(bench, count))
        spent = {name: cpu - before[name] for name, cpu in bench.cpu_s().items()}
        outcomes = bench.outcomes()
        floor = bench.floor(FLOOR_CHAINS, window=FLOOR_WINDOW)
    total_s = (ended_at_ms - started_at_ms) / 1_000
    return {
        "bench": "throughput",
        "payments": count,
        "agents": AGENTS,
        "total_s": round(total_s, 2),
        "rate_per_s": round(count / total_s, 1),
        "cpu_us_per_payment": {name: round(cpu / count * 1_000_000) for name, cpu in spent.items()},
        "outcomes": outcomes,
        "mutual_tls": True,
        "agents_journals": "RAM disk",
        "items_per_list": ITEMS_PER_LIST,
        "machine": machine(),
        "floor": floor,
    }


async def _measure(bench: BenchWorld, count: int) -> tuple[int, int]:
    settings = bench.installation.link_settings(INTAKE, intake_subscriptions(IntakeId(INTAKE)))
    link = Link(settings, randomness=random.Random(1))
    room = asyncio.Semaphore(UNRECEIPTED_MAX)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(_receipts(link, room))]
    await asyncio.wait_for(link.until_ready(), 10)
    lists = list(_sealed_lists(bench))
    started_at_ms = clock_ms()
    for topic, payload, items in lists:
        for _ in range(items):
            await room.acquire()
        await link.publish(topic, payload)
    deadline = time.monotonic() + FINISH_WITHIN_S
    filed, last_ms = bench.filed()
    while filed < count and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        filed, last_ms = bench.filed()
    await link.stop()
    for task in tasks:
        task.cancel()
    if filed < count:
        raise RuntimeError(f"{filed} of {count} filed after {FINISH_WITHIN_S} s")
    return started_at_ms, last_ms


async def _receipts(link: Link, room: asyncio.Semaphore) -> None:
    while True:
        deliveries = await link.receive(64)
        link.acknowledge(deliveries)
        for one in deliveries:
            receipt = decode_body(Receipt, envelope.unpack(one.payload).body)
            for _ in receipt.items:
                room.release()


def _sealed_lists(bench: BenchWorld) -> Iterator[Sealed]:
    """Every account's payment in order, in lists of one shard, as a busy intake forms them."""
    installation = bench.installation
    key = installation.signing_key(f"trust/keys/{INTAKE}.key")
    ring = installation.authorities(latest_ms=clock_ms()).keyring()
    waiting: dict[int, list[PaymentItem]] = {shard: [] for shard in range(SHARDS)}
    spool = SpoolId(b"benchspl")

    def sealed(shard: int, items: Sequence[PaymentItem]) -> Sealed:
        body = encode(
            Payment(
                intake=IntakeId(INTAKE),
                spool=spool,
                provider=ProviderId(PROVIDER),
                items=tuple(items),
            )
        )
        payload = envelope.seal(ring.installation, "payment", body, [key])
        return payment_topic(shard, ProviderId(PROVIDER)), payload, len(items)

    for number, (account, meter) in enumerate(bench.accounts(), 1):
        item = _item(number, account, meter)
        shard = payment_shard(ProviderId(PROVIDER), item.payment_id)
        waiting[shard].append(item)
        if len(waiting[shard]) == ITEMS_PER_LIST:
            yield sealed(shard, waiting[shard])
            waiting[shard] = []
    for shard, items in waiting.items():
        if items:
            yield sealed(shard, items)


def _item(number: int, account: str, meter: str) -> PaymentItem:
    now_ms = clock_ms()
    return PaymentItem(
        number=number,
        raw=hashlib.sha256(meter.encode("ascii")).digest(),
        kind=PaymentKind.CAPTURED,
        object_id=payment_of(meter),
        payment_id=payment_of(meter),
        account_hint=account,
        order=order_of(meter),
        amount_paise=OWED_PAISE,
        currency="INR",
        happened_at_ms=now_ms - 500,
        received_at_ms=now_ms,
        method="upi",
    )

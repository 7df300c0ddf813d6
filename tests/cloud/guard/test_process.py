"""The rim over a real guard, a real ledger file, and a link made of a few lines."""

import asyncio
import logging
import sqlite3

import pytest

from cloud.guard.process import BATCH_MAX, SUBSCRIPTIONS, GuardProcess
from tests.cloud.engine_world import new_ledger
from wire.link import PublishResult


class LinkOfBatches:
    """Delivers these batches, then none; keeps what was acknowledged and sent."""

    def __init__(self, *batches):
        self.batches = list(batches)
        self.acknowledged = []
        self.sent = []
        self.is_done = asyncio.Event()

    async def run(self):
        await asyncio.Event().wait()

    async def receive(self, limit, wait_ms=None):
        assert limit == BATCH_MAX
        if not self.batches:
            self.is_done.set()
            await asyncio.Event().wait()
        return self.batches.pop(0)

    def acknowledge(self, deliveries):
        self.acknowledged += deliveries

    def send(self, topic, payload, *, retain):
        self.sent.append((topic, payload, retain))
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(PublishResult())
        return answer

    async def stop(self):
        return


def nothing_newer():
    return None


def process(world, link, newer_trust=nothing_newer):
    path = world.folder / "ledger.db"
    if not path.exists():
        new_ledger(path).dispose()
    return GuardProcess(world.guard, link, path, lambda: world.now_ms, newer_trust)


async def served(made, link):
    task = asyncio.create_task(made.run())
    await link.is_done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_deliveries_are_acknowledged_once_they_are_stored(world):
    message = world.payment(world.item(1))
    link = LinkOfBatches([message])
    await served(process(world, link), link)
    assert link.acknowledged == [message]
    assert world.rows("SELECT count(*) FROM items") == [(1,)]


async def test_locked_store_keeps_the_deliveries_until_it_can_be_written(world, caplog):
    world.store.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(world.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    link = LinkOfBatches([world.payment(world.item(1))])
    made = process(world, link)
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(20):
        while "cannot be written" not in caplog.text:  # noqa: ASYNC110  # a log line has no event
            await asyncio.sleep(0)
        assert link.acknowledged == []
        other.execute("ROLLBACK")
        await link.is_done.wait()
    other.close()
    assert len(link.acknowledged) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_own_stop_is_published_retained(world):
    world.homes(range(4, 20))
    world.ask(*(world.row(home) for home in range(1, 8)))
    world.now_ms += 60_000
    link = LinkOfBatches([])
    await served(process(world, link), link)
    assert [(topic, retain) for topic, _, retain in link.sent] == [("stop", True)]


async def test_unreadable_ledger_is_told_once_and_signs_nothing(world, caplog):
    caplog.set_level(logging.ERROR)
    made = process(world, LinkOfBatches())
    (world.folder / "ledger.db").write_bytes(b"x" * 5_000)
    for _ in range(3):
        assert made.step([], is_due=True).answers == ()
    assert caplog.text.count("nothing is signed") == 1


async def test_newer_registry_file_is_believed_within_ten_seconds(world):
    looks = []
    made = process(world, LinkOfBatches(), lambda: looks.append(world.now_ms))
    for _ in range(3):
        made.step([], is_due=False)
        world.now_ms += 5_000
    assert len(looks) == 2


def test_subscriptions_are_those_of_the_access_list():
    assert SUBSCRIPTIONS == ("payment/+/+", "watermark/+", "stop", "resume", "trust")

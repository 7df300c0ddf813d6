"""The engine's rim over an engine and a link made of a few lines each."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from cloud.engine_process import INLINE_MAX, EngineProcess
from cloud.publisher import Outgoing
from wire.link import Delivery


class EngineOfWords:
    """Answers each delivery by its topic; `poison` is refused by its database, `locked` once."""

    def __init__(self) -> None:
        self.locked_for = 0
        self.handled: list[str] = []
        self.connections = 0

    def connected(self) -> None:
        self.connections += 1

    def turn(
        self, deliveries: Sequence[Delivery], *, now_ms: int, is_busy: bool = False
    ) -> list[Outgoing]:
        topics = [one.topic for one in deliveries]
        if self.locked_for > 0:
            self.locked_for -= 1
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        if "poison" in topics:
            raise IntegrityError("INSERT", {}, Exception("CHECK constraint failed"))
        self.handled += topics
        return [Outgoing(topic=f"answer/{topic}", payload=b"") for topic in topics]


class LinkOfOneBatch:
    """Delivers one batch, then nothing; keeps what was acknowledged and sent."""

    def __init__(self, batch: Sequence[Delivery]) -> None:
        self.connected = True
        self.connection_number = 1
        self.batch = list(batch)
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self.is_done = asyncio.Event()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def receive(self, limit: int, wait_ms: int | None = None) -> list[Delivery]:
        batch, self.batch = self.batch, []
        if not batch:
            self.is_done.set()
            await asyncio.Event().wait()
        return batch

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += [one.topic for one in deliveries]

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        if self.connected:
            self.sent.append(topic)
        return asyncio.get_running_loop().create_future()

    async def next_connection(self, after: int) -> int:
        self.connected = True
        self.connection_number += 1
        return after + 1

    async def stop(self) -> None:
        pass


async def served(
    engine: EngineOfWords, topics: Sequence[str], *, connected: bool = True
) -> LinkOfOneBatch:
    link = LinkOfOneBatch([Delivery(topic, b"", is_retained=False) for topic in topics])
    link.connected = connected
    serving = asyncio.create_task(EngineProcess(engine, link, lambda: 0).run())
    await link.is_done.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    return link


@pytest.mark.parametrize("others", [2, 2 * INLINE_MAX])
async def test_message_the_database_refuses_holds_up_nobody_else(others: int):
    engine = EngineOfWords()
    good = [f"good-{number}" for number in range(others)]
    link = await served(engine, [good[0], "poison", *good[1:]])
    assert engine.handled == good
    assert link.sent == [f"answer/{topic}" for topic in good]
    assert set(link.acknowledged) == {*good, "poison"}


async def test_deliveries_wait_while_the_database_is_locked_and_are_handled_once():
    engine = EngineOfWords()
    engine.locked_for = 1
    link = await served(engine, ["good-0", "good-1"])
    assert engine.handled == link.acknowledged == ["good-0", "good-1"]


async def test_what_a_session_kept_is_answered_when_the_answers_can_be_published():
    """mosquitto delivers a session's backlog before SUBACK, and a link publishes only behind it."""
    link = await served(EngineOfWords(), ["kept"], connected=False)
    assert link.sent == ["answer/kept"]


async def test_engine_hears_of_each_new_connection_once():
    engine = EngineOfWords()
    await served(engine, ["kept"], connected=False)
    assert engine.connections == 1

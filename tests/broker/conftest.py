import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from tests.broker.running_broker import LONGEST_WAIT_S, Links, RunningBroker
from tests.broker.scripted_broker import ScriptedBroker

Test = Callable[..., Coroutine[object, object, None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test of this folder waits for ever: a link that never connects is a failure."""
    for item in items:
        test = getattr(item, "obj", None)
        if item.path.parent.name == "broker" and inspect.iscoroutinefunction(test):
            item.obj = _bounded(test)  # type: ignore[attr-defined]  # a function item has it


def _bounded(test: Test) -> Test:
    @functools.wraps(test)
    async def bounded(*arguments: object, **others: object) -> None:
        async with asyncio.timeout(2 * LONGEST_WAIT_S):
            await test(*arguments, **others)

    return bounded


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    running = RunningBroker(tmp_path / "broker")
    running.start()
    yield running
    running.kill()


@pytest.fixture
async def links() -> AsyncIterator[Links]:
    links = Links()
    yield links
    await links.stop()


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def other() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def complaints() -> list[object]:
    """What asyncio reports that nobody retrieved."""
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))
    return seen

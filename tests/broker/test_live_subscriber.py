import asyncio
import sys
from pathlib import Path

from tests.broker.running_broker import LONGEST_WAIT_S

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "live_subscriber.py"


async def test_example_of_a_live_view_prints_the_lines(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1"))
    await engine.publish("live/summary", b'{"paid": 3}', retain=True)
    view = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(EXAMPLE), "127.0.0.1", str(broker.port)),
        *(str(broker.directory / "certificates"), "VIEW-1"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            assert await view.stdout.readline() == b'live/summary {"paid": 3}\n'
            await engine.publish("live/step/Z1", b'{"step": "closed"}')
            assert await view.stdout.readline() == b'live/step/Z1 {"step": "closed"}\n'
    finally:
        view.kill()
        await view.wait()

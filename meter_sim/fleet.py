"""Many real agents over simulated meters in one process: the one place that hosts agents.

Each agent is the product's own, with its own journal and its own session on the broker; only the
relays behind its door are made of code. One event loop carries them all.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edge_agent.__main__ import make_host
from edge_agent.agent import Agent
from edge_agent.host import Host

START_AT_ONCE = 16  # agents connecting at a time: a TLS handshake costs the broker a millisecond


async def run_fleet(configurations: Sequence[Path]) -> None:
    """Run the agents of many agent.toml files until cancelled.

    Raises:
        Exception: the first that any agent's core raised; the others are stopped cleanly.
    """
    made: list[tuple[Host, Agent]] = [make_host(path) for path in configurations]
    try:
        async with asyncio.TaskGroup() as group:
            for place, (host, _) in enumerate(made):
                group.create_task(host.run())
                if place % START_AT_ONCE == START_AT_ONCE - 1:
                    await asyncio.sleep(0.05)
    finally:
        for _, agent in made:
            agent.journal.close()

"""Many real agents over simulated meters in one process: the one place that hosts agents.

Each agent is the product's own, with its own journal and its own session on the broker; only the
relays behind its door are made of code. One event loop carries them all.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edge_agent.__main__ import make_host, settle_memory
from edge_agent.agent import Agent
from edge_agent.host import Host
from edge_agent.journal import JournalError

START_AT_ONCE = 16  # agents connecting at a time: a TLS handshake costs the broker a millisecond
START_PAUSE_S = 0.05


class FleetError(ValueError):
    """An agent of the fleet cannot be made; the text says why."""


async def run_fleet(configurations: Sequence[Path]) -> None:
    """Run the agents of many agent.toml files until cancelled.

    Raises:
        FleetError: a configuration, key or journal cannot be used.
        Exception: the first that any agent's core raised; the others are stopped cleanly.
    """
    made: list[tuple[Host, Agent]] = []
    try:
        made.extend(_make(path) for path in configurations)
        settle_memory()
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(made), START_AT_ONCE):
                hosts = [host for host, _ in made[start : start + START_AT_ONCE]]
                tasks = [group.create_task(host.run()) for host in hosts]
                await asyncio.wait(tasks, timeout=START_PAUSE_S)
    finally:
        for _, agent in made:
            agent.journal.close()


def _make(configuration: Path) -> tuple[Host, Agent]:
    try:
        return make_host(configuration)
    except (ValueError, JournalError, OSError) as error:  # trust that is refused is a ValueError
        named = str(configuration) in str(error)
        raise FleetError(str(error) if named else f"{configuration}: {error}") from None

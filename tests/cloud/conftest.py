"""The worlds of the engine's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.engine_world import World


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    """A ledger and an engine; no homes, no agents."""
    world = World(tmp_path / "ledger.db")
    world.start()
    yield world
    world.store.dispose()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Home 1 is cut; its agent AG-1 said hello."""
    made = World(tmp_path / "ledger.db")
    made.add_agent("AG-1")
    made.add_home(1)
    made.cut(1)
    made.start()
    made.turn(made.agents["AG-1"].hello())
    yield made
    made.store.dispose()

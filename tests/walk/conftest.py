from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.cli.processes import clock_ms
from tests.walk.facts import until_heard
from tests.walk.installation import AgentPlan, Walk

FAST, SLOW = "AGENT-1", "AGENT-2"
# A slow line leaves commands unfinished long enough to be killed in the middle of them.
PLAN = {
    FAST: AgentPlan(meters=112),
    SLOW: AgentPlan(meters=70, latency_ms=(100, 200), actuation_ms=300),
}


def made(folder: Path, plan: dict[str, AgentPlan], *, made_at_ms: int) -> Iterator[Walk]:
    walk = Walk(folder, plan, made_at_ms)
    walk.build()
    try:
        walk.start_all()
        until_heard(walk, *plan)
        yield walk
    finally:
        walk.end()


@pytest.fixture(scope="package")
def running(tmp_path_factory) -> Iterator[Walk]:
    """One installation for all walks; each takes consumers of its own."""
    yield from made(tmp_path_factory.mktemp("walk") / "i", PLAN, made_at_ms=clock_ms())


@pytest.fixture
def walk(running) -> Iterator[Walk]:
    """The installation with all its parts running; a part that fell over fails its test."""
    running.start_all()
    until_heard(running, *PLAN)
    yield running
    assert running.traces() == []

"""A registry that nobody renewed: every process was started again since, and closes go on (R12)."""

from collections.abc import Iterator

import pytest

from cloud.cli.keys import DAY_MS, REGISTRY_LIFE_MS
from cloud.cli.processes import clock_ms
from tests.walk.conftest import FAST, made
from tests.walk.facts import demand_closed_once, demand_posted_once, until_closed, until_heard
from tests.walk.installation import OWED_PAISE, AgentPlan, Walk


@pytest.fixture
def neglected(tmp_path) -> Iterator[Walk]:
    """An installation made so long ago that its registry has expired."""
    made_at_ms = clock_ms() - REGISTRY_LIFE_MS - DAY_MS
    yield from made(tmp_path / "i", {FAST: AgentPlan(meters=2)}, made_at_ms=made_at_ms)


def test_payment_closes_under_an_expired_registry_also_after_a_restart(neglected):
    consumers = neglected.take(FAST, 2)
    for one in consumers:
        assert neglected.provider.report([one], OWED_PAISE) == [200]
        until_closed(neglected, [one])
        for name in ("engine", "intake", FAST):
            assert neglected.stop(name) == 0
            neglected.start(name)
        until_heard(neglected, FAST)
    demand_posted_once(neglected, consumers)
    demand_closed_once(neglected, consumers)
    for name in ("engine", "intake"):
        assert "alarm: registry 1 expired at " in neglected.log(name)
    assert neglected.traces() == []

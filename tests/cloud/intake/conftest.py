"""One spool, its forwarder and the other side; a running door; a poller and what it polls."""

import pytest

from cloud.intake.counting import Counters
from cloud.intake.forwarding import (
    Forwarder,
)
from tests.cloud.intake.door import open_door
from tests.cloud.intake.engine import Engine
from tests.cloud.intake.polled import Polled
from tests.cloud.intake.razorpay_api import FakeRazorpay
from tests.cloud.intake.reports import forwarder_of, open_spool


@pytest.fixture
def spool(tmp_path):
    spool = open_spool(tmp_path / "spool.db")
    yield spool
    spool.close()


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def forwarder(spool, counters) -> Forwarder:
    return forwarder_of(spool, counters)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
async def intake(tmp_path):
    async with open_door(tmp_path) as running:
        yield running


@pytest.fixture
async def api():
    async with FakeRazorpay().listening() as fake:
        yield fake


@pytest.fixture
async def settled(api, tmp_path):
    """Polled since long, up to now; nothing was there."""
    polled = Polled(api, tmp_path / "spool.db")
    polled.was_polled_before()
    async with polled.running():
        await polled.catch_up()
        api.requests.clear()
        api.asked.clear()
        yield polled

"""One spool, its forwarder and the other side."""

import pytest

from cloud.intake.counting import Counters
from cloud.intake.forwarding import (
    Forwarder,
)
from tests.cloud.intake.engine import Engine
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

"""A registry that nobody renewed stops opens, never payments or closes, over restarts too (R12)."""

import logging

import pytest

from cloud.cli.installation import DevelopmentPlan, make_development_installation
from cloud.cli.keys import DAY_MS, REGISTRY_LIFE_MS
from cloud.cli.processes import clock_ms, make_engine
from cloud.configuration import ConfigurationError, Installation
from tests.cloud.cli.commands import change


@pytest.fixture
def expired(tmp_path) -> Installation:
    plan = DevelopmentPlan(folder=tmp_path / "i", agents=("A-1",), broker_port=1, intake_port=1)
    made_at_ms = clock_ms() - REGISTRY_LIFE_MS - DAY_MS
    return Installation(make_development_installation(plan, now_ms=made_at_ms))


def test_engine_starts_under_an_expired_registry(expired):
    made = make_engine(expired)
    assert made.engine.settings.authorities.registry_version == 1


def test_expired_registry_is_an_alarm_that_names_the_cure(expired, caplog):
    registry = expired.authorities(latest_ms=0).registry
    assert registry is not None
    assert caplog.records == []
    expired.authorities(latest_ms=registry.expires_at_ms)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.startswith("alarm: registry 1 expired at ")
    assert said.endswith(f"put a newer one into {expired.folder / 'trust' / 'documents'}")


def test_registry_in_date_is_no_alarm(expired, caplog):
    registry = expired.authorities(latest_ms=0).registry
    assert registry is not None
    expired.authorities(latest_ms=registry.expires_at_ms - 1)
    assert caplog.records == []


def test_expired_registry_is_judged_in_everything_but_its_age(expired):
    change(expired.path, "is_production = false", "is_production = true")
    with pytest.raises(ConfigurationError, match="marked development"):
        Installation(expired.path).authorities(latest_ms=clock_ms())

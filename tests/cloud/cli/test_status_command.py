"""`relight status`: one screen, one object, or one after the other."""

import json
from pathlib import Path

import pytest

from cloud.cli import status as status_command
from tests.cloud.cli.commands import change, done, refused, relight
from tests.cloud.cli.sweeping import paid_and_dark


@pytest.fixture
def dark(config: Path, tmp_path: Path) -> Path:
    paid_and_dark(tmp_path, config)
    return config


class EnoughError(Exception):
    """The test has seen enough."""


def test_first_line_is_the_one_that_matters(dark):
    first, engine, *_ = done("status", "--config", dark).splitlines()
    assert first == "paid but dark: 1, the oldest for 2 h 00 min (held: it was never decided)"
    assert engine.startswith("engine: last turn ")


def test_status_for_programs_is_one_object(dark):
    told = json.loads(done("status", "--json", "--config", dark))
    assert told["paid_but_dark"] == 1
    assert [one["ticket"] for one in told["stuck"]] == [1]
    assert told["tickets"]["open"] == 1


def looks(monkeypatch: pytest.MonkeyPatch, count: int) -> list[float]:
    """The watch ends after so many looks; the pauses it made."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == count:
            raise EnoughError

    monkeypatch.setattr(status_command.time, "sleep", pause)
    return pauses


def test_watch_appends_where_there_is_no_terminal(dark, monkeypatch):
    pauses = looks(monkeypatch, 2)
    result = relight("status", "--watch", "--every", "5", "--config", dark)
    assert isinstance(result.exception, EnoughError)
    assert pauses == [5.0, 5.0]
    assert result.stdout.count("paid but dark: 1") == 2
    assert "\x1b" not in result.stdout


def test_watch_for_programs_is_one_object_a_line(dark, monkeypatch):
    looks(monkeypatch, 2)
    result = relight("status", "--watch", "--json", "--config", dark)
    lines = result.stdout.splitlines()
    assert [json.loads(line)["paid_but_dark"] for line in lines] == [1, 1]


def test_watch_faster_than_a_reader_is_a_usage_error(dark):
    assert relight("status", "--watch", "--every", "0", "--config", dark).exit_code == 2


def test_status_of_a_ledger_that_does_not_exist_is_refused_and_makes_none(config):
    change(config, 'ledger = "ledger.db"', 'ledger = "leger.db"')
    mistyped = config.parent / "leger.db"
    assert str(mistyped) in refused("status", "--config", config)
    assert not mistyped.exists()

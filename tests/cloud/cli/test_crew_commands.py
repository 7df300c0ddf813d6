"""`relight tickets`, `ticket`, `lock`, `agent`: what people ask, and what they are told."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from cloud.cli import requests as request_commands
from cloud.cli import tickets as ticket_commands
from cloud.schema import crew_tickets, episodes, requests
from tests.cloud.cli.commands import done, refused, relight
from tests.cloud.cli.sweeping import answering, opened, paid_and_dark

BY = ("--by", "R Verma")


@pytest.fixture
def dark(config: Path, tmp_path: Path) -> Path:
    paid_and_dark(tmp_path, config)
    return config


def asked(config: Path):
    with opened(config) as store, store.connect() as connection:
        return connection.execute(select(requests)).all()


# relight tickets


def test_tickets_tell_where_whose_why_and_how_old(dark):
    heads, row = done("tickets", "--config", dark).splitlines()
    assert heads.split() == [
        "ticket",
        "zone",
        "account",
        "meter",
        "open",
        "for",
        "paid",
        "since",
        "why",
    ]
    for word in ("1  ", "INDORE-EAST", "N-1", "M-1", "1 h 00 min", "2 h 00 min"):
        assert word in row
    assert row.endswith("it is dark an hour after it was paid")


def test_meters_own_word_stands_beside_the_reason(dark):
    with opened(dark) as store, store.begin() as transaction:
        transaction.execute(update(episodes).values(held_because="load_voltage"))
        transaction.execute(update(crew_tickets).values(reasons="meter_refused"))
    told = done("tickets", "--config", dark)
    assert "the meter itself refused: people must look (load voltage)" in told


def test_tickets_for_programs_are_one_object(dark):
    told = json.loads(done("tickets", "--json", "--config", dark))
    (ticket,) = told["tickets"]
    assert told["open"] == 1
    assert (ticket["ticket"], ticket["reasons"]) == (1, ["dark_too_long"])
    assert (ticket["zone"], ticket["account_id"], ticket["meter_id"]) == (
        "INDORE-EAST", "N-1", "M-1",
    )  # fmt: skip
    assert (ticket["agent_id"], ticket["feeder"]) == ("AGENT-1", "F-1")


def test_no_ticket_is_said_in_words(config):
    assert done("tickets", "--config", config) == "no crew ticket is open\n"


def test_flood_of_tickets_tells_the_oldest_and_how_many_more(dark, monkeypatch):
    monkeypatch.setattr(ticket_commands, "LISTED_MAX", 0)
    assert done("tickets", "--config", dark).splitlines()[-1] == "and 1 more"


# relight ticket, lock, agent


def test_crews_word_is_stored_answered_and_told(dark):
    with answering(dark):
        said = done("ticket", "done", "1", *BY, "--note", "fuse replaced", "--config", dark)
    assert said.startswith("ticket 1 is closed: episode 1 of account N-1 ended")
    (row,) = asked(dark)
    assert (row.kind, row.subject, row.detail, row.asked_by) == (
        "ticket_done", "1", "fuse replaced", "R Verma",
    )  # fmt: skip
    assert done("tickets", "--config", dark) == "no crew ticket is open\n"


def test_what_the_engine_refuses_is_one_line_and_status_1(dark):
    with answering(dark):
        said = refused("ticket", "retry", "7", *BY, "--config", dark)
    assert said == "refused: there is no ticket 7: relight tickets lists the open ones"


def test_lock_is_placed_and_cleared_with_name_and_document(dark):
    with answering(dark):
        document = ("--document", "FIR 12 of 2026")
        said = done("lock", "place", "N-1", "theft", *BY, *document, "--config", dark)
        assert said == "theft lock on account N-1 is placed and effective\n"
        said = done("lock", "clear", "N-1", "theft", *BY, *document, "--config", dark)
        assert said.startswith("theft lock on account N-1 is cleared; ")
    assert [row.detail for row in asked(dark)] == 2 * ["theft FIR 12 of 2026"]


def test_only_money_clears_non_payment(dark):
    arguments = ("lock", "clear", "N-1", "non_payment", *BY, "--document", "x", "--config", dark)
    with answering(dark):
        assert refused(*arguments).startswith("refused: non_payment follows money alone")


def test_agent_that_is_gone_is_asked_for_by_its_name(dark):
    with answering(dark):
        relight("agent", "gone", "AGENT-9", *BY, "--config", dark)
    (row,) = asked(dark)
    assert (row.kind, row.subject) == ("agent_gone", "AGENT-9")
    assert row.result is not None


def test_request_without_an_engine_is_stored_and_says_so_with_status_3(dark, monkeypatch):
    monkeypatch.setattr(request_commands, "ANSWER_WITHIN_S", 0.0)
    result = relight("ticket", "retry", "1", *BY, "--config", dark)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("the engine has not answered yet: request 1 is stored")
    (row,) = asked(dark)
    assert row.handled_at_ms is None


def test_act_of_nobody_is_refused_and_not_stored(dark):
    said = refused("ticket", "retry", "1", "--by", " ", "--config", dark)
    assert said == "the name is empty: say who or what it is"
    assert asked(dark) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("ticket", "done", "1", "--by", "x"),
        ("ticket", "done", "0", "--by", "x", "--note", "y"),
        ("lock", "place", "N-1", "curse", "--by", "x", "--document", "y"),
        ("lock", "place", "N-1", "theft", "--by", "x"),
    ],
)
def test_incomplete_act_is_a_usage_error(dark, arguments: tuple[str, ...]):
    result = relight(*arguments, "--config", dark)
    assert result.exit_code == 2
    assert asked(dark) == []

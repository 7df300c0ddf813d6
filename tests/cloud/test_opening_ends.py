"""How an open ends: an episode, a failure, a read; and what a late word means."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.cosigning import ANSWER_MAX_MS
from cloud.outbox import LAPSE_MS
from cloud.schema import commands
from cloud.trace import render, trace
from tests.cloud.agent_by_hand import CLOSED, OPEN
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, sent
from tests.cloud.guard.guarded import OWED_PAISE
from tests.cloud.opening_world import OpeningWorld
from wire.vocabulary import Action, Outcome, RefusalReason

CHARGES_PAISE = 30_000


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[OpeningWorld]:
    made = OpeningWorld(tmp_path)
    yield made
    made.store.dispose()
    made.guarded.store.close()


@pytest.mark.parametrize("outcome", [Outcome.UNREACHABLE, Outcome.UNCHANGED])
def test_open_that_did_not_happen_fails_its_proposal_and_is_not_tried_again(
    homes: OpeningWorld, outcome
):
    (opened,) = homes.opened(1)
    homes.turn(homes.agent.says(homes.agent.final(opened, outcome)))
    homes.fresh(MINUTE_MS)
    homes.fresh(MINUTE_MS)
    assert (homes.states(), homes.reasons()) == (["failed"], [outcome.value])
    assert len(homes.commands()) == 1


def test_refusal_of_the_agent_is_told_with_its_reason(homes: OpeningWorld):
    (opened,) = homes.opened(1)
    item = homes.agent.final(opened, Outcome.REFUSED, reason=RefusalReason.CAP_AGENT)
    homes.turn(homes.agent.says(item))
    assert homes.reasons() == ["refused cap_agent"]


def test_unknown_open_is_followed_by_a_read_and_what_it_shows_counts(homes: OpeningWorld):
    """R14: never by another open."""
    (opened,) = homes.opened(1)
    (read,) = sent(homes.turn(homes.agent.says(homes.agent.final(opened, Outcome.UNKNOWN))))
    assert (read.body.action, homes.states()) == (Action.READ, ["failed"])
    assert "open_unknown" in homes.alarm_codes()
    at_ms = read.body.sequence_ms
    homes.now_ms += SECOND_MS
    shown = homes.agent.final(read, Outcome.READ, after=OPEN, read_at_ms=at_ms + 30)
    homes.turn(homes.agent.says(shown))
    assert (homes.states(), homes.episode().cut_at_ms) == (["opened"], at_ms + 30)


def test_read_that_shows_supply_leaves_the_proposal_failed(homes: OpeningWorld):
    (opened,) = homes.opened(1)
    (read,) = sent(homes.turn(homes.agent.says(homes.agent.final(opened, Outcome.UNKNOWN))))
    shown = homes.agent.final(
        read, Outcome.READ, after=CLOSED, read_at_ms=read.body.sequence_ms + 30
    )
    homes.turn(homes.agent.says(shown))
    assert (homes.states(), homes.standing_locks()) == (["failed"], set())


def test_open_without_a_word_lapses_into_a_read_and_a_late_word_is_taken(homes: OpeningWorld):
    (opened,) = homes.opened(1)
    homes.now_ms = opened.body.expires_at_ms + LAPSE_MS + 1
    homes.turn()
    homes.sweep()
    assert (homes.states(), homes.reasons()) == (["failed"], ["lapsed"])
    assert homes.command().action == "read"
    homes.turn(homes.takes_away(opened))
    assert (homes.states(), homes.episode().state) == (["opened"], "open")


def test_late_word_on_an_open_whose_episode_ended_begins_no_other(homes: OpeningWorld):
    """I6: one open is one cut, whoever tells of it and however late."""
    (opened,) = homes.opened(1)
    homes.now_ms = opened.body.expires_at_ms + LAPSE_MS + 1
    (read,) = sent(homes.turn())
    homes.now_ms += SECOND_MS
    at_ms = read.body.sequence_ms + 30
    homes.turn(
        homes.agent.says(homes.agent.final(read, Outcome.READ, after=OPEN, read_at_ms=at_ms))
    )
    homes.guarded.now_ms = homes.now_ms
    item = homes.guarded.item(amount_paise=OWED_PAISE + CHARGES_PAISE)
    (close,) = sent(homes.paid(item))
    homes.turn(homes.agent.says(homes.agent.final(close, Outcome.CLOSED)))
    homes.turn(homes.takes_away(opened))
    assert homes.episode().state == "ended"  # the only one


def test_opens_are_told_by_trace(homes: OpeningWorld):
    (opened,) = homes.opened(1)
    homes.turn(homes.takes_away(opened))
    for asked in ("M-1", "A-1", str(homes.episode().id)):
        found = trace(homes.store, asked)
        assert found is None or render(found)


def test_opened_without_an_open_read_back_is_no_outcome(homes: OpeningWorld):
    """I8."""
    (opened,) = homes.opened(1)
    homes.turn(homes.takes_away(opened, after=CLOSED))
    assert "impossible_outcome" in homes.alarm_codes()
    assert homes.states() == ["sent"]


def test_agent_that_restarted_without_an_open_fails_it_and_is_asked(homes: OpeningWorld):
    homes.opened(1)
    homes.agent.restart()
    homes.turn(homes.agent.hello(meters=1_000))
    homes.sweep()
    assert (homes.states(), homes.reasons()) == (["failed"], ["void"])
    assert homes.command().action == "read"


def test_guard_that_comes_after_two_minutes_finds_nothing_to_sign(homes: OpeningWorld):
    homes.propose(1)
    homes.sweep()
    first = homes.command()
    homes.fresh(ANSWER_MAX_MS)
    assert homes.one(select(commands).where(commands.c.id == first.id)).state == "lapsed"
    assert homes.reasons() == ["unanswered"]

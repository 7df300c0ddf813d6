"""What people ask for: weighed by the engine's own rules, answered in a sentence (I10, I15)."""

from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from cloud.requests import (
    ACTS,
    LONGEST_WORD,
    REFUSED,
    REQUESTS_PER_SWEEP_MAX,
    Request,
    ask,
    result_of,
)
from cloud.schema import crew_tickets, episodes, locks, requests
from cloud.store import reading
from cloud.trace import render, trace
from cloud.vocabulary import LockKind, RequestKind
from tests.cloud.engine_world import SECOND_MS, World, sent
from wire.vocabulary import Action, Outcome, PaymentKind


def write(world: World, kind: RequestKind, subject: str, detail: str = "checked at site") -> int:
    asked = Request(kind=kind, subject=subject, detail=detail, asked_by="R Verma")
    with world.transaction() as transaction:
        return ask(transaction, asked, now_ms=world.now_ms)


def answer(world: World, kind: RequestKind, subject: str, detail: str = "checked at site") -> str:
    """What the engine's next sweep says to a request; and what left."""
    request_id = write(world, kind, subject, detail)
    world.later(SECOND_MS)
    with reading(world.store) as connection:
        told = result_of(connection, request_id)
    assert told is not None
    return told


def lock_asked(world: World, kind: str, act: RequestKind = RequestKind.LOCK_PLACE) -> str:
    return answer(world, act, "A-1", f"{kind} FIR 12/2026")


def lock(world: World, kind: str) -> Any:
    return world.one(select(locks).where(locks.c.kind == kind))


def ticket(world: World) -> Any:
    return world.one(select(crew_tickets))


@pytest.fixture
def refused_by_meter(world: World) -> World:
    """Home 1 paid, its meter refused the close: ticket 1 is open."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    word = agent.final(close, Outcome.REFUSED_BY_METER, reason="load_voltage")
    world.turn(agent.says(word))
    assert ticket(world).closed_at_ms is None
    return world


# The row and its answer


def test_request_waits_for_the_engines_sweep_and_is_answered_once(world: World):
    request_id = write(world, RequestKind.TICKET_DONE, "7")
    world.turn(world.watermark())
    row = world.one(select(requests))
    assert (row.id, row.handled_at_ms, row.result) == (request_id, None, None)
    world.later(SECOND_MS)
    first = world.one(select(requests))
    world.later(SECOND_MS)
    assert world.one(select(requests)) == first
    assert first.handled_at_ms is not None


def test_more_requests_than_one_sweep_takes_are_answered_in_their_order(world: World):
    for number in range(REQUESTS_PER_SWEEP_MAX + 1):
        write(world, RequestKind.TICKET_DONE, str(number))
    world.later(SECOND_MS)
    waiting = select(requests.c.id).where(requests.c.handled_at_ms.is_(None))
    assert [row.id for row in world.rows(waiting)] == [REQUESTS_PER_SWEEP_MAX + 1]
    world.later(SECOND_MS)
    assert world.rows(waiting) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"asked_by": "  "}, "name is empty"),
        ({"subject": ""}, "subject is empty"),
        ({"detail": "x" * (LONGEST_WORD + 1)}, "513 characters: 512 are the most"),
        ({"asked_by": "x" * (LONGEST_WORD + 1)}, "513 characters"),
    ],
)
def test_request_of_nobody_or_of_a_book_is_not_stored(world: World, facts, said: str):
    told = {"kind": RequestKind.TICKET_DONE, "subject": "1", "detail": "", "asked_by": "R Verma"}
    with world.transaction() as transaction, pytest.raises(ValueError, match=said):
        ask(transaction, Request(**(told | facts)), now_ms=world.now_ms)
    assert world.rows(select(requests)) == []


def test_request_the_database_refuses_is_answered_and_holds_up_nobody(world: World, monkeypatch):
    def clash(transaction, _request, _context):
        transaction.execute(update(episodes).values(attempts=99))
        transaction.execute(text("INSERT INTO ledger SELECT * FROM ledger"))

    monkeypatch.setitem(ACTS, RequestKind.AGENT_GONE, clash)
    write(world, RequestKind.AGENT_GONE, "AG-1")
    behind = write(world, RequestKind.TICKET_DONE, "7")
    assert len(sent(world.later(SECOND_MS) + world.pay())) == 1
    told = [row.result for row in world.rows(select(requests).order_by(requests.c.id))]
    assert "the ledger does not take it" in told[0]
    assert told[behind - 1].startswith(REFUSED)
    assert world.episode().attempts == 1


def test_request_this_engine_does_not_know_is_refused(world: World, monkeypatch):
    monkeypatch.delitem(ACTS, RequestKind.AGENT_GONE, raising=False)
    said = answer(world, RequestKind.AGENT_GONE, "AG-1")
    assert said == "refused: this engine does not know how to do agent_gone: update it"


# Crew tickets


def test_crew_that_restored_supply_ends_the_episode_and_its_ticket(refused_by_meter: World):
    world = refused_by_meter
    world.lock(1, LockKind.NON_PAYMENT)  # a ledger that lost the clearing keeps nobody locked
    said = answer(world, RequestKind.TICKET_DONE, "1", "fuse replaced")
    assert said == (
        "ticket 1 is closed: episode 1 of account A-1 ended, the crew restored supply at M-1"
    )
    assert (world.episode().state, world.episode().ended_at_ms) == ("ended", world.now_ms)
    assert ticket(world).closed_because == "crew: fuse replaced, says R Verma"
    assert world.standing_locks() == set()


def test_close_that_waits_is_dropped_when_a_crew_was_first(world: World):
    """The crew's word ends the episode; the agent's late word on the older close is only filed."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    world.execute(
        insert(crew_tickets), {"episode_id": 1, "reasons": "dark_too_long", "opened_at_ms": 1}
    )
    answer(world, RequestKind.TICKET_DONE, "1")
    assert world.command().state == "dropped"
    assert sent(world.later(60 * SECOND_MS)) == []


@pytest.mark.parametrize("act", [RequestKind.TICKET_DONE, RequestKind.TICKET_RETRY])
@pytest.mark.parametrize("name", ["2", "one", "", "-1", "9" * 40, "1; DROP TABLE episodes"])
def test_ticket_that_does_not_exist_is_refused(refused_by_meter: World, act, name: str):
    if not name:
        name = "0"
    said = answer(refused_by_meter, act, name)
    assert said == f"refused: there is no ticket {name}: relight tickets lists the open ones"


@pytest.mark.parametrize("act", [RequestKind.TICKET_DONE, RequestKind.TICKET_RETRY])
def test_ticket_that_is_closed_is_refused_with_its_end(refused_by_meter: World, act):
    world = refused_by_meter
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    said = answer(world, act, "1")
    assert said.startswith("refused: ticket 1 was closed at 2026-")
    assert said.endswith(": money_went_back")
    assert world.episode().state == "open"


@pytest.mark.parametrize("act", [RequestKind.TICKET_DONE, RequestKind.TICKET_RETRY])
def test_crew_cannot_end_what_is_not_paid(refused_by_meter: World, act):
    world = refused_by_meter
    world.execute(update(episodes).values(state="open"))
    said = answer(world, act, "1")
    assert said == "refused: episode 1 of account A-1 is open, not paid"
    assert ticket(world).closed_at_ms is None


@pytest.mark.parametrize("act", [RequestKind.TICKET_DONE, RequestKind.TICKET_RETRY])
def test_crew_cannot_end_what_another_lock_holds(refused_by_meter: World, act):
    """I10: theft stays theft, whoever drives there."""
    world = refused_by_meter
    world.lock(1, LockKind.THEFT)
    said = answer(world, act, "1")
    assert said == "refused: other locks stand on account A-1: theft; their owners decide"
    assert world.episode().state == "paid"


def test_retry_takes_the_meters_refusal_back_and_tries_under_a_fresh_decision(
    refused_by_meter: World,
):
    world = refused_by_meter
    write(world, RequestKind.TICKET_RETRY, "1")
    (close,) = sent(world.later(SECOND_MS))
    assert close.body.evidence == world.decision().digest
    assert (world.episode().held_because, world.episode().attempts) == (None, 1)
    assert world.one(select(requests)).result == (
        "M-1 was decided anew, close: the quote is covered and nothing else stands in the way"
    )
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    assert len(sent(world.later(15 * SECOND_MS))) == 1  # the ladder began anew
    assert ticket(world).closed_at_ms is None


def test_retry_does_not_wait_for_the_hour_of_the_ladder(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.execute(update(episodes).values(attempts=6))
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
    assert ticket(world).reasons == "ladder_used_up"
    write(world, RequestKind.TICKET_RETRY, "1")
    assert len(sent(world.later(SECOND_MS))) == 1
    states = [row.state for row in world.commands()]
    assert states == ["acknowledged", "dropped", "published"]


def test_retry_while_a_close_is_live_sends_no_second_one(world: World):
    world.pay()
    world.execute(
        insert(crew_tickets), {"episode_id": 1, "reasons": "dark_too_long", "opened_at_ms": 1}
    )
    write(world, RequestKind.TICKET_RETRY, "1")
    assert sent(world.later(SECOND_MS)) == []
    assert len(world.commands()) == 1


def test_retry_of_what_the_rules_forbid_says_so(refused_by_meter: World):
    world = refused_by_meter
    world.execute(update(episodes).values(cut_by="pole"))
    said = answer(world, RequestKind.TICKET_RETRY, "1")
    assert said == "M-1 was decided anew, none: it was not cut remotely: a crew must go"


# Locks


def test_lock_placed_by_hand_is_effective_when_nothing_can_close(world: World):
    assert lock_asked(world, "theft") == "theft lock on account A-1 is placed and effective"
    row = lock(world, "theft")
    assert (row.owner, row.document) == ("R Verma", "FIR 12/2026")
    assert row.effective_at_ms == world.now_ms
    assert sent(world.pay()) == []
    assert world.decision().reasons == "other_lock theft"


def test_lock_placed_while_a_close_is_live_withdraws_it_and_is_pending_until_it_cannot_act(
    world: World,
):
    """I15, R3."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    write(world, RequestKind.LOCK_PLACE, "A-1", "safety letter 3")
    (withdraw,) = sent(world.later(SECOND_MS))
    assert withdraw.body.action == Action.WITHDRAW
    assert world.one(select(requests)).result == (
        "safety lock on account A-1 is placed and pending: a close given before it may still act"
    )
    assert lock(world, "safety").effective_at_ms is None
    words = [agent.final(close, Outcome.WITHDRAWN), agent.final(withdraw, Outcome.WITHDREW)]
    world.turn(agent.says(*words))
    world.later(SECOND_MS)
    assert lock(world, "safety").effective_at_ms == world.now_ms


def test_lock_on_an_armed_relay_says_that_its_button_still_works(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    said = lock_asked(world, "safety")
    assert said.endswith("effective; M-1 is armed: its button still restores supply")


def test_lock_cleared_by_hand_is_decided_anew_with_name_and_document_kept(world: World):
    world.lock(1, LockKind.SAFETY)
    world.pay()
    write(world, RequestKind.LOCK_CLEAR, "A-1", "safety inspection 9")
    (close,) = sent(world.later(SECOND_MS))
    assert close.body.action == Action.CLOSE
    assert lock(world, "safety").cleared_because == "inspection 9, by R Verma"
    assert world.one(select(requests)).result == (
        "safety lock on account A-1 is cleared; close: the quote is covered and nothing else"
        " stands in the way"
    )


def test_lock_cleared_where_nothing_is_cut_says_so(world: World):
    world.add_home(2)
    world.lock(2, LockKind.NETWORK_WORK)
    said = answer(world, RequestKind.LOCK_CLEAR, "A-2", "network_work permit closed")
    assert said == "network work lock on account A-2 is cleared; no episode is open"


@pytest.mark.parametrize("act", [RequestKind.LOCK_PLACE, RequestKind.LOCK_CLEAR])
def test_only_money_places_and_clears_non_payment(world: World, act: RequestKind):
    """I10."""
    said = lock_asked(world, "non_payment", act)
    assert said.startswith("refused: non_payment follows money alone")
    assert world.standing_locks() == {LockKind.NON_PAYMENT}


@pytest.mark.parametrize("act", [RequestKind.LOCK_PLACE, RequestKind.LOCK_CLEAR])
def test_unknown_kind_and_unknown_account_are_refused(world: World, act: RequestKind):
    assert lock_asked(world, "curse", act).startswith("refused: 'curse' is no kind of lock: ")
    said = answer(world, act, "A-404", "theft FIR 1")
    assert said == "refused: there is no account 'A-404'"


def test_lock_that_stands_already_is_refused_with_who_placed_it(world: World):
    lock_asked(world, "theft")
    said = lock_asked(world, "theft")
    assert said.startswith("refused: a theft lock stands on account A-1 since 2026-")
    assert said.endswith(" by R Verma: FIR 12/2026")


def test_lock_that_does_not_stand_cannot_be_cleared(world: World):
    said = lock_asked(world, "theft", RequestKind.LOCK_CLEAR)
    assert said == "refused: no theft lock stands on account A-1"


def test_quote_that_the_tolerance_covers_has_a_service_clock_all_the_same(world: World):
    """I9: without a capture there is no capture's time; it must not be forgotten for that."""
    world.add_home(2)
    world.cut(2, quote_paise=100)
    world.lock(2, LockKind.SAFETY)
    answer(world, RequestKind.LOCK_CLEAR, "A-2", "safety inspection 9")
    assert (world.episode(2).state, world.episode(2).paid_at_ms) == ("paid", world.now_ms)


# The trace


def test_trace_tells_who_asked_for_what_and_what_was_answered(refused_by_meter: World):
    world = refused_by_meter
    answer(world, RequestKind.TICKET_DONE, "1", "fuse replaced")
    lock_asked(world, "theft")
    found = trace(world.store, "A-1")
    assert found is not None
    told = render(found)
    for sentence in (
        "ticket done of 1 by R Verma: fuse replaced",
        "ticket 1 is closed: episode 1 of account A-1 ended",
        "number 1: crew: fuse replaced, says R Verma",
        "lock place of A-1 by R Verma: theft FIR 12/2026",
        "theft lock on account A-1 is placed and effective",
    ):
        assert sentence in told

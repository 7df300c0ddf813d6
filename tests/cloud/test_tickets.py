"""Paid, dark, and no command will do: a crew ticket, one, in its time; none is forgotten (I9)."""

import itertools
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from cloud.outbox import LADDER_MS, LADDER_THEN_MS, LAPSE_MS
from cloud.rules import DAY_MS, MP_WEST_FIRST_PHASE, Reason
from cloud.schema import accounts, crew_tickets, episodes, meters
from cloud.tickets import (
    FIRST_TRY_MS,
    FORBIDDING,
    OVERDUE_SCAN_MAX,
    TICKET_AFTER_MS,
    TicketEnd,
    TicketReason,
)
from cloud.trace import trace
from cloud.trace_steps import WORDS
from tests.cloud.engine_world import MINUTE_MS, QUOTE_PAISE, SECOND_MS, World, sent
from tests.wire.installation import NOW_MS
from wire.vocabulary import Outcome, PaymentKind

HOUR_MS = 60 * MINUTE_MS
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def tickets(world: World):
    return world.rows(select(crew_tickets).order_by(crew_tickets.c.id))


def ticket(world: World):
    return world.one(select(crew_tickets))


def fail(world: World, close, outcome: Outcome = Outcome.UNREACHABLE, **facts: object) -> None:
    """The agent answers that this close did nothing."""
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.final(close, outcome, **facts)))


def fail_until_used_up(world: World) -> None:
    """Each try of the ladder fails at once."""
    (close,) = sent(world.pay())
    for delay in LADDER_MS[1:]:
        fail(world, close)
        (close,) = sent(world.later(delay))
    fail(world, close)


def to_the_next_timer(world: World) -> list[object]:
    """Time passes until the waiting close is due, or the live one has lapsed."""
    row = world.command()
    until_ms = row.due_at_ms if row.state == "queued" else row.expires_at_ms + LAPSE_MS + 1
    return sent(world.later(max(until_ms - world.now_ms, SECOND_MS)))


def test_ladder_that_is_used_up_opens_a_ticket_and_one_try_an_hour_goes_on(world: World):
    fail_until_used_up(world)
    assert (ticket(world).reasons, ticket(world).closed_at_ms) == ("ladder_used_up", None)
    assert ticket(world).opened_at_ms == world.decision().decided_at_ms
    assert sent(world.later(LADDER_THEN_MS - SECOND_MS)) == []
    (close,) = sent(world.later(SECOND_MS))
    fail(world, close)
    assert len(sent(world.later(LADDER_THEN_MS))) == 1
    assert len(tickets(world)) == 1


def test_no_ticket_while_tries_of_the_ladder_are_left(world: World):
    (close,) = sent(world.pay())
    for delay in LADDER_MS[1:]:
        fail(world, close)
        assert tickets(world) == []
        (close,) = sent(world.later(delay))
    assert tickets(world) == []


def test_ladder_begins_anew_when_money_went_back_and_came_again(world: World):
    fail_until_used_up(world)
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    assert ticket(world).closed_because == "money_went_back"
    assert (world.episode().attempts, world.episode().state) == (0, "open")
    (close,) = sent(world.pay(world.item("pay_2")))
    fail(world, close)
    assert len(sent(world.later(LADDER_MS[1]))) == 1
    assert [row.closed_at_ms is None for row in tickets(world)] == [False]


def test_what_is_dark_an_hour_after_its_capture_has_a_ticket(world: World):
    """Its agent was never heard, so no command ended and nothing was decided again."""
    world.add_agent("AG-2")
    world.add_home(2, "AG-2")
    world.cut(2)
    paid_at_ms = world.now_ms
    world.pay(world.item("pay_2", account_hint="A-2", happened_at_ms=paid_at_ms))
    world.later(TICKET_AFTER_MS - SECOND_MS)
    assert tickets(world) == []
    world.later(SECOND_MS)
    assert (ticket(world).reasons, ticket(world).episode_id) == ("dark_too_long", 2)
    world.later(SECOND_MS)
    assert len(tickets(world)) == 1


def test_payment_reported_late_gets_its_first_try_before_a_crew_drives(world: World):
    happened_at_ms = world.now_ms - 3 * HOUR_MS
    world.pay(world.item(happened_at_ms=happened_at_ms))
    world.later(FIRST_TRY_MS - SECOND_MS)
    assert tickets(world) == []
    world.later(2 * SECOND_MS)
    assert ticket(world).reasons == "dark_too_long"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.NOT_CUT_REMOTELY, (update(episodes), {"cut_by": "pole"})),
        (Reason.OUTSIDE_PHASE, (update(meters), {"installed_at_ms": 0})),
        (Reason.MAPPING_CHANGED, (update(meters), {"mapped_at_ms": 2**50})),
        (Reason.OFF_TOO_LONG, (update(episodes), {"cut_at_ms": NOW_MS - 181 * DAY_MS})),
        (Reason.METER_REFUSED, (update(episodes), {"held_because": "load_voltage"})),
    ],
)
def test_rules_that_forbid_a_remote_close_open_a_ticket_at_once(world: World, reason, changes):
    statement, values = changes
    world.execute(statement.values(**values))
    assert sent(world.pay()) == []
    assert ticket(world).reasons == reason
    assert ticket(world).opened_at_ms == world.now_ms


def test_every_rule_but_locks_money_and_the_button_sends_a_crew():
    """A new reason of the rules must be weighed here: who acts on it?"""
    nobody = {Reason.QUOTE_COVERED, Reason.ALREADY_CLOSED}
    others = {Reason.SHORT, Reason.NO_QUOTE, Reason.OTHER_LOCK, Reason.ARMED}
    assert set(Reason) - nobody - others == FORBIDDING


def test_too_little_money_opens_no_ticket_whatever_else_forbids(world: World):
    world.execute(update(episodes).values(cut_by="pole"))
    world.pay(world.item(amount_paise=QUOTE_PAISE - 101))
    assert tickets(world) == []


def test_meters_own_refusal_opens_a_ticket_and_says_why_beside_it(world: World):
    """Domain rule 30."""
    (close,) = sent(world.pay())
    fail(world, close, Outcome.REFUSED_BY_METER, reason="load_voltage")
    assert ticket(world).reasons == "meter_refused"


def test_what_is_learned_later_is_added_to_the_one_ticket(world: World):
    fail_until_used_up(world)
    (close,) = sent(world.later(LADDER_THEN_MS))
    fail(world, close, Outcome.REFUSED_BY_METER, reason="switch_weld")
    world.later(HOUR_MS)
    assert ticket(world).reasons == "ladder_used_up meter_refused"


def test_armed_relay_waits_for_its_consumer_and_needs_no_crew(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    world.later(2 * TICKET_AFTER_MS)
    world.pay(world.item("pay_2"))
    assert tickets(world) == []


def test_armed_relay_needs_no_crew_whatever_the_rules_say_later(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    world.execute(update(meters).values(mapped_at_ms=world.now_ms))
    world.pay(world.item("pay_2"))
    assert world.decision().reasons == "mapping_changed armed"
    assert tickets(world) == []


def test_hour_of_the_service_clock_is_an_hour():
    """Domain rule 36."""
    assert TICKET_AFTER_MS == HOUR_MS


@pytest.mark.parametrize("outcome", [Outcome.CLOSED, Outcome.ALREADY_CLOSED, Outcome.ARMED])
def test_light_closes_the_ticket(world: World, outcome: Outcome):
    fail_until_used_up(world)
    (close,) = sent(world.later(LADDER_THEN_MS))
    fail(world, close, outcome)
    expected = "armed" if outcome is Outcome.ARMED else "closed"
    assert (ticket(world).closed_because, ticket(world).closed_at_ms) == (expected, world.now_ms)


def test_late_word_on_a_lapsed_close_closes_the_ticket(world: World):
    agent = world.agents["AG-1"]
    (first,) = sent(world.pay())
    world.later(20 * MINUTE_MS)
    world.later(TICKET_AFTER_MS)
    assert ticket(world).closed_at_ms is None
    world.turn(agent.says(agent.final(first, Outcome.CLOSED)))
    assert ticket(world).closed_because == "closed"


def test_lock_that_arrives_closes_the_ticket_and_no_other_opens(world: World):
    """Whoever owns the lock acts."""
    fail_until_used_up(world)
    world.pay(world.item(kind=PaymentKind.DISPUTED, object_id="d_1"))
    assert ticket(world).closed_because == "other_lock"
    world.later(2 * TICKET_AFTER_MS)
    assert len(tickets(world)) == 1


def test_lock_from_the_beginning_opens_no_ticket_until_it_is_cleared(world: World):
    world.pay(world.item(amount_paise=1), world.item(kind=PaymentKind.DISPUTED, object_id="d_1"))
    world.pay(world.item("pay_2"))
    world.later(2 * TICKET_AFTER_MS)
    assert tickets(world) == []
    world.pay(world.item(kind=PaymentKind.DISPUTE_WON, object_id="d_1"))
    assert len(world.commands(action="close")) == 1
    world.later(FIRST_TRY_MS - SECOND_MS)
    assert tickets(world) == []
    world.later(2 * SECOND_MS)
    assert ticket(world).reasons == "dark_too_long"


def test_close_that_expires_unanswered_is_renewed_for_days_with_one_ticket(world: World):
    """The agent was heard once and is silent since; when it is back, it closes at once."""
    agent = world.agents["AG-1"]
    paid_at_ms = world.now_ms - 2 * SECOND_MS  # when the provider dates it
    closes = sent(world.pay())
    opened = []
    while world.now_ms < paid_at_ms + 3 * DAY_MS:
        closes += to_the_next_timer(world)
        opened.append((len(tickets(world)), world.now_ms))
    assert len({close.command_id for close in closes}) == len(closes)
    spaces = [
        later.body.sequence_ms - close.body.sequence_ms
        for close, later in itertools.pairwise(closes)
    ]
    lapse_ms = closes[0].body.expires_at_ms - closes[0].body.sequence_ms + LAPSE_MS
    told = [space - lapse_ms for space in spaces]
    for waited, step in zip(told, (*LADDER_MS[1:], *(len(told) * [LADDER_THEN_MS])), strict=False):
        assert step <= waited <= step + 2 * SECOND_MS
    assert len(closes) > 3 * 17  # one in 1 h 17 min, and the ladder before it
    first = next(at_ms for count, at_ms in opened if count)
    assert paid_at_ms + TICKET_AFTER_MS <= first <= paid_at_ms + TICKET_AFTER_MS + 20 * MINUTE_MS
    assert ticket(world).reasons == "dark_too_long ladder_used_up"
    closes = closes[-1:] if world.command().state == "published" else to_the_next_timer(world)
    world.turn(agent.says(agent.final(closes[-1], Outcome.CLOSED)))
    assert world.episode().state == "ended"
    assert ticket(world).closed_because == "closed"


def test_more_dark_episodes_than_one_sweep_looks_at_all_get_their_ticket(world: World):
    count = OVERDUE_SCAN_MAX + 500
    names = [f"B-{n}" for n in range(count)]
    world.execute(
        insert(accounts), [{"account_id": name, "zone": "Z", "language": "hi"} for name in names]
    )
    home = {"agent_id": "AG-1", "installed_at_ms": 1, "mapped_at_ms": 1, "feeder": "F"}
    world.execute(
        insert(meters),
        [home | {"meter_id": name, "account_id": name, "transformer": "T"} for name in names],
    )
    dark = {"cut_at_ms": 1, "cut_by": "remote", "created_at_ms": 1, "state": "paid"}
    paid_at_ms = world.now_ms - TICKET_AFTER_MS
    world.execute(
        insert(episodes),
        [dark | {"account_id": n, "meter_id": n, "paid_at_ms": paid_at_ms} for n in names],
    )
    world.later(SECOND_MS)
    assert len(tickets(world)) == OVERDUE_SCAN_MAX
    world.later(SECOND_MS)
    assert len(tickets(world)) == count
    world.later(SECOND_MS)
    assert len({row.episode_id for row in tickets(world)}) == len(tickets(world)) == count


def test_trace_tells_the_ticket_from_its_opening_to_its_end(world: World):
    fail_until_used_up(world)
    (close,) = sent(world.later(LADDER_THEN_MS))
    fail(world, close, Outcome.CLOSED)
    found = trace(world.store, "episode 1")
    assert found is not None
    told = {step.name: step.detail for step in found.steps}
    assert told["crew ticket"].startswith("number 1: every try of the ladder failed")
    assert told["crew ticket closed"] == "number 1: the relay was read back closed"


def test_every_word_of_a_ticket_has_words_for_an_operator():
    ends = {end.value for end in TicketEnd} - {TicketEnd.CREW.value}  # it carries its own
    told = {one.value for one in TicketReason} | FORBIDDING | ends
    assert told <= set(WORDS)
    assert [word for word in told if f"`{word}`" not in OPERATIONS.read_text("utf-8")] == []


def test_second_open_ticket_of_an_episode_is_refused_by_the_database(world: World):
    row = {"episode_id": 1, "reasons": "dark_too_long", "opened_at_ms": 1}
    world.execute(insert(crew_tickets), row)
    with pytest.raises(Exception, match="UNIQUE"):
        world.execute(insert(crew_tickets), row)


def test_off_too_long_is_the_policys_number(world: World):
    world.execute(update(episodes).values(cut_at_ms=world.now_ms - MP_WEST_FIRST_PHASE.off_max_ms))
    world.pay()
    assert tickets(world) == []

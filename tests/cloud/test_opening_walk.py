"""An open from its proposal to the light coming back, with the real guard, and what intervenes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from cloud.opening_rules import LIFE_MS, TRIES_A_DAY
from cloud.schema import acts, decisions, entries, freezes, meters, moves, quotes
from cloud.vocabulary import LockKind
from tests.cloud.agent_by_hand import OPEN
from tests.cloud.engine_world import MINUTE_MS, QUOTE_PAISE, SECOND_MS, sent
from tests.cloud.guard.guarded import OWED_PAISE
from tests.cloud.opening_world import OpeningWorld
from tests.wire.installation import key, keyring
from wire import envelope
from wire.checking import Checked, check
from wire.vocabulary import Action, Outcome

CHARGES_PAISE = 30_000


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[OpeningWorld]:
    made = OpeningWorld(tmp_path)
    yield made
    made.store.dispose()
    made.guarded.store.close()


def test_open_walks_from_proposal_to_darkness_and_a_payment_brings_the_light_back(
    homes: OpeningWorld,
):
    """I4, I11: decided, half-signed, co-signed, published, read back; then the walk of a close."""
    homes.propose(1)
    assert sent(homes.sweep()) == []  # nothing leaves with one signature
    assert (homes.command().state, homes.states()) == ("half_signed", ["sent"])
    (answer,) = homes.guard_looks().answers
    assert answer.verdict == "signed"
    outgoing = homes.sweep(250)
    (opened,) = sent(outgoing)
    (message,) = [one for one in outgoing if one.topic.startswith("command/")]
    signed_by = {one.key_id for one in envelope.unpack(message.payload).signatures}
    assert signed_by == {key("engine").key_id, key("guard").key_id}
    assert (opened.body.action, opened.body.meter) == (Action.OPEN, "M-1")
    assert opened.body.expires_at_ms - opened.body.sequence_ms == LIFE_MS
    assert opened.body.evidence == homes.command().decision
    homes.turn(homes.takes_away(opened))
    episode = homes.episode()
    assert (episode.cut_by, episode.cut_at_ms) == ("remote", opened.body.sequence_ms + 20)
    assert (homes.states(), homes.standing_locks()) == (["opened"], {"non_payment"})
    assert homes.owed() == OWED_PAISE + CHARGES_PAISE
    assert homes.value(select(quotes.c.amount_paise)) == OWED_PAISE + CHARGES_PAISE
    homes.now_ms += SECOND_MS
    (close,) = sent(homes.paid(homes.guarded.item(amount_paise=OWED_PAISE + CHARGES_PAISE)))
    assert (close.body.action, close.body.meter) == (Action.CLOSE, "M-1")
    homes.turn(homes.agent.says(homes.agent.final(close, Outcome.CLOSED)))
    assert (homes.episode().state, homes.standing_locks()) == ("ended", set())


def test_decision_and_act_of_an_open_are_stored_with_it(homes: OpeningWorld):
    homes.propose(1)
    homes.sweep()
    decision = homes.one(select(decisions))
    assert (decision.verdict, decision.proposal_id, decision.reasons) == (
        "open",
        1,
        "arrears_after_notice",
    )
    noted = homes.rows(select(acts).order_by(acts.c.id))
    assert [(row.who, row.act, row.subject) for row in noted] == [
        ("V. Rao", "propose", "batch 1"),
        ("engine", "open", "M-1"),
    ]


def test_engine_alone_gets_nothing_opened(tmp_path: Path):
    """I11: without a guard an open lapses, three times a day at most, and nothing was sent."""
    world = OpeningWorld(tmp_path, has_guard=False)
    world.propose(1)
    for _ in range(12):
        assert sent(world.fresh(MINUTE_MS)) == []
    tried = world.commands(action="open")
    assert {row.state for row in tried} == {"lapsed"}
    assert len(tried) == TRIES_A_DAY
    assert all(row.sends == 0 for row in tried)
    assert world.reasons() == ["tried_today"]
    assert "guard_silent" in world.alarm_codes()
    world.store.dispose()
    world.guarded.store.close()


def test_signature_that_no_agent_would_take_is_not_sent(homes: OpeningWorld):
    """The guard's store is another's: what lies there is judged as the agent judges it."""
    homes.guarded.signer = key("stop")
    homes.propose(1)
    homes.sweep()
    forged = envelope.unpack(homes.command().envelope)
    ours = forged.signatures[0]
    command = homes.command()
    with homes.guarded.store as store:
        store.execute("DROP TRIGGER signed_only_when_counted")
        store.execute(
            "INSERT INTO answers VALUES (?, ?, ?, 'signed', '', 0)",
            (command.command_id, key("guard").key_id, ours.signature),
        )
    assert sent(homes.sweep(250)) == []
    assert homes.command().state == "half_signed"


def test_open_that_the_guard_quarantines_is_dropped_and_waits_for_people(homes: OpeningWorld):
    item = homes.guarded.item()
    homes.guarded.hear(
        homes.guarded.payment(item), homes.guarded.watermark()
    )  # the engine: not yet
    homes.propose(1)
    homes.sweep()
    assert sent(homes.cosigned()) == []
    assert (homes.command().state, homes.states()) == ("dropped", ["quarantined"])
    assert "paid_since_notice" in homes.reasons()[0]
    assert "guard_refused" in homes.alarm_codes()


def test_published_open_is_what_the_agent_checks(homes: OpeningWorld):
    (_,) = homes.opened(1)
    row = homes.command()

    class Delivered:
        topic, payload, is_retained = "command/AG-1/M-1", row.envelope, False

    checked = check(Delivered(), keyring(), at_ms=homes.now_ms, receiver="AG-1")
    assert isinstance(checked, Checked)
    assert {role.value for role in checked.roles} == {"engine", "guard"}


# Money, locks and stops on the way


@pytest.mark.parametrize("state", ["queued", "half_signed"])
def test_payment_before_an_open_is_sent_drops_it_in_the_same_turn(homes: OpeningWorld, state):
    if state == "queued":
        homes.turn(homes.agent.hello(window=1, meters=1_000))
        homes.cut(2)
        homes.paid(homes.guarded.item(2, amount_paise=QUOTE_PAISE))  # fills the agent's window
    homes.propose(1)
    homes.fresh()
    assert homes.command(action="open").state == state
    homes.now_ms += 1
    assert not [one for one in sent(homes.paid(homes.guarded.item())) if one.body.meter == "M-1"]
    assert (homes.command(action="open").state, homes.states()) == ("dropped", ["skipped"])
    assert homes.reasons() == ["nothing_owed owes_less"]


def test_payment_while_an_open_is_live_withdraws_it_in_the_same_turn(homes: OpeningWorld):
    """R3."""
    (opened,) = homes.opened(1)
    homes.now_ms += 1
    (withdraw,) = sent(homes.paid(homes.guarded.item()))
    assert (withdraw.body.action, withdraw.body.meter) == (Action.WITHDRAW, "M-1")
    assert homes.command(action="open").is_overtaken == 1
    agent = homes.agent
    homes.turn(
        agent.says(agent.final(opened, Outcome.WITHDRAWN), agent.final(withdraw, Outcome.WITHDREW))
    )
    assert homes.states() == ["skipped"]
    homes.sweep()
    assert [row.action for row in homes.commands()] == ["open", "withdraw"]


def test_open_that_acted_after_the_payment_was_captured_is_closed_at_once_without_charges(
    homes: OpeningWorld,
):
    (opened,) = homes.opened(1)
    homes.now_ms += MINUTE_MS
    captured_ms = opened.body.sequence_ms + 5
    item = homes.guarded.item(happened_at_ms=captured_ms, received_at_ms=captured_ms)
    (withdraw,) = sent(homes.paid(item))
    homes.now_ms += 1
    at_ms = opened.body.sequence_ms
    word = homes.takes_away(opened, acted_at_ms=at_ms + 20, read_at_ms=at_ms + 30)
    homes.turn(word)
    assert (homes.states(), homes.episode().state) == (["opened"], "paid")
    assert homes.rows(select(entries).where(entries.c.head == "charges")) == []
    late = homes.agent.final(withdraw, Outcome.TOO_LATE, after=OPEN, read_at_ms=homes.now_ms)
    closes = sent(homes.turn(homes.agent.says(late))) or sent(homes.sweep())
    assert homes.command(action="close").episode_id == homes.episode().id
    assert {one.body.action for one in closes} <= {Action.CLOSE}


def test_payment_captured_after_the_relay_moved_closes_at_once_and_charges_stand(
    homes: OpeningWorld,
):
    (opened,) = homes.opened(1)
    homes.now_ms += MINUTE_MS
    homes.guarded.now_ms = homes.now_ms
    homes.paid(homes.guarded.item(amount_paise=OWED_PAISE + CHARGES_PAISE))
    homes.turn(homes.takes_away(opened))
    assert homes.episode().state == "paid"
    assert homes.value(select(quotes.c.amount_paise)) == OWED_PAISE + CHARGES_PAISE
    assert homes.owed() == 0
    assert homes.command(action="close").episode_id == homes.episode().id


def test_lock_or_protection_takes_a_half_signed_open_back_at_the_next_look(homes: OpeningWorld):
    homes.propose(1, 2)
    homes.sweep()
    homes.lock(1, LockKind.COURT_ORDER, homes.now_ms)
    homes.execute(meters.update().where(meters.c.meter_id == "M-2").values(is_protected=1))
    homes.sweep()
    assert [row.state for row in homes.commands()] == ["dropped", "dropped"]
    assert homes.reasons() == ["locked", "protected"]


def test_stop_drops_what_is_half_signed_and_a_signature_of_the_guard_comes_too_late(
    homes: OpeningWorld,
):
    homes.propose(1)
    homes.sweep()
    homes.guard_looks()
    row = {"kind": "stop", "number_ms": homes.now_ms, "note": "", "envelope": b"stop"}
    homes.execute(insert(freezes), row | {"taken_at_ms": homes.now_ms})
    assert sent(homes.sweep(250)) == []
    homes.sweep()
    assert (homes.command().state, homes.states()) == ("dropped", ["proposed"])
    assert homes.reasons() == ["held"]


def test_nothing_goes_while_payments_may_be_missing(homes: OpeningWorld):
    """R1: no watermark for over five minutes."""
    homes.now_ms += 5 * MINUTE_MS + SECOND_MS
    homes.propose(1)
    homes.sweep()
    assert (homes.commands(), homes.states()) == ([], ["proposed"])
    homes.fresh()
    assert homes.command().state == "half_signed"


# Whose turn it is


def test_opens_wait_behind_every_close_of_their_agent(homes: OpeningWorld):
    homes.turn(homes.agent.hello(window=1, meters=1_000))
    homes.cut(2)
    homes.cut(3)
    (close,) = [
        one
        for number in (2, 3)
        for one in sent(homes.paid(homes.guarded.item(number, amount_paise=QUOTE_PAISE)))
    ]
    homes.propose(1)
    homes.fresh()
    assert homes.command(action="open").state == "queued"
    (next_close,) = sent(homes.turn(homes.agent.says(homes.agent.final(close, Outcome.CLOSED))))
    assert next_close.body.action == Action.CLOSE
    homes.fresh()
    assert homes.command(action="open").state == "queued"
    homes.turn(homes.agent.says(homes.agent.final(next_close, Outcome.CLOSED)))
    homes.fresh()
    assert homes.command(action="open").state == "half_signed"


def test_close_that_cannot_go_yet_holds_the_opens_of_its_agent_back(homes: OpeningWorld):
    """Not for want of room: a close is never behind an open."""
    homes.add_agent("AG-2")
    homes.cut(2)
    row = {"meter_id": "M-2", "from_agent_id": "AG-2", "to_agent_id": "AG-1"}
    homes.execute(insert(moves), row | {"moved_at_ms": homes.now_ms})
    assert sent(homes.paid(homes.guarded.item(2, amount_paise=QUOTE_PAISE))) == []
    homes.propose(1)
    homes.fresh()
    assert [(row.action, row.state) for row in homes.commands()] == [
        ("close", "queued"),
        ("open", "queued"),
    ]

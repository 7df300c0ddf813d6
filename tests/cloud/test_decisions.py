"""Steps 4 and 5: decisions stored, commands that exist only because of them (I4, I10)."""

from hashlib import sha256

import msgspec
from sqlalchemy import select

from cloud.schema import commands, decisions, locks
from cloud.vocabulary import LockKind
from tests.cloud.engine_world import QUOTE_PAISE, World, sent
from wire.vocabulary import Action, Outcome, PaymentKind


def test_command_names_its_stored_decision_by_digest(world: World):
    """I4: and the digest is of the record's exact bytes."""
    (close,) = sent(world.pay())
    row = world.one(select(decisions).where(decisions.c.digest == close.body.evidence))
    assert sha256(row.record).digest() == row.digest
    assert (row.verdict, row.reasons) == ("close", "quote_covered")
    assert world.command().decision == row.digest


def test_record_begins_with_fresh_random_bytes(world: World):
    """R22: the digest on the wire tells nobody what was decided."""
    world.pay(world.item("pay_1", amount_paise=1))
    world.pay(world.item("pay_2", amount_paise=1))
    records = [msgspec.msgpack.decode(row.record) for row in world.rows(select(decisions))]
    assert len(records) == 2
    assert all(len(record[0]) == 16 for record in records)
    assert records[0][0] != records[1][0]


def test_every_command_ever_has_a_decision_with_its_cause(world: World):
    """I4: close, withdraw and close again."""
    world.pay()
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    world.pay(world.item("pay_2"))
    rows = world.rows(select(commands.c.action, decisions.c.verdict).join(decisions))
    assert [(row.action, row.verdict) for row in rows] == [
        ("close", "close"), ("withdraw", "withdraw"), ("close", "close"),
    ]  # fmt: skip


def test_short_payment_is_decided_with_the_missing_amount_and_commands_nothing(world: World):
    assert sent(world.pay(world.item(amount_paise=100_000))) == []
    decision = world.decision()
    assert (decision.verdict, decision.reasons) == ("none", "short")
    assert decision.short_by_paise == QUOTE_PAISE - 100_000
    assert world.episode().state == "open"


def test_covered_quote_clears_non_payment_and_no_other_lock(world: World):
    """I10."""
    world.lock(1, LockKind.SAFETY)
    assert sent(world.pay()) == []
    assert world.standing_locks() == {LockKind.SAFETY}
    assert world.decision().reasons == "other_lock safety"
    assert world.episode().state == "paid"
    assert world.episode().paid_at_ms == world.now_ms - 2_000


def test_money_that_went_back_places_non_payment_again(world: World):
    world.pay()
    world.pay(world.item(kind=PaymentKind.REFUNDED, amount_paise=300))
    assert world.standing_locks() == {LockKind.NON_PAYMENT}
    assert (world.episode().state, world.episode().paid_at_ms) == ("open", None)


def test_queued_close_is_dropped_when_its_reason_goes_away(world: World):
    """It was never sent, so nothing needs to be withdrawn."""
    world.add_agent("AG-2")
    world.add_home(2, "AG-2")
    world.cut(2)
    world.pay(world.item("pay_2", account_hint="A-2"))
    assert world.command(meter_id="M-2").state == "queued"
    world.pay(world.item("pay_2", account_hint="A-2", kind=PaymentKind.REFUNDED))
    assert [row.state for row in world.commands(meter_id="M-2")] == ["dropped"]


def test_payment_after_a_withdrawal_closes_again_over_it(world: World):
    world.pay()
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.REFUNDED)))
    (close,) = sent(world.pay(world.item("pay_2")))
    assert (withdraw.body.action, close.body.action) == (Action.WITHDRAW, Action.CLOSE)
    assert close.body.sequence_ms > withdraw.body.sequence_ms


def test_armed_episode_gets_no_second_command_and_stays_armed(world: World):
    """Another payment must not restart the service clock that ended when the relay was armed."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    paid_at_ms = world.episode().paid_at_ms
    assert sent(world.pay(world.item("pay_2"))) == []
    assert (world.episode().state, world.episode().paid_at_ms) == ("armed", paid_at_ms)
    assert world.decision().reasons == "armed"


def test_refund_while_armed_places_non_payment_again_and_commands_nothing(world: World):
    """I10: nothing opens or disarms by itself; a person sees the lock."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, Outcome.ARMED)))
    assert sent(world.pay(world.item(kind=PaymentKind.REFUNDED))) == []
    assert world.standing_locks() == {LockKind.NON_PAYMENT}


def test_locks_keep_who_placed_them_and_why_they_were_cleared(world: World):
    world.pay()
    row = world.one(select(locks))
    assert (row.owner, row.cleared_because) == ("a test", "quote covered")
    assert row.cleared_at_ms == world.now_ms

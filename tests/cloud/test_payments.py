"""Step 3: each verdict on a reported payment, and the money that goes back (I1, I2, I10)."""

import pytest
from sqlalchemy import func, select

from cloud.schema import accounts, entries, payment_items, payments
from cloud.vocabulary import LockKind
from tests.cloud.engine_world import (
    MINUTE_MS,
    QUOTE_PAISE,
    SECOND_MS,
    World,
    bodies,
    receipts,
    sent,
)
from wire.topics import MessageType
from wire.vocabulary import Action, PaymentKind

DAY_MS = 86_400_000


def paid(world: World) -> int:
    return int(world.value(select(func.count()).select_from(payments)))


def verdict(world: World) -> tuple[str, str | None]:
    newest = select(payment_items).order_by(payment_items.c.number.desc()).limit(1)
    row = world.one(newest)
    return row.verdict, row.reason


def test_captured_payment_is_posted_receipted_and_closes_in_one_turn(world: World):
    outgoing = world.pay()
    assert receipts(outgoing) == {1: "stored"}
    (close,) = sent(outgoing)
    assert close.body.action == Action.CLOSE
    assert world.owed() == 0
    assert verdict(world) == ("stored", None)


def test_receipt_proves_bytes_generation_and_spool(world: World):
    item = world.item()
    (receipt,) = bodies(world.pay(item), MessageType.RECEIPT)
    assert receipt.items[0].raw16 == item.raw[:16]
    assert receipt.generation_ms == world.engine.generation_ms


def test_same_number_with_same_bytes_is_a_duplicate_and_posted_once(world: World):
    """I2: a report sent again until its receipt arrives posts nothing twice."""
    item = world.item()
    world.pay(item)
    outgoing = world.pay(item)
    assert receipts(outgoing) == {1: "duplicate"}
    assert sent(outgoing) == []
    assert paid(world) == 1
    assert world.owed() == 0


def test_same_number_twice_in_one_turn_is_posted_once(world: World):
    item = world.item()
    world.turn(*world.report(item), *world.report(item))
    assert paid(world) == 1


def test_same_fact_under_another_number_is_a_duplicate(world: World):
    """I2: two spools, or a webhook and a poll, report one payment."""
    world.pay(world.item())
    assert receipts(world.pay(world.item())) == {2: "duplicate"}
    assert verdict(world) == ("duplicate", "fact")
    assert paid(world) == 1


def test_same_fact_twice_in_one_message_is_posted_once(world: World):
    outgoing = world.pay(world.item(), world.item())
    assert receipts(outgoing) == {1: "stored", 2: "duplicate"}
    assert world.owed() == 0


def test_number_reused_for_other_bytes_is_quarantined_and_alarmed(world: World):
    world.pay(world.item())
    outgoing = world.pay(world.item("pay_2", number=1, raw=b"\x01" * 32))
    assert receipts(outgoing) == {1: "quarantined"}
    assert world.alarm_codes() == ["number_reused"]
    assert paid(world) == 1


@pytest.mark.parametrize(
    "change", [{"amount_paise": 1}, {"account_hint": "A-2"}, {"payment_id": "pay_9"}]
)
def test_fact_that_changed_is_quarantined_and_never_posted(world: World, change: dict[str, object]):
    world.pay(world.item())
    world.pay(world.item(object_id="pay_1", **change))
    assert verdict(world) == ("quarantined", "fact_changed")
    assert paid(world) == 1
    assert world.alarm_codes() == ["fact_changed"]


def test_other_money_than_rupees_is_quarantined(world: World):
    assert sent(world.pay(world.item(currency="USD"))) == []
    assert verdict(world) == ("quarantined", "currency")
    assert paid(world) == 0
    assert world.alarm_codes() == ["currency"]


def test_report_that_came_a_day_late_is_quarantined(world: World):
    """A recorded webhook sent again long after is confirmed by a person first."""
    late = world.now_ms - SECOND_MS - DAY_MS
    world.pay(world.item("pay_1", happened_at_ms=late))
    world.pay(world.item("pay_2", happened_at_ms=late - 1))
    assert paid(world) == 1
    assert verdict(world) == ("quarantined", "report_too_old")


def test_good_report_beside_a_late_one_of_the_same_payment_is_posted(world: World):
    """I2: the verdict does not depend on what came in the same turn."""
    late = world.item("pay_1", happened_at_ms=world.now_ms - SECOND_MS - DAY_MS - 1)
    world.pay(late, world.item("pay_1"))
    assert paid(world) == 1


def test_report_from_the_future_is_quarantined(world: World):
    world.pay(world.item("pay_1", received_at_ms=world.now_ms + MINUTE_MS))
    assert paid(world) == 1
    world.pay(world.item("pay_2", received_at_ms=world.now_ms + MINUTE_MS + 1))
    assert verdict(world) == ("quarantined", "from_future")
    assert paid(world) == 1


def test_order_names_the_account_whatever_the_hint_says(world: World):
    world.add_home(2)
    world.order("order_1", world.cut(2))
    (close,) = sent(world.pay(world.item(order="order_1", account_hint="A-1")))
    assert close.body.meter == "M-2"
    assert world.owed(1) == QUOTE_PAISE


def test_unknown_order_leaves_the_hint(world: World):
    (close,) = sent(world.pay(world.item(order="order_nobody_made")))
    assert close.body.meter == "M-1"


@pytest.mark.parametrize("hint", [None, "A-404"])
def test_payment_for_nobody_we_know_is_misposted_and_kept(world: World, hint: str | None):
    """I1: it reaches an end, and no account's entries change."""
    outgoing = world.pay(world.item(account_hint=hint))
    assert receipts(outgoing) == {1: "misposted"}
    assert world.one(select(payments)).account_id is None
    assert world.owed() == QUOTE_PAISE


def test_payment_for_a_closed_account_is_misposted(world: World):
    world.put(accounts, closed_at_ms=1)
    assert receipts(world.pay()) == {1: "misposted"}


def test_payment_for_a_consumer_with_light_is_posted_and_commands_nothing(world: World):
    world.add_home(2)
    outgoing = world.pay(world.item(account_hint="A-2"))
    assert receipts(outgoing) == {1: "stored"}
    assert sent(outgoing) == []
    assert world.owed(2) == -QUOTE_PAISE


def test_second_capture_of_one_payment_is_quarantined(world: World):
    """I2: one (provider, payment id) is posted at most once, whatever its facts are called."""
    world.pay(world.item())
    world.pay(world.item(object_id="another", kind=PaymentKind.REALISED))
    assert verdict(world) == ("quarantined", "payment_posted_already")
    assert world.owed() == 0


def test_money_never_captured_is_never_posted(world: World):
    """I2: a refund, a dispute or a bounce of an unknown payment posts nothing."""
    before = world.rows(select(entries))
    for kind in (PaymentKind.REFUNDED, PaymentKind.DISPUTED, PaymentKind.BOUNCED):
        world.pay(world.item("pay_unknown", kind=kind))
    assert world.rows(select(entries)) == before
    assert world.standing_locks() == {LockKind.NON_PAYMENT}


def test_refund_that_comes_before_its_capture_waits_for_it(world: World):
    outgoing = world.pay(world.item(kind=PaymentKind.REFUNDED))
    assert receipts(outgoing) == {1: "stored"}
    assert world.owed() == QUOTE_PAISE
    assert sent(world.pay()) == []
    assert world.owed() == QUOTE_PAISE
    assert world.one(select(payments)).returned_paise == QUOTE_PAISE


def test_two_partial_refunds_both_go_back(world: World):
    world.pay()
    for part in ("rfnd_1", "rfnd_2"):
        world.pay(world.item(kind=PaymentKind.REFUNDED, object_id=part, amount_paise=300))
    assert world.one(select(payments)).returned_paise == 600
    assert world.owed() == 600


def test_more_than_the_payment_never_goes_back(world: World):
    world.pay()
    for part in ("rfnd_1", "rfnd_2"):
        facts = {"object_id": part, "amount_paise": QUOTE_PAISE - 1}
        world.pay(world.item(kind=PaymentKind.REFUNDED, **facts))
    assert world.one(select(payments)).returned_paise == QUOTE_PAISE
    assert world.owed() == QUOTE_PAISE


def test_refund_before_the_light_withdraws_the_live_close(world: World):
    """I10, R3: the reason went away while the close may still act."""
    world.pay()
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.REFUNDED)))
    assert withdraw.body.action == Action.WITHDRAW
    assert world.standing_locks() == {LockKind.NON_PAYMENT}
    assert world.episode().state == "open"
    assert world.commands(action="close")[0].is_overtaken == 1


def test_refund_after_the_light_commands_nothing(world: World):
    """I10: a refund never opens a relay by itself."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.turn(agent.says(agent.final(close, "closed")))
    assert sent(world.pay(world.item(kind=PaymentKind.REFUNDED))) == []
    assert [row.action for row in world.commands()] == ["close"]


def test_dispute_places_a_lock_and_withdraws_a_live_close(world: World):
    world.pay()
    (withdraw,) = sent(world.pay(world.item(kind=PaymentKind.DISPUTED, object_id="disp_1")))
    assert withdraw.body.action == Action.WITHDRAW
    assert world.standing_locks() == {LockKind.PAYMENT_DISPUTED}


def test_dispute_won_lets_the_light_come_back(world: World):
    world.pay(world.item(), world.item(kind=PaymentKind.DISPUTED, object_id="disp_1"))
    assert world.commands() == []
    (close,) = sent(world.pay(world.item(kind=PaymentKind.DISPUTE_WON, object_id="disp_1")))
    assert close.body.action == Action.CLOSE
    assert world.standing_locks() == set()


def test_dispute_lost_takes_the_money_back_and_leaves_non_payment(world: World):
    world.pay(world.item(), world.item(kind=PaymentKind.DISPUTED, object_id="disp_1"))
    world.pay(world.item(kind=PaymentKind.DISPUTE_LOST, object_id="disp_1"))
    assert world.owed() == QUOTE_PAISE
    assert world.standing_locks() == {LockKind.NON_PAYMENT}


def test_dispute_reported_after_it_was_won_locks_nothing(world: World):
    """Out of order is normal: a late webhook must not lock a consumer out for ever."""
    world.pay()
    world.pay(world.item(kind=PaymentKind.DISPUTE_WON, object_id="disp_1"))
    world.pay(world.item(kind=PaymentKind.DISPUTED, object_id="disp_1"))
    assert world.standing_locks() == set()


def test_one_dispute_won_leaves_the_lock_of_another(world: World):
    world.pay(world.item("pay_1"), world.item("pay_2"))
    for payment_id, dispute in (("pay_1", "disp_1"), ("pay_2", "disp_2")):
        world.pay(world.item(payment_id, kind=PaymentKind.DISPUTED, object_id=dispute))
    world.pay(world.item("pay_1", kind=PaymentKind.DISPUTE_WON, object_id="disp_1"))
    assert LockKind.PAYMENT_DISPUTED in world.standing_locks()
    world.pay(world.item("pay_2", kind=PaymentKind.DISPUTE_WON, object_id="disp_2"))
    assert LockKind.PAYMENT_DISPUTED not in world.standing_locks()


def test_two_part_payments_add_up(world: World):
    assert sent(world.pay(world.item("pay_1", amount_paise=100_000))) == []
    assert world.decision().short_by_paise == QUOTE_PAISE - 100_000
    (close,) = sent(world.pay(world.item("pay_2", amount_paise=QUOTE_PAISE - 100_000)))
    assert close.body.meter == "M-1"


def test_second_payment_while_a_close_is_live_sends_nothing_more(world: World):
    world.pay()
    assert sent(world.pay(world.item("pay_2"))) == []
    assert len(world.commands()) == 1

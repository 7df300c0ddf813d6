"""A payment that was reported and fetched, at a real engine: posted once, whichever is first."""

from hashlib import sha256

import pytest
from sqlalchemy import func, select

from cloud.intake.razorpay import read_report
from cloud.intake.razorpay_fetched import payment_report, read_entity, read_fetched, refund_report
from cloud.schema import payments
from tests.cloud.engine_world import QUOTE_PAISE, World, receipts
from tests.cloud.intake.reports import payment, raw_of, report

HOUR_MS = 3_600_000


@pytest.fixture
def paid(world: World):
    """The payment as its provider holds it: for A-1, which is cut, and enough."""
    created_at_s = world.now_ms // 1_000 - 60
    return payment(amount=QUOTE_PAISE, notes={"consumer_no": "A-1"}, created_at=created_at_s)


def refund(world: World, paid):
    created_at_s = world.now_ms // 1_000 - 30
    return {
        "id": "rfnd_EqWThTE7dd7utf",
        "entity": "refund",
        "amount": 5_000,
        "currency": "INR",
        "payment_id": paid["id"],
        "notes": [],
        "status": "processed",
        "created_at": created_at_s,
    }


def reported(world: World, event, **entities):
    value = report(event, **entities) | {"created_at": world.now_ms // 1_000 - 55}
    return raw_of(value), read_report(raw_of(value), None)


def fetched(world: World, paid, refunded=None):
    listed = read_entity(raw_of(paid))
    raw = (
        payment_report(listed)
        if refunded is None
        else refund_report(read_entity(raw_of(refunded)), listed)
    )
    return raw, read_fetched(raw, world.now_ms)


def item(world: World, number, told):
    raw, (fact,) = told
    return fact.numbered(number, sha256(raw).digest(), world.now_ms)


def pay(world: World, *told):
    items = [item(world, number, one) for number, one in enumerate(told, 1)]
    verdicts = {}
    for one in items:  # each in a turn of its own
        verdicts |= receipts(world.pay(one))
    return list(verdicts.values())


@pytest.mark.parametrize("is_webhook_first", [True, False])
def test_payment_reported_and_fetched_is_posted_once(world: World, paid, is_webhook_first):
    """I2, R18: other bytes, the same fact."""
    told = [reported(world, "payment.captured", payment=paid), fetched(world, paid)]
    assert told[0][0] != told[1][0]
    assert pay(world, *(told if is_webhook_first else told[::-1])) == ["stored", "duplicate"]
    assert world.value(select(func.count()).select_from(payments)) == 1
    assert world.owed() == 0
    assert world.alarm_codes() == []


@pytest.mark.parametrize("is_webhook_first", [True, False])
def test_refund_reported_and_fetched_is_applied_once(world: World, paid, is_webhook_first):
    """R18: the account hint stands in the payment only; without it a refund is quarantined."""
    back = refund(world, paid)
    captured = fetched(world, paid)
    told = [
        reported(world, "refund.created", refund=back, payment=paid),
        fetched(world, paid, back),
    ]
    verdicts = pay(world, captured, *(told if is_webhook_first else told[::-1]))
    assert verdicts == ["stored", "stored", "duplicate"]
    assert world.one(select(payments)).returned_paise == 5_000
    assert world.owed() == 5_000
    assert world.alarm_codes() == []


def test_payment_found_long_after_its_creation_is_posted_and_not_held_for_a_person(
    world: World, paid
):
    """F22: fetched is the provider's word of now; a webhook of that age would be quarantined."""
    world.now_ms += 30 * HOUR_MS
    assert pay(world, fetched(world, paid)) == ["stored"]
    old = paid | {"id": "pay_other"}
    told = reported(world, "payment.captured", payment=old)
    (fact,) = told[1]
    late = fact.numbered(9, sha256(told[0]).digest(), world.now_ms + 30 * HOUR_MS)
    world.now_ms += 30 * HOUR_MS
    assert receipts(world.pay(late)) == {9: "quarantined"}

"""The poller against a real HTTP server that misbehaves (R1, I1, I2)."""

import json

import pytest

from cloud.intake.razorpay import NEEDS_PERSON, read_report
from cloud.intake.razorpay_fetched import CREATED_COUNTS_MAX_MS
from tests.cloud.intake.polled import DAY_S, HOUR_S, LAG_S, MINUTE_S, Polled, captures, webhook
from wire.vocabulary import PaymentKind


@pytest.fixture
async def polled(api, tmp_path):
    async with Polled(api, tmp_path / "spool.db").running() as intake:
        yield intake


# What is found


async def test_webhook_outage_of_30_hours_is_made_good_by_polling_alone(settled):
    """F22, I1: the provider switches a webhook off after 24 hours of failures."""
    for number in range(300):
        settled.api.pay(number, settled.now_s + number * 360)
    for _ in range(30):
        await settled.catch_up(later_s=HOUR_S)
    assert set(settled.said()) == captures(*range(300))
    assert len(settled.said()) == 300
    assert settled.complete_to_s() == settled.now_s - LAG_S


async def test_outage_of_ours_of_30_hours_is_made_good_and_nothing_is_called_too_old(settled):
    """F22: what is fetched is the provider's word of now; the engine must not hold it back."""
    for number in range(300):
        settled.api.pay(number, settled.now_s + number * 360)
    await settled.catch_up(later_s=30 * HOUR_S)
    assert set(settled.said()) == captures(*range(300))
    for item in settled.items():
        assert item.received_at_ms - item.happened_at_ms <= CREATED_COUNTS_MAX_MS
        assert item.happened_at_ms <= settled.now_ms


async def test_payment_has_the_time_of_its_creation_while_that_is_less_than_a_day_ago(settled):
    created_at_s = settled.now_s + 10
    settled.api.pay(1, created_at_s)
    await settled.catch_up(later_s=22 * HOUR_S)
    (item,) = settled.items()
    assert item.happened_at_ms == created_at_s * 1_000


async def test_first_start_finds_what_was_paid_in_the_week_before(polled):
    polled.api.pay(1, polled.now_s - 6 * DAY_S)
    polled.api.pay(2, polled.now_s - 8 * DAY_S)
    await polled.catch_up()
    assert set(polled.said()) == captures(1)


async def test_steady_state_costs_two_requests_a_minute_and_stores_nothing_again(settled):
    settled.api.pay(1, settled.now_s)
    await settled.catch_up(later_s=MINUTE_S)
    settled.api.requests.clear()
    for _ in range(5):
        await settled.catch_up(later_s=MINUTE_S)
    assert len(settled.api.requests) == 10
    assert len(settled.stored()) == 1
    assert settled.counted()["fetched"] == 1


@pytest.mark.parametrize("status", ["created", "authorized", "failed"])
async def test_what_is_not_captured_is_no_payment(settled, status):
    """I2: authorised is not paid."""
    settled.api.attempt(1, settled.now_s, status)
    await settled.catch_up(later_s=MINUTE_S)
    assert settled.stored() == []
    assert settled.complete_to_s() == settled.now_s - LAG_S


@pytest.mark.parametrize("after_s", [9 * MINUTE_S, 5 * HOUR_S, 3 * DAY_S, 6 * DAY_S])
async def test_payment_captured_late_is_found_by_a_deeper_sweep(settled, after_s):
    settled.api.attempt(1, settled.now_s, "failed")
    await settled.catch_up(later_s=after_s)
    assert settled.said() == []
    settled.api.capture(1)
    for _ in range(25):
        await settled.catch_up(later_s=HOUR_S)
    assert set(settled.said()) == captures(1)
    assert len(settled.said()) == 1


async def test_refund_made_later_is_found_with_the_hint_of_its_payment(settled):
    settled.api.pay(1, settled.now_s)
    await settled.catch_up(later_s=MINUTE_S)
    await settled.catch_up(later_s=3 * HOUR_S)
    settled.api.refund(1, settled.now_s, 5_000)
    await settled.catch_up(later_s=MINUTE_S)
    captured, refunded = settled.items()
    assert (refunded.kind, refunded.object_id) == (PaymentKind.REFUNDED, "rfnd_00000000000000")
    assert (refunded.payment_id, refunded.amount_paise) == (captured.payment_id, 5_000)
    assert refunded.account_hint == captured.account_hint == "N3000000001"


async def test_payment_refunded_before_it_was_found_comes_after_its_refunds(settled):
    """Else the engine closes a relay for money that went back."""
    settled.api.pay(1, settled.now_s)
    settled.api.refund(1, settled.now_s + 30, 84_250)
    settled.api.refund(1, settled.now_s + 40, 100_000)
    await settled.catch_up(later_s=MINUTE_S)
    assert [kind for kind, _ in settled.said()] == ["refunded", "refunded", "captured"]
    assert sum(item.amount_paise for item in settled.items()[:2]) == 184_250


async def test_refund_made_while_the_lists_are_read_comes_before_its_payment_too(settled):
    """Its creation is behind the slice, so only the payment's own list of refunds holds it."""
    settled.api.pay(1, settled.now_s)
    behind_s = settled.now_s + 2 * MINUTE_S
    settled.api.faults.append(lambda: settled.api.refund(1, behind_s, 184_250))
    await settled.catch_up(later_s=MINUTE_S)
    assert [kind for kind, _ in settled.said()] == ["refunded", "captured"]
    await settled.catch_up(later_s=2 * MINUTE_S)
    assert len(settled.said()) == 2


async def test_refund_of_money_never_captured_is_the_providers_own_and_asked_about_once(settled):
    settled.api.attempt(1, settled.now_s - 20 * DAY_S, "authorized")
    settled.api.refund(1, settled.now_s, 184_250)
    for _ in range(10):
        await settled.catch_up(later_s=MINUTE_S)
    assert settled.stored() == []
    asked = [one for one in settled.api.requests if "pay_" in one]
    assert len(asked) == 1


async def test_failed_refund_is_told_to_a_person_once(settled, caplog):
    settled.api.pay(1, settled.now_s)
    settled.api.refund(1, settled.now_s, 5_000, status="failed")
    for _ in range(5):
        await settled.catch_up(later_s=MINUTE_S)
    assert "refund failed" in NEEDS_PERSON
    assert [verdict for _, verdict in settled.stored()] == ["irrelevant", "forwarded"]
    assert caplog.text.count("alarm: refund failed") == 1


@pytest.mark.parametrize("changes", [{"amount": 1.5}, {"id": "pay_é"}, {"currency": None}])
async def test_captured_payment_that_makes_no_sense_is_kept_once_and_holds_nothing_up(
    settled, changes, caplog
):
    """I1."""
    settled.api.pay(1, settled.now_s, **changes)
    settled.api.pay(2, settled.now_s)
    for _ in range(3):
        await settled.catch_up(later_s=MINUTE_S)
    assert sorted(verdict for _, verdict in settled.stored()) == ["forwarded", "unreadable"]
    assert caplog.text.count("cannot be read") == 1
    assert settled.complete_to_s() == settled.now_s - LAG_S


async def test_report_kept_of_a_fetched_payment_is_the_entity_as_it_was_listed(settled):
    """I1."""
    entity = settled.api.pay(1, settled.now_s, description="ünlisted € spelling")
    await settled.catch_up(later_s=MINUTE_S)
    ((raw, _),) = settled.stored()
    assert json.loads(raw) == {"entity": "fetched", "payload": {"payment": {"entity": entity}}}


# Webhook and poll


async def test_payment_that_came_by_webhook_is_not_stored_again(settled):
    settled.api.pay(1, settled.now_s)
    await settled.writer.submit(webhook(settled.api, 1))
    await settled.catch_up(later_s=MINUTE_S)
    assert len(settled.stored()) == 1
    assert settled.counted() == {}


async def test_webhook_after_the_poll_says_the_same_fact(settled):
    settled.api.pay(1, settled.now_s)
    await settled.catch_up(later_s=MINUTE_S)
    (fetched,) = settled.items()
    (reported,) = read_report(webhook(settled.api, 1).raw, None)
    for name in ("kind", "object_id", "payment_id", "amount_paise", "currency", "account_hint"):
        assert getattr(fetched, name) == getattr(reported, name)

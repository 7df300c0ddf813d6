"""One payment, from the webhook to the light, by real processes over a real broker."""

import json

from tests.walk.conftest import FAST
from tests.walk.facts import (
    commands_of,
    count_of,
    demand_closed_once,
    demand_one_command_each,
    demand_posted_once,
    ended,
    items_of,
    posted,
    rows,
    until_closed,
    waiting_for,
)
from tests.walk.installation import OWED_PAISE
from tests.walk.provider import captured

# The names of the walk's steps (docs/architecture.md), in the order in which they happen.
STEPS = (
    "taken in",
    "posted",
    "decided",
    "lock cleared",
    "queued",
    "published",
    "received",
    "acted",
    "read back",
    "acknowledged, filed",
    "ended",
)


def test_one_webhook_closes_exactly_the_right_relay(walk):
    paying, waiting = walk.take(FAST, 2)
    assert walk.provider.post(captured(paying, OWED_PAISE)) == 200
    until_closed(walk, [paying])
    demand_posted_once(walk, [paying])
    demand_closed_once(walk, [paying])
    demand_one_command_each(walk, [paying])
    assert rows(walk, commands_of([waiting])) == []
    assert rows(walk, ended([waiting])) == []


def test_trace_tells_every_step_of_a_payment(walk):
    (paying,) = walk.take(FAST, 1)
    walk.provider.post(captured(paying, OWED_PAISE))
    until_closed(walk, [paying])
    told = json.loads(walk.relight("trace", paying.payment, "--json"))
    names = [one["name"] for one in told["steps"]]
    assert [one for one in STEPS if one not in names] == []
    times = [one["at_ms"] for one in told["steps"]]
    assert times == sorted(times)
    text = walk.relight("trace", paying.payment)
    assert text.splitlines()[0] == f"payment {paying.payment} of RAZORPAY"
    for sentence in (
        f"captured Rs 2,142.50 to account {paying.account}",
        "close: the quote is covered and nothing else stands in the way",
        f"close of {paying.meter} to {FAST}",
        "relay was open",
        "relay is closed",
    ):
        assert sentence in text
    assert len(text.splitlines()) == len(names) + 2


def test_webhook_five_times_and_another_event_of_the_payment_post_it_once(walk):
    """I2: Razorpay repeats, and tells of one payment as payment.captured and as order.paid."""
    (paying,) = walk.take(FAST, 1)
    body = captured(paying, OWED_PAISE)
    provider = walk.provider
    assert [provider.post(body, event_id="evt_SAME") for _ in range(5)] == 5 * [200]
    assert provider.post(captured(paying, OWED_PAISE, event="order.paid")) == 200
    walk.until("both reports", waiting_for(walk, items_of([paying]), 2))
    until_closed(walk, [paying])
    verdicts = sorted(one.verdict for one in rows(walk, items_of([paying])))
    assert verdicts == ["duplicate", "stored"]
    demand_posted_once(walk, [paying])
    demand_closed_once(walk, [paying])
    demand_one_command_each(walk, [paying])


def test_partial_payment_closes_nothing_until_the_rest_comes(walk):
    (paying,) = walk.take(FAST, 1)
    provider = walk.provider
    first, rest = f"{paying.payment}A", f"{paying.payment}B"
    provider.post(captured(paying, OWED_PAISE - 50_000, payment=first))
    walk.until("part of the money", waiting_for(walk, posted([paying]), 1))
    told = walk.relight("trace", first)
    assert "none: too little was paid (short by Rs 500.00)" in told
    assert rows(walk, commands_of([paying])) == []
    provider.post(captured(paying, 50_000, payment=rest))
    until_closed(walk, [paying])
    demand_closed_once(walk, [paying])
    demand_one_command_each(walk, [paying])


def test_webhook_that_is_not_genuine_posts_nothing(walk):
    (consumer,) = walk.take(FAST, 1)
    provider, body = walk.provider, captured(consumer, OWED_PAISE)
    genuine = provider.signature(body)
    forged = "0" * 64
    altered = body.replace(str(OWED_PAISE).encode(), str(OWED_PAISE + 1).encode())
    assert provider.post(body, signature=forged) == 401
    assert provider.post(altered, signature=genuine) == 401
    assert provider.post(body, signature=None) == 401
    assert provider.post(body + b" " * 300 * 1_024) == 413
    # What came before it is stored before it: the next genuine report would come behind them.
    (marker,) = walk.take(FAST, 1)
    provider.post(captured(marker, OWED_PAISE))
    until_closed(walk, [marker])
    assert count_of(walk, items_of([consumer])) == 0
    assert count_of(walk, commands_of([consumer])) == 0

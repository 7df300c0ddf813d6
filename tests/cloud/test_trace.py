"""One timeline for the person who asks why."""

import json

import pytest

from cloud.rules import Reason
from cloud.trace import Trace, render, trace
from cloud.trace_steps import WORDS, duration
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, World, sent
from wire.vocabulary import Outcome, PaymentKind


def told(world: World, identifier: str) -> Trace:
    found = trace(world.store, identifier)
    assert found is not None
    return found


def names(found: Trace) -> list[str]:
    return [step.name for step in found.steps]


def text_of(found: Trace, name: str) -> str:
    return next(step.detail for step in found.steps if step.name == name)


@pytest.fixture
def walked(world: World) -> World:
    """Home 1 paid and has its light back."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += SECOND_MS
    world.turn(agent.says(agent.final(close, Outcome.CLOSED)))
    return world


def test_payment_is_told_from_capture_to_light(walked: World):
    found = told(walked, "pay_1")
    assert names(found) == [
        "captured", "taken in", "posted", "decided", "lock cleared", "queued", "published",
        "received", "acted", "read back", "acknowledged, filed", "ended",
    ]  # fmt: skip
    assert found.subject == "payment pay_1 of RAZORPAY"
    assert text_of(found, "posted") == "captured Rs 2,142.50 to account A-1"
    assert text_of(found, "decided").startswith("close: the quote is covered")
    assert f"counter 3.{walked.command().sequence_ms}" in text_of(found, "published")
    assert text_of(found, "acted") == "relay was open"
    assert text_of(found, "read back") == "relay is closed"
    assert text_of(found, "acknowledged, filed").startswith("closed, as number 1")
    assert text_of(found, "ended").startswith("episode 1: dark for 1 h 00 min")


def test_durations_are_since_the_step_before_and_never_negative(walked: World):
    steps = told(walked, "pay_1").steps
    assert steps[0].since_ms is None
    spans = [step.since_ms or 0 for step in steps]
    assert all(span >= 0 for span in spans)
    assert sum(spans) == steps[-1].at_ms - steps[0].at_ms == 3 * SECOND_MS


@pytest.mark.parametrize("identifier", ["episode 1", "A-1", "M-1", "RAZORPAY/pay_1", " pay_1 "])
def test_walk_is_found_by_each_of_its_names(walked: World, identifier: str):
    found = names(told(walked, identifier))
    assert {"captured", "decided", "published", "ended"} <= set(found)


def test_command_is_found_by_its_id(walked: World):
    found = told(walked, walked.command().command_id.hex())
    assert names(found)[:2] == ["queued", "published"]


@pytest.mark.parametrize(
    "identifier", ["", "pay_404", "episode 404", "PAYTM pay_1", "A-404", "' OR 1=1", "x" * 999,
                   "0" * 32, "episode 99999999999999999999"]
)  # fmt: skip
def test_what_the_ledger_does_not_know_has_no_trace(walked: World, identifier: str):
    assert trace(walked.store, identifier) is None


def test_short_payment_says_how_much_is_missing(world: World):
    world.pay(world.item(amount_paise=184_250))
    found = told(world, "pay_1")
    assert text_of(found, "decided") == "none: too little was paid (short by Rs 300.00)"


def test_quarantined_payment_says_why(world: World):
    world.pay(world.item(currency="USD"))
    assert text_of(told(world, "pay_1"), "quarantined") == "it is not in rupees"


def test_misposted_payment_says_that_a_person_must_assign_it(world: World):
    world.pay(world.item(account_hint="A-404"))
    assert "a person must assign it" in text_of(told(world, "pay_1"), "misposted")


def test_refund_that_waits_says_so(world: World):
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    assert text_of(told(world, "pay_1"), "stored") == "waits for the capture it speaks of"


def test_retry_withdrawal_and_refusal_are_told_with_their_reasons(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.now_ms += SECOND_MS
    world.turn(agent.says(agent.final(close, Outcome.REFUSED, reason="before_welcome")))
    world.later(15 * SECOND_MS)
    world.now_ms += SECOND_MS
    world.pay(world.item(kind=PaymentKind.REFUNDED))
    found = told(world, "episode 1")
    assert "refused (before welcome)" in render(found)
    assert "due in 15.000 s" in render(found)
    assert [step.detail for step in found.steps if step.name == "locked"] == [
        "non payment, by a test: none",
        "non payment, by relight: money went back",
    ]
    assert "withdraw of M-1" in render(found)


def test_lapsed_command_says_that_it_expired(world: World):
    world.pay()
    world.later(18 * MINUTE_MS)
    assert "expired without an answer" in text_of(told(world, "episode 1"), "lapsed")


def test_orphan_is_told_by_its_command_id(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    stranger = type(close)(close.body, b"\x07" * 16, close.payload)
    world.turn(agent.says(agent.final(stranger, Outcome.CLOSED)))
    found = told(world, "07" * 16)
    assert "orphan" in found.subject
    assert "acknowledged, filed" in names(found)


def test_table_is_aligned_and_in_indian_time(walked: World):
    lines = render(told(walked, "pay_1")).splitlines()
    assert lines[1].split()[:2] == ["time", "(IST)"]
    assert lines[2].startswith("2026-09-21 12:09:58.000")
    column = lines[1].index("step")
    assert {line[column - 1] for line in lines[2:]} == {" "}
    assert all(line[column] != " " for line in lines[2:])
    assert all(line == line.rstrip() for line in lines)


def test_json_says_the_same_for_programs(walked: World):
    found = told(walked, "pay_1")
    parsed = json.loads(found.json())
    assert parsed["subject"] == found.subject
    assert [step["at_ms"] for step in parsed["steps"]] == [step.at_ms for step in found.steps]


def test_every_reason_has_words_for_an_operator():
    assert set(Reason) <= set(WORDS)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1_000, "1.000 s"), (184_000, "3 min 04 s"),
     (3_600_000, "1 h 00 min"), (183_600_000, "2 d 03 h"), (-5, "-5 ms")],
)  # fmt: skip
def test_durations_are_read_at_a_glance(ms: int, text: str):
    assert duration(ms) == text

"""Who holds the engine's key alone gets no signature for a lie about any fact (R7, I11)."""

import pytest

from cloud.guard.asked import OrderAccount
from tests.cloud.guard.guarded import DAY_MS, LIFE_MS, MINUTE_MS, OWED_PAISE
from tests.wire.installation import EPOCH, GENERATION_MS, PROVIDER
from wire.vocabulary import PaymentKind

HOUR_MS = 60 * MINUTE_MS


def test_true_open_is_signed_over_exactly_the_engines_bytes(world):
    row = world.row()
    assert world.verdict(row) == "signed"
    assert world.is_signed(row)


def test_amount_that_was_paid_is_not_owed_whatever_the_ledger_says(world):
    world.pay(world.item(1))
    reasons = world.verdict(world.row(owed_paise=OWED_PAISE))
    assert {"arrears_too_low", "paid_since_notice", "ledger_differs"} == set(reasons.split())


def test_part_of_the_sum_is_not_the_sum(world):
    world.pay(world.item(1, amount_paise=OWED_PAISE // 2))
    owed_paise = OWED_PAISE - OWED_PAISE // 2
    assert world.verdict(world.row(owed_paise=owed_paise)) == "arrears_too_low"


def test_difference_between_ledger_and_own_fold_is_alarmed_and_not_signed(world):
    assert world.verdict(world.row(owed_paise=OWED_PAISE + 1)) == "ledger_differs"
    assert world.alarm_codes() == ["quarantined"]


def test_paid_notice_is_used_up_even_when_a_new_bill_is_overdue(world):
    world.pay(world.item(1))
    header = "bill_id,account_id,amount,issued_on,due_on"
    assert world.give("bills", header, "B-9,A-1,2000,2026-08-20,2026-08-30").is_good
    assert world.verdict(world.row()) == "paid_since_notice"
    assert world.propose(1, served_on="2026-09-02").is_good
    world.pay(world.item(1, payment_id="pay_1"))  # the same fact again changes nothing
    assert "arrears_too_low" not in world.verdict(world.row(sequence_ms=world.now_ms + 1))


def test_bill_that_is_not_due_is_not_arrears(world):
    header = "bill_id,account_id,amount,issued_on,due_on"
    world.give("accounts", "account_id,zone,language", "A-8,Z,hi")
    columns = "meter_id,account_id,agent_id,feeder,transformer"
    world.give("meters", columns, "M-8,A-8,AG-1,F-1,T-8")
    world.give("bills", header, "B-8,A-8,2000,2026-09-10,2026-09-21")  # due when today ends
    world.propose(8)
    assert world.verdict(world.row(8)) == "arrears_too_low"


@pytest.mark.parametrize("kind", ["refunded", "reversed", "dispute_lost", "bounced"])
def test_money_that_went_back_is_owed_again(world, kind):
    returned = world.item(None, payment_id="pay_x", kind=PaymentKind(kind))
    capture = world.item(1, payment_id="pay_x", object_id="pay_x")
    world.pay(returned, capture)
    assert world.verdict(world.row()) == "signed"


def test_more_than_a_payment_never_goes_back(world):
    world.pay(
        world.item(1, payment_id="pay_x", amount_paise=1_000),
        world.item(1, payment_id="pay_x", kind=PaymentKind.REFUNDED, amount_paise=OWED_PAISE),
    )
    world.propose(1, paise=OWED_PAISE + 100_000)
    assert world.verdict(world.row()) == "arrears_too_low"


def test_undecided_dispute_stands_in_the_way_until_it_is_won(world):
    world.pay(
        world.item(1, payment_id="pay_x", amount_paise=100),
        world.item(1, payment_id="pay_x", kind=PaymentKind.DISPUTED, object_id="d1"),
    )
    owed = {"owed_paise": OWED_PAISE - 100}
    world.propose(1, paise=OWED_PAISE - 100)
    assert world.verdict(world.row(**owed)) == "disputed"
    world.pay(world.item(1, payment_id="pay_x", kind=PaymentKind.DISPUTE_WON, object_id="d1"))
    assert world.verdict(world.row(sequence_ms=world.now_ms + 1, **owed)) == "signed"


def test_money_that_is_not_final_stands_in_the_way_for_72_hours(world):
    world.pay(world.item(1, currency="USD"))
    assert world.verdict(world.row()) == "payment_not_final"
    world.later(72 * HOUR_MS)
    assert world.verdict(world.row()) == "signed"


def test_refund_without_its_capture_stands_in_the_way(world):
    world.pay(world.item(1, payment_id="pay_x", kind=PaymentKind.REFUNDED))
    assert world.verdict(world.row()) == "payment_not_final"


def test_changed_fact_is_not_counted_and_stands_in_the_way(world):
    world.pay(
        world.item(1, payment_id="pay_x", amount_paise=1),
        world.item(1, payment_id="pay_x", amount_paise=2),
    )
    assert world.verdict(world.row(owed_paise=OWED_PAISE - 1)) == "payment_not_final"


def test_second_capture_of_a_payment_is_not_counted(world):
    world.pay(
        world.item(2, payment_id="pay_x"),
        world.item(1, payment_id="pay_x", object_id="other"),
    )
    assert "payment_not_final" in world.verdict(world.row(1, owed_paise=0))


def test_payment_counts_for_both_accounts_when_order_and_hint_differ(world):
    world.pay(world.item(1, order="order_x"))
    order = OrderAccount(provider=PROVIDER, order_id="order_x", account_id="A-2")
    assert world.guard.orders_to_ask(now_ms=world.now_ms) == [(PROVIDER, "order_x")]
    for home in (1, 2):
        assert "arrears_too_low" in world.verdict(world.row(home), orders=[order])
    assert world.verdict(world.row(3)) == "signed"


def test_order_once_known_cannot_be_pointed_elsewhere(world):
    world.pay(world.item(None, order="order_x"))
    world.ask(orders=[OrderAccount(provider=PROVIDER, order_id="order_x", account_id="A-1")])
    world.ask(orders=[OrderAccount(provider=PROVIDER, order_id="order_x", account_id="A-2")])
    assert "arrears_too_low" in world.verdict(world.row(1))


def test_nothing_is_signed_before_the_orders_of_payments_were_looked_up(world):
    world.pay(world.item(None, order="order_x"))
    assert world.verdict(world.row()) == "orders"
    unknown = OrderAccount(provider=PROVIDER, order_id="order_x", account_id=None)
    assert world.verdict(world.row(), orders=[unknown]) == "signed"
    assert world.guard.orders_to_ask(now_ms=world.now_ms) == []


def test_order_the_engine_does_not_know_is_asked_for_again_each_hour_for_three_days(world):
    world.pay(world.item(None, order="order_x"))
    unknown = OrderAccount(provider=PROVIDER, order_id="order_x", account_id=None)
    asked = 0
    for _ in range(100):
        if world.guard.orders_to_ask(now_ms=world.now_ms):
            asked += 1
            world.ask(orders=[unknown])
        world.later(HOUR_MS + 1)
    assert asked == 72 + 1


def test_same_command_in_two_rows_is_answered_once(world):
    row = world.row()
    assert [one.verdict for one in world.ask(row, row).answers] == ["signed"]


def test_charges_of_an_earlier_cut_are_believed_up_to_a_limit(world):
    """2,000 and 300 of charges were paid; another 1,500 are due."""
    world.pay(world.item(1, amount_paise=230_000, received_at_ms=world.now_ms - 30 * DAY_MS))
    header = "bill_id,account_id,amount,issued_on,due_on"
    world.give("bills", header, "B-9,A-1,1500,2026-08-20,2026-08-30")
    world.propose(1, paise=150_000)
    lie = {"owed_paise": 1_000_000, "charges_paise": 880_000}
    assert world.verdict(world.row(owed_paise=150_000, charges_paise=30_000)) == "signed"
    world.later(LIFE_MS)
    world.propose(1, paise=200_000)
    assert world.verdict(world.row(**lie)) == "arrears_too_low"


def test_claimed_charges_do_not_eat_a_payment_made_since_the_notice(world):
    world.pay(world.item(1, amount_paise=30_000))
    claim = {"owed_paise": OWED_PAISE, "charges_paise": 30_000}
    assert world.verdict(world.row(**claim)) == "arrears_too_low"


def test_wrong_account_is_not_signed(world):
    assert world.verdict(world.row(account="A-2")) == "other_account"


def test_meter_that_changed_its_account_since_the_notice_is_not_signed(world):
    header = "meter_id,account_id,agent_id,feeder,transformer"
    assert world.give("meters", header, "M-1,A-2,AG-1,F-1,T-1").is_good
    assert "other_account" in world.verdict(world.row(1, account="A-2"))


def test_command_for_another_agent_is_not_signed(world):
    assert world.verdict(world.row(agent="AG-2")) == "other_agent"


def test_unknown_meter_is_not_signed(world):
    assert world.verdict(world.row(77, owed_paise=0)) == "unknown_meter no_proposal"


def test_meter_without_a_proposal_of_its_own_file_is_not_signed(world):
    world.give("accounts", "account_id,zone,language", "A-9,Z,hi")
    header = "meter_id,account_id,agent_id,feeder,transformer"
    world.give("meters", header, "M-9,A-9,AG-1,F-1,T-9")
    assert world.verdict(world.row(9, owed_paise=0)) == "no_proposal"


@pytest.mark.parametrize(
    ("served_on", "verdict"), [("2026-09-05", "signed"), ("2026-09-06", "notice_too_young")]
)
def test_fifteen_clear_days_lie_between_notice_and_open(world, served_on, verdict):
    assert world.propose(1, served_on=served_on).is_good
    assert world.verdict(world.row()) == verdict


def test_protected_meter_is_never_signed_for(world):
    header = "meter_id,account_id,agent_id,feeder,transformer,protected"
    assert world.give("meters", header, "M-1,A-1,AG-1,F-1,T-1,yes").is_good
    assert world.verdict(world.row()) == "protected"
    without = "meter_id,account_id,agent_id,feeder,transformer"
    assert world.give("meters", without, "M-1,A-1,AG-1,F-1,T-2").is_good
    assert world.verdict(world.row(sequence_ms=world.now_ms + 1)) == "protected"
    assert world.give("meters", header, "M-1,A-1,AG-1,F-1,T-1,no").is_good
    assert world.verdict(world.row(sequence_ms=world.now_ms + 2)) == "signed"


@pytest.mark.parametrize(
    "minutes",
    [
        -71,  # 10:59
        106,  # 13:56, alive until 14:01
        5 * 24 * 60,  # Saturday
        11 * 24 * 60,  # Friday the second of October, closed
    ],
)
def test_open_whose_life_is_not_all_inside_the_window_is_not_signed(world, minutes):
    world.now_ms += minutes * MINUTE_MS
    world.hear(world.watermark())
    assert world.verdict(world.row()) == "window"


def test_old_sequence_gets_no_answer_and_lapses(world):
    assert world.verdict(world.row(sequence_ms=world.now_ms - MINUTE_MS - 1)) == "too_late"
    assert world.answers() == []
    assert world.verdict(world.row(sequence_ms=world.now_ms - MINUTE_MS)) == "signed"


def test_sequence_of_the_future_is_not_signed(world):
    assert world.verdict(world.row(sequence_ms=world.now_ms + MINUTE_MS + 1)) == "from_future"


def test_life_over_ten_minutes_is_not_signed(world):
    world.now_ms += MINUTE_MS
    row = world.row(expires_at_ms=world.now_ms + 600_001)
    assert world.verdict(row) == "life_too_long"
    assert world.verdict(world.row(2, expires_at_ms=world.now_ms + 600_000)) == "signed"


def test_second_open_is_not_signed_while_the_first_may_act(world):
    assert world.verdict(world.row()) == "signed"
    world.now_ms += LIFE_MS - 1
    assert world.verdict(world.row()) == "other_open_unexpired"
    world.now_ms += 1
    assert world.verdict(world.row()) == "signed"


def test_counter_that_does_not_rise_is_not_signed(world):
    first = world.row(sequence_ms=world.now_ms + MINUTE_MS, expires_at_ms=world.now_ms + 61_000)
    assert world.verdict(first) == "signed"
    world.now_ms += 61_000
    low = world.row(sequence_ms=world.now_ms - 1_000 - 1)
    assert world.verdict(low) == "low_counter"
    assert world.verdict(world.row(sequence_ms=world.now_ms - 999)) == "signed"


def test_disarm_needs_no_money_and_no_notice_but_counts(world):
    header = "meter_id,account_id,agent_id,feeder,transformer,protected"
    world.give("meters", header, "M-1,A-1,AG-1,F-1,T-1,yes")
    world.pay(world.item(1))
    assert world.verdict(world.row(action="disarm")) == "signed"
    assert world.rows("SELECT meter_id FROM counted") == [("M-1",)]
    assert world.verdict(world.row(2, action="disarm", agent="AG-2")) == "other_agent"


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (("engine", "guard"), "not_half_signed"),
        (("engine", "engine-second-worker"), "signers"),
        (("guard",), "signers"),
        (("stop",), "signers"),
        (("stranger",), "signers"),
        (("engine-expired",), "key_life"),
        (("engine-not-yet",), "key_life"),
        (("engine-epoch-2",), "ids"),  # ended: below the registry's floor
        (("engine-epoch-4",), "ids"),  # not the command's epoch
    ],
)
def test_bytes_that_are_not_the_engines_alone_collect_nothing(world, by, reason):
    turned = world.ask(world.row(by=by))
    assert turned.answers == ()
    assert world.answers() == world.rows("SELECT * FROM counted") == []
    assert world.rows("SELECT code, detail FROM alarms") == [
        ("junk_rows", f"not the engine's bytes: {reason}")
    ]


def test_ended_epoch_collects_nothing_even_when_key_and_command_agree(world):
    assert world.ask(world.row(by=("engine-epoch-2",), epoch=2)).answers == ()
    assert world.answers() == []


def test_who_writes_rows_without_the_engines_key_collects_nothing(world):
    good = world.row()
    forged = [
        type(good)(**{**_fields(good), "envelope": envelope})
        for envelope in (b"", b"\x93", good.envelope[:-1], good.envelope + b"\x00")
    ]
    moved = type(good)(**{**_fields(good), "meter_id": "M-2"})
    named = type(good)(**{**_fields(good), "meter_id": "M/2"})
    assert world.ask(*forged, moved, named).answers == ()
    assert world.answers() == []
    assert world.ask(*forged, good).answers[0].verdict == "signed"


@pytest.mark.parametrize("action", ["close", "unguarded", "read", "explode"])
def test_other_actions_are_not_the_guards_to_sign(world, action):
    assert world.ask(world.row(action=action)).answers == ()
    assert world.answers() == []


def test_answer_once_given_is_the_only_one(world):
    row = world.row()
    assert world.verdict(row) == "signed"
    before = world.answers()
    assert world.ask(row).answers == ()
    assert world.answers() == before


def test_ledger_of_another_generation_is_not_signed_for(world):
    assert world.verdict(world.row(), generation_ms=GENERATION_MS + 1) == "watermarks"


def test_key_of_another_epoch_than_the_commands_is_no_engine_key_for_it(world):
    assert world.ask(world.row(epoch=EPOCH + 1)).answers == ()


def _fields(row):
    return {name: getattr(row, name) for name in row.__slots__}

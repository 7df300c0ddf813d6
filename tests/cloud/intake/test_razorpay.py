import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.intake.facts import Fact, Irrelevant, Unreadable
from cloud.intake.razorpay import is_genuine, read_report
from tests.cloud.intake.reports import (
    CREATED_AT_S,
    MERCHANT,
    PERSONAL,
    SECRET,
    VECTOR_BODY,
    VECTOR_SIGNATURE,
    payment,
    raw_of,
    report,
)
from wire.decoding import decode_body, encode
from wire.messages import PaymentItem
from wire.vocabulary import PaymentKind

REFUND = {
    "id": "rfnd_EqWThTE7dd7utf",
    "entity": "refund",
    "amount": 6_000,
    "currency": "INR",
    "payment_id": "pay_DESyzxuld02Zul",
    "notes": {"comment": "asked by Gaurav Private"},
    "status": "processed",
    "created_at": CREATED_AT_S,
}
DISPUTE = {
    "id": "disp_EsIAlDcoUr8CaQ",
    "entity": "dispute",
    "payment_id": "pay_DESyzxuld02Zul",
    "amount": 39_000,
    "currency": "INR",
    "amount_deducted": 0,
    "reason_code": "processing_error",
    "status": "open",
    "phase": "chargeback",
    "created_at": CREATED_AT_S,
}


def read(event, **entities):
    return read_report(raw_of(report(event, **entities)), MERCHANT)


def only(reading) -> Fact:
    assert isinstance(reading, tuple), reading
    (fact,) = reading
    return fact


def test_published_vector_verifies_and_is_read():
    assert len(VECTOR_BODY) == 349
    assert is_genuine(VECTOR_BODY, VECTOR_SIGNATURE, [SECRET])
    fact = only(read_report(VECTOR_BODY, "acc_TEST"))
    assert fact == Fact(
        kind=PaymentKind.CAPTURED,
        object_id="pay_TEST0001",
        payment_id="pay_TEST0001",
        account_hint="N3000000001",
        order="order_TEST0001",
        amount_paise=184_250,
        currency="INR",
        happened_at_ms=1_760_000_001_000,
        method="",
    )


# What is money


@pytest.mark.parametrize("event", ["payment.captured", "order.paid", "payment_link.paid"])
def test_captured_money_is_one_fact_however_it_is_reported(event):
    # In payment_link.paid the order's own id comes without its prefix: the payment's is taken.
    fact = only(
        read(
            event,
            payment=payment(),
            order={"id": "DESxiijbl9xjDB", "amount_paid": 184_250},
            payment_link={"id": "plink_ERgihyaAAC0VNW", "status": "paid"},
        )
    )
    assert (fact.kind, fact.object_id) == (PaymentKind.CAPTURED, "pay_DESyzxuld02Zul")
    assert fact.payment_id == fact.object_id
    assert fact.order == "order_DESxiijbl9xjDB"
    assert (fact.amount_paise, fact.currency, fact.method) == (184_250, "INR", "upi")
    assert fact.happened_at_ms == CREATED_AT_S * 1_000


@pytest.mark.parametrize("event", ["payment.captured", "order.paid", "payment_link.paid"])
@pytest.mark.parametrize(
    "changes",
    [
        {"status": "authorized", "captured": False},
        {"status": "failed", "captured": False},
        {"status": "created", "captured": False},
        {"status": "authorized"},
        {"captured": False},
        {"status": "refunded", "amount_refunded": 184_250},
        {"amount_refunded": 1},
    ],
)
def test_money_not_final_is_no_payment(event, changes):
    """I2: never-captured money never leaves the intake as a capture."""
    assert isinstance(read(event, payment=payment(**changes)), Irrelevant)


def test_refunded_amount_of_null_or_absent_is_nothing_refunded():
    assert only(read("payment.captured", payment=payment(amount_refunded=None)))
    without = payment()
    del without["amount_refunded"]
    assert only(read("payment.captured", payment=without))


@pytest.mark.parametrize("event", ["refund.created", "refund.processed"])
def test_refund_is_one_object_whether_created_or_processed(event):
    fact = only(read(event, refund=REFUND, payment=payment(amount_refunded=6_000)))
    assert fact.kind is PaymentKind.REFUNDED
    assert (fact.object_id, fact.payment_id) == ("rfnd_EqWThTE7dd7utf", "pay_DESyzxuld02Zul")
    assert fact.amount_paise == 6_000
    assert (fact.account_hint, fact.order) == ("N3000000001", "order_DESxiijbl9xjDB")


def test_refund_without_the_payment_beside_it_is_read():
    fact = only(read("refund.created", refund=REFUND))
    assert (fact.account_hint, fact.order, fact.method) == (None, None, "")


def test_refund_beside_another_payment_is_unreadable():
    assert isinstance(
        read("refund.created", refund=REFUND, payment=payment(id="pay_OTHER")), Unreadable
    )


def test_refund_that_failed_is_irrelevant_even_in_a_report_of_its_creation():
    assert isinstance(read("refund.created", refund={**REFUND, "status": "failed"}), Irrelevant)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("payment.dispute.created", PaymentKind.DISPUTED),
        ("payment.dispute.won", PaymentKind.DISPUTE_WON),
        ("payment.dispute.lost", PaymentKind.DISPUTE_LOST),
    ],
)
def test_dispute_is_a_fact_about_its_payment(event, kind):
    fact = only(read(event, payment=payment(), dispute=DISPUTE))
    assert (fact.kind, fact.object_id) == (kind, "disp_EsIAlDcoUr8CaQ")
    assert (fact.payment_id, fact.amount_paise) == ("pay_DESyzxuld02Zul", 39_000)


@pytest.mark.parametrize(
    "event",
    [
        "payment.authorized",
        "payment.failed",
        "payment_link.partially_paid",
        "payment_link.cancelled",
        "payment_link.expired",
        "refund.failed",
        "refund.speed_changed",
        "payment.dispute.under_review",
        "payment.dispute.action_required",
        "payment.dispute.closed",
        "settlement.processed",
        "something.new",
    ],
)
def test_every_other_report_is_irrelevant_with_its_name_as_reason(event):
    assert read(event, payment=payment()) == Irrelevant(event)


# What is refused


@pytest.mark.parametrize(
    "amount", [True, 184_250.0, "184250", -1, 0, 2**53, None, [], {}, 1e300, 10**400]
)
def test_amount_that_is_no_positive_integer_is_unreadable(amount):
    assert isinstance(read("payment.captured", payment=payment(amount=amount)), Unreadable)


def test_amount_just_below_the_limit_is_read():
    assert only(read("payment.captured", payment=payment(amount=2**53 - 1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "order_X"},
        {"id": "pay_"},
        {"id": "pay_é"},
        {"id": "pay_" + "a" * 61},
        {"id": "pay_A\n"},
        {"id": 7},
        {"order_id": "DESxiijbl9xjDB"},
        {"order_id": 5},
        {"currency": "inr"},
        {"currency": None},
        {"captured": "true"},
        {"captured": 1},
        {"status": None},
        {"amount_refunded": "0"},
        {"amount_refunded": False},
    ],
)
def test_wrong_type_or_spelling_is_unreadable(changes):
    assert isinstance(read("payment.captured", payment=payment(**changes)), Unreadable)


@pytest.mark.parametrize("created_at", [None, "1567675356", 1.5, -1, 2**48, True])
def test_time_that_is_no_epoch_second_is_unreadable(created_at):
    value = report("payment.captured", payment=payment()) | {"created_at": created_at}
    assert isinstance(read_report(raw_of(value), None), Unreadable)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{}",
        b'{"event":NaN}',
        b'{"event":"payment.captured","x":Infinity}',
        b'{"event":"payment.captured","event":"payment.failed"}',
        b'{"event":"payment.failed","payload":{"a":1,"a":1}}',
        b'{"event":"payment.failed","x":' + b"9" * 5_000 + b"}",
        b"[" * 200_000,
        b'{"event":"payment.failed","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"event":7}',
        b'{"event":"payment.captured"}',
        b'{"event":"payment.captured","payload":[]}',
        b'{"event":"payment.captured","payload":{"payment":null}}',
        b'{"event":"payment.captured","payload":{"payment":{"entity":[]}}}',
    ],
)
def test_nonsense_is_unreadable_and_never_an_exception(raw):
    assert isinstance(read_report(raw, None), Unreadable)


@pytest.mark.parametrize("account_id", ["acc_OTHER", None, 7])
def test_report_of_another_merchant_waits_for_a_person(account_id):
    value = report("payment.captured", payment=payment()) | {"account_id": account_id}
    assert isinstance(read_report(raw_of(value), MERCHANT), Unreadable)
    assert only(read_report(raw_of(value), None))


# The hint, and what must stay inside


@pytest.mark.parametrize(
    ("notes", "hint"),
    [
        ({"consumer_no": "N3000000001"}, "N3000000001"),
        ({"consumer_no": "  n3000000001\t"}, "N3000000001"),
        ({"consumer_no": "N30-00"}, "N30-00"),
        ({"consumer_no": ""}, None),
        ({"consumer_no": "N300 0000001"}, None),
        ({"consumer_no": "N3000000001\u0000"}, None),
        ({"consumer_no": "\u0131N3"}, None),
        ({"consumer_no": "A" * 33}, None),
        ({"consumer_no": 3000000001}, None),
        ({"name": "Gaurav Private"}, None),
        ([], None),
        (None, None),
        ("N3000000001", None),
    ],
)
def test_account_hint_is_the_consumer_number_or_nothing(notes, hint):
    assert only(read("payment.captured", payment=payment(notes=notes))).account_hint == hint


def test_method_that_is_no_plain_word_is_left_out():
    assert only(read("payment.captured", payment=payment(method="Gaurav's card"))).method == ""


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_reading_any_bytes_raises_nothing(raw):
    read_report(raw, MERCHANT)


@given(
    event=st.sampled_from(
        ["payment.captured", "order.paid", "refund.created", "payment.dispute.lost"]
    ),
    field=st.sampled_from([*payment(), *REFUND, "reason_code"]),
    value=_values,
)
def test_whatever_one_field_holds_an_item_keeps_the_limits_of_the_wire(event, field, value):
    """I1: what is numbered can be forwarded; nothing sits in the spool for ever as junk."""
    entities = {"payment": payment(), "refund": dict(REFUND), "dispute": dict(DISPUTE)}
    for entity in entities.values():
        entity[field] = value
    reading = read_report(json.dumps(report(event, **entities)).encode(), None)
    for fact in reading if isinstance(reading, tuple) else ():
        item = encode(fact.numbered(1, bytes(32), CREATED_AT_S * 1_000))
        assert decode_body(PaymentItem, item).object_id == fact.object_id


@given(st.text(min_size=6, max_size=20, alphabet=st.characters(min_codepoint=0x40)))
def test_personal_data_never_stands_in_an_item(private):
    private = "~" + private  # not a spelling that any field of an item may have
    personal = {**dict.fromkeys((*PERSONAL, "description", "card", "name"), private)}
    notes = {"consumer_no": "N3000000001", "name": private, "address": private}
    reading = read("payment.captured", payment=payment(**personal, notes=notes))
    item = encode(only(reading).numbered(1, bytes(32), 0))
    for value in (private, *PERSONAL.values(), "Gaurav", "0125836177"):
        assert value.encode("utf-8", "surrogatepass") not in item

"""Signed webhooks of any source: what is genuine, and what a report says."""

import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.intake.facts import Fact, Unreadable
from cloud.intake.provider import SettingsError, Signature
from cloud.intake.signed import HEADER_CHARACTERS_MAX, Signed, signature_header
from tests.cloud.intake.reports import bank_fact, raw_of
from tests.wire.installation import NOW_MS
from wire.decoding import decode_body, encode
from wire.fields import ProviderId
from wire.messages import PaymentItem
from wire.vocabulary import PaymentKind

NOW_S = NOW_MS // 1_000
LIVE, OLD, FOREIGN = "the live secret 1", "the old secret 22", "somebody else's 3"
RAW = b'{"any": "bytes \xff"}'
BANK = Signed(name=ProviderId("BANK-A"), secrets=(LIVE, OLD))


def v1(raw=RAW, secret=LIVE, time=NOW_S):
    return hmac.new(secret.encode(), f"{time}.".encode() + raw, "sha256").hexdigest()


def judged(header, raw=RAW, bank=BANK, now_ms=NOW_MS):
    return bank.judge(raw, header, now_ms)


def test_example_of_the_page_is_genuine_and_read_as_it_says():
    """docs/webhooks.md: what a stranger builds a sender from."""
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    head, _, rest = page.partition("POST /webhooks/bank-a HTTP/1.1\n")[2].partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    raw = rest.partition("\n")[0].encode()
    assert int(headers["Content-Length"]) == len(raw)
    bank = Signed(name=ProviderId("BANK-A"), secrets=("relight-example-secret",))
    assert judged(headers["Relight-Signature"], raw, bank) is Signature.GENUINE
    (fact,) = bank.read_report(raw)
    assert (fact.account_hint, fact.amount_paise) == ("N3000000001", 214_250)
    assert all(f"`{kind.value}`" in page for kind in PaymentKind)


def test_signature_is_hmac_of_time_dot_body():
    assert signature_header(RAW, LIVE, NOW_S) == f"t={NOW_S},v1={v1()}"
    assert judged(f"t={NOW_S},v1={v1()}") is Signature.GENUINE


def test_any_live_secret_may_have_signed_and_any_of_several_signatures_may_be_good():
    """Either side changes its secret without losing a report."""
    assert judged(f"t={NOW_S},v1={v1(secret=OLD)}") is Signature.GENUINE
    good, bad = v1(), v1(secret=FOREIGN)
    assert judged(f"t={NOW_S},v1={bad},v1={good}") is Signature.GENUINE
    assert judged(f"t={NOW_S},v1={good},v1={bad}") is Signature.GENUINE
    assert judged(f"t={NOW_S},v1={bad}") is Signature.WRONG


def test_schemes_we_do_not_know_are_ignored_and_prove_nothing():
    assert judged(f"t={NOW_S},v0=abc==,v1={v1()},v2=Zm9v/+") is Signature.GENUINE
    assert judged(f"t={NOW_S},v2={v1()}") is Signature.WRONG


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_time_within_the_tolerance_is_genuine(seconds):
    time = NOW_S + seconds
    assert judged(f"t={time},v1={v1(time=time)}") is Signature.GENUINE


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400])
def test_recorded_or_predated_report_is_stale(seconds):
    time = NOW_S + seconds
    assert judged(f"t={time},v1={v1(time=time)}") is Signature.STALE


def test_time_that_was_not_signed_is_wrong_whatever_it_says():
    """A recording under a new time."""
    assert judged(f"t={NOW_S},v1={v1(time=NOW_S - 86_400)}") is Signature.WRONG


def test_one_changed_bit_of_the_body_is_wrong():
    header = f"t={NOW_S},v1={v1()}"
    for place in range(len(RAW)):
        changed = bytearray(RAW)
        changed[place] ^= 1
        assert judged(header, bytes(changed)) is Signature.WRONG


def test_missing_header_is_missing():
    assert judged("") is Signature.MISSING


@pytest.mark.parametrize(
    "header",
    [
        "t={t}",
        "v1={v}",
        "{v}",
        "t={t};v1={v}",
        "t={t}, v1={v}",
        " t={t},v1={v}",
        "t={t},v1={v},",
        "t={t},v1={v}\n",
        "t={t},t={t},v1={v}",
        "t=+{t},v1={v}",
        "t={t}.0,v1={v}",
        "t=,v1={v}",
        "t=9999999999999,v1={v}",
        "t={t},v1={V}",
        "t={t},v1={v}0",
        "t={t},v1=",
        "t={t},v1=short,v1={v}",
        "T={t},V1={v}",
        "t={t},v1={v},é=1",
        "t={t},v1={v}" + ",v9=x" * HEADER_CHARACTERS_MAX,
    ],
)
def test_header_spelled_in_any_other_way_is_wrong(header):
    filled = header.format(t=NOW_S, v=v1(), V=v1().upper())
    assert judged(filled) is Signature.WRONG


@given(st.text(max_size=200))
def test_no_header_raises_anything_or_is_genuine_by_chance(header):
    assert judged(header) in (Signature.WRONG, Signature.MISSING)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "bank-a"}, "a provider's name"),
        ({"name": "BANK/A"}, "a provider's name"),
        ({"secrets": ()}, "secrets: 0 given"),
        ({"secrets": (LIVE,) * 5}, "secrets: 5 given"),
        ({"secrets": (LIVE, "")}, "fewer than 16"),
        ({"secrets": ("x" * 15,)}, "fewer than 16"),
        ({"tolerance_s": 0}, "tolerance_s: 0"),
        ({"tolerance_s": 3_601}, "tolerance_s: 3601"),
    ],
)
def test_settings_that_could_keep_nobody_out_are_refused(changes, named):
    with pytest.raises(SettingsError, match=named):
        Signed(**({"name": "BANK-A", "secrets": (LIVE,)} | changes))


def test_settings_do_not_show_secrets():
    assert LIVE not in repr(BANK)


# What a report says


def read(**changes):
    return BANK.read_report(raw_of(bank_fact(**changes)))


def test_documented_report_is_one_fact():
    assert read() == (
        Fact(
            kind=PaymentKind.CAPTURED,
            object_id="UTR-1",
            payment_id="PAY-1",
            account_hint="N3000000001",
            order="Q-77",
            amount_paise=184_250,
            currency="INR",
            happened_at_ms=NOW_MS - 2_000,
            method="neft",
        ),
    )


@pytest.mark.parametrize("kind", list(PaymentKind))
def test_every_kind_of_the_wire_can_be_reported(kind):
    (fact,) = read(kind=kind.value)
    assert fact.kind is kind


@pytest.mark.parametrize("name", ["account", "order", "method"])
def test_what_is_optional_may_be_null_or_missing(name):
    without = bank_fact()
    del without[name]
    assert BANK.read_report(raw_of(without)) == read(**{name: None})
    assert not isinstance(read(**{name: None}), Unreadable)


@pytest.mark.parametrize(
    "name",
    ["object_id", "kind", "payment_id", "amount_paise", "currency", "happened_at_ms"],
)
def test_what_is_required_may_be_neither_null_nor_missing(name):
    without = bank_fact()
    del without[name]
    assert BANK.read_report(raw_of(without)) == Unreadable(f"{name} is missing")
    assert isinstance(read(**{name: None}), Unreadable)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "paid"},
        {"kind": ["captured"]},
        {"kind": "CAPTURED"},
        {"object_id": ""},
        {"object_id": "a b"},
        {"object_id": "é"},
        {"object_id": "x" * 65},
        {"object_id": 7},
        {"payment_id": "PAY-1\n"},
        {"account": "n3000000001"},
        {"account": ""},
        {"account": 3000000001},
        {"account": "A" * 33},
        {"order": ""},
        {"order": 5},
        {"amount_paise": 0},
        {"amount_paise": -1},
        {"amount_paise": True},
        {"amount_paise": 184_250.0},
        {"amount_paise": "184250"},
        {"amount_paise": 2**53},
        {"currency": "inr"},
        {"currency": "RUPEE"},
        {"happened_at_ms": 1.5},
        {"happened_at_ms": "2026-09-21T06:00:00Z"},
        {"happened_at_ms": 2**48},
        {"method": "NEFT"},
        {"method": "x" * 17},
        {"note": "for the flat"},
        {"Amount_paise": 1},
    ],
)
def test_wrong_type_spelling_or_key_waits_for_a_person(changes):
    assert isinstance(read(**changes), Unreadable)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"null", b"\xff", b'{"kind":1,"kind":1}', b"[" * 100_000, b'{"a":NaN}'],
)
def test_nonsense_is_unreadable_and_never_an_exception(raw):
    assert isinstance(BANK.read_report(raw), Unreadable)


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70)


@given(field=st.sampled_from(sorted(bank_fact())), value=_values)
def test_whatever_one_field_holds_an_item_keeps_the_limits_of_the_wire(field, value):
    """I1: what is numbered can be forwarded; nothing sits in the spool for ever as junk."""
    reading = read(**{field: value})
    for fact in reading if isinstance(reading, tuple) else ():
        item = encode(fact.numbered(1, bytes(32), NOW_MS))
        assert decode_body(PaymentItem, item).object_id == fact.object_id

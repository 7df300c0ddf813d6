"""The webhooks of a signed source, over HTTP."""

import pytest

from cloud.intake.signed import signature_header
from tests.cloud.intake.door import BANK_SECRET
from tests.cloud.intake.reports import SECRET, bank_fact, captured, raw_of, signature
from tests.cloud.intake.web import exchange, post, request
from tests.wire.installation import NOW_MS


def bank_post(port, raw, *, path="/webhooks/bank-a", time_s=NOW_MS // 1_000, secret=BANK_SECRET):
    headers = {
        "content-length": str(len(raw)),
        "relight-signature": signature_header(raw, secret, time_s),
    }
    return exchange(port, request("POST", path, headers, raw))


@pytest.mark.parametrize("path", ["/webhooks/bank-a", "/webhooks/BANK-A"])
async def test_signed_report_is_stored_byte_for_byte_under_its_provider(intake, path):
    """I1."""
    raw = raw_of(bank_fact())
    heard = await bank_post(intake.port, raw, path=path)
    assert (heard.status, heard.body) == (200, b"stored")
    assert intake.stored() == [(raw, "")]
    (one,) = intake.spool.unreceipted(after=0, limit=9)
    assert (one.provider, one.item.object_id) == ("BANK-A", "UTR-1")
    assert intake.counted() == {"stored": 1, "forwarded": 1}


async def test_same_signed_report_sent_again_is_stored_once_though_it_is_signed_anew(intake):
    raw = raw_of(bank_fact())
    await bank_post(intake.port, raw)
    heard = await bank_post(intake.port, raw, time_s=NOW_MS // 1_000 + 60)
    assert (heard.status, heard.body) == (200, b"stored before")
    assert len(intake.stored()) == 1


async def test_same_bytes_of_two_providers_are_two_reports(intake):
    raw = captured(1)
    assert (await post(intake.port, raw)).status == 200
    assert (await bank_post(intake.port, raw)).status == 200
    assert len(intake.stored()) == 2


async def test_stale_signature_is_401_counted_by_its_name_and_stores_nothing(intake):
    raw = raw_of(bank_fact())
    heard = await bank_post(intake.port, raw, time_s=NOW_MS // 1_000 - 301)
    assert heard.status == 401
    assert b"clock" in heard.body
    assert intake.stored() == []
    assert intake.counted() == {"signature_stale": 1}


async def test_signature_of_one_provider_opens_no_other_door(intake):
    raw = raw_of(bank_fact())
    headers = {"content-length": str(len(raw)), "x-razorpay-signature": signature(raw)}
    heard = await exchange(intake.port, request("POST", "/webhooks/bank-a", headers, raw))
    assert heard.status == 401
    assert (await bank_post(intake.port, raw, secret=SECRET + "of another")).status == 401
    assert (await bank_post(intake.port, raw, path="/webhooks/razorpay")).status == 401
    assert (await bank_post(intake.port, raw, path="/webhooks/bank-b")).status == 404
    assert intake.stored() == []


async def test_signed_report_that_makes_no_sense_is_kept_and_its_sender_told_why(intake):
    raw = raw_of(bank_fact(amount_paise=1.5))
    heard = await bank_post(intake.port, raw)
    assert heard.status == 200
    assert heard.body.startswith(b"stored, not understood: amount_paise is no integer")
    assert intake.stored() == [(raw, "")]
    assert intake.counted() == {"stored": 1, "unreadable": 1}

import asyncio
import contextlib
import json
import logging
import sqlite3

import pytest

from cloud.intake import razorpay, server, writing
from cloud.intake.counting import Counted, Counters
from cloud.intake.razorpay import Razorpay
from cloud.intake.server import BODY_BYTES_MAX, Door, listen
from cloud.intake.writing import QueueFullError, ReportWriter
from tests.cloud.intake.reports import (
    OLD_SECRET,
    SECRET,
    VECTOR_BODY,
    VECTOR_SIGNATURE,
    captured,
    genuine,
    open_spool,
    payment,
    raw_of,
    report,
    signature,
)
from tests.cloud.intake.web import PATH, exchange, get, post, request
from tests.wire.installation import NOW_MS


async def test_genuine_report_is_answered_2xx_and_stored_byte_for_byte(intake):
    """I1."""
    heard = await post(intake.port, VECTOR_BODY, x_razorpay_signature=VECTOR_SIGNATURE)
    assert heard.status == 200
    assert intake.stored() == [(VECTOR_BODY, "evt_1")]
    assert intake.counted() == {"stored": 1, "forwarded": 1}


async def test_report_signed_with_the_older_secret_is_taken_in(intake):
    raw = captured(1)
    heard = await post(intake.port, raw, x_razorpay_signature=signature(raw, OLD_SECRET))
    assert heard.status == 200


async def test_second_delivery_is_answered_2xx_and_stored_once(intake):
    for _ in range(2):
        assert (await post(intake.port, captured(1))).status == 200
    assert len(intake.stored()) == 1
    assert intake.counted() == {"stored": 1, "forwarded": 1, "duplicate": 1}


async def test_report_without_an_event_id_is_told_apart_by_its_bytes(intake):
    for number in (1, 1, 2):
        assert (await post(intake.port, captured(number), x_razorpay_event_id="")).status == 200
    assert intake.stored() == [(captured(1), ""), (captured(2), "")]


async def test_unreadable_and_irrelevant_reports_are_stored_and_answered_2xx(intake):
    """I1: genuine is genuine; a person looks at what makes no sense."""
    irrelevant = raw_of(report("payment.failed", payment=payment()))
    for raw in (irrelevant, b"\xff nonsense", b""):
        assert (await post(intake.port, raw)).status == 200
    assert [raw for raw, _ in intake.stored()] == [irrelevant, b"\xff nonsense", b""]
    assert intake.counted() == {"stored": 3, "irrelevant": 1, "unreadable": 2}


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("", "signature_missing"),
        ("0" * 64, "signature_wrong"),
        (VECTOR_SIGNATURE[:-2], "signature_wrong"),
        (VECTOR_SIGNATURE.upper(), "signature_wrong"),
        ("\xe9" * 64, "signature_wrong"),
    ],
)
async def test_wrong_or_missing_signature_is_401_and_stores_nothing(intake, wrong, name):
    heard = await post(intake.port, VECTOR_BODY, x_razorpay_signature=wrong)
    assert heard.status == 401
    assert intake.stored() == []
    assert intake.counted() == {name: 1}


async def test_nothing_is_parsed_before_it_is_verified(intake, monkeypatch):
    def parse(*_):
        raise AssertionError("parsed")

    monkeypatch.setattr(razorpay, "read_report", parse)
    assert (await post(intake.port, VECTOR_BODY, x_razorpay_signature="0" * 64)).status == 401


async def test_fifth_bad_signature_in_ten_minutes_is_an_alarm(intake, caplog):
    caplog.set_level(logging.ERROR, "cloud.intake.server")
    for minute in (0, 3, 6, 9, 11):
        intake.now_ms = NOW_MS + minute * 60_000
        await post(intake.port, VECTOR_BODY, x_razorpay_signature="")
    assert not caplog.records  # five, but in eleven minutes
    intake.now_ms += 1
    await post(intake.port, VECTOR_BODY, x_razorpay_signature="")
    assert [one.message.split(":")[0] for one in caplog.records] == ["alarm"]
    assert SECRET not in caplog.text


async def test_body_of_exactly_256_kib_is_taken_in(intake):
    assert (await post(intake.port, b"x" * BODY_BYTES_MAX)).status == 200


async def test_announced_body_over_256_kib_is_413_before_it_is_sent(intake):
    raw = b"x" * (BODY_BYTES_MAX + 1)
    head = request("POST", PATH, {"content-length": str(len(raw))})
    assert (await exchange(intake.port, head)).status == 413
    assert intake.counted() == {"too_large": 1}


async def test_chunked_body_over_256_kib_is_413(intake):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    headers = {"transfer-encoding": "chunked", "x-razorpay-signature": "0" * 64}
    heard = await exchange(intake.port, request("POST", PATH, headers, chunk * 5))
    assert heard.status == 413
    assert intake.stored() == []


async def test_chunked_report_is_stored_as_its_bytes(intake):
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (VECTOR_BODY[:100], VECTOR_BODY[100:])
    )
    headers = {"transfer-encoding": "chunked", "x-razorpay-signature": VECTOR_SIGNATURE}
    heard = await exchange(intake.port, request("POST", PATH, headers, chunks + b"0\r\n\r\n"))
    assert heard.status == 200
    assert intake.stored() == [(VECTOR_BODY, "")]


async def test_body_that_is_longer_than_announced_is_cut_there_and_not_stored(intake):
    heard = await post(intake.port, VECTOR_BODY, content_length=str(len(VECTOR_BODY) - 1))
    assert heard.status in (400, 401)  # the rest is no HTTP; whichever is noticed first
    assert intake.stored() == []


async def test_body_that_never_comes_is_given_up(intake, monkeypatch):
    monkeypatch.setattr(server, "BODY_WAIT_MAX_S", 0.0)
    heard = await post(intake.port, VECTOR_BODY, content_length=str(len(VECTOR_BODY) + 1))
    assert heard.status == 408
    assert intake.counted() == {"body_too_slow": 1}


async def test_what_is_no_http_is_400_and_other_ways_are_refused(intake):
    assert (await exchange(intake.port, b"nonsense\r\n\r\n")).status == 400
    assert (await get(intake.port, PATH)).status == 405
    assert (await get(intake.port, "/")).status == 404
    assert intake.counted() == {}


async def test_full_disk_is_503_with_retry_after_and_stores_nothing(intake, caplog):
    """I1: no 2xx without an fsync."""
    pages = intake.spool._execute("PRAGMA page_count").fetchone()[0]
    intake.spool._execute(f"PRAGMA max_page_count = {pages}")
    big = captured(1, description="x" * 20_000)
    for _ in range(2):
        heard = await post(intake.port, big)
        assert (heard.status, heard.headers["retry-after"]) == (503, "5")
    assert intake.stored() == []
    assert [one.message for one in caplog.records if "cannot be stored" in one.message]
    intake.spool._execute("PRAGMA max_page_count = 100000")
    assert (await post(intake.port, big)).status == 200
    assert len(intake.stored()) == 1
    assert intake.counted() == {"store_unavailable": 2, "stored": 1, "forwarded": 1}


async def test_locked_store_is_503_and_stores_nothing(intake):
    other = sqlite3.connect(intake.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await post(intake.port, captured(1))).status == 503
    other.execute("ROLLBACK")
    other.close()
    assert (await post(intake.port, captured(1))).status == 200


async def test_full_unreceipted_window_is_503_and_a_bad_signature_still_401(intake):
    """I13."""
    intake.has_room = False
    assert (await post(intake.port, captured(1))).status == 503
    assert (await post(intake.port, captured(1), x_razorpay_signature="")).status == 401
    assert intake.stored() == []
    assert intake.counted() == {"unreceipted_full": 1, "signature_missing": 1}


async def test_full_write_queue_is_503(intake, monkeypatch):
    """I13."""
    monkeypatch.setattr(writing, "WAITING_REPORTS_MAX", 0)
    assert (await post(intake.port, captured(1))).status == 503
    assert intake.counted() == {"queue_full": 1}


async def test_hundred_reports_at_once_are_all_stored_under_one_number_each(intake):
    heard = await asyncio.gather(*(post(intake.port, captured(n)) for n in range(100)))
    assert {one.status for one in heard} == {200}
    assert len(intake.stored()) == 100
    items = intake.spool.unreceipted(after=0, limit=200)
    assert [one.number for one in items] == list(range(1, 101))


async def test_health_tells_counters_and_no_secret(intake):
    await post(intake.port, captured(1))
    heard = await get(intake.port, "/health")
    assert heard.status == 200
    assert json.loads(heard.body)["counters"]["stored"] == 1
    assert SECRET.encode() not in heard.body
    assert set(json.loads(heard.body)["counters"]) == {one.value for one in Counted}


def test_door_does_not_show_its_secrets(tmp_path):
    door = Door(
        provider=Razorpay(secrets=(SECRET,)),
        writer=ReportWriter(open_spool(tmp_path / "s.db"), on_stored=lambda _: None),
        has_room=lambda: True,
        counters=Counters(),
        clock_ms=lambda: NOW_MS,
    )
    assert SECRET not in repr(door)
    door.writer.close()


def test_address_in_use_is_refused_by_name():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


# The writer by itself


class CountingSpool:
    """A spool that counts its commits."""

    def __init__(self, spool):
        self.spool = spool
        self.batches = []

    def stage(self, reports):
        taken = self.spool.stage(reports)
        self.batches.append(len(taken))
        return taken

    def commit(self):
        self.spool.commit()


async def test_reports_that_wait_together_share_one_transaction(tmp_path):
    spool = open_spool(tmp_path / "spool.db")
    counting = CountingSpool(spool)
    stored = []
    writer = ReportWriter(counting, on_stored=stored.extend)
    answers = [writer.submit(genuine(captured(n))) for n in range(300)]
    running = asyncio.create_task(writer.run())
    taken = await asyncio.gather(*answers)
    assert counting.batches == [128, 128, 44]
    assert stored == taken
    await writer.submit(genuine(captured(999)))  # one alone waits for nobody
    assert counting.batches[-1] == 1
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    writer.close()
    spool.close()


async def test_queue_is_bounded_in_number_and_bytes(tmp_path, monkeypatch):
    """I13."""
    spool = open_spool(tmp_path / "spool.db")
    writer = ReportWriter(spool, on_stored=lambda _: None)
    monkeypatch.setattr(writing, "WAITING_BYTES_MAX", 10_000)
    answer = writer.submit(genuine(b"x" * 9_000))
    with pytest.raises(QueueFullError):
        writer.submit(genuine(b"x" * 1_001))
    monkeypatch.setattr(writing, "WAITING_REPORTS_MAX", 1)
    with pytest.raises(QueueFullError):
        writer.submit(genuine(b"x"))
    writer.close()
    with pytest.raises(Exception, match="stopping"):
        await answer
    spool.close()

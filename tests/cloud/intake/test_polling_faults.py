"""Long lists, a provider that misbehaves, crashes: the mark never passes what is stored (R1)."""

import asyncio
import logging

import pytest

from cloud.intake import fetching, razorpay_poll, writing
from tests.cloud.intake.polled import LAG_S, MINUTE_S, Polled, captures, webhook

# Paging


async def test_list_longer_than_a_page_is_fetched_whole(settled):
    for number in range(431):
        settled.api.pay(number, settled.now_s + number % 40)
    await settled.catch_up(later_s=MINUTE_S)
    assert set(settled.said()) == captures(*range(431))
    assert len([one for one in settled.api.requests if one.startswith("/v1/payments?")]) == 5


async def test_payments_that_come_in_while_the_list_is_paged_hide_none(settled):
    for number in range(250):
        settled.api.pay(number, settled.now_s + 10)
    newer = iter(range(1_000, 2_000))
    # Newer ones push the list back under pages 2 and 3.
    created_at_s = settled.now_s + 20

    def pay():
        for _ in range(30):
            settled.api.pay(next(newer), created_at_s)

    settled.api.faults.extend([lambda: None, pay, pay])
    await settled.catch_up(later_s=MINUTE_S)
    await settled.catch_up(later_s=MINUTE_S)
    assert len(settled.api.payments) == 310
    assert captures(*range(250)) <= set(settled.said())
    assert set(settled.said()) == {("captured", name) for name in settled.api.payments}


async def test_list_that_shrinks_while_it_is_paged_is_read_anew(settled):
    for number in range(250):
        settled.api.pay(number, settled.now_s + 10)
    settled.api.faults.extend([lambda: None, settled.api.payments.popitem])
    settled.now_ms += MINUTE_S * 1_000
    before = settled.complete_to_s()
    assert await settled.poller.turn() < 2.0
    assert settled.complete_to_s() == before
    assert settled.counted() == {"poll_failed": 1}
    await settled.catch_up()
    assert set(settled.said()) == captures(*range(249))


async def test_slice_of_more_pages_than_allowed_is_not_called_complete(settled, monkeypatch):
    """I13."""
    monkeypatch.setattr(razorpay_poll, "PAGES_MAX", 2)
    for number in range(250):
        settled.api.pay(number, settled.now_s)
    settled.now_ms += MINUTE_S * 1_000
    before = settled.complete_to_s()
    await settled.poller.turn()
    assert settled.complete_to_s() == before
    assert settled.said() == []


# Faults


@pytest.mark.parametrize("fault", [500, 401, 400, "cut", "nonsense", "short", "huge"])
@pytest.mark.parametrize("which", [0, 1])
async def test_complete_to_never_passes_a_slice_that_failed(settled, fault, which):
    """R1."""
    settled.api.pay(1, settled.now_s)
    before = settled.complete_to_s()
    settled.now_ms += MINUTE_S * 1_000
    for _ in range(4):
        settled.api.faults.extend([lambda: None] * which + [fault])
        assert 0.5 <= await settled.poller.turn() <= 60
        assert settled.complete_to_s() == before
    assert settled.counted() == {"poll_failed": 4}
    await settled.catch_up()
    assert set(settled.said()) == captures(1)
    assert settled.complete_to_s() == settled.now_s - LAG_S


async def test_server_that_hangs_is_given_up_after_a_bounded_time(settled, monkeypatch):
    monkeypatch.setattr(fetching, "REQUEST_MAX_S", 0.05)
    settled.api.faults.append("hang")
    settled.now_ms += MINUTE_S * 1_000
    await settled.poller.turn()
    assert settled.counted() == {"poll_failed": 1}


async def test_provider_that_asks_for_patience_gets_it(settled):
    settled.api.faults.append(429)
    settled.now_ms += MINUTE_S * 1_000
    assert await settled.poller.turn() == 7.0


async def test_pauses_grow_to_a_minute_and_begin_anew_after_a_success(settled):
    settled.now_ms += MINUTE_S * 1_000
    settled.api.faults.extend([500] * 12)
    pauses = [await settled.poller.turn() for _ in range(12)]
    assert pauses[0] <= 1.0
    assert pauses[3] > 3.0
    assert all(30.0 <= pause <= 60.0 for pause in pauses[7:])
    await settled.catch_up()
    settled.now_ms += MINUTE_S * 1_000
    settled.api.faults.append(500)
    assert await settled.poller.turn() <= 1.0


async def test_long_failure_is_told_once_and_its_end_too(settled, caplog):
    caplog.set_level(logging.WARNING, "cloud.intake.polling")
    settled.now_ms += MINUTE_S * 1_000
    settled.api.faults.extend([500] * 20)
    for _ in range(20):
        await settled.poller.turn()
    await settled.catch_up()
    assert [one.message.split(":")[0] for one in caplog.records] == [
        "RAZORPAY cannot be polled",
        "RAZORPAY is polled again",
    ]


async def test_wrong_key_is_told_with_its_cure_and_without_the_key(api, tmp_path, caplog):
    polled = Polled(api, tmp_path / "spool.db")
    polled.secret = "a wrong secret"
    async with polled.running():
        await polled.poller.turn()
        assert polled.complete_to_s() is None
    assert "key_id and key_secret" in caplog.text
    assert "a wrong secret" not in caplog.text


async def test_webhooks_are_stored_while_the_provider_hangs(settled):
    """A poll never stands in the way of a webhook."""
    settled.api.pay(1, settled.now_s)
    settled.api.faults.append("hang")
    settled.now_ms += MINUTE_S * 1_000
    polling = asyncio.create_task(settled.poller.turn())
    await settled.api.asked.wait()
    taken = await settled.writer.submit(webhook(settled.api, 1))
    assert taken.items == 1
    assert not polling.done()
    settled.api.released.set()
    await polling


# Crashes and full stores


class KilledError(Exception):
    """The process is gone."""


class DiesAtTheMark:
    def mark_polled(self, provider, marks):
        raise KilledError


async def test_kill_between_store_and_mark_loses_nothing_and_stores_nothing_twice(api, tmp_path):
    """R1, I1: the mark is written after what it speaks of."""
    polled = Polled(api, tmp_path / "spool.db")
    polled.was_polled_before()
    api.pay(1, polled.now_s)
    before_s = polled.now_s
    polled.now_ms += MINUTE_S * 1_000
    async with polled.running():
        polled.poller.written = DiesAtTheMark()
        with pytest.raises(KilledError):
            await polled.poller.turn()
        assert set(polled.said()) == captures(1)
        assert polled.complete_to_s() == before_s
    async with polled.running():
        await polled.catch_up()
        assert set(polled.said()) == captures(1)
        assert len(polled.stored()) == 1
        assert polled.complete_to_s() == polled.now_s - LAG_S


async def test_marks_are_where_they_were_after_a_restart(api, tmp_path):
    polled = Polled(api, tmp_path / "spool.db")
    api.pay(1, polled.now_s)
    async with polled.running():
        await polled.catch_up()
        before = polled.complete_to_s()
    api.requests.clear()
    polled.now_ms += 2 * MINUTE_S * 1_000
    async with polled.running():
        assert polled.complete_to_s() == before
        await polled.catch_up()
        assert len(api.requests) == 2
        assert len(polled.stored()) == 1


async def test_full_store_or_full_backlog_moves_no_mark(settled):
    """I1, I13."""
    settled.api.pay(1, settled.now_s, description="x" * 20_000)
    before = settled.complete_to_s()
    settled.now_ms += MINUTE_S * 1_000
    settled.has_room = False
    await settled.poller.turn()
    assert (settled.said(), settled.complete_to_s()) == ([], before)
    settled.has_room = True
    pages = settled.spool._execute("PRAGMA page_count").fetchone()[0]
    settled.spool._execute(f"PRAGMA max_page_count = {pages}")
    await settled.poller.turn()
    assert (settled.said(), settled.complete_to_s()) == ([], before)
    assert settled.counted() == {"poll_failed": 2}
    settled.spool._execute("PRAGMA max_page_count = 100000")
    await settled.catch_up()
    assert set(settled.said()) == captures(1)


async def test_full_queue_in_the_middle_of_a_batch_loses_none(settled, monkeypatch):
    """I13: what was in line is stored, the rest comes with the next turn."""
    for number in range(5):
        settled.api.pay(number, settled.now_s)
    settled.now_ms += MINUTE_S * 1_000
    before = settled.complete_to_s()
    monkeypatch.setattr(writing, "WAITING_REPORTS_MAX", 2)
    await settled.poller.turn()
    assert (len(settled.said()), settled.complete_to_s()) == (2, before)
    monkeypatch.undo()
    await settled.catch_up()
    assert set(settled.said()) == captures(*range(5))
    assert len(settled.said()) == 5


async def test_answer_nested_beyond_reason_ends_no_process(settled):
    settled.api.faults.append("deep")
    settled.now_ms += MINUTE_S * 1_000
    await settled.poller.turn()
    await settled.catch_up()
    assert settled.complete_to_s() == settled.now_s - LAG_S

import random
from itertools import pairwise

from cloud.intake.counting import Counters
from cloud.intake.forwarding import (
    BURST_WATERMARK_AFTER_MS,
    IN_FLIGHT_MAX,
    UNRECEIPTED_MAX,
    WATERMARK_EVERY_MS,
    Forwarder,
    Sender,
)
from cloud.intake.razorpay import PROVIDER
from cloud.intake.spool_schema import Sweep
from tests.cloud.intake.engine import settle, take_in, watermark_in
from tests.cloud.intake.reports import captured, genuine
from tests.wire.installation import (
    GENERATION_MS,
    INTAKE,
    NOW_MS,
    SPOOL,
    key,
    keyring,
)
from wire.decoding import encode
from wire.messages import PAYMENT_ITEMS_MAX
from wire.topics import SHAPES, MessageType

MESSAGE_BYTES_MAX = SHAPES[MessageType.PAYMENT].limit_bytes


# Sending


def test_item_is_sent_at_once_and_passes_the_checks_of_a_receiver(spool, forwarder, engine):
    take_in(spool, 1)
    assert engine.take(forwarder.due(NOW_MS)) == [1]
    (message,) = engine.messages
    assert (message.intake, message.spool, message.provider) == (INTAKE, SPOOL, PROVIDER)
    assert forwarder.due(NOW_MS) == []


def test_unreceipted_item_is_sent_again_after_2_10_60_seconds_then_each_minute(
    spool, forwarder, engine
):
    """I1: for ever, until it is receipted."""
    take_in(spool, 1)
    sent_at_s = [
        tenth / 10
        for tenth in range(10 * 60 * 10)
        if engine.take(forwarder.due(NOW_MS + tenth * 100))
    ]
    assert sent_at_s[:4] == [0, 2, 10, 60]
    pauses = [later - earlier for earlier, later in pairwise(sent_at_s[3:])]
    assert len(pauses) >= 7
    assert all(47.9 <= pause <= 72.1 for pause in pauses)
    assert len(set(pauses)) > 1  # jitter
    assert len({encode(item) for item in engine.items.values()}) == 1


def test_messages_hold_one_shard_at_most_64_items_within_the_limit(spool, forwarder, engine):
    take_in(spool, *range(1, 1_500))
    outgoing = forwarder.due(NOW_MS)
    engine.take(outgoing)  # the receiver's check refuses mixed shards
    assert sorted(engine.items) == list(range(1, 1_500))
    assert max(len(message.items) for message in engine.messages) == PAYMENT_ITEMS_MAX
    assert len(outgoing) <= 16 * 2 + 1_500 // PAYMENT_ITEMS_MAX
    for message in engine.messages:
        numbers = [item.number for item in message.items]
        assert numbers == sorted(numbers)  # oldest first


def test_messages_of_the_largest_items_stay_within_the_topics_limit(spool, forwarder, engine):
    long = {
        "order_id": "order_" + "O" * 50,
        "notes": {"consumer_no": "N" * 32},
        "method": "m" * 16,
        "amount": 2**53 - 1,
    }
    reports = []
    for number in range(1_200):
        raw = captured(number, **long).replace(b'"pay_', b'"pay_' + b"P" * 36)
        reports.append(genuine(raw))
    spool.take_in(reports)
    outgoing = forwarder.due(NOW_MS)
    assert len(engine.take(outgoing)) == 1_200
    sizes = [len(one.payload) for one in outgoing]
    assert MESSAGE_BYTES_MAX - 600 < max(sizes) <= MESSAGE_BYTES_MAX


def test_at_most_4096_items_are_in_flight_and_the_oldest_go_first(spool, forwarder, engine):
    """I13: the rest waits in the spool."""
    take_in(spool, *range(1, IN_FLIGHT_MAX + 101))
    assert len(engine.take(forwarder.due(NOW_MS))) == IN_FLIGHT_MAX
    assert sorted(engine.items) == list(range(1, IN_FLIGHT_MAX + 1))
    assert forwarder.due(NOW_MS + 100) == []
    forwarder.receive([engine.receipt(*range(1, 51))], NOW_MS + 200)
    settle(forwarder, spool)
    sent = engine.take(forwarder.due(NOW_MS + 300))
    assert sorted(sent) == list(range(IN_FLIGHT_MAX + 1, IN_FLIGHT_MAX + 51))
    assert forwarder.unreceipted == IN_FLIGHT_MAX + 50


def test_receipts_not_yet_written_count_as_in_flight(spool, forwarder, engine):
    """I13: a disk that takes no receipts must not let the memory grow."""
    take_in(spool, *range(1, IN_FLIGHT_MAX + 11))
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt()], NOW_MS)
    settle(forwarder, spool)
    forwarder.receive([engine.receipt(1, 2, 3)], NOW_MS)
    assert forwarder.due(NOW_MS + 1) == []
    settle(forwarder, spool)
    assert len(engine.take(forwarder.due(NOW_MS + 2))) == 3


def test_new_connection_offers_everything_in_flight_at_once(spool, forwarder, engine):
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    forwarder.offer_again(NOW_MS + 5)
    assert engine.take(forwarder.due(NOW_MS + 5)) == [2]
    assert forwarder.due(NOW_MS + 6) == []


def test_door_has_room_until_a_million_items_are_unreceipted(spool, forwarder):
    """I13: the bound is named, and the provider keeps what is beyond it."""
    take_in(spool, 1)
    forwarder.stored()
    assert forwarder.has_room
    forwarder._closed = forwarder._made - UNRECEIPTED_MAX
    assert not forwarder.has_room


# Watermarks


def test_watermark_names_what_was_made_and_the_oldest_open_number(spool, forwarder, engine):
    """R1: no open is signed on less."""
    first = watermark_in(forwarder.watermark(NOW_MS))
    assert (first.made, first.oldest_open, first.generation_ms) == (0, 0, 0)
    assert first.providers == ()
    take_in(spool, 1, 2, 3)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1, 3)], NOW_MS)
    settle(forwarder, spool)
    second = watermark_in(forwarder.watermark(NOW_MS + 1_000))
    assert (second.intake, second.spool) == (INTAKE, SPOOL)
    assert (second.made, second.oldest_open) == (3, 2)
    assert second.generation_ms == GENERATION_MS
    forwarder.receive([engine.receipt(2)], NOW_MS + 1_000)
    third = watermark_in(forwarder.watermark(NOW_MS + 1_000 + WATERMARK_EVERY_MS))
    assert (third.made, third.oldest_open) == (3, 0)


def test_watermark_counts_what_was_not_sent_yet(spool, forwarder):
    take_in(spool, 1, 2)
    assert watermark_in(forwarder.watermark(NOW_MS)).oldest_open == 1


def test_watermark_comes_every_30_seconds_and_a_second_after_new_items(spool, forwarder):
    seen = [at for at in range(0, 100_000, 250) if forwarder.watermark(NOW_MS + at)]
    assert seen == [0, 30_000, 60_000, 90_000]
    take_in(spool, 1)
    later = NOW_MS + 100_000
    forwarder.due(later)
    assert forwarder.watermark(later + BURST_WATERMARK_AFTER_MS - 1) is None
    assert forwarder.watermark(later + BURST_WATERMARK_AFTER_MS) is not None
    assert forwarder.watermark(later + BURST_WATERMARK_AFTER_MS + 1) is None


def test_watermark_times_rise_though_the_clock_falls_back(forwarder):
    first = watermark_in(forwarder.watermark(NOW_MS))
    forwarder.offer_again(NOW_MS - 5_000)
    second = watermark_in(forwarder.watermark(NOW_MS - 5_000))
    assert second.at_ms == first.at_ms + 1


def polling_forwarder(spool):
    sender = Sender(intake=INTAKE, key=key("intake"), ring=keyring(), polled=(PROVIDER,))
    return Forwarder(spool, sender, Counters(), random.Random(1))


def test_watermark_says_how_far_a_polled_provider_is_complete(spool):
    """R1."""
    forwarder = polling_forwarder(spool)
    assert watermark_in(forwarder.watermark(NOW_MS)).providers == ()
    spool.mark_polled(PROVIDER, {Sweep.RECENT: NOW_MS - 60_000, Sweep.DEEP: NOW_MS})
    forwarder.offer_again(NOW_MS)
    (mark,) = watermark_in(forwarder.watermark(NOW_MS)).providers
    assert (mark.provider, mark.complete_to_ms) == (PROVIDER, NOW_MS - 60_000)


def test_watermark_never_says_complete_beyond_its_own_time(spool):
    spool.mark_polled(PROVIDER, {Sweep.RECENT: NOW_MS + 86_400_000})
    (mark,) = watermark_in(polling_forwarder(spool).watermark(NOW_MS)).providers
    assert mark.complete_to_ms == NOW_MS


def test_provider_that_is_not_polled_any_more_says_nothing(spool, forwarder):
    spool.mark_polled(PROVIDER, {Sweep.RECENT: NOW_MS})
    assert watermark_in(forwarder.watermark(NOW_MS)).providers == ()


def test_what_a_watermark_calls_complete_is_among_the_numbers_it_names(spool):
    """R1: stored between the two reads, it may be named, never the other way round."""

    class StoresInBetween(type(spool)):
        def polled_through(self, provider):
            found = super().polled_through(provider)
            take_in(spool, 1)
            spool.mark_polled(PROVIDER, {Sweep.RECENT: NOW_MS})
            return found

    reader = StoresInBetween(spool._db.conn, None)
    said = watermark_in(polling_forwarder(reader).watermark(NOW_MS))
    assert (said.providers, said.made) == ((), 1)

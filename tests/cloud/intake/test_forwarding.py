from dataclasses import dataclass
from itertools import pairwise

import pytest

from cloud.intake.counting import Counted, Counters
from cloud.intake.forwarding import (
    BURST_WATERMARK_AFTER_MS,
    IN_FLIGHT_MAX,
    UNRECEIPTED_MAX,
    WATERMARK_EVERY_MS,
    Forwarder,
)
from cloud.intake.razorpay import PROVIDER
from tests.cloud.intake.reports import captured, forwarder_of, genuine, open_spool
from tests.wire.installation import (
    GENERATION_MS,
    INTAKE,
    MINUTE_MS,
    NOW_MS,
    SPOOL,
    keyring,
    sealed,
)
from wire.checking import Checked, check
from wire.decoding import encode
from wire.messages import PAYMENT_ITEMS_MAX, Receipt, ReceiptItem
from wire.topics import SHAPES, MessageType
from wire.vocabulary import ReceiptVerdict

MESSAGE_BYTES_MAX = SHAPES[MessageType.PAYMENT].limit_bytes


@dataclass
class Delivered:
    topic: str
    payload: bytes
    is_retained: bool = False


class Engine:
    """The other side: verifies as an engine does, remembers what came, can answer."""

    def __init__(self):
        self.items = {}
        self.messages = []

    def take(self, outgoing):
        numbers = []
        for one in outgoing:
            checked = check(Delivered(one.topic, one.payload), keyring(), at_ms=NOW_MS)
            assert isinstance(checked, Checked), checked
            self.messages.append(checked.message)
            for item in checked.message.items:
                self.items[item.number] = item
                numbers.append(item.number)
        return numbers

    def receipt(self, *numbers, raw16=None, signer="engine", **changes):
        items = tuple(
            ReceiptItem(
                number=number,
                raw16=raw16 or self.items[number].raw[:16],
                verdict=ReceiptVerdict.STORED,
            )
            for number in numbers
        )
        fields = {"intake": INTAKE, "spool": SPOOL, "generation_ms": GENERATION_MS} | changes
        body = encode(Receipt(items=items, **fields))
        return Delivered(f"receipt/{fields['intake']}", sealed("receipt", body, signer))


def settle(forwarder, spool):
    marks = forwarder.unsaved()
    if marks is not None:
        spool.save(marks)
        forwarder.saved(marks)


def watermark_in(outgoing):
    checked = check(Delivered(outgoing.topic, outgoing.payload), keyring(), at_ms=NOW_MS)
    assert isinstance(checked, Checked), checked
    return checked.message


@pytest.fixture
def spool(tmp_path):
    spool = open_spool(tmp_path / "spool.db")
    yield spool
    spool.close()


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def forwarder(spool, counters) -> Forwarder:
    return forwarder_of(spool, counters)


@pytest.fixture
def engine():
    return Engine()


def take_in(spool, *numbers, **changes):
    spool.take_in([genuine(captured(number, **changes)) for number in numbers])


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


# Receipts


def test_receipted_item_is_never_sent_again_not_even_after_a_restart(spool, forwarder, engine):
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    assert forwarder.unreceipted == 1
    settle(forwarder, spool)
    assert engine.take(forwarder.due(NOW_MS + MINUTE_MS)) == [2]
    again = forwarder_of(spool)
    assert again.unreceipted == 1
    assert engine.take(again.due(NOW_MS)) == [2]
    assert again.generation_ms == GENERATION_MS


def test_receipt_lost_by_a_crash_costs_one_resend(spool, forwarder, engine):
    take_in(spool, 1)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    again = forwarder_of(spool)  # nothing was settled
    assert engine.take(again.due(NOW_MS)) == [1]


def test_receipt_that_arrives_before_the_item_is_loaded_again_counts(spool, forwarder, engine):
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    again = forwarder_of(spool)
    again.receive([engine.receipt(1, generation_ms=0)], NOW_MS)
    assert engine.take(again.due(NOW_MS)) == [2]


@pytest.mark.parametrize("verdict", list(ReceiptVerdict))
def test_every_verdict_is_an_end_for_the_intake(spool, forwarder, engine, verdict):
    """I1: stored, duplicate, quarantined, misposted and irrelevant all end it here."""
    take_in(spool, 1)
    engine.take(forwarder.due(NOW_MS))
    item = ReceiptItem(number=1, raw16=engine.items[1].raw[:16], verdict=verdict)
    body = Receipt(intake=INTAKE, spool=SPOOL, generation_ms=GENERATION_MS, items=(item,))
    answer = Delivered(f"receipt/{INTAKE}", sealed("receipt", encode(body), "engine"))
    forwarder.receive([answer], 0)
    assert forwarder.unreceipted == 1  # that time lies before the engine key's life
    forwarder.receive([answer], NOW_MS)
    assert forwarder.unreceipted == 0


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"raw16": bytes(16)}, Counted.RECEIPT_WRONG_RAW),
        ({"spool": b"another!"}, Counted.RECEIPT_FOREIGN_SPOOL),
        ({"generation_ms": GENERATION_MS - 1}, Counted.RECEIPT_OLD_GENERATION),
        ({"intake": "INTAKE-2"}, Counted.RECEIPT_JUNK),
        ({"signer": "intake"}, Counted.RECEIPT_JUNK),
        ({"signer": "stranger"}, Counted.RECEIPT_JUNK),
        ({"signer": "engine-expired"}, Counted.RECEIPT_JUNK),
        ({"signer": "engine-epoch-2"}, Counted.RECEIPT_JUNK),
    ],
)
def test_receipt_that_is_not_for_exactly_this_item_marks_nothing(
    spool, forwarder, engine, wrong, name
):
    """I1: nothing ends but by a verified receipt of these bytes, this spool, this generation."""
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(2)], NOW_MS)
    forwarder.receive([engine.receipt(1, **wrong)], NOW_MS)
    assert forwarder._counters[name] == 1
    settle(forwarder, spool)
    assert engine.take(forwarder_of(spool).due(NOW_MS)) == [1]


def test_receipt_for_a_number_never_given_or_given_before_marks_nothing(
    spool, forwarder, engine, counters
):
    take_in(spool, 1)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(9, raw16=bytes(16)), engine.receipt(1)], NOW_MS)
    forwarder.receive([engine.receipt(1)], NOW_MS)
    assert counters[Counted.RECEIPT_UNKNOWN_NUMBER] == 1
    assert counters[Counted.RECEIPT_REPEATED] == 1
    settle(forwarder, spool)
    forwarder.receive([engine.receipt(1)], NOW_MS)
    assert counters[Counted.RECEIPT_REPEATED] == 2
    assert forwarder.unreceipted == 0


def test_other_messages_and_retained_receipts_are_junk(spool, forwarder, engine, counters):
    take_in(spool, 1)
    outgoing = forwarder.due(NOW_MS)
    engine.take(outgoing)
    planted = engine.receipt(1)
    planted.is_retained = True
    own = Delivered(outgoing[0].topic, outgoing[0].payload)
    forwarder.receive([planted, own, Delivered("nonsense", b"")], NOW_MS)
    assert counters[Counted.RECEIPT_JUNK] == 3
    assert forwarder.unreceipted == 1


# Generations


def test_higher_generation_offers_everything_retained_again(spool, forwarder, engine):
    """R13: the ledger was restored from a backup and has forgotten what it receipted."""
    take_in(spool, 1, 2, 3)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1, 2)], NOW_MS)
    settle(forwarder, spool)
    # The answer to a watermark that carries the older generation has no items.
    forwarder.receive([engine.receipt(generation_ms=GENERATION_MS + 1)], NOW_MS)
    assert forwarder.must_save_first
    assert forwarder.due(NOW_MS) == []  # the spool still speaks of the old generation
    settle(forwarder, spool)
    assert engine.take(forwarder.due(NOW_MS + 10)) == [1, 2, 3]
    assert forwarder.unreceipted == 3
    forwarder.receive([engine.receipt(1)], NOW_MS + 20)  # late, of the former life
    assert forwarder.unreceipted == 3
    forwarder.receive([engine.receipt(1, 2, 3, generation_ms=GENERATION_MS + 1)], NOW_MS + 20)
    assert forwarder.unreceipted == 0


def test_first_generation_heard_sends_nothing_twice(spool, forwarder, engine):
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    settle(forwarder, spool)
    assert forwarder.due(NOW_MS + 1) == []
    assert forwarder.unreceipted == 1


def test_receipts_being_written_when_the_generation_rises_do_not_survive_it(
    spool, forwarder, engine
):
    take_in(spool, 1)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    under_way = forwarder.unsaved()
    forwarder.receive([engine.receipt(generation_ms=GENERATION_MS + 1)], NOW_MS)
    spool.save(under_way)
    forwarder.saved(under_way)
    settle(forwarder, spool)
    assert engine.take(forwarder.due(NOW_MS)) == [1]
    assert forwarder.unreceipted == 1


def test_trimmed_numbers_are_not_missed_when_the_generation_rises(spool, forwarder, engine):
    take_in(spool, 1, 2)
    engine.take(forwarder.due(NOW_MS))
    forwarder.receive([engine.receipt(1)], NOW_MS)
    settle(forwarder, spool)
    spool.trim(NOW_MS + 1)
    forwarder.receive([engine.receipt(generation_ms=GENERATION_MS + 1)], NOW_MS)
    settle(forwarder, spool)
    assert engine.take(forwarder.due(NOW_MS)) == [2]
    assert forwarder.unreceipted == 1


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

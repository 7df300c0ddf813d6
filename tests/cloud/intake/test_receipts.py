import pytest

from cloud.intake.counting import Counted
from tests.cloud.intake.engine import Delivered, settle, take_in
from tests.cloud.intake.reports import forwarder_of
from tests.wire.installation import (
    GENERATION_MS,
    INTAKE,
    MINUTE_MS,
    NOW_MS,
    SPOOL,
    sealed,
)
from wire.decoding import encode
from wire.messages import Receipt, ReceiptItem
from wire.vocabulary import ReceiptVerdict

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

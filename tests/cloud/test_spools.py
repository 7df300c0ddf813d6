"""Which numbers of which intake are stored, and what a watermark counts for (R1, R13)."""

from sqlalchemy import select

from cloud.schema import spools
from tests.cloud.engine_world import MINUTE_MS, SPOOL, World, bodies
from tests.wire.installation import GENERATION_MS
from wire.topics import MessageType


def spool(world: World, name: bytes = SPOOL):
    return world.one(select(spools).where(spools.c.spool == name))


def test_through_stops_at_a_gap_and_moves_over_it_when_it_closes(world: World):
    for number in (1, 3, 4):
        world.pay(world.item(f"pay_{number}", number=number))
    assert spool(world).through == 1
    world.pay(world.item("pay_2", number=2))
    assert spool(world).through == 4


def test_watermark_counts_only_when_every_number_it_names_is_stored(world: World):
    world.turn(world.watermark(made=2))
    assert spool(world).watermark_at_ms == world.now_ms
    world.pay(world.item("pay_1", number=1))
    assert spool(world).complete_watermark_at_ms == 0
    world.pay(world.item("pay_2", number=2))
    assert spool(world).complete_watermark_at_ms == world.now_ms


def test_watermark_far_from_our_clock_is_not_kept(world: World):
    world.turn(world.watermark(at_ms=world.now_ms - MINUTE_MS - 1))
    world.turn(world.watermark(at_ms=world.now_ms + MINUTE_MS + 1))
    assert spool(world).watermark_at_ms == 0
    world.turn(world.watermark(at_ms=world.now_ms + MINUTE_MS))
    assert spool(world).watermark_at_ms == world.now_ms + MINUTE_MS


def test_older_watermark_replayed_changes_nothing(world: World):
    world.turn(world.watermark(made=5))
    world.turn(world.watermark(made=0, at_ms=world.now_ms - 1))
    assert spool(world).watermark_made == 5


def test_watermark_of_an_older_generation_is_answered_with_ours(world: World):
    """R13: after a restore the intake learns that it must offer everything again."""
    outgoing = world.turn(world.watermark(generation_ms=GENERATION_MS - 1))
    (receipt,) = bodies(outgoing, MessageType.RECEIPT)
    assert (receipt.items, receipt.generation_ms) == ((), GENERATION_MS)
    assert bodies(world.turn(world.watermark()), MessageType.RECEIPT) == []


def test_new_spool_of_a_known_intake_is_taken_and_alarmed(world: World):
    world.pay()
    assert world.alarm_codes() == []
    world.pay(world.item("pay_2", number=1), spool=b"spool-02")
    assert world.alarm_codes() == ["new_spool"]
    assert spool(world, b"spool-02").through == 1

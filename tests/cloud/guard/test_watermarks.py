"""R1 by the guard's own store and clock: no signature while a payment may be missing (I11)."""

import pytest

from tests.cloud.guard.guarded import MINUTE_MS, Guarded
from tests.wire.installation import GENERATION_MS, NOW_MS, PROVIDER, SPOOL
from wire.fields import SpoolId
from wire.messages import ProviderMark

OTHER_SPOOL = SpoolId(b"spool-02")


def missing(world):
    """`watermarks`, or what else is said of the first home's open."""
    return world.verdict(world.row())


def test_watermark_older_than_five_minutes_is_no_word(world):
    world.now_ms += 5 * MINUTE_MS
    assert missing(world) == "signed"
    world.now_ms += 1
    assert world.verdict(world.row(2)) == "watermarks"
    world.hear(world.watermark())
    assert world.verdict(world.row(2)) == "signed"


def test_payment_that_was_held_back_shows_as_a_gap(world):
    withheld, arrived = world.item(2), world.item(2)
    world.pay(arrived)
    assert missing(world) == "watermarks"
    world.hear(world.payment(withheld))
    assert missing(world) == "signed"


def test_payments_still_on_their_way_stop_opens(world):
    world.made += 1
    world.now_ms += 1
    world.hear(world.watermark())
    assert missing(world) == "watermarks"


def test_watermark_of_another_generation_is_no_word(world):
    world.hear(world.watermark(at_ms=world.now_ms + 1, generation_ms=GENERATION_MS - 1))
    assert missing(world) == "watermarks"


@pytest.mark.parametrize(
    ("age_ms", "verdict"), [(10 * MINUTE_MS, "signed"), (10 * MINUTE_MS + 1, "watermarks")]
)
def test_polled_provider_is_complete_up_to_ten_minutes_ago(world, age_ms, verdict):
    mark = ProviderMark(provider=PROVIDER, complete_to_ms=world.now_ms - age_ms)
    world.hear(world.watermark(at_ms=world.now_ms + 1, providers=(mark,)))
    assert missing(world) == verdict


def test_polled_provider_that_is_not_named_is_not_complete(world):
    world.hear(world.watermark(at_ms=world.now_ms + 1, providers=()))
    assert missing(world) == "watermarks"


def test_mark_ahead_of_its_own_watermark_does_not_last(world):
    mark = ProviderMark(provider=PROVIDER, complete_to_ms=world.now_ms + 60 * MINUTE_MS)
    world.hear(world.watermark(at_ms=world.now_ms + 1, providers=(mark,)))
    world.now_ms += 10 * MINUTE_MS + 2
    world.hear(world.watermark(at_ms=world.now_ms, providers=(mark,)))
    assert missing(world) == "signed"
    (told,) = world.rows("SELECT to_ms FROM complete")
    assert told == (world.now_ms,)


def test_older_watermark_replayed_is_not_taken(world):
    old = world.watermark()
    world.made += 1
    world.now_ms += 1
    world.hear(world.watermark())
    world.hear(old)
    assert missing(world) == "watermarks"


def test_watermark_of_a_wrong_clock_is_not_taken(world):
    world.hear(world.watermark(at_ms=world.now_ms + MINUTE_MS + 1))
    world.now_ms += 5 * MINUTE_MS + 1
    assert missing(world) == "watermarks"


def test_new_spool_is_waited_for_from_its_first_number(world):
    world.hear(world.payment(world.item(2), spool=OTHER_SPOOL))
    assert missing(world) == "watermarks"  # the old spool's word is no word any more
    world.hear(world.watermark(spool=OTHER_SPOOL, at_ms=world.now_ms + 1, made=2))
    assert missing(world) == "watermarks"
    world.hear(world.payment(world.item(2, number=2), spool=OTHER_SPOOL))
    assert missing(world) == "signed"


def test_guard_that_begins_late_begins_behind_what_was_receipted(tmp_path):
    world = Guarded(tmp_path)
    world.store.execute("DELETE FROM complete")
    world.store.execute("DELETE FROM spools")
    world.now_ms += 1
    world.hear(world.watermark(made=5_000, oldest_open=4_999))
    assert missing(world) == "watermarks"
    world.hear(*(world.payment(world.item(2, number=number)) for number in (4_999, 5_000)))
    assert missing(world) == "signed"
    world.now_ms += 1
    world.hear(world.watermark(made=6_000))  # only the first word of the first spool is a start
    assert world.verdict(world.row(2)) == "watermarks"
    world.store.close()


def test_second_spool_has_no_start_of_its_own_though_no_word_was_heard_before(world):
    world.store.execute("DELETE FROM complete")
    world.store.execute("DELETE FROM spools")
    world.now_ms += 1
    world.hear(world.payment(world.item(2)), world.watermark(spool=OTHER_SPOOL, made=5))
    assert missing(world) == "watermarks"


def test_payment_of_a_stranger_is_junk_and_fills_no_gap(world):
    item = world.item(1)
    world.hear(world.payment(item, by="stranger"), world.watermark(at_ms=NOW_MS + 1))
    assert missing(world) == "watermarks"
    assert world.guard.junk == {"signers": 1}


def test_number_used_again_for_another_payment_is_alarmed_and_not_counted(world):
    world.pay(world.item(2, number=1))
    other = world.item(1, number=1, raw=b"r" * 32, payment_id="pay_other")
    world.hear(world.payment(other))
    assert world.alarm_codes() == ["number_reused"]
    assert missing(world) == "signed"


def test_spools_are_known_by_intake_and_id(world):
    world.pay(world.item(2))
    assert world.rows("SELECT spool, through FROM spools") == [(SPOOL, 1)]

"""Which numbers of which intake are stored, and what a watermark counts for (R1, R13)."""

import pytest
from sqlalchemy import select

from cloud.schema import completeness, spools
from cloud.spools import intake_scopes, may_open
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, SPOOL, World, bodies
from tests.wire.installation import (
    GENERATION_MS,
    INTAKE,
    PROVIDER,
    WEBHOOK_PROVIDER,
    authorities,
)
from wire.messages import ProviderMark
from wire.topics import MessageType

POLLED = {INTAKE: (PROVIDER, f"WEBHOOK:{WEBHOOK_PROVIDER}")}
NOT_POLLED = {INTAKE: (f"WEBHOOK:{PROVIDER}",)}


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


# What a watermark says of providers


def complete(world: World, *, ago_ms: int = 0, provider=PROVIDER):
    return (ProviderMark(provider=provider, complete_to_ms=world.now_ms - ago_ms),)


def said(world: World):
    rows = world.rows(select(completeness).order_by(completeness.c.provider))
    return {row.provider: (row.complete_to_ms, row.stored_to_ms) for row in rows}


def test_complete_to_counts_only_when_every_number_of_its_watermark_is_stored(world: World):
    world.turn(world.watermark(made=1, providers=complete(world)))
    assert said(world) == {PROVIDER: (world.now_ms, 0)}
    world.pay(world.item("pay_1", number=1))
    assert said(world) == {PROVIDER: (world.now_ms, world.now_ms)}
    assert spool(world).complete_watermark_generation_ms == GENERATION_MS


def test_newer_word_stands_beside_the_stored_one_until_it_is_stored_itself(world: World):
    world.turn(world.watermark(providers=complete(world)))
    first_ms = world.now_ms
    world.now_ms += 30 * SECOND_MS
    world.turn(world.watermark(made=1, providers=complete(world)))
    assert said(world) == {PROVIDER: (world.now_ms, first_ms)}


def test_provider_that_a_watermark_no_longer_names_is_no_longer_complete(world: World):
    both = (*complete(world), *complete(world, provider=WEBHOOK_PROVIDER))
    world.turn(world.watermark(providers=both))
    assert set(said(world)) == {PROVIDER, WEBHOOK_PROVIDER}
    world.now_ms += SECOND_MS
    world.turn(world.watermark(providers=complete(world)))
    assert set(said(world)) == {PROVIDER}


def test_older_watermark_replayed_changes_nothing_that_is_said_of_providers(world: World):
    old = world.watermark(providers=complete(world, ago_ms=-SECOND_MS))
    world.now_ms += SECOND_MS
    world.turn(world.watermark(providers=complete(world, ago_ms=5 * SECOND_MS)))
    before = said(world)
    world.turn(old)
    assert said(world) == before


def test_mark_ahead_of_its_own_watermark_is_taken_back_to_it(world: World):
    """A clock that once ran ahead must not promise completeness for a year."""
    world.turn(world.watermark(providers=complete(world, ago_ms=-365 * 86_400_000)))
    assert said(world) == {PROVIDER: (world.now_ms, world.now_ms)}


# May anything be opened? (I11)


def reasons(world: World, scopes=None, *, generation_ms=GENERATION_MS):
    with world.transaction() as transaction:
        return may_open(
            transaction,
            POLLED if scopes is None else scopes,
            now_ms=world.now_ms,
            generation_ms=generation_ms,
        )


def test_opens_are_allowed_when_every_payment_taken_in_is_stored_and_providers_are_complete(
    world: World,
):
    """I11."""
    world.pay(world.item("pay_1", number=1))
    world.turn(world.watermark(made=1, providers=complete(world)))
    assert reasons(world) == ()


def test_no_open_without_a_watermark(world: World):
    assert reasons(world) == ("INTAKE-1: no watermark yet",)
    world.pay(world.item("pay_1", number=1))  # its spool is known, its watermark is not
    assert reasons(world) == ("INTAKE-1: no watermark yet",)


def test_no_open_on_a_watermark_older_than_five_minutes(world: World):
    world.turn(world.watermark(providers=complete(world)))
    world.now_ms += 5 * MINUTE_MS
    assert reasons(world) == ()
    world.now_ms += 1
    assert "newest watermark is 300 s old" in reasons(world)[0]


@pytest.mark.parametrize("spoken_ms", [GENERATION_MS - 1, GENERATION_MS + 1, 0])
def test_no_open_on_a_watermark_of_another_generation(world: World, spoken_ms):
    """R13: the restored ledger has not been offered everything yet."""
    marks = complete(world)
    world.turn(world.watermark(generation_ms=spoken_ms, providers=marks))
    assert f"its watermark is of generation {spoken_ms}" in reasons(world)[0]


def test_no_open_while_a_payment_taken_in_is_not_stored(world: World):
    """I11: one number above what is stored."""
    world.pay(world.item("pay_1", number=1))
    world.turn(world.watermark(made=2, providers=complete(world)))
    assert reasons(world) == ("INTAKE-1: not all of its payments 2 to 2 are stored",)
    world.pay(world.item("pay_2", number=2))
    assert reasons(world) == ()


def test_no_open_though_an_older_watermark_was_stored_whole(world: World):
    """I11: the newer one tells of a payment that is not here."""
    world.turn(world.watermark(providers=complete(world)))
    assert reasons(world) == ()
    world.now_ms += SECOND_MS
    world.turn(world.watermark(made=1, providers=complete(world)))
    assert reasons(world) == ("INTAKE-1: not all of its payments 1 to 1 are stored",)


def test_no_open_when_numbers_have_a_gap(world: World):
    for number in (1, 3):
        world.pay(world.item(f"pay_{number}", number=number))
    world.turn(world.watermark(made=3, providers=complete(world)))
    assert reasons(world) == ("INTAKE-1: not all of its payments 2 to 3 are stored",)


def test_no_open_when_a_polled_provider_is_complete_up_to_over_ten_minutes_ago(world: World):
    marks = complete(world, ago_ms=10 * MINUTE_MS)
    world.turn(world.watermark(providers=marks))
    assert reasons(world) == ()
    world.now_ms += 1
    assert reasons(world) == (
        "INTAKE-1: RAZORPAY is complete up to 600 s ago, over 600 s: can it be polled?",
    )


def test_no_open_when_a_provider_that_can_be_polled_says_nothing(world: World):
    world.turn(world.watermark())
    assert "RAZORPAY is not complete up to any time" in reasons(world)[0]


def test_provider_that_cannot_be_polled_is_not_asked_for(world: World):
    """The accepted risk of docs/security.md."""
    world.turn(world.watermark())
    assert reasons(world, NOT_POLLED) == ()


def test_every_intake_of_the_registry_must_have_spoken(world: World):
    world.turn(world.watermark())
    both = NOT_POLLED | {"INTAKE-2": ("WEBHOOK:BANK-A",)}
    assert reasons(world, both) == ("INTAKE-2: no watermark yet",)


def test_no_open_when_no_intake_is_listed_at_all(world: World):
    """Nobody's silence is no permission."""
    (reason,) = reasons(world, {})
    assert "lists no intake" in reason


def test_word_of_an_intakes_former_spool_does_not_count(world: World):
    world.turn(world.watermark(providers=complete(world)))
    assert reasons(world) == ()
    world.pay(world.item("pay_2", number=1), spool=b"spool-02")
    assert reasons(world) == ("INTAKE-1: no watermark yet",)
    marks = complete(world)
    world.turn(world.watermark(spool=b"spool-02", made=1, providers=marks))
    assert reasons(world) == ()


def test_all_reasons_are_told_at_once(world: World):
    world.turn(world.watermark())
    two = {INTAKE: (PROVIDER, "PAYTM"), "INTAKE-2": (PROVIDER,)}
    assert [one.split(" ")[:2] for one in reasons(world, two)] == [
        ["INTAKE-1:", "PAYTM"],
        ["INTAKE-1:", "RAZORPAY"],
        ["INTAKE-2:", "no"],
    ]


def test_scopes_of_intakes_come_from_the_registry():
    assert intake_scopes(authorities().keyring()) == {
        INTAKE: {PROVIDER, f"WEBHOOK:{WEBHOOK_PROVIDER}"}
    }

"""Which proposals go, and how many at once: canaries, caps, reasons to skip and to wait."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from cloud.batches import LIFE_MS as BATCH_LIFE_MS
from cloud.opening_caps import CAPS
from cloud.opening_recall import QUEUED_MAX_MS
from cloud.opening_rules import OpenReason, SkipReason, UnsentReason, WaitReason
from cloud.schema import agents, batches, meters, payment_items, proposals
from tests.cloud.engine_world import MINUTE_MS, SECOND_MS, sent
from tests.cloud.opening_world import OpeningWorld
from wire.vocabulary import Outcome

HOUR_MS = 60 * MINUTE_MS
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[OpeningWorld]:
    made = OpeningWorld(tmp_path)
    yield made
    made.store.dispose()
    made.guarded.store.close()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[OpeningWorld]:
    """Thirteen homes behind one agent, each with a transformer of its own; 6 to 13 on F-2."""
    made = OpeningWorld(tmp_path, homes=13)
    second = range(6, 14)
    on_second = meters.c.meter_id.in_([f"M-{number}" for number in second])
    made.execute(update(meters).where(on_second).values(feeder="F-2"))
    made.guarded.give(
        "meters",
        "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer",
        *(f"M-{n},A-{n},AG-1,2022-05-10,2022-05-11,F-2,T-{n}" for n in second),
    )
    yield made
    made.store.dispose()
    made.guarded.store.close()


def end(world: OpeningWorld, outcome: Outcome, count: int) -> None:
    """So many live opens end so: opened ones with an honest read-back."""
    for one in world.live[:count]:
        if outcome is Outcome.OPENED:
            world.turn(world.takes_away(one))
        else:
            world.turn(world.agent.says(world.agent.final(one, outcome)))
    world.live = world.live[count:]


def test_proposal_that_the_rules_speak_against_is_skipped_with_all_its_reasons(
    homes: OpeningWorld,
):
    homes.cut(1)
    homes.execute(update(meters).values(output=0))
    homes.propose(1, paise=900_000)
    homes.sweep()
    assert homes.states() == ["skipped"]
    assert homes.reasons() == ["owes_less locked already_cut relay_open"]
    assert homes.decision().verdict == "none"
    homes.sweep()
    assert homes.batch_state() == "done"


def test_bill_that_is_not_due_yet_is_no_arrears(homes: OpeningWorld):
    homes.bill(1, "LATER", due="2026-12-31")
    homes.propose(1, paise=400_000)
    homes.sweep()
    assert homes.reasons() == ["owes_less"]


def test_money_that_is_known_of_and_stands_nowhere_holds_an_open_for_three_days(
    homes: OpeningWorld,
):
    item = homes.guarded.item(currency="USD")
    homes.turn(homes.guarded.payment(item), homes.guarded.watermark())
    homes.propose(1)
    homes.fresh()
    assert homes.value(select(payment_items.c.verdict)) == "quarantined"
    assert homes.reasons() == ["payment_pending"]


def test_outside_the_window_nothing_is_looked_at(homes: OpeningWorld):
    homes.fresh(3 * HOUR_MS)  # 15:10
    homes.turn(homes.agent.hello(meters=1_000))
    homes.propose(1)
    homes.fresh()
    assert (homes.commands(), homes.states(), homes.reasons()) == ([], ["proposed"], [""])


def test_silent_agent_makes_its_proposals_wait_and_they_are_looked_at_again(homes: OpeningWorld):
    homes.execute(update(agents).values(heard_at_ms=homes.now_ms - 16 * MINUTE_MS))
    homes.propose(1)
    homes.sweep()
    assert (homes.states(), homes.reasons()) == (["proposed"], ["agent_silent"])
    homes.turn(homes.agent.hello(meters=1_000))
    homes.sweep()
    assert homes.commands() == []  # a minute has not passed
    homes.fresh(MINUTE_MS)
    assert homes.command().state == "half_signed"


def test_agent_with_few_meters_is_sent_no_open_at_all(homes: OpeningWorld):
    """R2: its own limit is nothing below 25 meters."""
    homes.turn(homes.agent.hello(meters=24))
    homes.propose(1)
    homes.sweep()
    assert (homes.commands(), homes.reasons()) == ([], ["paced"])


def test_feeder_gives_no_more_than_five_of_few_and_the_guard_agrees(street: OpeningWorld):
    """The engine stops before the guard would take it for a breach."""
    street.propose(*range(6, 14))
    street.sweep()
    street.guard_looks()
    assert len(street.commands(state="half_signed")) == CAPS.place_least
    assert street.reasons().count("paced") == 3
    assert len(sent(street.sweep(250))) == 5
    assert street.guarded.alarm_codes() == []


def test_batch_goes_on_when_nine_of_its_canary_were_read_back_open(street: OpeningWorld):
    street.propose(*range(1, 11))
    street.sweep()
    assert len(street.commands(action="open")) == 10
    street.live = sent(street.cosigned())
    end(street, Outcome.OPENED, 9)
    street.sweep()
    assert street.batch_state() == "canary"
    end(street, Outcome.UNREACHABLE, 1)
    street.sweep()
    assert street.batch_state() == "done"  # ten were all there were


@pytest.mark.parametrize(("opened", "state"), [(9, "flowing"), (8, "stopped")])
def test_rest_of_a_batch_follows_a_canary_or_never(street: OpeningWorld, opened, state):
    street.propose(*range(1, 14))
    street.put(batches, state="canary")  # as two approvers would let it go
    street.sweep()
    street.live = sent(street.cosigned())
    assert len(street.live) == 10
    end(street, Outcome.OPENED, opened)
    end(street, Outcome.UNREACHABLE, 10 - opened)
    street.sweep()
    assert street.batch_state() == state
    assert ("canary_failed" in street.alarm_codes()) == (state == "stopped")
    waiting = [row.state for row in street.rows(select(proposals).filter_by(is_canary=0))]
    assert waiting == ["proposed"] * 3


def test_canary_whose_consumer_paid_makes_place_for_the_next(street: OpeningWorld):
    street.propose(*range(1, 14))
    street.put(batches, state="canary")
    skipped = street.rows(select(proposals).where(proposals.c.is_canary == 1))[0]
    street.execute(update(proposals).where(proposals.c.id == skipped.id).values(state="skipped"))
    street.sweep()
    canary = street.rows(select(proposals).filter_by(is_canary=1))
    assert sorted(row.state for row in canary) == ["proposed"] + ["sent"] * 9 + ["skipped"]


def test_awaiting_batch_sends_nothing(street: OpeningWorld):
    made = street.propose(*range(1, 14))
    assert made.state == "awaiting"
    street.sweep()
    street.sweep()
    assert street.commands() == []


def test_old_batch_is_cancelled_and_must_be_proposed_anew(homes: OpeningWorld):
    homes.fresh(3 * HOUR_MS)
    homes.propose(1)
    homes.sweep(BATCH_LIFE_MS)
    assert (homes.batch_state(), homes.states()) == ("cancelled", ["cancelled"])


def test_open_that_waits_too_long_in_the_line_is_decided_anew(homes: OpeningWorld):
    homes.turn(homes.agent.hello(window=1, meters=1_000))
    homes.cut(2)
    homes.paid(homes.guarded.item(2, amount_paise=300_000))
    homes.propose(1)
    homes.fresh()
    assert homes.command(action="open").state == "queued"
    homes.fresh(QUEUED_MAX_MS)
    (first,) = homes.commands(action="open")
    assert (first.state, homes.reasons()) == ("dropped", ["held"])


def test_open_in_the_line_when_the_window_ends_is_not_signed(homes: OpeningWorld):
    """The guard would take it for a lie: its life would reach beyond the window."""
    homes.fresh(HOUR_MS + 44 * MINUTE_MS + 30 * SECOND_MS)  # 13:54:30
    homes.turn(homes.agent.hello(window=1, meters=1_000))
    homes.cut(2)
    (close,) = sent(homes.paid(homes.guarded.item(2, amount_paise=300_000)))
    homes.propose(1)
    homes.fresh()
    assert homes.command(action="open").state == "queued"
    homes.turn(homes.agent.says(homes.agent.final(close, Outcome.CLOSED)))
    homes.fresh(MINUTE_MS)
    assert (homes.command(action="open").state, homes.states()) == ("dropped", ["proposed"])


def test_every_reason_of_an_open_is_explained_to_the_operator():
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    words = [*OpenReason, *SkipReason, *UnsentReason, *WaitReason]
    assert [word for word in words if f"`{word.value}`" not in page] == []

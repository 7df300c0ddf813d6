"""An agent that loses its power, and one that loses its disk as well.

The simulated relays live in the agent's process, so a restart finds them open again: to a recorded
command that is the consumer who was cut once more, which is what a replay would be worth.
"""

from collections import Counter
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from cloud.schema import filed_items
from tests.broker.stranger import context, stranger
from tests.walk.conftest import SLOW
from tests.walk.facts import (
    JournalSteps,
    commands_of,
    demand_closed_once,
    demand_posted_once,
    ended,
    rows,
    until_closed,
    waiting_for,
)
from tests.walk.installation import OWED_PAISE, WITNESS, Walk
from tests.walk.provider import Consumer
from wire.decoding import decode_item
from wire.link import TlsFiles
from wire.messages import CommandItem
from wire.topics import command_topic

PAID = 12


@pytest.fixture
def consumers(walk) -> list[Consumer]:
    return walk.take(SLOW, PAID)


def kill_while_acting(walk: Walk, consumers: Sequence[Consumer]) -> JournalSteps:
    """Pay for all, and kill the agent while relays are about to move."""
    assert set(walk.provider.report(consumers, OWED_PAISE)) == {200}
    path = walk.journal(SLOW)
    known = JournalSteps.read(path).of("received")
    walk.until("relays that act", lambda: len(JournalSteps.read(path).acting) >= 3)
    walk.kill(SLOW)
    left = JournalSteps.read(path)
    assert left.acting  # else it was killed behind the work
    assert left.of("received") >= known
    assert len(rows(walk, ended(consumers))) < len(consumers)
    return left


def replay(walk: Walk, recorded: Sequence[object]) -> None:
    """Publish old commands again, byte for byte, with the broker's word that they went out."""
    certificates = walk.folder / "broker" / "certificates"
    files = TlsFiles(*(certificates / f"{one}" for one in ("ca.crt", f"{WITNESS}.crt")),
                     certificates / f"{WITNESS}.key")  # fmt: skip
    with stranger(walk.ports[0], context(files), WITNESS) as witness:
        assert witness.refusal == ""
        for one in recorded:
            assert witness.publish(command_topic(one.agent_id, one.meter_id), one.envelope) == 0


def refusals(walk: Walk, command_ids: Sequence[bytes]) -> Counter[str | None]:
    """The reasons of the newest journal's word on these commands."""
    query = (
        select(filed_items.c.item, filed_items.c.journal_id)
        .where(filed_items.c.command_id.in_(command_ids))
        .where(filed_items.c.kind == "command")
    )
    found = rows(walk, query)
    newest = max(one.journal_id for one in found)
    items = [decode_item(one.item) for one in found if one.journal_id == newest]
    return Counter(one.reason for one in items if isinstance(one, CommandItem))


def test_agent_killed_while_relays_move_ends_what_it_began(walk, consumers):
    left = kill_while_acting(walk, consumers)
    walk.start(SLOW)
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)
    now = JournalSteps.read(walk.journal(SLOW))
    assert now.journal_id == left.journal_id
    assert set(left.steps) <= set(now.steps)
    # I6: a second `actuating` stands only where a crash left the first without an outcome, behind
    # a read-back that found the relay open; the journal's schema forbids a third.
    assert now.of("actuating", 2) <= left.acting
    assert now.of("actuating") == now.of("actuating") & now.of("outcome")


def test_finished_command_replayed_to_a_restarted_agent_moves_nothing(walk):
    """The consumer is dark again, and the recorded close is genuine: it gets its old answer."""
    (consumer,) = walk.take(SLOW, 1)
    walk.provider.report([consumer], OWED_PAISE)
    until_closed(walk, [consumer])
    recorded = rows(walk, commands_of([consumer]))
    walk.kill(SLOW)
    before = JournalSteps.read(walk.journal(SLOW))
    walk.start(SLOW)
    replay(walk, recorded)
    (marker,) = walk.take(SLOW, 1)  # paid behind the replay: when it is closed, that was judged
    walk.provider.report([marker], OWED_PAISE)
    until_closed(walk, [marker])
    now = JournalSteps.read(walk.journal(SLOW))
    mine = {one.command_id for one in recorded}
    assert [one for one in now.steps if one[0] in mine] == [
        one for one in before.steps if one[0] in mine
    ]
    demand_closed_once(walk, [consumer, marker])


def test_agent_without_its_journal_closes_by_new_commands_and_never_by_old_ones(walk, consumers):
    """I5, I7: the floor of the first welcome lies above every counter that was ever given."""
    left = kill_while_acting(walk, consumers)
    old = rows(walk, commands_of(consumers))
    old_ids = [one.command_id for one in old]
    for one in walk.journal(SLOW).parent.glob("journal.db*"):
        one.unlink()
    walk.start(SLOW)
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    begun = JournalSteps.read(walk.journal(SLOW))
    assert begun.journal_id != left.journal_id
    assert not begun.of("actuating") & set(old_ids)
    replay(walk, old)
    path = walk.journal(SLOW)
    walk.until(
        "refusal of every replay", lambda: set(old_ids) <= JournalSteps.read(path).of("outcome")
    )
    assert not JournalSteps.read(path).of("actuating") & set(old_ids)
    about_old = (
        select(filed_items.c.number)
        .where(filed_items.c.command_id.in_(old_ids))
        .where(filed_items.c.journal_id == select(filed_items.c.journal_id).order_by(
            filed_items.c.filed_at_ms.desc()).limit(1).scalar_subquery())
    )  # fmt: skip
    walk.until("filed refusals", waiting_for(walk, about_old, len(old_ids)))
    assert refusals(walk, old_ids) == {"before_welcome": len(old_ids)}
    succeeded = [one for one in rows(walk, commands_of(consumers)) if one.outcome == "closed"]
    assert sorted(one.meter_id for one in succeeded) == [one.meter for one in consumers]

"""An agent that loses its power, and one that loses its disk as well.

The simulated relays live in the agent's process; whether a relay is open or closed when the agent
comes back is said in its configuration, so a contact can have moved while nobody looked.
"""

from collections.abc import Collection, Sequence

import pytest
from sqlalchemy import select

from cloud.schema import commands, filed_items, journals
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
    until_heard,
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


def start_again(walk: Walk, *, closed: Collection[str]) -> None:
    """Start the agent over relays as they are by now; returns when its hello is handled."""
    walk.write_agent(SLOW, closed=closed)
    walk.start(SLOW)
    until_heard(walk, SLOW)


def meters_of(walk: Walk, command_ids: Collection[bytes]) -> set[str]:
    query = select(commands.c.meter_id).where(commands.c.command_id.in_(command_ids))
    return {one.meter_id for one in rows(walk, query)}


def replay(walk: Walk, recorded: Sequence[object]) -> None:
    """Publish old commands again, byte for byte, with the broker's word that they went out."""
    certificates = walk.folder / "broker" / "certificates"
    files = TlsFiles(*(certificates / f"{one}" for one in ("ca.crt", f"{WITNESS}.crt")),
                     certificates / f"{WITNESS}.key")  # fmt: skip
    with stranger(walk.ports[0], context(files), WITNESS) as witness:
        assert witness.refusal == ""
        for one in recorded:
            assert witness.publish(command_topic(one.agent_id, one.meter_id), one.envelope) == 0


def reasons(walk: Walk, command_ids: Collection[bytes], journal: bytes) -> list[str | None]:
    """What one journal gave as reasons in its final words on these commands, as they are filed."""
    query = (
        select(filed_items.c.item)
        .join(journals, journals.c.id == filed_items.c.journal_id)
        .where(journals.c.journal == journal)
        .where(filed_items.c.command_id.in_(command_ids))
        .where(filed_items.c.kind == "command")
    )
    items = [decode_item(one.item) for one in rows(walk, query)]
    return [one.reason for one in items if isinstance(one, CommandItem)]


def test_agent_killed_while_relays_move_reads_back_and_moves_nothing_twice(walk, consumers):
    """I6: the contacts moved behind the agent's back; `actuating` stands once per command."""
    left = kill_while_acting(walk, consumers)
    start_again(walk, closed=meters_of(walk, left.acting))
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)
    now = JournalSteps.read(walk.journal(SLOW))
    assert now.journal_id == left.journal_id
    assert now.boot > left.boot
    assert set(left.steps) <= set(now.steps)
    assert now.of("actuating", 2) == set()
    assert now.of("received") == now.of("outcome")


def test_finished_command_replayed_to_a_restarted_agent_moves_nothing(walk):
    """The consumer is dark again, and the recorded close is genuine: it gets its old answer."""
    (consumer,) = walk.take(SLOW, 1)
    walk.provider.report([consumer], OWED_PAISE)
    until_closed(walk, [consumer])
    recorded = rows(walk, commands_of([consumer]))
    walk.kill(SLOW)
    before = JournalSteps.read(walk.journal(SLOW))
    start_again(walk, closed=())
    replay(walk, recorded)
    (marker,) = walk.take(SLOW, 1)  # paid behind the replay: when it is closed, that was judged
    walk.provider.report([marker], OWED_PAISE)
    until_closed(walk, [marker])
    now = JournalSteps.read(walk.journal(SLOW))
    mine = {one.command_id for one in recorded}
    assert {one for one in now.steps if one[0] in mine} == {
        one for one in before.steps if one[0] in mine
    }
    demand_closed_once(walk, [consumer, marker])


def test_agent_without_its_journal_closes_by_new_commands_and_never_by_old_ones(walk, consumers):
    """I5, I7: the floor of the first welcome lies above every counter that was ever given."""
    left = kill_while_acting(walk, consumers)
    old = rows(walk, commands_of(consumers))
    old_ids = {one.command_id for one in old}
    path = walk.journal(SLOW)
    for one in path.parent.glob("journal.db*"):
        one.unlink()
    start_again(walk, closed=())
    begun = JournalSteps.read(path)
    assert begun.journal_id != left.journal_id
    replay(walk, old)  # before any new command: no counter of a meter stands against it yet
    walk.until("word on every replay", lambda: old_ids <= JournalSteps.read(path).of("outcome"))
    assert not JournalSteps.read(path).of("actuating") & old_ids
    walk.until("filed words", lambda: len(reasons(walk, old_ids, begun.journal_id)) == len(old_ids))
    assert set(reasons(walk, old_ids, begun.journal_id)) == {"before_welcome"}
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    succeeded = [one for one in rows(walk, commands_of(consumers)) if one.outcome == "closed"]
    assert sorted(one.meter_id for one in succeeded) == [one.meter for one in consumers]

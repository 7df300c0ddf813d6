"""What an expectation of the vectors means at an engine: one check for each of its words."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from cloud.schema import agents, commands, filed_items, meters, payment_items, spools
from tests.cloud.engine_world import bodies, filed, welcome
from tests.vectors.engine_world import EngineWorld
from tests.wire.vectors import Message
from wire.topics import MessageType

WATERMARK_MAX_AGE_MS = 300_000  # R1


class StepSeen:
    """One step at an engine: before, what came, after."""

    def __init__(self, world: EngineWorld) -> None:
        self.world = world
        self.before = world.everything()
        self.alarms = world.alarms()
        self.junk = world.engine.junk.total()
        self.at_ms = 0
        self.message: Message | None = None

    def deliver(self, message: Message, at_ms: int) -> "StepSeen":
        self.message, self.at_ms = message, at_ms
        self.world.deliver(message, at_ms=at_ms)
        return self

    def expect(self, expected: dict[str, Any]) -> None:
        for word, value in expected.items():
            CHECKS[word](self, value)
        assert self.world.engine.junk.total() == self.junk

    @property
    def new_alarms(self) -> list[str]:
        return self.world.alarms()[len(self.alarms) :]


def _ignored(seen: StepSeen, _: Any) -> None:
    """Nothing of it is in the ledger, and nobody is answered."""
    assert seen.world.everything() == seen.before
    assert [one.topic for one in seen.world.left if not one.topic.startswith("live/")] == []


def _welcome(seen: StepSeen, value: str) -> None:
    found = welcome(seen.world.left)
    assert found.verdict == value
    if value in ("rolled_back", "retired"):
        changed = {one for one in seen.world.everything() if one not in seen.before}
        # When it was turned away; and a timer of that turn may settle a lock that was pending.
        assert {one[0] for one in changed} <= {"agents", "locks"}


def _raised_floor(seen: StepSeen, value: Any) -> None:
    found = welcome(seen.world.left)
    query = select(meters.c.last_epoch, meters.c.last_sequence)
    highest = max((row[0], row[1]) for row in seen.world.ledger.rows(query))
    assert ((found.floor_epoch, found.floor_sequence) >= highest) is value
    issued = seen.world.ledger.rows(select(commands.c.epoch, commands.c.sequence_ms))
    assert all((found.floor_epoch, found.floor_sequence) > (row[0], row[1]) for row in issued)


def _filed(seen: StepSeen, value: list[Any]) -> None:
    told = filed(seen.world.left)
    if told:
        assert [told[-1].through, told[-1].head] == value
    through, head = value
    welcomed = seen.world.ledger.rows(select(filed_items.c.number).order_by(filed_items.c.number))
    assert [row[0] for row in welcomed][:through] == list(range(1, through + 1))
    journals = seen.world.ledger.rows(select(commands.metadata.tables["journals"]))
    assert [(row.through, row.head) for row in journals] == [(through, head)]


def _receipt(seen: StepSeen, value: list[list[Any]]) -> None:
    told = bodies(seen.world.left, MessageType.RECEIPT)
    items = [item for one in told for item in one.items]
    assert [[one.number, one.verdict.value] for one in items] == value
    for item in items:
        assert item.raw16 == seen.world.item_of_number(item.number).raw[:16]


def _posted_facts(seen: StepSeen, value: int) -> None:
    assert seen.world.postings() - seen.world.postings_before == value


def _quarantined(seen: StepSeen, value: list[int]) -> None:
    if seen.message is not None and seen.message.topic.startswith("payment/"):
        told = bodies(seen.world.left, MessageType.RECEIPT)
        found = [one.number for body in told for one in body.items if one.verdict == "quarantined"]
        assert found == value
        return
    # An item of a journal: filed so that the agent goes on, and nothing is done for its command.
    numbers = seen.world.ledger.rows(select(filed_items.c.number))
    assert [row[0] for row in numbers] == value
    assert filed(seen.world.left)[-1].through == value[-1]
    states = seen.world.ledger.rows(select(commands.c.state, commands.c.outcome))
    assert [tuple(row) for row in states] == [("published", None)]


def _alarm(seen: StepSeen, value: Any) -> None:
    assert seen.new_alarms == [value] if isinstance(value, str) else len(seen.new_alarms) == 1


def _opens_suspended(seen: StepSeen, value: Any) -> None:
    (row,) = seen.world.ledger.rows(select(agents.c.suspended_at_ms))
    assert (row[0] is not None) is value


def _opens_allowed(seen: StepSeen, value: Any) -> None:
    """R1, of what is stored: fresh, of the current generation, and every number it names here."""
    rows = seen.world.ledger.rows(select(spools))
    numbers = {row[0] for row in seen.world.ledger.rows(select(payment_items.c.number))}
    generation_ms = seen.world.state["generation_ms"]
    allowed = [
        row.watermark_generation_ms == generation_ms
        and row.complete_watermark_at_ms == row.watermark_at_ms
        and seen.at_ms - row.watermark_at_ms <= WATERMARK_MAX_AGE_MS
        for row in rows
    ]
    assert allowed == [value]
    made = rows[0].watermark_made
    assert (made <= seen.world.state["stored_through"] or made in numbers) is value


CHECKS: dict[str, Callable[[StepSeen, Any], None]] = {
    "ignored": _ignored,
    "welcome": _welcome,
    "raised_floor": _raised_floor,
    "filed": _filed,
    "receipt": _receipt,
    "posted_facts": _posted_facts,
    "quarantined": _quarantined,
    "alarm": _alarm,
    "opens_suspended": _opens_suspended,
    "opens_allowed": _opens_allowed,
}

"""What an expectation of the vectors means at an agent: one check for each of its words.

`StepSeen` remembers how the agent stood before a step; `expect` compares. An unknown word is an
error, so that no expectation is read over.
"""

from collections.abc import Callable
from typing import Any

from tests.vectors.agent_world import AgentWorld
from tests.wire import vectors
from tests.wire.vectors import Message
from wire.checking import Checked, check
from wire.envelope import digest, unpack
from wire.messages import AlarmItem, ManifestItem, Welcome


class StepSeen:
    """One step at an agent: before, what came, after."""

    def __init__(self, world: AgentWorld) -> None:
        self.world = world
        self.before = world.rows()
        self.made = world.agent.journal.made
        self.hellos = len(world.hellos)
        self.moves = world.moves
        self.not_now = world.agent.not_now.total()
        self.junk = world.agent.junk.total()
        self.message: Message | None = None

    def deliver(self, message: Message) -> "StepSeen":
        self.message = message
        self.world.deliver(message)
        return self

    def restart(self) -> "StepSeen":
        self.world.restart()
        return self

    def expect(self, expected: dict[str, Any]) -> None:
        for word, value in expected.items():
            CHECKS[word](self, value)
        # What is in no alarm's place is unchanged, also in the words that do not say so.
        if expected.get("ignored") and "alarm" not in expected:
            assert self.world.rows() == self.before

    @property
    def alarms(self) -> list[str]:
        new = [self.world.items[one] for one in set(self.world.told_now) if one > self.made]
        return [one.code for one in new if isinstance(one, AlarmItem)]


def _answer(seen: StepSeen, value: dict[str, Any]) -> None:
    (item,) = seen.world.finals(value["command"])
    assert (item.outcome, item.reason) == (value["outcome"], value["reason"])
    assert seen.world.told_now.count(item.number) == 1, "sent in this step, once"
    known = seen.world.agent.journal.commands.known(item.command)
    assert known is not None
    assert known.item == item.number


def _moves(seen: StepSeen, value: int) -> None:
    assert seen.world.moves == value


def _not_now(seen: StepSeen, _: Any) -> None:
    assert seen.world.rows() == seen.before
    assert seen.world.agent.not_now.total() == seen.not_now + 1
    assert (seen.world.told_now, seen.world.moves) == ([], seen.moves)


def _taken(seen: StepSeen, value: str) -> None:
    world, standing = seen.world, seen.world.agent.journal.standing
    assert seen.message is not None
    checked = check(seen.message, world.agent._greeting.ring, at_ms=None)
    assert isinstance(checked, Checked)
    assert isinstance(checked.message, Welcome)
    found = checked.message
    assert world.agent.is_welcomed
    assert world.agent.junk.total() == seen.junk
    assert standing.generation_ms == found.generation_ms
    time = world.agent._greeting.time()
    assert time is not None
    assert time.earliest_ms == found.now_ms == time.latest_ms
    told = [found.floor_epoch, found.floor_sequence]
    is_floor_taken = [standing.floor_epoch, standing.floor_sequence_ms] == told
    assert is_floor_taken is {"all": True, "all but the floor": False}[value]


def _floor(seen: StepSeen, value: list[int]) -> None:
    standing = seen.world.agent.journal.standing
    assert [standing.floor_epoch, standing.floor_sequence_ms] == value


def _ignored(seen: StepSeen, value: Any) -> None:
    assert value is True
    row = next(one for one in seen.before if one.startswith('INSERT INTO "standing"'))
    assert row in seen.world.rows(), f"{row} was changed"
    assert seen.world.moves == seen.moves


def _alarm(seen: StepSeen, value: str) -> None:
    assert seen.alarms == [value]


def _is_frozen(seen: StepSeen, value: Any) -> None:
    assert seen.world.agent.journal.standing.is_stopped is value
    assert seen.alarms == []


def _stop_ms(seen: StepSeen, value: int) -> None:
    assert seen.world.agent.journal.standing.stop_ms == value


def _lifted_ms(seen: StepSeen, value: int) -> None:
    assert seen.world.agent.journal.standing.lifted_ms == value


def _re_sent(seen: StepSeen, value: list[int]) -> None:
    assert seen.world.told_now == value


def _generation_ms(seen: StepSeen, value: int) -> None:
    standing = seen.world.agent.journal.standing
    assert (standing.generation_ms, standing.filed) == (value, 0)


def _manifest(seen: StepSeen, value: dict[str, Any]) -> None:
    assert seen.message is not None
    world = seen.world
    told = [world.items[one] for one in world.told_now]
    (item,) = [one for one in told if isinstance(one, ManifestItem)]
    body = unpack(seen.message.payload).body
    assert item.manifest == digest(vectors.installation(), "manifest", body)[:16]
    assert (item.verdict, item.reason) == (value["verdict"], value["reason"])
    assert item.running_ms == world.state["running_ms"]


def _roster_version(seen: StepSeen, value: int) -> None:
    world = seen.world
    world.elapsed_ms = max(world.elapsed_ms, world.agent._greeting.next_hello_ms or 0)
    world.keep(world.agent.due())
    assert len(world.hellos) > seen.hellos
    assert world.hellos[-1].roster_version == value


def _protected(seen: StepSeen, value: list[str]) -> None:
    meters = seen.world.agent._greeting._roster.meters
    assert sorted(meter for meter, one in meters.items() if one.is_protected) == value


CHECKS: dict[str, Callable[[StepSeen, Any], None]] = {
    "answer": _answer,
    "moves": _moves,
    "not_now": _not_now,
    "taken": _taken,
    "floor": _floor,
    "ignored": _ignored,
    "alarm": _alarm,
    "is_frozen": _is_frozen,
    "stop_ms": _stop_ms,
    "lifted_ms": _lifted_ms,
    "re_sent": _re_sent,
    "generation_ms": _generation_ms,
    "manifest": _manifest,
    "roster_version": _roster_version,
    "protected": _protected,
}

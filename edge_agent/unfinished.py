"""The commands that were journaled and have no outcome yet: one queue per meter, in memory.

Rules kept here (R14): one operation at a time per meter; what was acting when the agent stopped
goes first; the rest in the order of arrival. Everything here can be rebuilt from the journal.
Bound: the window (64 at most) and the withdrawals, which end at once unless they wait for a relay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_agent.relay import RelayJob
from wire.fields import CommandId, MeterId
from wire.messages import Command, Counter
from wire.vocabulary import Action

MOVEMENTS = frozenset({Action.CLOSE, Action.ARM, Action.OPEN, Action.DISARM})
ATTEMPTS_MAX = 2  # one, and one more after a crash if the relay has not moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One journaled command without outcome."""

    command_id: CommandId
    command: Command
    received_at_ms: int
    interim_due_ms: int | None  # elapsed; None: told, or of an earlier boot
    acted_at_ms: int | None = None
    attempts: int = 0  # how often `actuating` was journaled
    is_restarted: bool = False  # journaled by an earlier boot

    @property
    def counter(self) -> Counter:
        """Its place in its meter's order."""
        return Counter(epoch=self.command.epoch, sequence_ms=self.command.sequence_ms)

    @property
    def is_acting(self) -> bool:
        """Whether the relay may have been told to move."""
        return self.attempts > 0

    def job(self) -> RelayJob:
        """The operation that brings its outcome; a withdrawal that came too late reads."""
        is_movement = self.command.action in MOVEMENTS
        return RelayJob(
            command_id=self.command_id,
            meter=self.command.meter,
            action=Action(self.command.action) if is_movement else Action.READ,
            was_acting=self.is_acting,
            may_move=self.attempts < ATTEMPTS_MAX,
        )


class Unfinished:
    """All commands of one journal without outcome, and which meters are being worked on."""

    def __init__(self, pending: Iterable[Pending], running: dict[MeterId, CommandId]) -> None:
        self._by_id: dict[CommandId, Pending] = {}
        self._by_meter: dict[MeterId, list[CommandId]] = {}
        # Outlives a journal: an operation under way keeps its meter until the rim reports its end.
        self.running = running
        # Meters that may have something to start; a dict keeps the order of arrival (I14).
        self._ripe: dict[MeterId, None] = {}
        self.outstanding = 0  # withdrawals are not counted
        for one in pending:
            self.add(one)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._by_id.values())

    def get(self, command_id: CommandId) -> Pending | None:
        """The command, if it has no outcome yet."""
        return self._by_id.get(command_id)

    def add(self, pending: Pending) -> None:
        """One more command, journaled as received."""
        self._by_id[pending.command_id] = pending
        self._by_meter.setdefault(pending.command.meter, []).append(pending.command_id)
        self._ripe[pending.command.meter] = None
        self.outstanding += pending.command.action != Action.WITHDRAW

    def update(self, pending: Pending) -> None:
        """The same command, further on."""
        self._by_id[pending.command_id] = pending

    def remove(self, pending: Pending) -> None:
        """It has its outcome."""
        del self._by_id[pending.command_id]
        queue = self._by_meter[pending.command.meter]
        queue.remove(pending.command_id)
        if not queue:
            del self._by_meter[pending.command.meter]
        self.outstanding -= pending.command.action != Action.WITHDRAW

    def on_meter(self, meter: MeterId) -> list[Pending]:
        """The meter's commands in the order of arrival."""
        return [self._by_id[command_id] for command_id in self._by_meter.get(meter, ())]

    def ids(self) -> tuple[CommandId, ...]:
        """Every id, those the engine counts first, oldest first."""
        return tuple(
            one.command_id
            for one in sorted(
                self._by_id.values(), key=lambda one: one.command.action == Action.WITHDRAW
            )
        )

    def start(self) -> tuple[RelayJob, ...]:
        """The operations to begin now: at most one per meter that is at rest."""
        jobs = []
        for meter in self._ripe:
            queue = self.on_meter(meter)
            if queue and meter not in self.running:
                first = min(queue, key=lambda one: not one.is_acting)
                self.running[meter] = first.command_id
                jobs.append(first.job())
        self._ripe.clear()
        return tuple(jobs)

    def ended(self, meter: MeterId) -> None:
        """The rim reports the end of the meter's operation."""
        self.running.pop(meter, None)
        self._ripe[meter] = None

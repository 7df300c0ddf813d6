"""The engine in the simulated world: turn after turn over the one ledger file.

It does what `cloud.engine_process` does around the engine: a turn that the database failed is tried
again with the same deliveries; what leaves, leaves after the commit; then PUBACK.
"""

import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from cloud.engine import SWEEP_EVERY_MS, Engine, EngineSettings
from cloud.live import Live
from cloud.outbox import LAPSE_MS
from cloud.publisher import Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from tests.simulation.broker import Delivery
from tests.simulation.installation import EPOCH, INSTALLATION, authorities, identities, key
from tests.simulation.ledger_file import LedgerFile, ledger_file

if TYPE_CHECKING:
    from tests.simulation.world import World

NAME = "engine"
BATCH_MAX = 256
STATEMENTS_MAX = 30  # of most turns; a later failure is one of the commit
AT_COMMIT = 10_000
_IDLE_TICK_MS = 120_000
_GATHERS_MS = (8, 1_500)  # what a turn waits for: sometimes it is alone, sometimes in a batch
# When its timers have something to do; the product's own clock ticks ten times a second.
_NEXT_DUE = f"""SELECT min(due) FROM (
    SELECT min(resend_at_ms) AS due FROM commands
        WHERE state = 'published' AND expires_at_ms - 60000 >= resend_at_ms
    UNION ALL SELECT min(expires_at_ms) + {LAPSE_MS + 1} FROM commands WHERE state = 'published'
    UNION ALL SELECT min(due_at_ms) FROM commands WHERE state = 'queued'
    UNION ALL SELECT max((SELECT locks_wait_until_ms FROM ledger), min(placed_at_ms)) FROM locks
        WHERE effective_at_ms IS NULL AND cleared_at_ms IS NULL)"""


class EngineParty:
    """One engine process after another, over one ledger."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.file: LedgerFile = ledger_file()
        self.file.begin()
        self._settings = EngineSettings(
            signer=Signer(installation=INSTALLATION, key=key("engine"), epoch=EPOCH),
            authorities=authorities(),
            identities=identities(),
            policy=MP_WEST_FIRST_PHASE,
        )
        self.life = 0
        self.is_up = False
        self.clock_offset_ms = 0
        self._inbox: list[Delivery] = []
        self._turn_planned_ms: int | None = None
        self._idle_ms = SWEEP_EVERY_MS
        self.reader: sqlite3.Connection | None = None
        self.start()

    @property
    def clock_ms(self) -> int:
        """The engine's own clock."""
        return self._world.now_ms + self.clock_offset_ms

    def start(self) -> None:
        """A new process over the same file."""
        self.life += 1
        self.is_up = True
        self.reader = self.file.reader()
        live = Live(key=b"live", is_development=self._world.plan.seed % 8 == 0)
        self.engine = Engine(
            self._settings, self.file.store, live, self._world.randomness.randbytes
        )
        self._world.note(NAME, "started")
        self._plan_turn(0)

    def stop(self) -> None:
        """The process is gone; the file is as it is."""
        self.is_up = False
        self._inbox = []
        self._turn_planned_ms = None
        if self.reader is not None:
            self.reader.close()
        self.file.close_all()

    def crash(self) -> None:
        """Gone, and back after a while."""
        self._world.note(NAME, "crashed")
        self.stop()
        self._world.down(NAME, self.start)

    def connected(self) -> None:
        """A new connection asks for nothing: re-sends have their own time."""

    def deliver(self, delivery: Delivery) -> None:
        """Something arrived; it is handled with whatever comes in the next milliseconds."""
        if self.is_up:
            self._inbox.append(delivery)
            longest_ms = self._world.randomness.choice(_GATHERS_MS)
            self._plan_turn(self._world.randomness.randint(0, longest_ms))

    def wake(self) -> None:
        """Somebody wrote into the ledger what the engine's next sweep acts on."""
        if self.is_up:
            self._plan_turn(SWEEP_EVERY_MS)

    def _plan_turn(self, wait_ms: int) -> None:
        at_ms = self._world.now_ms + wait_ms
        if self._turn_planned_ms is None or at_ms < self._turn_planned_ms:
            self._turn_planned_ms = at_ms
            life = self.life
            self._world.schedule.after(wait_ms, lambda: self._turn(life, at_ms))

    def _turn(self, life: int, at_ms: int) -> None:
        world = self._world
        if life != self.life or not self.is_up or self._turn_planned_ms != at_ms:
            return
        self._turn_planned_ms = None
        batch = self._inbox[:BATCH_MAX]
        if world.store_fails():
            at_statement = world.randomness.randint(1, STATEMENTS_MAX)
            self.file.fail_once(world.randomness.choice((at_statement, AT_COMMIT)))
        world.checks.engine_is_given(batch)
        try:
            outgoing = self.engine.turn(
                batch, now_ms=self.clock_ms, is_busy=len(self._inbox) > len(batch)
            )
        except OperationalError:
            world.note(NAME, "database failed")
            self._plan_turn(50)
            return
        finally:
            self.file.never_fail()
        world.note(NAME, "turn", len(batch), "->", len(outgoing))
        world.checks.engine_turned()
        leaving = outgoing
        is_crashing = world.crashes(NAME)
        if is_crashing:
            leaving = outgoing[: world.randomness.randint(0, len(outgoing))]
        else:
            self._inbox = self._inbox[len(batch) :]
            world.broker.acknowledge(NAME, batch)
        for one in leaving:
            world.checks.engine_publishes(one.topic, one.payload)
            world.broker.publish(NAME, one.topic, one.payload)
            world.faults.sees(one.topic)
        if is_crashing:
            self.crash()
            return
        self._plan_next(is_idle=not outgoing)

    def _plan_next(self, *, is_idle: bool) -> None:
        if self._inbox:
            self._plan_turn(0)
            return
        assert self.reader is not None
        due_ms = self.reader.execute(_NEXT_DUE).fetchone()[0]
        # What is due and cannot be done yet (an agent that is away) is looked at less and less.
        self._idle_ms = min(2 * self._idle_ms, _IDLE_TICK_MS) if is_idle else SWEEP_EVERY_MS
        wait_ms = _IDLE_TICK_MS if due_ms is None else due_ms - self.clock_ms
        self._plan_turn(max(self._idle_ms, min(wait_ms, _IDLE_TICK_MS)))

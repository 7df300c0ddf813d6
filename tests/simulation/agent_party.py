"""One agent in the simulated world: the real agent over a real journal, on a clock of its own.

It does what `edge_agent.host` does around the agent. An operation asks a meter through a line that
takes its time; what was asked before a crash still reaches the meter after it.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.agent import Agent
from edge_agent.journal import Journal
from edge_agent.relay import AskToAct, Leave, Pause, RelayJob, operate
from edge_agent.roster import Roster, RosterMeter
from edge_agent.settings import AgentSettings, Effects
from tests.simulation.broker import Delivery
from tests.simulation.files import folder, journal_image
from tests.simulation.installation import DAY_MS, ROOT_ENVELOPE, ROOT_PIN, key
from tests.simulation.meter_line import MeterLine
from tests.simulation.one_failure import fail_once
from tests.simulation.plan import METERS
from wire.fields import AgentId, MeterId

if TYPE_CHECKING:
    from tests.simulation.world import World

_LEAST_WAIT_MS = 5


class AgentParty:
    """One agent process after another, over one journal file."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.path = folder() / f"{name}.sqlite"
        self.remove_files(self.path)
        shutil.copyfile(journal_image(), self.path)
        self.line = MeterLine(world, self)
        self._settings = AgentSettings(
            agent=AgentId(name),
            signing_key=key(name),
            first_root=ROOT_ENVELOPE,
            pin=ROOT_PIN,
            is_production=False,
            window=world.randomness.choice((1, 4, 32)),
        )
        self._roster = self._next_roster = _roster(1, METERS[name])
        self._booted_at_ms = world.now_ms - world.randomness.randint(0, 10**8)
        self.life = 0
        self.is_up = False
        self._inbox: list[Delivery] = []
        self._is_receiving = False
        self._due_token = 0
        self.start()

    # The process

    def start(self) -> None:
        """A new process over the same file."""
        self.life += 1
        self.is_up = True
        journal = Journal.open(self.path, AgentId(self.name), self._world.randomness.randbytes)
        if self._world.plan.has_thief and self.life == 1:
            # Old enough that no cap of a new journal hides what a thief's open would do.
            with journal.transaction(2 * DAY_MS):
                pass
        self.agent = Agent(
            settings=self._settings,
            journal=journal,
            roster=self._roster,
            elapsed_ms=self.elapsed_ms,
            new_id=self._world.randomness.randbytes,
        )
        self._world.note(self.name, "started", journal.standing.journal_id, journal.standing.boot)
        self._world.edge.agent_started(self)
        self._plan_due()

    def stop(self) -> None:
        """The process is gone with its memory; the file is as it is."""
        self.is_up = False
        self.life += 1
        self._inbox = []
        self._world.edge.agent_stopped(self)
        self.agent.journal.close()

    def crash(self, why: str = "crashed") -> None:
        """Gone, and back after a while; sometimes the whole machine boots again."""
        self._world.note(self.name, why)
        self.stop()
        if self._world.randomness.random() < 0.2:
            self._booted_at_ms = self._world.now_ms - self._world.randomness.randint(0, 60_000)
        self._world.down(self.name, self.start)

    def lose_journal(self) -> None:
        """The disk is gone."""
        self.crash("loses its journal")
        self.remove_files(self.path)

    def copy_journal(self) -> Path:
        """A copy of the disk as it is now."""
        target = folder() / f"{self.name}.copy.sqlite"
        self.remove_files(target)
        source, copy = sqlite3.connect(self.path), sqlite3.connect(target)
        source.backup(copy)
        source.close()
        copy.close()
        return target

    def roll_back(self, copy: Path) -> None:
        """Somebody puts an older copy of the disk in."""
        self._world.edge.rolled_back(self.agent.journal.standing.journal_id)
        self.crash("is rolled back")
        self.remove_files(self.path)
        shutil.copyfile(copy, self.path)

    @property
    def roster_version(self) -> int:
        """Of the roster it works by."""
        return self._roster.version

    def next_roster(self, meters: Iterable[str]) -> int:
        """Make a newer roster ready, with these meters; its version."""
        self._next_roster = _roster(self._next_roster.version + 1, meters)
        return self._next_roster.version

    def take_roster(self) -> None:
        """The newest roster is put in place; an agent reads it when it starts."""
        if self._roster is not self._next_roster:
            self._roster = self._next_roster
            if self.is_up:
                self.crash("starts again with a new roster")

    @staticmethod
    def remove_files(path: Path) -> None:
        """Remove a journal with all that lies beside it."""
        for one in path.parent.glob(path.name + "*"):
            one.unlink()

    def elapsed_ms(self) -> int:
        """This machine's CLOCK_BOOTTIME, with its own idea of a second."""
        since = self._world.now_ms - self._booted_at_ms
        return since + since * self._world.plan.drift_ppm[self.name] // 1_000_000

    # The link

    def connected(self) -> None:
        """Say hello."""
        if self.is_up:
            self.call("connected", self.agent.connected)

    def deliver(self, delivery: Delivery) -> None:
        """Something arrived; it is handled with whatever comes in the next milliseconds."""
        if not self.is_up:
            return
        self._inbox.append(delivery)
        if len(self._inbox) == 1:
            life = self.life
            wait_ms = self._world.randomness.randint(0, 8)
            self._world.schedule.after(wait_ms, lambda: self._receive(life))

    def _receive(self, life: int) -> None:
        if life != self.life or not self._inbox:
            return
        batch, self._inbox = self._inbox, []
        self._world.edge.agent_is_given(self, batch)

        def take() -> Effects:
            return self.agent.receive(batch)

        if self.call("receive", take):
            self._world.broker.acknowledge(self.name, batch)

    # Calls

    def call(self, name: str, act: Callable[[], Effects]) -> Effects | None:
        """One call of the agent, perhaps its last: what it did, or None if the process died."""
        world = self._world
        connection = self.agent.journal._connection
        if world.store_fails():
            fail_once(connection, world.randomness)
        try:
            effects = act()
        except sqlite3.OperationalError:
            # As on a concentrator: an error of the journal ends the process.
            self.crash("journal failed")
            return None
        if self.agent.journal._connection is connection:
            connection.set_progress_handler(None, 0)
        world.edge.agent_wrote(self)
        if world.crashes(self.name):
            leaving = effects.outgoing[: world.randomness.randint(0, len(effects.outgoing))]
            self._publish(leaving)
            self.crash(f"crashed after {name}")
            return None
        self._publish(effects.outgoing)
        for job in effects.jobs:
            self._begin(job)
        if effects.move_broker:
            world.reconnect(self.name)
        if self.is_up:
            self._plan_due()
        return effects

    def _publish(self, outgoing: tuple) -> None:
        for one in outgoing:
            self._world.edge.agent_publishes(self, one.topic, one.payload)
            self._world.broker.publish(self.name, one.topic, one.payload)

    def _plan_due(self) -> None:
        self._due_token += 1
        token, life = self._due_token, self.life
        wait_ms = self.agent.next_due_ms() - self.elapsed_ms()

        def due() -> None:
            if token == self._due_token and life == self.life:
                self.call("due", self.agent.due)

        self._world.schedule.after(max(_LEAST_WAIT_MS, wait_ms), due)

    # Operations

    def _begin(self, job: RelayJob) -> None:
        life = self.life
        steps = operate(job, self.elapsed_ms)

        def advance(answer: object) -> None:
            if life != self.life:
                return
            try:
                request = steps.send(answer)  # type: ignore[arg-type]
            except StopIteration as stop:
                result = stop.value
                self.call("finish", lambda: self.agent.finish([result]))
                return
            if isinstance(request, AskToAct):
                effects = self.call("begin", lambda: self.agent.begin([request]))
                if effects is not None:
                    advance(Leave(request.command_id in effects.may_act))
            elif isinstance(request, Pause):
                self._world.schedule.after(request.wait_ms, lambda: advance(None))
            else:
                self.line.ask(job, request, advance)

        advance(None)


def _roster(version: int, meters: Iterable[str]) -> Roster:
    return Roster(
        version=version, meters={MeterId(meter): RosterMeter(serial="S") for meter in meters}
    )

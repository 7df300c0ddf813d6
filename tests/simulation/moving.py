"""Meters that go to another agent: the import, and rosters that reach both agents when they may.

Rules kept here: the ledger learns of a move by what an import calls; each agent works by its old
roster until its new one is put in place, which restarts it. Both agents can reach the meter all the
while, which is worse than any street: only the rules keep them apart (R16, I7).
"""

from typing import TYPE_CHECKING

from sqlalchemy import update

from cloud import moves
from cloud.schema import meters
from tests.simulation.plan import AGENT_OF, AGENTS
from tests.simulation.schedule import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

_ROSTER_WAIT_MAX_MS = 600_000


class Moving:
    """Who has which meter, by the newest import."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._agent_of = dict(AGENT_OF)
        # By meter, the agents it left, each with its first roster without the meter.
        self._left: dict[str, list[tuple[str, int]]] = {}

    def move(self) -> None:
        """Import one meter behind another agent; both rosters follow, each in its own time."""
        world = self._world
        if not world.engine.is_up:
            world.schedule.after(10_000, self.move)
            return
        # Best one that is dark: a close is on its way, or will be.
        meter = world.randomness.choice(world.cuts).meter
        old = self._agent_of[meter]
        new = world.randomness.choice([one for one in AGENTS if one != old])
        self._agent_of[meter] = new
        world.note("people", "move", meter, old, "to", new)
        without = world.agents[old].next_roster(self.meters_of(old))
        world.agents[new].next_roster(self.meters_of(new))
        self._left.setdefault(meter, []).append((old, without))
        move = moves.Move(
            meter_id=meter, from_agent_id=old, to_agent_id=new, without_from_version=without
        )
        with world.engine.file.store.begin() as transaction:
            moves.begin(transaction, [move], now_ms=world.now_ms)
            where = meters.c.meter_id == meter
            transaction.execute(update(meters).where(where).values(agent_id=new))
        world.engine.wake()
        for agent in (old, new):
            wait_ms = int(_ROSTER_WAIT_MAX_MS * world.randomness.random() ** 2)
            world.schedule.after(wait_ms, world.agents[agent].take_roster)

    def commands_go_to(self, agent: str, meter: str) -> None:
        """I7: nothing is signed for the new agent while the old one still works by its old roster.

        Asked of meters that moved once: one that moves on, or back, was perhaps never the agent's
        between.
        """
        left = self._left.get(meter, [])
        if len(left) != 1 or left[0][0] == agent:
            return
        old, without = left[0]
        version = self._world.agents[old].roster_version
        if version < without:
            raise Violation(f"I7: {meter} is commanded via {agent}; {old} has roster {version}")

    def meters_of(self, agent: str) -> list[str]:
        """An agent's meters by the newest import."""
        return [meter for meter, one in self._agent_of.items() if one == agent]

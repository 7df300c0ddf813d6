"""The line from an agent to its meters: what is asked arrives half way, the answer comes later.

It is the synchronous twin of `meter_sim.door`: the same times, the same lost and late answers, with
a record of who asked a relay to move, so that every true movement has a cause.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.relay import MeterRefused, MoveRelay, NoAnswer, ReadRelay, RelayJob
from meter_sim.door import ANSWER_TIMEOUT_MS
from meter_sim.meters import MeterPopulation
from wire.messages import RelayReading
from wire.vocabulary import Action

if TYPE_CHECKING:
    from tests.simulation.agent_party import AgentParty
    from tests.simulation.world import World

CREW = b"a crew"


@dataclass(frozen=True, slots=True)
class Cause:
    """Somebody asked a relay to move, and it obeyed."""

    at_ms: int
    who: bytes  # a command id, or CREW
    is_close: bool


@dataclass(slots=True)
class Movements:
    """What made each true contact move."""

    population: MeterPopulation
    causes: dict[str, list[Cause]] = field(default_factory=dict)

    def ask(self, meter: str, who: bytes, at_ms: int, *, is_close: bool) -> None:
        """Ask a relay to move; raises what the meter answers."""
        act = self.population.close if is_close else self.population.open
        self.population.advance(at_ms)
        before = self._state(meter)
        try:
            act(meter, at_ms)
        finally:
            if self._state(meter) != before:
                self.causes.setdefault(meter, []).append(Cause(at_ms, who, is_close))

    def is_closed(self, meter: str, at_ms: int) -> bool:
        """Where the true contact is."""
        self.population.advance(at_ms)
        return self.population._meters[meter].relay.contact_is_closed

    def is_armed(self, meter: str) -> bool:
        """Whether the relay waits for its button."""
        return int(self._state(meter)) == 2

    def _state(self, meter: str) -> int:
        return self.population._meters[meter].relay.control_state


class MeterLine:
    """One agent's way to the population."""

    def __init__(self, world: "World", party: "AgentParty") -> None:
        self._world = world
        self._party = party

    def ask(
        self, job: RelayJob, request: ReadRelay | MoveRelay, answer: Callable[[object], None]
    ) -> None:
        """Ask a meter; `answer` is called when its answer, or none, is there."""
        world = self._world
        if isinstance(request, MoveRelay):
            world.edge.moves(self._party, job, request.action)
        life = self._party.life
        answer_ms = world.population.answer_ms(job.meter, world.now_ms)
        there_ms = min(answer_ms // 2, ANSWER_TIMEOUT_MS)

        def arrive() -> None:
            reply: object = NoAnswer()
            back_ms = ANSWER_TIMEOUT_MS - there_ms
            try:
                reply = self._act(job, request)
                if answer_ms <= ANSWER_TIMEOUT_MS:
                    back_ms = answer_ms - there_ms
                else:
                    reply = NoAnswer()
            except TimeoutError:
                pass
            except PermissionError as refusal:
                reply, back_ms = MeterRefused(str(refusal)), 0
            truth = world.movements.is_closed(job.meter, world.now_ms)

            def answered() -> None:
                if life != self._party.life:
                    return  # nobody waits for it any more
                if isinstance(reply, RelayReading):
                    world.edge.has_read(job, reply, contact_is_closed=truth)
                answer(reply)

            world.schedule.after(back_ms, answered)

        # What was asked reaches the meter, whatever becomes of who asked.
        world.schedule.after(there_ms, arrive)
        if isinstance(request, MoveRelay) and world.crashes(self._party.name):
            self._party.crash("crashed in the ACTION")

    def _act(self, job: RelayJob, request: ReadRelay | MoveRelay) -> RelayReading | None:
        world = self._world
        if isinstance(request, ReadRelay):
            output, state, mode = world.population.read(job.meter, world.now_ms)
            return RelayReading(output=output, control_state=state, control_mode=mode)
        world.note(self._party.name, "moves", job.meter, request.action.value, job.command_id)
        is_close = request.action is Action.CLOSE
        world.movements.ask(job.meter, job.command_id, world.now_ms, is_close=is_close)
        return None

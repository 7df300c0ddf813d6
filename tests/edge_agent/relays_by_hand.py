"""Operations carried out synchronously over simulated meters: the rim of the agent in tests."""

from collections.abc import Iterable

from edge_agent.agent import Agent
from edge_agent.relay import (
    Answer,
    AskToAct,
    Leave,
    MeterRefused,
    MoveRelay,
    NoAnswer,
    Pause,
    RelayJob,
    RelayResult,
    Request,
    Steps,
    operate,
)
from edge_agent.settings import Effects
from meter_sim.meters import MeterPopulation
from wire.fields import MeterId
from wire.messages import Item, RelayReading
from wire.vocabulary import Action


class Relays:
    """What a world needs to run the operations its agent asks for."""

    agent: Agent
    relays: MeterPopulation
    elapsed_ms: int

    def keep(self, effects: Effects) -> Effects:
        raise NotImplementedError

    def told(self) -> list[Item]:
        raise NotImplementedError

    def run(self, jobs: Iterable[RelayJob]) -> list[Item]:
        """Carry out operations, and those that follow from them; the items the engine has then."""
        waiting = list(jobs)
        while waiting:
            effects = self.act_together(waiting)
            waiting = list(effects.jobs)
        return self.told()

    def act_together(self, jobs: list[RelayJob]) -> Effects:
        """A batch: all that ask are begun together, all that end are finished together."""
        following: list[RelayJob] = []
        under_way = [(operate(job, lambda: self.elapsed_ms), job) for job in jobs]
        asking: list[tuple[Steps, RelayJob, AskToAct]] = []
        results: list[RelayResult] = []
        for steps, job in under_way:
            stopped = self.until_asks(steps, job.meter, None)
            if isinstance(stopped, RelayResult):
                results.append(stopped)
            else:
                asking.append((steps, job, stopped))
        if asking:
            begun = self.keep(self.agent.begin([ask for _, _, ask in asking]))
            following += begun.jobs
            for steps, job, ask in asking:
                leave = Leave(ask.command_id in begun.may_act)
                stopped = self.until_asks(steps, job.meter, leave)
                assert isinstance(stopped, RelayResult)
                results.append(stopped)
        effects = self.keep(self.agent.finish(results))
        return Effects(outgoing=effects.outgoing, jobs=(*following, *effects.jobs))

    def until_asks(self, steps: Steps, meter: MeterId, answer: Answer) -> AskToAct | RelayResult:
        try:
            while True:
                request = steps.send(answer)
                if isinstance(request, AskToAct):
                    return request
                answer = self.fulfil(meter, request)
        except StopIteration as stop:
            result = stop.value
            assert isinstance(result, RelayResult)
            return result

    def fulfil(self, meter: MeterId, request: Request) -> Answer:
        if isinstance(request, Pause):
            self.elapsed_ms += request.wait_ms
            return None
        try:
            if not isinstance(request, MoveRelay):
                output, state, mode = self.relays.read(meter, self.elapsed_ms)
                return RelayReading(output=output, control_state=state, control_mode=mode)
            move = self.relays.close if request.action is Action.CLOSE else self.relays.open
            move(meter, self.elapsed_ms)
        except TimeoutError:
            return NoAnswer()
        except PermissionError as refusal:
            return MeterRefused(str(refusal))
        return None

"""The installation of `tests/walk`, its processes under the launcher, its meters lasting."""

import subprocess
import sys
import time
from collections.abc import Callable, Collection
from functools import partial

from cloud.cli.installation import write_simulated_agent
from tests.reliability.points import Point
from tests.reliability.stages import Files
from tests.reliability.steering import Steering
from tests.walk.installation import AgentPlan, Walk, program
from tests.walk.provider import Consumer

FLEET = "fleet"
DEATH_WITHIN_S = 20.0  # after the last payment; the longest honest wait is a re-send after 10 s
KILLED = -9
HURRY_AFTER_S = 1.0
HURRY_STEP_MS = 5_000
HURRY_EVERY_S = 0.25
LOOK_S = 0.05
# A line slow enough that other commands are unfinished whenever something dies.
SLOW_LINE = AgentPlan(meters=0, latency_ms=(30, 80), actuation_ms=250)


class Mortals(Walk):
    """Processes that die where they are told to, and restart with their clocks where they were."""

    steering: Steering
    files: Files

    def build(self) -> None:
        self.folder.mkdir(parents=True)
        self.steering = Steering(self.folder / "steering")
        self.files = Files(self.folder, self.plan)
        super().build()

    def command(self, name: str) -> list[str]:
        if name == "broker":
            return super().command(name)
        part = "agent" if name in self.plan else name
        page = str(self.folder / "steering")
        launcher = [sys.executable, "-m", "tests.reliability.crashing", page, part, "--"]
        return [*launcher, *self.plain_command(name)]

    def plain_command(self, name: str) -> list[str]:
        """The command as it is installed."""
        return super().command(name)

    def write_agent(self, agent: str, *, closed: Collection[str] = ()) -> None:
        assert not closed, "the meters' own log says which contacts are closed"
        plan = self.plan[agent]
        options = {
            "meters": self.meters[agent],
            "actuation_ms": plan.actuation_ms,
            "latency_ms": list(plan.latency_ms),
            "movements": str(self.files.movements[agent]),
        }
        path = write_simulated_agent(self.folder, agent, options)
        text = path.read_text(encoding="utf-8")
        ours, theirs = "tests.reliability.lasting_meters", "meter_sim.door"
        path.write_text(text.replace(f'"{theirs}:', f'"{ours}:'), encoding="utf-8")

    def victim(self, point: Point) -> str:
        """The process that reaches a point."""
        return next(iter(self.plan)) if point.part == "agent" else point.part

    def wait_for_death(self, point: Point) -> None:
        """Until the process died by its own SIGKILL at the point it was told to die at."""
        name = self.victim(point)
        process = self.processes[name]
        try:
            status = process.wait(DEATH_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{point.name}: {name} never reached {point.place}") from None
        del self.processes[name]
        told = self.log(name)[-2_000:]
        assert status == KILLED, f"{point.name}: {name} ended with {status}: {told}"
        assert self.steering.died == (point.name, process.pid), "it died, but not at the point"
        self.steering.disarm()

    def until_rest(
        self, unrest: Callable[[], list[str]], within_s: float, *, is_hurried: bool
    ) -> None:
        """Until nothing is under way; hurried, pauses of the product are passed over in steps.

        Re-sends, the retry ladder, a relay that is given time to settle: all clocks run ahead.
        """
        give_up_s = time.monotonic() + within_s
        step_at_s = time.monotonic() + HURRY_AFTER_S
        while left := unrest():
            assert time.monotonic() < give_up_s, f"no rest within {within_s:.0f} s: {left}"
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)[-2_000:]}"
            if is_hurried and time.monotonic() > step_at_s:
                self.steering.jump(HURRY_STEP_MS)
                step_at_s += HURRY_EVERY_S
            time.sleep(LOOK_S)


class MortalFleet(Mortals):
    """All agents in one process, as `relight-sim fleet` hosts them."""

    def plain_command(self, name: str) -> list[str]:
        if name == FLEET:
            return [program("relight-sim"), "fleet", str(self.folder / "agents")]
        return super().plain_command(name)

    def start(self, *names: str) -> None:
        super().start(*(one for one in names if one != FLEET))
        if FLEET not in names:
            return
        with (self.folder / "logs" / f"{FLEET}.log").open("ab") as log:
            self.processes[FLEET] = subprocess.Popen(
                self.command(FLEET), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for agent in self.plan:
            self.until(f"connection of {agent}", partial(self._is_connected_again, agent, 0))

    def start_all(self) -> None:
        parts = ("broker", "engine", "intake", FLEET)
        self.start(*(one for one in parts if one not in self.processes))


def taken(walk: Walk, agents: Collection[str], count: int) -> list[Consumer]:
    """Consumers nobody has paid for, of these agents in turns."""
    listed = list(agents)
    return [walk.take(listed[at % len(listed)], 1)[0] for at in range(count)]

"""Faults that come from outside the parties: partitions, lost disks, restores, clocks, thieves."""

from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.installation import EPOCH, INSTALLATION, key
from tests.simulation.plan import AGENTS, ALL_METERS, METERS, PARTIES
from wire.decoding import encode
from wire.envelope import seal
from wire.fields import AgentId, MeterId
from wire.messages import Command
from wire.topics import command_topic

if TYPE_CHECKING:
    from tests.simulation.world import World

_PARTITION_MAX_MS = 600_000
_THEFT_EVERY_MS = 150_000
_STEP_EVERY_MS = 300_000
_INTAKE_STEPS = 0.3  # the others are the engine's clock


class Faults:
    """Plans the faults of one world's safety phase."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._copies: dict[str, Path] = {}
        plan = world.plan
        self._each(plan.replay_every_ms, world.broker.replay)
        self._each(plan.part_every_ms, self._part)
        self._each(_THEFT_EVERY_MS if plan.has_thief else 0, self._steal)
        self._each(_STEP_EVERY_MS if plan.clock_step_ms else 0, self._step_clock)
        self._each(120_000 if plan.cuts_again else 0, self._cut_again)
        self._each(240_000, self._forge_report)
        self._each(plan.lock_every_ms, world.people.place)
        for _ in range(plan.loses_journals):
            self._once(self._lose_journal)
        for _ in range(plan.rolls_journals_back):
            self._once(self._copy_journal)
        for _ in range(plan.moves):
            self._once(world.moving.move)
        if plan.restores:
            self._once(self._back_up)

    def _is_over(self) -> bool:
        return self._world.is_healed

    def _each(self, every_ms: int, act) -> None:
        if not every_ms:
            return
        wait_ms = int(2 * every_ms * self._world.randomness.random())

        def happen() -> None:
            if not self._is_over():
                act()
                self._each(every_ms, act)

        self._world.schedule.after(wait_ms, happen)

    def _once(self, act) -> None:
        wait_ms = int(self._world.plan.safety_ms * self._world.randomness.uniform(0.05, 0.8))
        self._world.schedule.after(wait_ms, act)

    # Network

    def _part(self) -> None:
        world = self._world
        name = world.randomness.choice(PARTIES)
        world.note("broker", "parts", name)
        world.reconnect(name, int(_PARTITION_MAX_MS * world.randomness.random() ** 3))

    def came_back(self, party: str) -> None:
        """A process is there again: the best moment for old welcomes and old commands."""
        world = self._world
        if world.is_healed or not world.plan.replay_every_ms or party not in AGENTS:
            return
        for start in (f"welcome/{party}", f"command/{party}"):
            if world.randomness.random() < 0.5:
                world.broker.replay(start, party)
        # And once more when it was welcomed: now it would act, had it nothing but its memory.
        for _ in range(3):
            wait_ms = int(60_000 * world.randomness.random() ** 2)
            world.schedule.after(wait_ms, lambda: self._replay_commands(party))

    def _replay_commands(self, party: str) -> None:
        if not self._is_over():
            self._world.broker.replay(f"command/{party}", party)

    # Disks and clocks

    def _lose_journal(self) -> None:
        party = self._world.agents[self._world.randomness.choice(AGENTS)]
        if party.is_up:
            party.lose_journal()

    def _copy_journal(self) -> None:
        world = self._world
        name = world.randomness.choice(AGENTS)
        if not world.agents[name].is_up:
            return
        world.note(name, "journal copied")
        self._copies[name] = world.agents[name].copy_journal()
        wait_ms = int(600_000 * world.randomness.random() ** 2)
        world.schedule.after(wait_ms, lambda: self._roll_back(name))

    def _roll_back(self, name: str) -> None:
        party = self._world.agents[name]
        if party.is_up and name in self._copies:
            party.roll_back(self._copies.pop(name))

    def _back_up(self) -> None:
        world = self._world
        if not world.engine.is_up:
            world.schedule.after(10_000, self._back_up)
            return
        world.note("engine", "is backed up")
        copy = world.engine.file.back_up()
        wait_ms = int(900_000 * world.randomness.random() ** 2)
        world.schedule.after(wait_ms, lambda: self._restore(copy))

    def _restore(self, copy: Path) -> None:
        """As an operator does it: stop the engine, put the copy in, raise the generation, start."""
        world = self._world
        if not world.engine.is_up:
            world.schedule.after(5_000, lambda: self._restore(copy))
            return
        world.note("engine", "is restored")
        world.engine.stop()
        world.engine.file.restore(copy, world.cuts, now_ms=world.engine.clock_ms)
        world.checks.restored()
        world.down("engine", world.engine.start)

    def _step_clock(self) -> None:
        world = self._world
        limit_ms = world.plan.clock_step_ms
        offset_ms = world.randomness.randint(-limit_ms, limit_ms)
        if world.randomness.random() < _INTAKE_STEPS:
            world.intake.clock_offset_ms = offset_ms
            world.note("intake", "clock is off by", offset_ms)
            return
        world.engine.clock_offset_ms = offset_ms
        world.checks.clock_stepped(offset_ms)
        world.note("engine", "clock is off by", offset_ms)

    # People

    def _cut_again(self) -> None:
        """A crew cuts a meter whose last episode ended and was paid without any doubt."""
        world = self._world
        ripe = [meter for meter in ALL_METERS if world.checks.may_be_cut_again(meter)]
        if ripe and world.engine.is_up:
            cut = world.cut(world.randomness.choice(ripe))
            # Perhaps at once: a clock set back behind the cut must not hide the payment.
            wait_ms = int(300_000 * world.randomness.random())
            world.schedule.after(wait_ms, lambda: world.provider.tell(cut))

    def sees(self, topic: str) -> None:
        """The thief listens too, and sometimes races a command to its meter."""
        world = self._world
        is_command = world.plan.has_thief and topic.startswith("command/")
        if is_command and not world.is_healed and world.randomness.random() < 0.2:
            _, agent, meter = topic.split("/")
            self._open(agent, meter)

    def _steal(self) -> None:
        agent = self._world.randomness.choice(AGENTS)
        self._open(agent, self._world.randomness.choice(METERS[agent]))

    def _open(self, agent: str, meter: str) -> None:
        """Whoever has the engine's key alone signs an open, or one with a stranger's as guard's."""
        world = self._world
        now_ms = world.engine.clock_ms
        body = encode(
            Command(
                action="open",
                agent=AgentId(agent),
                meter=MeterId(meter),
                epoch=EPOCH,
                sequence_ms=now_ms + world.randomness.randint(-2_000, 2_000),
                expires_at_ms=now_ms + 300_000,
                evidence=world.randomness.randbytes(32),
                manifest=None,
            )
        )
        keys = world.randomness.choice(
            ([key("engine")], [key("guard")], [key("engine"), key("stranger")])
        )
        payload = seal(INSTALLATION, "command", body, keys)
        topic = command_topic(AgentId(agent), MeterId(meter))
        world.note("thief", "opens", meter, len(keys))
        world.broker.inject(topic, payload)

    def _forge_report(self) -> None:
        """Somebody who saw one genuine report posts it under the event id of another, or forges."""
        world = self._world
        reports = world.provider.reports
        if not reports:
            return
        one = world.randomness.choice(reports)
        other = world.randomness.choice([it for it in reports if not it.stored] or reports)
        if one.stored:
            world.intake.post(one.source.name, one.raw, world.provider.sign(one), other.event_id)
        forged = one.raw.replace(b'"amount', b'"amounts')
        signature = world.provider.sign(one)
        status = world.intake.post(one.source.name, forged, signature, one.event_id)
        world.checks.forged(status)

"""The simulated world: every party, every fault, in one order of events.

A seed runs in two phases. *Safety*: everything that can go wrong goes wrong, and nothing that must
never happen may happen. *Liveness*: everything heals, and within hours every consumer who paid has
light. One `random.Random(seed)` decides everything; nothing reads a clock, a set's order or an id.
"""

from collections.abc import Callable
from random import Random

from meter_sim.meters import Latency, MeterPopulation, PopulationPlan
from meter_sim.relay_model import ControlMode, Mechanics
from tests.simulation.agent_party import AgentParty
from tests.simulation.broker import Broker, Delivery
from tests.simulation.checks_edge import EdgeChecks
from tests.simulation.checks_end import check_end, is_at_rest
from tests.simulation.checks_ledger import LedgerChecks
from tests.simulation.engine_party import EngineParty
from tests.simulation.faults import Faults
from tests.simulation.installation import INTAKE, START_MS
from tests.simulation.intake_party import IntakeParty
from tests.simulation.ledger_file import Cut, write_cut
from tests.simulation.meter_line import CREW, Movements
from tests.simulation.moving import Moving
from tests.simulation.people import People
from tests.simulation.plan import AGENTS, ALL_METERS, PARTIES, draw
from tests.simulation.provider import Provider
from tests.simulation.schedule import Schedule
from wire.fields import AgentId
from wire.topics import agent_subscriptions, engine_subscriptions, intake_subscriptions

LIVENESS_MS = (
    4 * 3_600_000
)  # the ladder's last rung is an hour; a lost answer costs 17 minutes more
DOWN_MAX_MS = 90_000
LEAST_EVENTS = 300  # in the safety phase: a seed of little bad luck goes on until it has so many
MORE_MS = 300_000


class World:
    """One seed's world."""

    def __init__(self, seed: int, show: Callable[[str], None] | None = None) -> None:
        self.randomness = Random(seed)
        self.plan = draw(seed, self.randomness)
        self.schedule = Schedule(START_MS, show)
        self.note = self.schedule.note
        self.is_healed = False
        self.next_look_ms = 0
        self.cuts: list[Cut] = []
        self.broker = Broker(self.schedule, self.randomness, self.plan)
        self.edge = EdgeChecks(self)
        self.checks = LedgerChecks(self)
        self._fit_meters()
        self.agents: dict[str, AgentParty] = {}
        self.engine = EngineParty(self)
        with self.engine.file.writing() as connection:
            for meter in sorted(self.initially_open):
                write_cut(connection, self._new_cut(meter, 3_600_000), self.now_ms)
        self._join()
        self.provider = Provider(
            self.schedule, self.randomness, self.intake.post, self.plan.provider_offset_ms
        )
        self._tell_stories()
        self.people = People(self)
        self.moving = Moving(self)
        self.faults = Faults(self)

    @property
    def now_ms(self) -> int:
        """True time."""
        return self.schedule.now_ms

    def is_as_sent(self, delivery: Delivery) -> bool:
        """Whether a delivery is what somebody published, on its own topic."""
        return (
            not delivery.is_retained and self.broker.origin.get(delivery.payload) == delivery.topic
        )

    def has_captured(self, source: str, payment_id: str, paise: int) -> bool:
        """Whether a provider's book has this payment, final and not for a person to look at."""
        return any(
            one.must_post and (one.source, one.payment_id, one.paise) == (source, payment_id, paise)
            for one in self.provider.book
        )

    def _fit_meters(self) -> None:
        plan = self.plan
        wanted = self.randomness.sample(ALL_METERS, self.randomness.randint(4, 9))
        self.initially_open = frozenset(wanted)
        self.population = MeterPopulation(
            ALL_METERS,
            PopulationPlan(
                seed=plan.seed,
                initially_open=self.initially_open,
                control_mode=ControlMode.CLOSE,
                modes=plan.modes,
                mechanics=Mechanics(actuation_ms=self.randomness.choice((0, 150))),
                latency=Latency(lowest_ms=plan.latency_ms[0], highest_ms=plan.latency_ms[1]),
                faults=plan.faults,
            ),
        )
        self.movements = Movements(self.population)

    def _join(self) -> None:
        self.broker.join("engine", self.engine, engine_subscriptions())
        for name in AGENTS:
            party = AgentParty(self, name)
            self.agents[name] = party
            self.broker.join(name, party, agent_subscriptions(AgentId(name)))
        self.intake = IntakeParty.__new__(IntakeParty)
        self.broker.join("intake", self.intake, intake_subscriptions(INTAKE))
        self.intake.__init__(self)  # its first tick asks the broker whether it is connected
        for name in PARTIES:
            self.broker.connect(name)

    def _tell_stories(self) -> None:
        for cut in self.cuts:
            if self.randomness.random() < 0.9:
                wait_ms = int(self.plan.safety_ms * 0.6 * self.randomness.random() ** 2)
                self.schedule.after(wait_ms, lambda cut=cut: self.provider.tell(cut))

    def cut(self, meter: str) -> Cut:
        """A crew opens a relay; the cut is imported."""
        self.movements.ask(meter, CREW, self.now_ms, is_close=False)
        cut = self._new_cut(meter, 0)
        with self.engine.file.writing() as connection:
            write_cut(connection, cut, self.now_ms)
        return cut

    def _new_cut(self, meter: str, ago_ms: int) -> Cut:
        cut = Cut(
            number=len(self.cuts) + 1,
            meter=meter,
            at_ms=self.now_ms - ago_ms,
            bill_paise=self.randomness.randint(10_000, 900_000),
            charges_paise=self.randomness.randint(5_000, 30_000),
        )
        self.cuts.append(cut)
        self.note("crew", "cuts", meter, cut.quote_paise)
        return cut

    # Chance

    def crashes(self, party: str) -> bool:
        """Whether the process dies here."""
        if self.is_healed or not self.plan.crashes[party]:
            return False
        return self.randomness.random() < self.plan.crashes[party]

    def store_fails(self) -> bool:
        """Whether this transaction's disk fails."""
        if self.is_healed or not self.plan.store_fails:
            return False
        return self.randomness.random() < self.plan.store_fails

    # What happens to parties

    def down(self, party: str, start: Callable[[], None]) -> None:
        """A process died: its connection breaks, and it comes back after a while."""
        self.broker.disconnect(party)
        wait_ms = int(DOWN_MAX_MS * self.randomness.random() ** 3)
        if party in self.agents and not self.is_healed and self.randomness.random() < 0.1:
            wait_ms = self.randomness.randint(600_000, 1_300_000)  # longer than a command lives

        def back() -> None:
            start()
            self.broker.connect(party)
            self.faults.came_back(party)

        self.schedule.after(wait_ms, back)

    def reconnect(self, party: str, wait_ms: int = 2_000) -> None:
        """The connection breaks and comes back."""
        self.broker.disconnect(party)

        def back() -> None:
            if self._is_up(party):
                self.broker.connect(party)

        self.schedule.after(wait_ms, back)

    def _is_up(self, party: str) -> bool:
        places = {"engine": self.engine, "intake": self.intake, **self.agents}
        return places[party].is_up

    # The run

    def run(self) -> str:
        """Both phases and the checks at the end; the digest of the history."""
        self.schedule.run(START_MS + self.plan.safety_ms)
        while self.schedule.events < LEAST_EVENTS:
            self.schedule.run(self.now_ms + MORE_MS)
        self.note("world", "heals")
        self.is_healed = self.broker.is_healed = True
        self.provider.is_healed = True
        for name in PARTIES:
            self.reconnect(name)
        self.schedule.run(self.now_ms + LIVENESS_MS, lambda: is_at_rest(self))
        check_end(self)
        return self.schedule.digest

    def close(self) -> None:
        """Close every file."""
        self.engine.stop()
        for party in self.agents.values():
            if party.is_up:
                party.stop()
        if self.intake.is_up:
            self.intake._read.close()
            self.intake.spool.close()

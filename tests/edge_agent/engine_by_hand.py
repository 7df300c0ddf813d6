"""A tiny engine, a broker that is a list, a clock that is a number: the agent's world in tests.

Everything is signed with test keys and verified as the real engine would, so that what these tests
say about bytes is true of bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.agent import Agent
from edge_agent.journal import Journal
from edge_agent.roster import Roster, RosterMeter
from edge_agent.settings import AgentSettings, Effects
from meter_sim.meters import MeterPopulation, PopulationPlan
from tests.edge_agent.installation_by_hand import (
    AGENT,
    AGENT_KEY,
    ANNA,
    BALA,
    DAY_MS,
    ENGINE,
    EPOCH,
    GUARD,
    INSTALLATION,
    NOON_MS,
    POLICY,
    STOPPER,
    Delivered,
    command_id,
    registry,
    root_document,
    root_pin,
    sealed,
    trust_message,
)
from tests.edge_agent.relays_by_hand import Relays
from wire.chain import first_head, next_head
from wire.checking import Checked, check
from wire.decoding import decode_item, encode
from wire.documents import (
    EdgePolicy,
    Resume,
    Stop,
)
from wire.fields import JournalId, MeterId
from wire.keys import SigningKey
from wire.messages import (
    Acknowledgement,
    Command,
    CommandItem,
    Filed,
    Hello,
    Item,
    Welcome,
)
from wire.topics import MessageType, command_topic, directed_topic
from wire.trust import Key, Keyring
from wire.vocabulary import TWO_KEY_ACTIONS, JournalVerdict, Role


class Ids:
    """Ids that count: the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(size, "big")


@dataclass
class World(Relays):
    """One agent, its meters, and the engine it speaks to."""

    path: Path | None = None
    meters: tuple[str, ...] = ("M-1", "M-2", "M-3")
    plan: PopulationPlan = field(
        default_factory=lambda: PopulationPlan(initially_open=frozenset({"M-1", "M-2"}))
    )
    protected: frozenset[str] = frozenset()
    window: int = 32
    policy: EdgePolicy = POLICY
    is_production: bool = True
    elapsed_ms: int = 5_000_000
    generation_ms: int = 1_000

    def __post_init__(self) -> None:
        self.spoken_at_ms = NOON_MS  # the true time when elapsed was `begun_ms`
        self.begun_ms = self.elapsed_ms
        self.relays = MeterPopulation(self.meters, self.plan)
        self.ids = Ids()
        self.items: dict[int, Item] = {}
        self.raw: dict[int, bytes] = {}
        self.sent: list[tuple[str, bytes]] = []
        self.hellos: list[Hello] = []
        self.last_sequence_ms = 0
        self.registry = registry(policy=self.policy)
        self.weeks = 0
        self.journal = Journal.open(self.path, AGENT, self.ids)
        self.agent = self.booted()

    # The agent's side

    @property
    def now_ms(self) -> int:
        return self.spoken_at_ms + self.elapsed_ms - self.begun_ms

    def booted(self) -> Agent:
        settings = AgentSettings(
            agent=AGENT,
            signing_key=AGENT_KEY,
            first_root=root_document(),
            pin=root_pin(),
            is_production=self.is_production,
            window=self.window,
        )
        roster = Roster(
            version=7,
            meters={
                MeterId(meter): RosterMeter(serial="S", is_protected=meter in self.protected)
                for meter in self.meters
            },
        )
        return Agent(
            settings=settings,
            journal=self.journal,
            roster=roster,
            elapsed_ms=lambda: self.elapsed_ms,
            new_id=self.ids,
        )

    def crash(self) -> None:
        """The process dies; only what is committed is found again."""
        self.elapsed_ms += 1_000
        if self.path is not None:
            self.agent.journal.close()
            self.journal = Journal.open(self.path, AGENT, self.ids)
        else:
            self.journal = self.agent.journal
            self.journal._load()
        self.agent = self.booted()

    def keep(self, effects: Effects) -> Effects:
        """The broker has it; the engine reads along."""
        for message in effects.outgoing:
            self.sent.append((message.topic, message.payload))
            self._read(message.topic, message.payload)
        return effects

    def _read(self, topic: str, payload: bytes) -> None:
        key_of_agent = Key(
            key_id=AGENT_KEY.key_id,
            public=AGENT_KEY.public,
            role=Role.AGENT,
            subject=AGENT,
            not_after_ms=2**47,
        )
        ring = Keyring(
            installation=INSTALLATION, epoch_floor=0, keys={AGENT_KEY.key_id: key_of_agent}
        )
        checked = check(Delivered(topic, payload), ring, at_ms=self.now_ms)
        assert isinstance(checked, Checked), checked
        if isinstance(checked.message, Hello):
            self.hellos.append(checked.message)
        if isinstance(checked.message, Acknowledgement):
            self._file(checked.message)

    def _file(self, acknowledgement: Acknowledgement) -> None:
        for raw in map(bytes, acknowledgement.items):
            item = decode_item(raw)
            key_of_item = item.number
            assert self.raw.setdefault(key_of_item, raw) == raw, "I3: an item never changes"
            self.items[item.number] = item

    def receive(self, *deliveries: Delivered) -> Effects:
        return self.keep(self.agent.receive(deliveries))

    def connect(self) -> Hello:
        self.keep(self.agent.connected())
        return self.hellos[-1]

    def greet(self, **welcome: object) -> Effects:
        """Connect, and be welcomed at once."""
        hello = self.connect()
        return self.receive(trust_message(self.registry), self.welcome(hello, **welcome))

    def pass_time(self, wait_ms: int) -> Effects:
        self.elapsed_ms += wait_ms
        return self.keep(self.agent.due())

    # The engine's side

    def welcome(self, hello: Hello, *, signer: SigningKey = ENGINE, **changes: object) -> Delivered:
        values: dict[str, object] = {
            "agent": AGENT,
            "nonce": hello.nonce,
            "generation_ms": self.generation_ms,
            "now_ms": self.now_ms,
            "floor_epoch": EPOCH,
            "floor_sequence": 0,
            "verdict": JournalVerdict.KNOWN,
            "trust_version": self.registry.registry_version,
            "stop_ms": 0,
            "lifted_ms": 0,
            "through": 0,
            "head": bytes(32),
        }
        body = encode(Welcome(**{**values, **changes}))  # type: ignore[arg-type]
        topic = directed_topic(MessageType.WELCOME, AGENT)
        return sealed(MessageType.WELCOME, body, signer, topic=topic)

    def body(self, action: str, meter: str = "M-1", **changes: object) -> Command:
        self.last_sequence_ms = max(self.last_sequence_ms + 1, self.now_ms)
        sequence_ms = changes.pop("sequence_ms", self.last_sequence_ms)
        life_ms = changes.pop("life_ms", 300_000)
        values: dict[str, object] = {
            "action": action,
            "agent": AGENT,
            "meter": meter,
            "epoch": EPOCH,
            "sequence_ms": sequence_ms,
            "expires_at_ms": sequence_ms + life_ms,  # type: ignore[operator]
            "evidence": bytes(32),
            "manifest": None,
        }
        return Command(**{**values, **changes})  # type: ignore[arg-type]

    def command(self, action: str, meter: str = "M-1", **changes: object) -> Delivered:
        signers = changes.pop(
            "signers", (ENGINE, GUARD) if action in TWO_KEY_ACTIONS else (ENGINE,)
        )
        return self.signed(self.body(action, meter, **changes), *signers)  # type: ignore[misc]

    def signed(self, body: Command, *signers: SigningKey) -> Delivered:
        topic = command_topic(body.agent, body.meter)
        return sealed(MessageType.COMMAND, encode(body), *signers, topic=topic)

    def filed(self, through: int, **changes: object) -> Delivered:
        journal = self.agent.journal
        values: dict[str, object] = {
            "agent": AGENT,
            "journal": journal.standing.journal_id,
            "generation_ms": self.generation_ms,
            "through": through,
            "head": changes["head"] if "head" in changes else self.head(through),
        }
        body = encode(Filed(**{**values, **changes}))  # type: ignore[arg-type]
        topic = directed_topic(MessageType.FILED, AGENT)
        return sealed(MessageType.FILED, body, ENGINE, topic=topic)

    def stop(self, number_ms: int) -> Delivered:
        body = encode(Stop(number_ms=number_ms, note="frozen"))
        return sealed(MessageType.STOP, body, STOPPER, topic="stop")

    def resume(self, lifts_ms: int) -> Delivered:
        body = encode(Resume(lifts_ms=lifts_ms, note="lifted"))
        return sealed(MessageType.RESUME, body, ANNA, BALA, topic=f"resume/{AGENT}")

    def head(self, through: int) -> bytes:
        """The engine's own computation of the chain, from what it was sent."""
        head = first_head(JournalId(self.agent.journal.standing.journal_id), AGENT)
        for number in range(1, through + 1):
            head = next_head(head, self.raw[number])
        return head

    # Tests' own words

    def do(self, *deliveries: Delivered) -> list[Item]:
        """Deliver, carry out, and tell what the engine was sent because of it."""
        before = len(self.items)
        self.run(self.receive(*deliveries).jobs)
        return self.told()[before:]

    def told(self) -> list[Item]:
        return [self.items[number] for number in sorted(self.items)]

    def outcome(self, delivered: Delivered) -> CommandItem:
        """Carry out one command and give its one final item."""
        return self.final_item(delivered, self.do(delivered))

    def final_item(self, delivered: Delivered, items: Iterable[Item] = ()) -> CommandItem:
        wanted = command_id(delivered)
        found = [
            item
            for item in (list(items) or self.told())
            if isinstance(item, CommandItem) and item.command == wanted
        ]
        assert len(found) == 1, found
        return found[0]

    def movements(self, meter: str = "M-1") -> int:
        self.relays.advance(self.elapsed_ms)
        return sum(name == meter for _, name, _ in self.relays.history)

    def is_closed(self, meter: str = "M-1") -> bool:
        return self.relays.read(meter, self.elapsed_ms)[0]

    def age(self, running_ms: int = DAY_MS + 1) -> None:
        """Let the agent run so long that opens are thinkable; then it is noon, a week later.

        A new boot follows, because to the old one that noon would contradict its clock.
        """
        self.elapsed_ms += running_ms
        self.keep(self.agent.due())
        self.weeks += 1
        self.begun_ms = self.elapsed_ms
        self.spoken_at_ms = NOON_MS + self.weeks * 7 * DAY_MS
        self.crash()
        self.greet()

    def age_and_reach(self) -> None:
        """As `age`, and every meter was read, so that the caps allow an open."""
        self.age()
        for meter in self.meters:
            self.do(self.command("read", meter))

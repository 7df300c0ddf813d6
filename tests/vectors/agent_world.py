"""A real agent over a real journal, standing where `states.agent` of the vectors says.

What earlier boots left behind is written by the journal's own writers; what this boot knows, it
learned from genuine trust and welcome messages. Relays answer at once.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_agent.agent import BOOT_STEP_BYTES, Agent
from edge_agent.command_rows import Step
from edge_agent.journal import Journal
from edge_agent.relay import Answer, MoveRelay, Request
from edge_agent.roster import Roster, RosterMeter
from edge_agent.settings import AgentSettings, Effects
from meter_sim.meters import MeterPopulation, PopulationPlan
from meter_sim.relay_model import ControlMode
from tests.edge_agent.relays_by_hand import Relays
from tests.wire import vectors
from tests.wire.bodies import MANIFEST, command, welcome
from tests.wire.junk_signers import replaced
from tests.wire.spelling import signed
from tests.wire.vectors import Message
from wire.checking import Checked, check
from wire.decoding import decode_body, decode_item, encode
from wire.envelope import digest, unpack
from wire.fields import AgentId, CommandId, JournalId, MeterId
from wire.messages import Acknowledgement, Command, CommandItem, Counter, Hello, Item
from wire.topics import command_topic
from wire.vocabulary import Outcome

State = dict[str, Any]
SETUP_NONCE = b"the set-up hello"
OTHER_IDENTITY = {"AG-INDORE-0418": "other-agent"}


def state_of(row: dict[str, Any], **given: Any) -> State:
    """The agent's state before a vector."""
    return {**vectors.states()["agent"], **row.get("given", {}), **given}


def trust_message() -> bytes:
    return bytes(next(one["body"] for one in vectors.bodies() if one["name"] == "trust"))


class AgentWorld(Relays):
    """One agent, its relays, and an engine that reads along."""

    def __init__(
        self,
        state: State,
        *,
        path: Path | None = None,
        open_relays: Iterable[str] = (),
        mode: ControlMode = ControlMode.CLOSE,
        trust: bytes | None = None,
        is_production: bool = False,
        first_root: bytes | None = None,
    ) -> None:
        self.state = state
        self.path = path
        self.is_production = is_production
        self.first_root = first_root or vectors.keys()["first_root"]
        self.elapsed_ms = 5_000_000
        self.begun_ms = self.elapsed_ms
        self.true_ms = state["latest_ms"] - state["welcome_age_ms"]
        self.moves = 0
        self.raw: dict[int, bytes] = {}
        self.items: dict[int, Item] = {}
        self.sent: list[str] = []
        self.told_now: list[int] = []  # item numbers of the newest step, as they were sent
        self.hellos: list[Hello] = []
        self.drawn = 0
        self.nonces = [*([SETUP_NONCE] if state["has_welcome"] else []), *state["nonces"]]
        meters = tuple(state["known_meters"])
        plan = PopulationPlan(initially_open=frozenset(open_relays), control_mode=mode)
        self.relays = MeterPopulation(meters, plan)
        self.journal = Journal.open(path, AgentId(state["agent"]), self.new_id)
        self._live_through()
        self.agent = self.booted()
        self._greet(trust_message() if trust is None else trust)

    @property
    def now_ms(self) -> int:
        return int(self.true_ms + self.elapsed_ms - self.begun_ms)

    def new_id(self, size: int) -> bytes:
        if size == 8:
            return bytes(self.state["journal"])
        if size == 16 and self.nonces:
            return self.nonces.pop(0)
        if size == BOOT_STEP_BYTES:
            return bytes(size)  # the smallest step: the boots of the vectors follow each other
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")

    # How it came here

    def _live_through(self) -> None:
        state, rows = self.state, self.journal.commands
        running_ms = state["running_ms"] - state["welcome_age_ms"]
        with self.journal.transaction(running_ms):
            self.journal.change(
                boot=state["boot"] - 1,
                generation_ms=state["generation_ms"],
                floor_epoch=state["floor"][0],
                floor_sequence_ms=state["floor"][1],
                stop_ms=state["stop_ms"],
                lifted_ms=state["lifted_ms"],
                disputed_until_ms=state["running_ms"] + 1 if state["is_time_disputed"] else 0,
            )
            for item in vectors.chain()["items"][: state["made"]]:
                self.journal.append(decode_item(item["item"]))
            reached = [*state["known_meters"], *(f"GONE-{one}" for one in range(state["reached"]))]
            for meter in reached[: state["reached"]]:
                rows.note_reached(MeterId(meter), running_ms)
            for number in range(max(state["agent_opens"], state["meter_opens"])):
                is_known = number < state["meter_opens"]
                self._opened_before(number, reached[0 if is_known else -1 - number], running_ms)
            for meter in state["guarded_meters"]:
                self.journal.rosters.guard(MeterId(meter))
            for one in state["manifests"]:
                self._held_before(one)
            if state["since_close_ms"] is not None:
                rows.note_closed(MeterId(reached[0]), running_ms - state["since_close_ms"])
            if state["highest"] is not None:
                epoch, sequence_ms = state["highest"]
                counter = Counter(epoch=epoch, sequence_ms=sequence_ms)
                rows.raise_highest(MeterId(reached[0]), counter)
            self.journal.mark_filed(state["filed_through"], running_ms)
        assert self.journal.head == state["head"] or not state["made"]

    def _held_before(self, told: dict[str, Any]) -> None:
        changes = {name: told[name] for name in ("expires_at_ms", "meters")}
        running_ms = self.state["running_ms"] - told["held_for_ms"]
        self.journal.manifests.write(
            told["manifest"], replaced(MANIFEST, **changes), None, running_ms
        )
        for place, meter in enumerate(told["used"]):
            self._opened_before(900 + place, meter, running_ms, told["manifest"])

    def _opened_before(
        self, number: int, meter: str, running_ms: int, manifest: bytes | None = None
    ) -> None:
        command_id = CommandId(number.to_bytes(16, "big"))
        at_ms = self.true_ms - 3_600_000
        told: dict[str, Any] = {"command": command_id, "meter": meter, "epoch": 0}
        nothing = dict.fromkeys(("reason", "before", "after", "acted_at_ms", "highest"))
        item = CommandItem(
            **told, **nothing, number=self.journal.made + 1, sequence_ms=number,
            outcome=Outcome.OPENED, received_at_ms=at_ms, read_at_ms=at_ms,
        )  # fmt: skip
        self.journal.append(item)
        of: dict[str, Any] = {"command_id": command_id, "meter": meter, "action": "open"}
        times = {"at_ms": at_ms, "expires_at_ms": at_ms}
        for step, more in (
            ("received", {"body": b"-"}),
            ("actuating", {"manifest": manifest}),
            ("outcome", {"item": item.number}),
        ):
            self.journal.commands.write(Step(step=step, **of, **times, **more), running_ms)

    def booted(self) -> Agent:
        state = self.state
        name = OTHER_IDENTITY.get(state["agent"], "agent")
        settings = AgentSettings(
            agent=AgentId(state["agent"]),
            signing_key=vectors.signing_key(name),
            first_root=self.first_root,
            pin=vectors.keys()["root_pin"],
            is_production=self.is_production,
            window=state["window"],
        )
        meters = {
            MeterId(one): RosterMeter(serial="S", is_protected=one in state["protected_meters"])
            for one in state["known_meters"]
        }
        return Agent(
            settings=settings,
            journal=self.journal,
            roster=Roster(version=state["roster_version"], meters=meters),
            elapsed_ms=lambda: self.elapsed_ms,
            new_id=self.new_id,
        )

    def _greet(self, trust: bytes) -> None:
        state = self.state
        if trust:
            self.deliver(Message("trust", trust))
        self.keep(self.agent.connected())
        if not state["has_welcome"]:
            return
        assert self.hellos[-1].nonce == SETUP_NONCE
        self.deliver(self.welcome())
        assert self.agent.is_welcomed
        self.elapsed_ms += state["welcome_age_ms"]
        self.keep(self.agent.connected())  # the hello whose nonce the vectors know
        for number in range(state["outstanding"]):
            self.receive(self._read(number))

    def welcome(self, nonce: bytes = SETUP_NONCE) -> Message:
        """The engine's answer to the hello with this nonce."""
        state = self.state
        body = welcome(
            agent=state["agent"],
            nonce=nonce,
            generation_ms=state["generation_ms"],
            now_ms=self.now_ms,
            floor_epoch=state["floor"][0],
            floor_sequence=state["floor"][1],
            trust_version=state["welcome_trust_version"],
            through=state["filed_through"],
            head=state["head"],
        )
        signer = "engine-epoch-4" if state["floor"][0] == 4 else "engine"
        return Message(f"welcome/{state['agent']}", signed("welcome", encode(body), signer))

    def _read(self, number: int) -> Message:
        """One of the commands that fill the window: it waits for its line."""
        meter = MeterId(self.state["known_meters"][1])
        body = command("read", agent=self.state["agent"], meter=meter,
                       sequence_ms=self.now_ms + number)  # fmt: skip
        topic = command_topic(AgentId(self.state["agent"]), meter)
        return Message(topic, signed("command", encode(body), "engine"))

    # What happens

    def receive(self, *messages: Message) -> Effects:
        """Messages arrive; what the agent asks of the rim is not done."""
        self.told_now.clear()
        return self.keep(self.agent.receive(messages))

    def deliver(self, *messages: Message) -> Effects:
        """Messages arrive, and everything that follows is done."""
        effects = self.receive(*messages)
        self.run(effects.jobs)
        return effects

    def restart(self) -> None:
        """The process dies; only what is committed is found again. It connects and says hello."""
        self.told_now.clear()
        if self.path is None:
            self.journal._load()
        else:
            self.agent.journal.close()
            self.journal = Journal.open(self.path, AgentId(self.state["agent"]), self.new_id)
        self.agent = self.booted()
        self.keep(self.agent.connected())

    def keep(self, effects: Effects) -> Effects:
        """The broker has it; the engine checks every message by steps 1 to 7 and reads it."""
        for one in effects.outgoing:
            self.sent.append(one.topic)
            checked = check(Message(one.topic, one.payload), vectors.keyring(), at_ms=None)
            assert isinstance(checked, Checked), checked
            if isinstance(checked.message, Hello):
                self.hellos.append(checked.message)
            if isinstance(checked.message, Acknowledgement):
                self._take_items(checked.message)
        return effects

    def _take_items(self, acknowledgement: Acknowledgement) -> None:
        assert acknowledgement.journal == JournalId(self.state["journal"])
        for raw in map(bytes, acknowledgement.items):
            item = decode_item(raw)
            assert self.raw.setdefault(item.number, raw) == raw, "I3: an item never changes"
            self.items[item.number] = item
            self.told_now.append(item.number)

    def fulfil(self, meter: MeterId, request: Request) -> Answer:
        self.moves += isinstance(request, MoveRelay)
        return super().fulfil(meter, request)

    def told(self) -> list[Item]:
        return [self.items[number] for number in sorted(self.items)]

    # What is known

    def finals(self, command_id: bytes) -> list[CommandItem]:
        """Every final item about a command."""
        return [
            one for one in self.told() if isinstance(one, CommandItem) and one.command == command_id
        ]

    def rows(self) -> list[str]:
        """Every row of every table of the journal."""
        return list(self.agent.journal._connection.iterdump())


def command_of(row: dict[str, Any]) -> tuple[Command, CommandId]:
    """The command of a vector, and its id."""
    body = unpack(row["payload"]).body
    found = digest(vectors.installation(), "command", body)
    return decode_body(Command, body), CommandId(found[:16])

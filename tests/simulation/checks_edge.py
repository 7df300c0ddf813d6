"""What must hold of every agent at every step: I5 to I8, checks 10 to 13, 17, 18 and 26.

The journal is read from its file by another connection; messages are read and verified by
`independent`; where a contact truly is, the meters say.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.relay import RelayJob
from tests.simulation.broker import Delivery
from tests.simulation.independent import ENGINE_EPOCH, read_item, signers, taken_apart
from tests.simulation.schedule import Violation
from wire.messages import RelayReading
from wire.vocabulary import Action

if TYPE_CHECKING:
    from tests.simulation.agent_party import AgentParty
    from tests.simulation.world import World

# Final words that say: this command moved nothing and never will.
_NEVER_MOVE = frozenset({"refused", "withdrawn", "superseded"})
_KEEP_COUNTER = frozenset({"low_counter", "before_welcome", "from_future"})


@dataclass(slots=True)
class _Life:
    """One process of one agent."""

    journal: bytes
    reader: sqlite3.Connection
    nonces: set[bytes] = field(default_factory=set)
    is_welcomed: bool = False
    given: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)
    received: set[bytes] = field(default_factory=set)
    last_item: int = 0
    version: int = -1  # of the file, as this reader saw it last


class EdgeChecks:
    """The checks of one world's agents."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._lives: dict[str, _Life] = {}
        self.hellos: dict[bytes, list] = {}  # nonce -> body
        self._judged: dict[str, tuple[int, int]] = {}  # meter -> highest accepted or refused
        self._readings: dict[bytes, tuple[list, bool]] = {}
        self._moved: dict[tuple[bytes, bytes], str] = {}  # (journal, command) -> meter
        self.finals: dict[tuple[bytes, bytes], list] = {}  # (journal, command) -> item

    # Processes

    def agent_started(self, party: "AgentParty") -> None:
        """A process began over whatever its disk holds now."""
        life = _Life(party.agent.journal.standing.journal_id, sqlite3.connect(party.path))
        life.received = {row[0] for row in life.reader.execute(_RECEIVED)}
        life.last_item = life.reader.execute(
            "SELECT coalesce(max(number), 0) FROM items"
        ).fetchone()[0]
        self._lives[party.name] = life

    def agent_stopped(self, party: "AgentParty") -> None:
        """A process ended."""
        self._lives.pop(party.name).reader.close()

    def rolled_back(self, journal: bytes) -> None:
        """An older copy of a journal is put in: it cannot know what it did since.

        Its hello shows the items it lost, not the commands it had only received or begun, so it may
        be known to the engine and refuse as `before_welcome` what once moved a relay. The floor
        keeps that command from moving anything again, and I7 below checks that it does.
        """
        self._moved = {key: meter for key, meter in self._moved.items() if key[0] != journal}
        self.finals = {key: item for key, item in self.finals.items() if key[0] != journal}

    def agent_publishes(self, party: "AgentParty", topic: str, payload: bytes) -> None:
        """Remember the nonces of this boot's hellos."""
        if topic.startswith("hello/"):
            body = taken_apart(topic, payload).body
            self.hellos[body[5]] = body
            if party.name in self._lives:
                self._lives[party.name].nonces.add(body[5])

    def agent_is_given(self, party: "AgentParty", batch: list[Delivery]) -> None:
        """Remember what came as it was sent: commands, and welcomes for nonces of this boot."""
        life = self._lives[party.name]
        for delivery in batch:
            kind, _, addressee = delivery.topic.partition("/")
            if not self._world.is_as_sent(delivery) or addressee.split("/")[0] != party.name:
                continue
            if kind == "welcome":
                body = taken_apart(delivery.topic, delivery.payload).body
                is_engine = signers(delivery.topic, delivery.payload) == (
                    ("engine", "engine-host"),
                )
                life.is_welcomed |= is_engine and body[2] in life.nonces
            elif kind == "command":
                sealed = taken_apart(delivery.topic, delivery.payload)
                life.given[sealed.digest[:16]] = (delivery.topic, delivery.payload)

    # The journal, after every call

    def agent_wrote(self, party: "AgentParty") -> None:
        """Look at what is new in the journal's file."""
        life = self._lives[party.name]
        journal = party.agent.journal.standing.journal_id
        if journal != life.journal:  # put aside; its successor has said nothing yet
            life.reader.close()
            fresh = _Life(journal, sqlite3.connect(party.path), given=life.given)
            life = self._lives[party.name] = fresh
        if party.agent.is_welcomed and not life.is_welcomed:
            raise Violation(
                f"I5: {party.name} acts on a welcome that answers no hello of this boot"
            )
        version = life.reader.execute("PRAGMA data_version").fetchone()[0]
        if version == life.version:
            return  # nothing was committed since the last look
        life.version = version
        unseen = [
            (command_id, read_item(body))
            for command_id, body in life.reader.execute(_RECEIVED_BODIES).fetchall()
            if command_id not in life.received
        ]
        # The table keeps no order within one commit; there, the journal's own trigger holds I7.
        for command_id, body in sorted(unseen, key=lambda row: row[1][4:6]):
            life.received.add(command_id)
            self._accepted(party, life, command_id, body)
        for number, item in life.reader.execute(
            "SELECT number, item FROM items WHERE number > ? ORDER BY number", (life.last_item,)
        ).fetchall():
            life.last_item = number
            decoded = read_item(item)
            if decoded[1] == "command":
                self._final(party, life, decoded)

    def _accepted(self, party: "AgentParty", life: _Life, command_id: bytes, body: list) -> None:
        _, action, agent, meter, epoch, sequence_ms, *_ = body
        if command_id not in life.given:
            raise Violation(f"I5: {party.name} journaled {action} of {meter}, which never came so")
        topic, payload = life.given[command_id]
        if agent != party.name or topic != f"command/{agent}/{meter}":
            raise Violation(f"I5: {party.name} took {action} of {meter} from {topic}")
        self._prove(topic, payload, action)
        if action == "read":
            return
        highest = self._judged.get(meter, (0, 0))
        if (epoch, sequence_ms) <= highest:
            raise Violation(
                f"I7: {party.name} accepted {action} of {meter} with {epoch}.{sequence_ms},"
                f" after {highest[0]}.{highest[1]} ({command_id.hex()})"
            )
        self._judged[meter] = (epoch, sequence_ms)

    def _prove(self, topic: str, payload: bytes, action: str) -> None:
        """Check 10: good signatures of the roles that may order this."""
        proven = signers(topic, payload)
        roles = {role for role, _ in proven or ()}
        wanted = {"engine", "guard"} if action in ("open", "disarm", "unguarded") else {"engine"}
        if proven is None or not wanted <= roles or roles - {"engine", "guard"}:
            raise Violation(f"I5: {action} on {topic} was taken with signatures of {proven}")
        if taken_apart(topic, payload).body[4] != ENGINE_EPOCH:
            raise Violation(f"I5: {action} on {topic} names another epoch than its key's")

    def _final(self, party: "AgentParty", life: _Life, item: list) -> None:
        _, _, command_id, meter, epoch, sequence_ms, outcome, reason, _, after, *_ = item
        key = (life.journal, command_id)
        if key in self.finals:
            raise Violation(f"I6: {party.name} gave {command_id.hex()} a second final word")
        self.finals[key] = item
        self._world.note(party.name, "final", meter, outcome, reason or "", command_id)
        if outcome == "refused" and reason not in _KEEP_COUNTER and not self._is_read(life, key):
            self._judged[meter] = max(self._judged.get(meter, (0, 0)), (epoch, sequence_ms))
        self._check_reading(party, item)
        is_done = outcome in ("closed", "already_closed")
        if is_done and not (after and after[0]):
            raise Violation(f"I8: {outcome} of {meter} without a closed reading: {after}")
        if outcome == "armed" and not (after and after[1] == 2):
            raise Violation(f"I8: {outcome} of {meter} without an armed reading: {after}")

    def _is_read(self, life: _Life, key: tuple[bytes, bytes]) -> bool:
        given = life.given.get(key[1])
        return given is not None and taken_apart(*given).body[1] == "read"

    def _check_reading(self, party: "AgentParty", item: list) -> None:
        command_id, meter, after = item[2], item[3], item[9]
        if after is None:
            return
        told = self._readings.get(command_id)
        if told is None or told[0] != after:
            raise Violation(f"I8: {party.name} says {after} of {meter}; it last read {told}")
        if told[1] is not after[0]:
            raise Violation(f"I8: {meter} was read as {after}, its contact was not there")

    # Operations

    def has_read(self, job: RelayJob, reading: RelayReading, *, contact_is_closed: bool) -> None:
        """An answer came back to the operation that asked."""
        told = [reading.output, reading.control_state, reading.control_mode]
        self._readings[job.command_id] = (told, contact_is_closed)

    def never_moved(self) -> None:
        """I6: what was called refused, withdrawn or superseded is the cause of no movement.

        docs/protocol.md lets one case through: told to move before a crash, read back as not moved
        after it, and expired meanwhile is `refused expired`, even if a slow contact follows later.
        """
        causes = {one.who for many in self._world.movements.causes.values() for one in many}
        for key, item in self.finals.items():
            outcome, reason = item[6], item[7]
            never_moves = outcome in _NEVER_MOVE and reason != "expired"
            if never_moves and key in self._moved and key[1] in causes:
                raise Violation(f"I6: {key[1].hex()} moved {item[3]} and is {outcome} {reason}")

    def moves(self, party: "AgentParty", job: RelayJob, action: Action) -> None:
        """The relay is about to be told to move: is everything there that must be?"""
        life = self._lives[party.name]
        name = f"{action} of {job.meter} by {party.name} ({job.command_id.hex()})"
        if not life.is_welcomed:
            raise Violation(f"I5: {name} before a welcome of this boot")
        steps = {
            (step, meter)
            for step, meter in life.reader.execute(
                "SELECT step, meter FROM steps WHERE command_id = ?", (job.command_id,)
            )
        }
        for wanted in ("received", "actuating"):
            if (wanted, job.meter) not in steps:
                raise Violation(f"I5: {name} without '{wanted}' in the journal")
        told = self._readings.get(job.command_id)
        if told is None or (action is Action.CLOSE and told[0][:2] == [True, 1]):
            raise Violation(f"I6: {name}, though the relay was read as {told}")
        if ("outcome", job.meter) in steps:
            raise Violation(f"I6: {name} after its final word")
        body = read_item(
            life.reader.execute(
                "SELECT body FROM steps WHERE command_id = ? AND step = 'received'",
                (job.command_id,),
            ).fetchone()[0]
        )
        if (body[1], body[2], body[3]) != (action.value, party.name, job.meter):
            raise Violation(f"I5: {name}: its command is {body[1]} of {body[3]} by {body[2]}")
        # Check 16: by true time, less what the engine's clock was ever behind.
        if self._world.now_ms + self._world.checks.lowest_offset_ms > body[6]:
            raise Violation(f"I5: {name} {self._world.now_ms - body[6]} ms after its expiry")
        self._moved[(life.journal, job.command_id)] = job.meter
        if action is Action.CLOSE:
            self._world.checks.closes_now(job.meter)


_RECEIVED = "SELECT command_id FROM steps WHERE step = 'received'"
_RECEIVED_BODIES = "SELECT command_id, body FROM steps WHERE step = 'received'"

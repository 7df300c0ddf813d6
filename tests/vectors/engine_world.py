"""A real engine over a ledger on SQLite, standing where `states.engine` of the vectors says.

The account that the vectors' payments name has the meter that their commands name, behind the agent
of their journal; it is cut off, and `command-close` is on its way to it.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from cloud.publisher import Outgoing
from cloud.schema import (
    accounts,
    agents,
    alarms,
    commands,
    decisions,
    entries,
    meters,
    payment_items,
    spools,
)
from tests.cloud import engine_world
from tests.cloud.engine_world import World
from tests.wire import vectors
from tests.wire.bodies import hello
from tests.wire.spelling import signed
from tests.wire.vectors import Message
from wire.checking import Checked, check
from wire.decoding import decode_body, encode
from wire.envelope import unpack
from wire.fields import AgentId
from wire.keys import KeyId
from wire.messages import Command, Payment
from wire.topics import hello_topic
from wire.trust import Key, identity_key, open_identity
from wire.vocabulary import Role

State = dict[str, Any]


def state_of(row: dict[str, Any]) -> State:
    return {**vectors.states()["engine"], **row.get("given", {})}


def identities() -> dict[KeyId, Key]:
    held = vectors.authorities()
    found = [
        identity_key(open_identity(held, statement)) for statement in vectors.keys()["identities"]
    ]
    assert all(one.role is Role.AGENT for one in found)
    return {one.key_id: one for one in found}


class EngineWorld:
    """One engine, and what left it."""

    def __init__(self, state: State, path: Path) -> None:
        self.state = state
        self.ledger = World(path)
        assert state["generation_ms"] == engine_world.GENERATION_MS
        self.ledger.now_ms = state["now_ms"]
        self.ledger.identities |= identities()
        self._home()
        self._spool()
        self.ledger.start()
        self.engine = self.ledger.engine
        self.left: list[Outgoing] = []  # in the newest turn
        boot, number = state["highest_hello"]
        self.deliver(self._hello(boot, number), at_ms=state["now_ms"])
        # After the hello: a new journal's hello voids what it does not list.
        for name in state["live_commands"]:
            self._command_on_its_way(name)
        self.postings_before = self.postings()

    def close(self) -> None:
        self.ledger.store.dispose()

    def _home(self) -> None:
        body = _body(Payment, "payment")
        command = _body(Command, "command-close")
        self.ledger.execute(insert(agents), {"agent_id": command.agent})
        row = {"account_id": body.items[0].account_hint, "zone": "INDORE-1", "language": "hi"}
        self.ledger.execute(insert(accounts), row)
        at_ms = self.state["now_ms"] - 400 * 86_400_000
        meter = {
            "meter_id": command.meter,
            "account_id": body.items[0].account_hint,
            "agent_id": command.agent,
            "installed_at_ms": at_ms,
            "mapped_at_ms": at_ms,
            "feeder": "F-1",
            "transformer": "T-1",
            "last_epoch": command.epoch,
            "last_sequence": command.sequence_ms,
        }
        self.ledger.execute(insert(meters), meter)

    def _command_on_its_way(self, name: str) -> None:
        row = vectors.envelope(name)
        command = _body(Command, name)
        at_ms = self.state["now_ms"]
        episode_id = self._episode(command.meter, at_ms)
        decision = {
            "digest": command.evidence,
            "record": b"-",
            "episode_id": episode_id,
            "verdict": "close",
            "reasons": "",
            "decided_at_ms": at_ms,
        }
        self.ledger.execute(insert(decisions), decision)
        sent = {
            "action": command.action,
            "meter_id": command.meter,
            "agent_id": command.agent,
            "episode_id": episode_id,
            "decision": command.evidence,
            "state": "published",
            "queued_at_ms": at_ms,
            "due_at_ms": at_ms,
            "command_id": row["digest"][:16],
            "epoch": command.epoch,
            "sequence_ms": command.sequence_ms,
            "expires_at_ms": command.expires_at_ms,
            "envelope": row["payload"],
            "resend_at_ms": at_ms + 5_000,
            "sends": 1,
        }
        self.ledger.execute(insert(commands), sent)

    def _episode(self, meter: str, at_ms: int) -> int:
        table = engine_world.episodes
        account = self.ledger.value(select(meters.c.account_id).where(meters.c.meter_id == meter))
        row = {
            "account_id": account,
            "meter_id": meter,
            "cut_at_ms": at_ms - 3_600_000,
            "cut_by": "remote",
            "created_at_ms": at_ms - 3_600_000,
            "state": "paid",
            "paid_at_ms": at_ms - 1_000,
        }
        self.ledger.execute(insert(table), row)
        return int(self.ledger.value(select(table.c.id)))

    def _spool(self) -> None:
        row = {
            "intake": _body(Payment, "payment").intake,
            "spool": self.state["spool"],
            "first_seen_at_ms": 0,
            "through": self.state["stored_through"],
        }
        self.ledger.execute(insert(spools), row)

    def _hello(self, boot: int, number: int) -> Message:
        body = hello(boot=boot, number=number, nonce=self.state["highest_nonce"])
        topic = hello_topic(AgentId(body.agent))
        return Message(topic, signed("hello", encode(body), "agent"))

    # What happens

    def deliver(self, *messages: Message, at_ms: int) -> list[Outgoing]:
        """One turn; what left it passes steps 1 to 7 at whom it is for."""
        self.left = self.engine.turn(messages, now_ms=at_ms)
        for one in self.left:
            kind = one.topic.partition("/")[0]
            if kind not in ("trust", "live"):
                checked = check(Message(one.topic, one.payload), vectors.keyring(), at_ms=at_ms)
                assert isinstance(checked, Checked), (one.topic, checked)
        return self.left

    # What is known

    def everything(self) -> list[tuple[object, ...]]:
        return self.ledger.everything()

    def postings(self) -> int:
        query = select(func.count(func.distinct(entries.c.posting)))
        return int(self.ledger.value(query))

    def alarms(self) -> list[str]:
        return [one.code for one in self.ledger.rows(select(alarms).order_by(alarms.c.id))]

    def item_of_number(self, number: int) -> Any:
        query = select(payment_items).where(payment_items.c.number == number)
        return self.ledger.one(query)


def _body(body_type: Any, name: str) -> Any:
    return decode_body(body_type, unpack(vectors.envelope(name)["payload"]).body)

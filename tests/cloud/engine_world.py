"""A small installation around one engine: keys, a ledger on disk, homes, agents played by hand.

Nothing is faked inside the engine: messages are sealed and checked as on the wire. The clock is a
number the test moves; randomness is a counter.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, insert, select, update

from cloud import ledger as ledger_entries
from cloud.engine import Engine, EngineSettings
from cloud.live import Live
from cloud.publisher import Outgoing, Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import (
    accounts,
    agents,
    alarms,
    commands,
    decisions,
    entries,
    episodes,
    ledger,
    locks,
    meters,
    orders,
    quotes,
)
from cloud.spelling import parse_day
from cloud.store import Found, migrate, open_store, sqlite_url
from cloud.vocabulary import LockKind
from tests.cloud.agent_by_hand import AgentByHand, Message, Sent
from tests.wire.installation import (
    EPOCH,
    GENERATION_MS,
    INSTALLATION,
    INTAKE,
    NOW_MS,
    PROVIDER,
    authorities,
    key,
)
from wire import envelope
from wire.decoding import BODY_TYPES, decode_body, encode
from wire.fields import AgentId, CommandId, JournalId, SpoolId
from wire.keys import KeyId, SigningKey
from wire.messages import Command, Filed, Payment, PaymentItem, ReceiptItem, Watermark, Welcome
from wire.topics import MessageType, parse, payment_shard, payment_topic, watermark_topic
from wire.trust import Key
from wire.vocabulary import PaymentKind, Role

SECOND_MS = 1_000
MINUTE_MS = 60_000
SPOOL = SpoolId(b"spool-01")
QUOTE_PAISE = 214_250


def new_ledger(path: Path) -> sqlalchemy.Engine:
    """A migrated ledger with its one row, on disk."""
    store = open_store(sqlite_url(path))
    migrate(store)
    row = {"id": 1, "installation": INSTALLATION, "generation_ms": GENERATION_MS, "epoch": EPOCH}
    with store.begin() as transaction:
        transaction.execute(insert(ledger), row)
    return store


class World:
    """One engine, its ledger, and everybody who speaks to it."""

    def __init__(self, path: Path) -> None:
        self.now_ms = NOW_MS
        self.path = path
        self.store = new_ledger(path)
        self.agents: dict[str, AgentByHand] = {}
        self.identities: dict[KeyId, Key] = {}
        self.numbers = itertools.count(1)
        self.drawn = itertools.count(1)
        self.engine: Engine

    def start(self) -> None:
        """Start, or start again, the engine."""
        settings = EngineSettings(
            signer=Signer(installation=INSTALLATION, key=key("engine"), epoch=EPOCH),
            authorities=authorities(),
            identities=self.identities,
            policy=MP_WEST_FIRST_PHASE,
        )
        live = Live(key=b"live", is_development=True)
        self.engine = Engine(settings, self.store, live, self.random_bytes)

    def random_bytes(self, size: int) -> bytes:
        return sha256(next(self.drawn).to_bytes(8, "big")).digest()[:size]

    # Who there is

    def add_agent(self, name: str) -> AgentByHand:
        agent_id = AgentId(name)
        signing = SigningKey(sha256(b"agent " + name.encode()).digest())
        hand = AgentByHand(agent_id, signing, JournalId(sha256(name.encode()).digest()[:8]))
        self.agents[name] = hand
        self.identities[signing.key_id] = Key(
            key_id=signing.key_id,
            public=signing.public,
            role=Role.AGENT,
            subject=name,
            not_before_ms=NOW_MS - 86_400_000,
            not_after_ms=NOW_MS + 400 * 86_400_000,
        )
        self.execute(insert(agents), {"agent_id": name})
        return hand

    def add_home(self, number: int, agent: str = "AG-1", **meter: object) -> None:
        """Account A-n with meter M-n behind an agent."""
        self.execute(
            insert(accounts), {"account_id": f"A-{number}", "zone": "INDORE-1", "language": "hi"}
        )
        row: dict[str, object] = {
            "meter_id": f"M-{number}",
            "account_id": f"A-{number}",
            "agent_id": agent,
            "installed_at_ms": parse_day("2022-05-10"),
            "mapped_at_ms": parse_day("2022-05-11"),
            "feeder": "F-1",
            "transformer": "T-1",
        }
        self.execute(insert(meters), row | meter)

    def cut(self, number: int, quote_paise: int = QUOTE_PAISE, **episode: object) -> int:
        """Account A-n is without supply since an hour, for this amount."""
        at_ms = self.now_ms - 60 * MINUTE_MS
        row: dict[str, object] = {
            "account_id": f"A-{number}",
            "meter_id": f"M-{number}",
            "cut_at_ms": at_ms,
            "cut_by": "remote",
            "created_at_ms": at_ms,
            "state": "open",
        }
        with self.store.begin() as transaction:
            made = transaction.execute(insert(episodes), row | episode)
            episode_id = int((made.inserted_primary_key or (0,))[0])
            quote = {
                "episode_id": episode_id,
                "amount_paise": quote_paise,
                "breakdown": "[]",
                "made_at_ms": at_ms,
                "expires_at_ms": at_ms + 86_400_000,
            }
            transaction.execute(insert(quotes), quote)
            posting = ledger_entries.charge_posting(episode_id, f"A-{number}", quote_paise)
            ledger_entries.post(transaction, [posting], now_ms=at_ms)
        self.lock(number, LockKind.NON_PAYMENT, at_ms)
        return episode_id

    def lock(self, number: int, kind: LockKind, at_ms: int = NOW_MS) -> None:
        row = {
            "account_id": f"A-{number}",
            "kind": kind.value,
            "owner": "a test",
            "document": "none",
            "placed_at_ms": at_ms,
            "effective_at_ms": at_ms,
        }
        self.execute(insert(locks), row)

    def order(self, order_id: str, episode_id: int) -> None:
        quote = self.one(select(quotes).where(quotes.c.episode_id == episode_id))
        row = {"provider": PROVIDER, "order_id": order_id, "quote_id": quote.id}
        self.execute(insert(orders), row)

    # What happens

    def turn(self, *messages: Message, is_busy: bool = False) -> list[Outgoing]:
        return self.engine.turn(messages, now_ms=self.now_ms, is_busy=is_busy)

    def later(self, ms: int) -> list[Outgoing]:
        """Time passes, then a turn without deliveries."""
        self.now_ms += ms
        return self.turn()

    def item(self, payment_id: str = "pay_1", **facts: Any) -> PaymentItem:
        """A capture for A-1 that covers its quote, unless told otherwise."""
        number = facts.pop("number", None) or next(self.numbers)
        kind = facts.get("kind", PaymentKind.CAPTURED)
        told: dict[str, Any] = {
            "number": number,
            "raw": sha256(f"raw {number}".encode()).digest(),
            "kind": kind,
            "object_id": payment_id if kind is PaymentKind.CAPTURED else f"{kind}_{payment_id}",
            "payment_id": payment_id,
            "account_hint": "A-1",
            "order": None,
            "amount_paise": QUOTE_PAISE,
            "currency": "INR",
            "happened_at_ms": self.now_ms - 2 * SECOND_MS,
            "received_at_ms": self.now_ms - SECOND_MS,
            "method": "upi",
        }
        return PaymentItem(**(told | facts))

    def report(self, *items: PaymentItem, spool: bytes = SPOOL) -> list[Message]:
        """The items as sealed payment messages, one per shard."""
        shards: dict[int, list[PaymentItem]] = {}
        for item in items:
            shards.setdefault(payment_shard(PROVIDER, item.payment_id), []).append(item)
        return [
            self.from_intake(
                payment_topic(shard, PROVIDER),
                MessageType.PAYMENT,
                Payment(intake=INTAKE, spool=SpoolId(spool), provider=PROVIDER, items=tuple(some)),
            )
            for shard, some in shards.items()
        ]

    def pay(self, *items: PaymentItem, spool: bytes = SPOOL) -> list[Outgoing]:
        """One turn that brings these items."""
        return self.turn(*self.report(*items or (self.item(),), spool=spool))

    def watermark(self, **facts: Any) -> Message:
        told: dict[str, Any] = {
            "intake": INTAKE,
            "spool": SPOOL,
            "generation_ms": GENERATION_MS,
            "made": 0,
            "oldest_open": 0,
            "at_ms": self.now_ms,
            "providers": (),
        }
        body = Watermark(**(told | facts))
        return self.from_intake(watermark_topic(INTAKE), MessageType.WATERMARK, body)

    def from_intake(self, topic: str, message_type: MessageType, body: Any) -> Message:
        payload = envelope.seal(INSTALLATION, message_type.value, encode(body), [key("intake")])
        return Message(topic, payload)

    # What is known

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.store.begin() as transaction:
            yield transaction

    def execute(self, statement: Any, rows: Any = None) -> None:
        with self.store.begin() as transaction:
            transaction.execute(statement, rows)

    def put(self, table: sqlalchemy.Table, **values: object) -> None:
        self.execute(update(table).values(**values))

    def rows(self, query: Any) -> Sequence[Found]:
        with self.store.connect() as connection:
            return connection.execute(query).all()

    def one(self, query: Any) -> Found:
        (row,) = self.rows(query)
        return row

    def value(self, query: Any) -> Any:
        return self.one(query)[0]

    def command(self, **of: object) -> Found:
        """The newest command."""
        return self.rows(select(commands).filter_by(**of).order_by(commands.c.id))[-1]

    def commands(self, **of: object) -> Sequence[Found]:
        return self.rows(select(commands).filter_by(**of).order_by(commands.c.id))

    def decision(self) -> Found:
        """The newest decision."""
        return self.rows(select(decisions).order_by(sqlalchemy.text("rowid")))[-1]

    def episode(self, number: int = 1) -> Found:
        return self.one(select(episodes).where(episodes.c.account_id == f"A-{number}"))

    def owed(self, number: int = 1) -> int:
        with self.store.connect() as connection:
            return ledger_entries.balances(connection, [f"A-{number}"]).get(f"A-{number}", 0)

    def standing_locks(self, number: int = 1) -> set[str]:
        query = select(locks.c.kind).where(locks.c.account_id == f"A-{number}")
        return {row.kind for row in self.rows(query.where(locks.c.cleared_at_ms.is_(None)))}

    def alarm_codes(self) -> list[str]:
        return [row.code for row in self.rows(select(alarms).order_by(alarms.c.id))]

    def everything(self) -> list[tuple[object, ...]]:
        """Every row of every table: what a turn that failed must not have changed."""
        tables = entries.metadata.sorted_tables
        return [(table.name, tuple(row)) for table in tables for row in self.rows(select(table))]


def bodies(outgoing: Sequence[Outgoing], message_type: MessageType) -> list[Any]:
    """The decoded bodies of one type among what left, each with an envelope that opens."""
    return [
        decode_body(BODY_TYPES[message_type], envelope.unpack(one.payload).body)
        for one in outgoing
        if one.topic.startswith(message_type.value + "/")
    ]


def sent(outgoing: Sequence[Outgoing]) -> list[Sent]:
    """The commands among what left."""
    found = []
    for one in outgoing:
        if one.topic.startswith("command/"):
            body = envelope.unpack(one.payload).body
            command_id = CommandId(envelope.digest(INSTALLATION, "command", body)[:16])
            found.append(Sent(decode_body(Command, body), command_id, one.payload))
            assert parse(one.topic).meter == found[-1].body.meter
    return found


def receipts(outgoing: Sequence[Outgoing]) -> dict[int, str]:
    """Verdict by number, of all receipts among what left."""
    items: list[ReceiptItem] = [
        item for body in bodies(outgoing, MessageType.RECEIPT) for item in body.items
    ]
    return {item.number: item.verdict.value for item in items}


def welcome(outgoing: Sequence[Outgoing]) -> Welcome:
    """The one welcome among what left."""
    (body,) = bodies(outgoing, MessageType.WELCOME)
    assert isinstance(body, Welcome)
    return body


def filed(outgoing: Sequence[Outgoing]) -> list[Filed]:
    """Every `filed` among what left."""
    return bodies(outgoing, MessageType.FILED)

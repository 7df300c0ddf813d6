"""A real forwarder over a real spool file, standing where `states.intake` of the vectors says."""

import random
from pathlib import Path
from typing import Any

from cloud.intake.counting import Counted, Counters
from cloud.intake.forwarding import Forwarder, Sender
from tests.cloud.intake.engine import settle
from tests.cloud.intake.reports import open_spool
from tests.wire import vectors
from tests.wire.vectors import Message
from wire.decoding import decode_body, encode
from wire.envelope import unpack
from wire.fields import IntakeId
from wire.messages import Payment
from wire.topics import payment_shard

IGNORED = (
    Counted.RECEIPT_WRONG_RAW,
    Counted.RECEIPT_FOREIGN_SPOOL,
    Counted.RECEIPT_OLD_GENERATION,
)


class IntakeWorld:
    """One intake whose spool holds the numbers of the state, all without receipt."""

    def __init__(self, path: Path, now_ms: int, intake: str | None = None) -> None:
        state = vectors.states()["intake"]
        self.now_ms = now_ms
        self.spool = open_spool(path, spool_id=state["spool"])
        for number, raw_sha256 in state["unreceipted"].items():
            self._take_in(int(number), raw_sha256, now_ms)
        self.spool._execute("UPDATE spool SET generation_ms = ?", (state["generation_ms"],))
        self.counters = Counters()
        sender = Sender(
            intake=IntakeId(intake or state["intake"]),
            key=vectors.signing_key("intake"),
            ring=vectors.keyring(),
        )
        self.forwarder = Forwarder(self.spool, sender, self.counters, random.Random(1))
        self.forwarder.due(now_ms)

    def _take_in(self, number: int, raw_sha256: bytes, now_ms: int) -> None:
        """The report behind a number of the vectors is not published, only its digest."""
        body = decode_body(Payment, unpack(vectors.envelope("payment")["payload"]).body)
        (item,) = [one for one in body.items if one.number == number]
        assert item.raw == raw_sha256
        self.spool._execute("UPDATE spool SET made = ?", (number - 1,))
        self.spool._execute(
            "INSERT INTO reports VALUES (1, ?, '', ?, ?, 'forwarded', '', x'2d')",
            (body.provider, raw_sha256, now_ms),
        )
        shard = payment_shard(body.provider, item.payment_id)
        row: tuple[Any, ...] = (number, 1, shard, encode(item))
        self.spool._execute("INSERT INTO items VALUES (?, ?, ?, ?)", row)

    def deliver(self, message: Message) -> None:
        """It arrives, and what it marks is written."""
        self.forwarder.receive([message], self.now_ms)
        settle(self.forwarder, self.spool)

    def counted(self, *names: Counted) -> int:
        return sum(self.counters[name] for name in names)

    def rows(self) -> list[str]:
        """Every row of every table of the spool."""
        return list(self.spool._db.conn.iterdump())

    def reopened(self) -> list[int]:
        """The numbers that the next process would send again."""
        return [one.number for one in self.spool.unreceipted(after=0, limit=10)]

    def close(self) -> None:
        self.spool.close()

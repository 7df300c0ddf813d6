"""A guard with its files, its intake and an engine that asks: everything sealed as on the wire.

Homes are numbered: account A-n, meter M-n, Rs 2,000 billed and due, a notice of Rs 2,000 served 20
days ago. The engine here is a thief with the engine's key: it signs whatever a test tells it to.
"""

import itertools
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cloud.guard.asked import Asked, AskedRow, OrderAccount, ShownManifest
from cloud.guard.file_kinds import Kind
from cloud.guard.guard import Guard, GuardSettings, Signer, Turned
from cloud.guard.imports import ImportReport, import_file
from cloud.guard.store import open_store
from tests.cloud.agent_by_hand import Message
from tests.wire.installation import (
    EPOCH,
    EVIDENCE,
    GENERATION_MS,
    INTAKE,
    NOW_MS,
    PROVIDER,
    SPOOL,
    authorities,
    key,
    sealed,
)
from wire.decoding import encode
from wire.documents import Resume, Stop
from wire.envelope import signed_bytes, unpack
from wire.fields import AgentId, MeterId, SpoolId
from wire.keys import verifies
from wire.messages import Command, Payment, PaymentItem, ProviderMark, Watermark
from wire.topics import payment_shard, payment_topic, watermark_topic
from wire.vocabulary import PaymentKind

AGENT = "AG-1"
OWED_PAISE = 200_000
LIFE_MS = 300_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Guarded:
    """One guard, and everybody who speaks to it."""

    def __init__(self, folder: Path, *, used_up_ms: int = 0, homes: int = 3) -> None:
        self.folder = folder
        self.now_ms = NOW_MS
        self.used_up_ms = used_up_ms
        self.numbers = itertools.count(1)
        self.made = 0
        self.files = itertools.count(1)
        self.signer: Signer = key("guard")
        self.path = folder / "guard.db"
        self.start()
        self.homes(range(1, homes + 1))
        self.hear(self.watermark())

    def start(self) -> None:
        """Start, or start again."""
        self.store = open_store(self.path, now_ms=self.now_ms, used_up_ms=self.used_up_ms)
        self.settings = GuardSettings(
            signer=self.signer,
            authorities=authorities(),
            is_production=False,
            used_up_ms=self.used_up_ms,
        )
        self.guard = Guard(self.settings, self.store)

    # Files

    def give(self, kind: str, *lines: str) -> ImportReport:
        """Import these lines as a file; the first is the header."""
        path = self.folder / f"{kind}-{next(self.files)}.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return import_file(self.store, Kind(kind), path, now_ms=self.now_ms)

    def homes(self, numbers: Sequence[int], *, agent: str = AGENT, feeder: str = "F-1") -> None:
        """Accounts with a meter, a bill and a proposal each."""
        reports = [
            self.give("accounts", "account_id,zone,language", *(f"A-{n},Z,hi" for n in numbers)),
            self.give(
                "meters",
                "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer",
                *(f"M-{n},A-{n},{agent},2022-05-10,2022-05-11,{feeder},T-{n}" for n in numbers),
            ),
            self.give(
                "bills",
                "bill_id,account_id,amount,issued_on,due_on",
                *(f"B-{n},A-{n},2000.00,2026-08-01,2026-08-15" for n in numbers),
            ),
            self.propose(*numbers),
        ]
        assert [one.text() for one in reports if not one.is_good] == []

    def propose(
        self, *numbers: int, paise: int = OWED_PAISE, served_on: str = "2026-09-01"
    ) -> ImportReport:
        """A file of proposals with a notice of this sum, served on this day."""
        return self.give(
            "proposals",
            "account_id,meter_id,sum,notice_served_on,notice_proof",
            *(f"A-{n},M-{n},{paise // 100}.{paise % 100:02d},{served_on},SMS 1" for n in numbers),
        )

    # Messages

    def hear(self, *messages: Message) -> Turned:
        return self.guard.turn(messages, None, now_ms=self.now_ms)

    def later(self, ms: int) -> None:
        """Time passes while the guard runs; the intake goes on saying where it is."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + 5 * MINUTE_MS)
            self.hear()
        self.hear(self.watermark())

    def watermark(self, **facts: Any) -> Message:
        told: dict[str, Any] = {
            "intake": INTAKE,
            "spool": SPOOL,
            "generation_ms": GENERATION_MS,
            "made": self.made,
            "oldest_open": 0,
            "at_ms": self.now_ms,
            "providers": (ProviderMark(provider=PROVIDER, complete_to_ms=self.now_ms - MINUTE_MS),),
        }
        body = encode(Watermark(**(told | facts)))
        return Message(watermark_topic(INTAKE), sealed("watermark", body, "intake"))

    def item(self, home: int | None = 1, **facts: Any) -> PaymentItem:
        """A capture of the whole arrears, hinted at the home's account."""
        number = facts.pop("number", None) or next(self.numbers)
        self.made = max(self.made, number)
        kind = facts.get("kind", PaymentKind.CAPTURED)
        payment_id = facts.get("payment_id", f"pay_{number}")
        told: dict[str, Any] = {
            "number": number,
            "raw": sha256(f"raw {number}".encode()).digest(),
            "kind": kind,
            "object_id": payment_id if kind is PaymentKind.CAPTURED else f"{kind}_{number}",
            "payment_id": payment_id,
            "account_hint": None if home is None else f"A-{home}",
            "order": None,
            "amount_paise": OWED_PAISE,
            "currency": "INR",
            "happened_at_ms": self.now_ms - 2_000,
            "received_at_ms": self.now_ms - 1_000,
            "method": "upi",
        }
        return PaymentItem(**(told | facts))

    def payment(self, item: PaymentItem, *, spool: bytes = SPOOL, by: str = "intake") -> Message:
        body = Payment(intake=INTAKE, spool=SpoolId(spool), provider=PROVIDER, items=(item,))
        topic = payment_topic(payment_shard(PROVIDER, item.payment_id), PROVIDER)
        return Message(topic, sealed("payment", encode(body), by))

    def pay(self, *items: PaymentItem) -> None:
        """The items arrive, and then a newer watermark that counts them."""
        self.now_ms += 1
        self.hear(*(self.payment(one) for one in items), self.watermark())

    def stop(self, number_ms: int) -> Turned:
        body = encode(Stop(number_ms=number_ms, note="a test"))
        return self.hear(Message("stop", sealed("stop", body, "stop")))

    def resume(self, lifts_ms: int, *by: str) -> Turned:
        body = encode(Resume(lifts_ms=lifts_ms, note="looked"))
        return self.hear(Message("resume", sealed("resume", body, *by)))

    # What the engine asks

    def row(
        self,
        home: int = 1,
        *,
        by: Sequence[str] = ("engine",),
        owed_paise: int = OWED_PAISE,
        charges_paise: int = 0,
        account: str | None = None,
        **changes: Any,
    ) -> AskedRow:
        """A half-signed open of that home's meter, with the engine's word on its account."""
        sequence_ms = changes.pop("sequence_ms", self.now_ms)
        told: dict[str, Any] = {
            "action": "open",
            "agent": AgentId(AGENT),
            "meter": MeterId(f"M-{home}"),
            "epoch": EPOCH,
            "sequence_ms": sequence_ms,
            "expires_at_ms": sequence_ms + LIFE_MS,
            "evidence": EVIDENCE,
            "manifest": None,
        }
        body = Command(**(told | changes))
        return AskedRow(
            envelope=sealed("command", encode(body), *by),
            agent_id=body.agent,
            meter_id=body.meter,
            account_id=account or f"A-{home}",
            owed_paise=owed_paise,
            charges_paise=charges_paise,
        )

    def ask(
        self,
        *rows: AskedRow,
        orders: Sequence[OrderAccount] = (),
        manifests: Sequence[ShownManifest] = (),
        generation_ms: int = GENERATION_MS,
    ) -> Turned:
        asked = Asked(
            generation_ms=generation_ms,
            rows=rows,
            orders=tuple(orders),
            manifests=tuple(manifests),
        )
        return self.guard.turn((), asked, now_ms=self.now_ms)

    def verdict(self, row: AskedRow, **asked: Any) -> str:
        """`signed`, or every reason why not."""
        turned = self.ask(row, **asked)
        if turned.waits:
            assert turned.answers == ()
            return " ".join(turned.waits)
        assert len(turned.answers) == 1, "neither an answer nor a reason to wait"
        (answer,) = turned.answers
        assert (answer.verdict == "signed") == self.is_signed(row)
        return answer.reason or answer.verdict.value

    # What is known

    def rows(self, query: str, *values: object) -> list[Any]:
        return self.store.execute(query, values).fetchall()

    def answers(self) -> list[Any]:
        return self.rows("SELECT command_id, verdict, signature FROM answers")

    def is_signed(self, row: AskedRow) -> bool:
        """Whether a signature lies in the store that verifies over the row's exact bytes."""
        settings = self.settings
        installation = settings.authorities.root.installation
        signed = signed_bytes(installation, "command", unpack(row.envelope).body)
        found = self.rows("SELECT signature FROM answers WHERE command_id = ?", _id(signed))
        return bool(found and found[0][0]) and verifies(key("guard").public, found[0][0], signed)

    def alarm_codes(self) -> list[str]:
        return [code for (code,) in self.rows("SELECT code FROM alarms ORDER BY id")]


def _id(signed: bytes) -> bytes:
    return sha256(signed).digest()[:16]

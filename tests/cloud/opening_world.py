"""An engine with a real guard beside it, each with its own store; agents played by hand.

Homes are numbered as in `Guarded`: account A-n, meter M-n, Rs 2,000 billed and due, a notice of
Rs 2,000 served 20 days ago. It is Monday 12:10 in Indore: the window is open.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from cloud import ledger as ledger_entries
from cloud.cosigning import GuardStore, nobody_answers
from cloud.engine import Engine, EngineSettings
from cloud.guard.engine_ledger import look
from cloud.guard.guard import Turned
from cloud.import_proposals import ProposalFile, Proposed, propose
from cloud.live import Live
from cloud.publisher import Outgoing, Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import batches, bills, proposals
from cloud.spelling import DAY_MS, parse_day
from tests.cloud.agent_by_hand import OPEN, Message, Sent
from tests.cloud.engine_world import SECOND_MS, World, sent
from tests.cloud.guard.guarded import OWED_PAISE, Guarded
from tests.wire.installation import EPOCH, INSTALLATION, authorities, key
from wire.messages import PaymentItem
from wire.vocabulary import Outcome

HEADER = "account_id,meter_id,sum,notice_served_on,notice_proof"


class OpeningWorld(World):
    """Engine, guard and homes that owe."""

    def __init__(self, folder: Path, homes: int = 3, *, has_guard: bool = True) -> None:
        super().__init__(folder / "ledger.db")
        self.guarded = Guarded(folder, homes=homes)
        self.has_guard = has_guard
        self.live: list[Sent] = []  # opens that a test lets end one after the other
        self.agent = self.add_agent("AG-1")
        for number in range(1, homes + 1):
            self.add_home(number, transformer=f"T-{number}")
            self.bill(number)
        self.start()
        self.turn(self.agent.hello(meters=1_000), self.guarded.watermark())

    def start(self) -> None:
        ask = GuardStore(self.guarded.path) if self.has_guard else nobody_answers
        settings = EngineSettings(
            signer=Signer(installation=INSTALLATION, key=key("engine"), epoch=EPOCH),
            authorities=authorities(),
            identities=self.identities,
            policy=MP_WEST_FIRST_PHASE,
            ask_guard=ask,
        )
        live = Live(key=b"live", is_development=True)
        self.engine = Engine(settings, self.store, live, self.random_bytes)

    def bill(self, number: int, name: str = "B", paise: int = OWED_PAISE, due: str = "") -> None:
        """A bill of A-n, due last month unless told otherwise."""
        row = {
            "bill_id": f"{name}-{number}",
            "account_id": f"A-{number}",
            "amount_paise": paise,
            "issued_at_ms": parse_day("2026-08-01"),
            "due_at_ms": parse_day(due or "2026-08-15") + DAY_MS,
        }
        with self.store.begin() as transaction:
            transaction.execute(insert(bills), row)
            posting = ledger_entries.bill_posting(f"{name}-{number}", f"A-{number}", paise)
            ledger_entries.post(transaction, [posting], now_ms=self.now_ms)

    def propose(self, *numbers: int, paise: int = OWED_PAISE) -> Proposed:
        path = self.path.parent / "opens.csv"
        rows = [f"A-{n},M-{n},{paise // 100}.{paise % 100:02d},2026-09-01,SMS {n}" for n in numbers]
        path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
        file = ProposalFile(path=path, requester="V. Rao", reason="arrears of August")
        made = propose(self.store, file, now_ms=self.now_ms, random_bytes=self.random_bytes)
        assert made.is_good, made.lines()
        return made

    def sweep(self, ms: int = SECOND_MS) -> list[Outgoing]:
        """Time passes for both, then the engine's sweep."""
        self.now_ms += ms
        self.guarded.now_ms = self.now_ms
        return self.turn()

    def fresh(self, ms: int = SECOND_MS) -> list[Outgoing]:
        """The same, with a newer watermark for both."""
        self.now_ms += ms
        self.guarded.now_ms = self.now_ms
        mark = self.guarded.watermark()
        self.guarded.hear(mark)
        return self.turn(mark)

    def guard_looks(self) -> Turned:
        guard = self.guarded.guard
        asked = look(self.path, guard.orders_to_ask(now_ms=self.now_ms))
        return guard.turn((), asked, now_ms=self.now_ms)

    def cosigned(self) -> list[Outgoing]:
        """The guard looks, then the engine takes in what it says."""
        self.guard_looks()
        return self.sweep(250)

    def opened(self, *numbers: int) -> list[Sent]:
        """Propose these, let them go as far as the agent: the published opens."""
        self.propose(*numbers)
        self.sweep()
        return sent(self.cosigned())

    def takes_away(self, one: Sent, outcome: Outcome = Outcome.OPENED, **changes: Any) -> Message:
        """The agent's word that it opened: read back, with honest times."""
        at_ms = one.body.sequence_ms
        told: dict[str, Any] = {"after": OPEN, "acted_at_ms": at_ms + 20, "read_at_ms": at_ms + 30}
        return self.agent.says(self.agent.final(one, outcome, **(told | changes)))

    def paid(self, item: PaymentItem) -> list[Outgoing]:
        """A payment reaches guard and engine."""
        message = self.guarded.payment(item)
        self.guarded.hear(message)
        return self.turn(message)

    def states(self) -> list[str]:
        return [row.state for row in self.rows(select(proposals).order_by(proposals.c.id))]

    def reasons(self) -> list[str]:
        return [row.reasons for row in self.rows(select(proposals).order_by(proposals.c.id))]

    def batch_state(self) -> str:
        return str(self.rows(select(batches.c.state))[-1][0])

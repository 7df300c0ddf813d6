"""One turn of the engine: what arrived is judged, posted, decided and filed in one transaction.

Rules kept here:
 * What leaves (receipts, welcomes, commands, filed) leaves after the commit that stored its cause;
   the caller acknowledges deliveries to the broker only then. A turn that fails changed nothing.
 * Junk costs a verification and a counter, nothing else.
 * `turn` carries the control flow; what it calls does one step for the whole batch.
 * Plain synchronous code: the process and the seeded simulation run this same class.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy
from sqlalchemy import Connection, select

from cloud import (
    acknowledgements,
    decisions,
    moves,
    outbox,
    payments,
    publisher,
    requests,
    spools,
    timers,
)
from cloud.acknowledgements import JournalProgress, Parcel
from cloud.decisions import Decided, DecisionContext
from cloud.hellos import Greeted, LedgerFacts, greet
from cloud.live import Live, Step
from cloud.locks import settle_pending
from cloud.outcomes import Applied, apply_items
from cloud.publisher import Outgoing, Signer
from cloud.rules import Policy
from cloud.schema import ledger
from cloud.tickets import OverdueWatch
from wire import envelope
from wire.checking import Checked, Delivered, Junk, check
from wire.decoding import encode
from wire.fields import AgentId, IntakeId, JournalId, SpoolId
from wire.keys import KeyId
from wire.messages import (
    RECEIPT_ITEMS_MAX,
    Acknowledgement,
    Filed,
    Hello,
    Payment,
    Receipt,
    ReceiptItem,
    Watermark,
)
from wire.topics import MessageType, command_topic, directed_topic, receipt_topic
from wire.trust import Authorities, Key

_LOG = logging.getLogger(__name__)

FILED_EVERY_MS = 50  # `filed` per agent, unless nothing else waits
SWEEP_EVERY_MS = 1_000  # timers: expiries, re-sends, retries due, locks, requests, tickets
RESEND_BATCH_MAX = 1_024  # re-sends per sweep: a broker that was away gets them over seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is: its keys, whom it believes, its company's policy."""

    signer: Signer
    authorities: Authorities
    identities: Mapping[KeyId, Key]
    policy: Policy


@dataclass(slots=True, kw_only=True)
class _Inbox:
    """One turn's deliveries that passed steps 1 to 7, by type."""

    payments: list[Payment] = field(default_factory=list)
    watermarks: list[Watermark] = field(default_factory=list)
    hellos: list[Hello] = field(default_factory=list)
    acknowledgements: list[Parcel] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Done:
    """What becomes true outside the database when a turn's transaction commits."""

    progressed: list[JournalProgress] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    paid_to_closed_ms: list[int] = field(default_factory=list)


class Engine:
    """Turns deliveries into stored facts and outgoing messages."""

    def __init__(
        self,
        settings: EngineSettings,
        store: sqlalchemy.Engine,
        live: Live,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.junk: Counter[str] = Counter()
        self._store = store
        self._live = live
        self._random_bytes = random_bytes
        self._ring = settings.authorities.keyring(settings.identities)
        self._filed_due: dict[str, JournalProgress] = {}
        self._filed_sent_at_ms: dict[str, int] = {}
        self._swept_at_ms = 0
        self._overdue = OverdueWatch()
        with store.begin() as transaction:
            row = transaction.execute(select(ledger)).one()
            self.generation_ms: int = row.generation_ms
            live.load_zones(transaction)
        if row.epoch != settings.signer.epoch:
            raise ValueError(
                f"this engine's key has epoch {settings.signer.epoch}, the ledger {row.epoch}:"
                " give it the key of the current epoch"
            )

    def turn(
        self, deliveries: Sequence[Delivered], *, now_ms: int, is_busy: bool = False
    ) -> list[Outgoing]:
        """Handle what arrived, and timers that are due; what to publish now that it is stored.

        Args:
            deliveries: a bounded batch, in the order of arrival.
            now_ms: the engine's clock.
            is_busy: more deliveries wait already, so `filed` may coalesce.
        """
        is_due = now_ms - self._swept_at_ms >= SWEEP_EVERY_MS or bool(self._filed_due)
        if not deliveries and not is_due:
            return []
        inbox = self._judge(deliveries, now_ms)
        done = _Done()
        with self._store.begin() as transaction:
            outgoing = self._handle(transaction, inbox, done, now_ms)
        # Only now: a `filed` for items whose transaction failed would let an agent forget them.
        self._filed_due.update({progress.agent_id: progress for progress in done.progressed})
        self._live.count(done.steps, done.paid_to_closed_ms)
        return outgoing + self._filed(now_ms, is_busy=is_busy)

    def believe(self, authorities: Authorities, identities: Mapping[KeyId, Key]) -> None:
        """From the next turn on, judge by these keys; not to be called during a turn."""
        self.settings = replace(self.settings, authorities=authorities, identities=identities)
        self._ring = authorities.keyring(identities)
        if self.settings.signer.key.key_id not in self._ring.keys:
            # Its own revocation must reach the agents all the same: they hear of it by hello.
            _LOG.error(
                "alarm: registry %d does not know this engine's key: agents drop what it signs;"
                " configure the new key and start again",
                authorities.registry_version,
            )

    def summary(self, *, now_ms: int) -> Outgoing:
        """The live summary of this second."""
        with self._store.connect().execution_options(relight_reads_only=True) as connection:
            return self._live.summary(connection, now_ms=now_ms)

    def _judge(self, deliveries: Iterable[Delivered], now_ms: int) -> _Inbox:
        inbox = _Inbox()
        for delivered in deliveries:
            checked = check(delivered, self._ring, at_ms=now_ms)
            if isinstance(checked, Junk):
                self.junk[f"{checked.step} {checked.reason}"] += 1
            else:
                self._sort(checked, inbox)
        return inbox

    def _sort(self, checked: Checked, inbox: _Inbox) -> None:
        match checked.message:
            case Payment() as message:
                inbox.payments.append(message)
            case Watermark() as message:
                inbox.watermarks.append(message)
            case Hello() as message:
                inbox.hellos.append(message)
            case Acknowledgement() as message:
                inbox.acknowledgements.append(Parcel(message=message, items=checked.items))
            case _:
                self.junk["7 not for an engine"] += 1

    def _handle(
        self,
        transaction: Connection,
        inbox: _Inbox,
        done: _Done,
        now_ms: int,
    ) -> list[Outgoing]:
        context = DecisionContext(
            policy=self.settings.policy, now_ms=now_ms, random_bytes=self._random_bytes
        )
        steps = done.steps
        outgoing, voided = self._greet(transaction, inbox.hellos, now_ms)
        retries: set[int] = set()
        ready: set[str] = {hello.agent for hello in inbox.hellos}
        if inbox.payments:
            taken = payments.take(transaction, inbox.payments, context.policy, now_ms=now_ms)
            outgoing += self._receipts(taken.receipts)
            decided = decisions.decide_accounts(transaction, taken.touched_accounts, context)
            ready |= self._note_decided(decided, steps, now_ms)
        if inbox.watermarks or inbox.payments:
            outgoing += self._take_watermarks(transaction, inbox.watermarks, now_ms)
        if inbox.acknowledgements:
            applied = self._file(transaction, inbox.acknowledgements, done, now_ms)
            retries |= applied.decide_again
            ready |= applied.agents_with_work
            steps += [Step("closed", meter, now_ms) for meter in applied.closed_meters]
            steps += [Step("armed", meter, now_ms) for meter in applied.armed_meters]
            done.paid_to_closed_ms += applied.paid_to_closed_ms
            steps += [Step("received", meter, now_ms) for meter in applied.received_meters]
        due = self._sweep(transaction, now_ms)
        if due.is_known and not due.commands_wait:
            ready.clear()  # nothing waits for anybody; what is decided below comes again
        if due.lapsed:
            retries |= outbox.end_lapsed(transaction, now_ms=now_ms)
        if due.moves:
            moves.settle(transaction, now_ms=now_ms)
        if due.requests:
            asked = requests.handle_waiting(transaction, context)
            ready |= self._note_decided(asked, steps, now_ms)
        for decided in (
            decisions.decide_anew(transaction, voided, context),
            decisions.decide_again(transaction, retries - voided, context),
        ):
            ready |= self._note_decided(decided, steps, now_ms)
        if ready or due.commands_wait:
            whom = None if due.commands_wait else ready
            fixed = publisher.fill(transaction, self.settings.signer, agent_ids=whom, now_ms=now_ms)
            steps += [Step("published", one.topic.rpartition("/")[2], now_ms) for one in fixed]
            outgoing += fixed
        outgoing += self._after_filling(transaction, due, now_ms)
        outgoing += self._live.steps(transaction, steps)
        return outgoing

    def _sweep(self, transaction: Connection, now_ms: int) -> timers.Due:
        if now_ms - self._swept_at_ms < SWEEP_EVERY_MS:
            return timers.NOT_LOOKED
        self._swept_at_ms = now_ms
        return timers.look(transaction, now_ms=now_ms)

    def _after_filling(
        self, transaction: Connection, due: timers.Due, now_ms: int
    ) -> list[Outgoing]:
        if due.pending_locks:
            settle_pending(transaction, now_ms=now_ms)
        if due.dark_too_long:
            self._overdue.look(transaction, now_ms=now_ms)
        return self._resend(transaction, now_ms) if due.resends else []

    def _greet(
        self, transaction: Connection, hellos: Sequence[Hello], now_ms: int
    ) -> tuple[list[Outgoing], set[int]]:
        facts = LedgerFacts(
            generation_ms=self.generation_ms,
            signer=self.settings.signer,
            authorities=self.settings.authorities,
        )
        greeted = Greeted()
        for hello in hellos:
            greet(transaction, hello, facts, greeted, now_ms=now_ms)
        return greeted.outgoing, greeted.voided_episodes

    def _note_decided(self, decided: Decided, steps: list[Step], now_ms: int) -> set[str]:
        steps += [Step("decided", meter, now_ms) for meter in decided.decided_meters]
        return decided.agents_with_work

    def _file(
        self,
        transaction: Connection,
        parcels: Sequence[Parcel],
        done: _Done,
        now_ms: int,
    ) -> Applied:
        filed = acknowledgements.file(transaction, parcels, now_ms=now_ms)
        done.progressed += [
            one for one in filed.progress.values() if one.is_current and not one.is_forked
        ]
        return apply_items(transaction, filed.fresh, now_ms=now_ms)

    def _take_watermarks(
        self, transaction: Connection, watermarks: Sequence[Watermark], now_ms: int
    ) -> list[Outgoing]:
        outgoing = []
        for watermark in watermarks:
            must_hear = spools.take_watermark(
                transaction, watermark, now_ms=now_ms, generation_ms=self.generation_ms
            )
            if must_hear:
                outgoing.append(self._receipt(watermark.intake, watermark.spool, ()))
        spools.complete_watermarks(transaction)
        return outgoing

    def _resend(self, transaction: Connection, now_ms: int) -> list[Outgoing]:
        rows = outbox.due_for_resend(transaction, now_ms=now_ms, limit=RESEND_BATCH_MAX)
        return [
            Outgoing(topic=command_topic(row.agent_id, row.meter_id), payload=row.envelope)
            for row in rows
        ]

    def _receipts(
        self, receipts: Mapping[tuple[str, bytes], Sequence[ReceiptItem]]
    ) -> list[Outgoing]:
        return [
            self._receipt(intake, spool, items[start : start + RECEIPT_ITEMS_MAX])
            for (intake, spool), items in receipts.items()
            for start in range(0, len(items), RECEIPT_ITEMS_MAX)
        ]

    def _receipt(self, intake: str, spool: bytes, items: Sequence[ReceiptItem]) -> Outgoing:
        body = encode(
            Receipt(
                intake=IntakeId(intake),
                spool=SpoolId(spool),
                generation_ms=self.generation_ms,
                items=tuple(items),
            )
        )
        return self._sealed(receipt_topic(IntakeId(intake)), MessageType.RECEIPT, body)

    def _filed(self, now_ms: int, *, is_busy: bool) -> list[Outgoing]:
        """R8: what is filed now; while more waits, one message per agent in 50 ms."""
        outgoing = []
        for agent_id, progress in list(self._filed_due.items()):
            if is_busy and now_ms - self._filed_sent_at_ms.get(agent_id, 0) < FILED_EVERY_MS:
                continue
            del self._filed_due[agent_id]
            self._filed_sent_at_ms[agent_id] = now_ms
            agent = AgentId(agent_id)
            body = encode(
                Filed(
                    agent=agent,
                    journal=JournalId(progress.journal),
                    generation_ms=self.generation_ms,
                    through=progress.through,
                    head=progress.head,
                )
            )
            topic = directed_topic(MessageType.FILED, agent)
            outgoing.append(self._sealed(topic, MessageType.FILED, body))
        return outgoing

    def _sealed(self, topic: str, message_type: MessageType, body: bytes) -> Outgoing:
        signer = self.settings.signer
        payload = envelope.seal(signer.installation, message_type.value, body, [signer.key])
        return Outgoing(topic=topic, payload=payload)

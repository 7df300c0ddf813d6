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
    freezes,
    moves,
    outbox,
    payments,
    publisher,
    requests,
    spools,
    timers,
)
from cloud.acknowledgements import JournalProgress, Parcel
from cloud.answers import Answers
from cloud.cosigning import AskGuard, nobody_answers
from cloud.decisions import Decided, DecisionContext
from cloud.hellos import Greeted, LedgerFacts, greet
from cloud.live import Live, Step
from cloud.locks import settle_pending
from cloud.opening import Gate
from cloud.opening_ends import conclude_ends
from cloud.opening_turn import OpeningTurn
from cloud.outcomes import Applied, apply_items
from cloud.publisher import Outgoing, Signer
from cloud.rules import Policy
from cloud.schema import ledger
from cloud.tickets import OverdueWatch
from wire.checking import Checked, Delivered, Junk, check
from wire.documents import Resume, Stop
from wire.keys import KeyId
from wire.messages import Acknowledgement, Hello, Payment, Watermark
from wire.topics import command_topic
from wire.trust import Authorities, Key
from wire.vocabulary import Role

_LOG = logging.getLogger(__name__)

SWEEP_EVERY_MS = 1_000  # timers: expiries, re-sends, retries due, locks, requests, tickets
RESEND_BATCH_MAX = 1_024  # re-sends per sweep: a broker that was away gets them over seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is: its keys, whom it believes, its company's policy."""

    signer: Signer
    authorities: Authorities
    identities: Mapping[KeyId, Key]
    policy: Policy
    ask_guard: AskGuard = nobody_answers


@dataclass(slots=True, kw_only=True)
class _Inbox:
    """One turn's deliveries that passed steps 1 to 7, by type."""

    payments: list[Payment] = field(default_factory=list)
    watermarks: list[Watermark] = field(default_factory=list)
    hellos: list[Hello] = field(default_factory=list)
    acknowledgements: list[Parcel] = field(default_factory=list)
    stops: list[freezes.Brought] = field(default_factory=list)  # and resumes


@dataclass(slots=True, kw_only=True)
class _Done:
    """What becomes true outside the database when a turn's transaction commits."""

    progressed: list[JournalProgress] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    paid_to_closed_ms: list[int] = field(default_factory=list)
    telling: freezes.Telling | None = None


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
        self._telling = freezes.Telling()
        self._swept_at_ms = 0
        self._overdue = OverdueWatch()
        with store.begin() as transaction:
            row = transaction.execute(select(ledger)).one()
            self.generation_ms: int = row.generation_ms
            live.load_zones(transaction)
        self._answers = Answers(settings.signer, self.generation_ms)
        self._opens = OpeningTurn(settings.signer, settings.ask_guard)
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
        is_due = now_ms - self._swept_at_ms >= SWEEP_EVERY_MS or self._answers.are_owed
        if not deliveries and not is_due and not self._opens.is_due(now_ms):
            return []
        inbox = self._judge(deliveries, now_ms)
        done = _Done()
        with self._store.begin() as transaction:
            outgoing = self._handle(transaction, inbox, done, now_ms)
        # Only now: a `filed` for items whose transaction failed would let an agent forget them.
        self._answers.owe_filed(done.progressed)
        self._telling = done.telling or self._telling
        self._live.count(done.steps, done.paid_to_closed_ms)
        return outgoing + self._answers.filed(now_ms, is_busy=is_busy)

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

    def connected(self) -> None:
        """The link is new: what stop and resume were told on the one before may be lost with it."""
        self._telling = freezes.Telling()

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
                self._sort(checked, delivered, inbox)
        return inbox

    def _sort(self, checked: Checked, delivered: Delivered, inbox: _Inbox) -> None:
        match checked.message:
            case Payment() as message:
                inbox.payments.append(message)
            case Watermark() as message:
                inbox.watermarks.append(message)
            case Hello() as message:
                inbox.hellos.append(message)
            case Acknowledgement() as message:
                inbox.acknowledgements.append(Parcel(message=message, items=checked.items))
            case Stop() | Resume():
                inbox.stops.append(freezes.Brought(checked=checked, envelope=delivered.payload))
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
        is_news = self._take_freezes(transaction, inbox.stops, now_ms)  # welcomes speak of them
        outgoing, voided = self._greet(transaction, inbox.hellos, now_ms)
        retries: set[int] = set()
        ready: set[str] = {hello.agent for hello in inbox.hellos}
        if inbox.payments:
            taken = payments.take(transaction, inbox.payments, context.policy, now_ms=now_ms)
            outgoing += self._answers.receipts(taken.receipts)
            decided = decisions.decide_accounts(transaction, taken.touched_accounts, context)
            ready |= self._note_decided(decided, steps, now_ms)
            ready |= self._opens.take_back(transaction, context, taken.touched_accounts)
        if inbox.watermarks or inbox.payments:
            outgoing += self._take_watermarks(transaction, inbox.watermarks, now_ms)
        if inbox.acknowledgements:
            applied = self._file(transaction, inbox.acknowledgements, done, context)
            retries |= applied.decide_again
            ready |= applied.agents_with_work
            steps += [Step("closed", meter, now_ms) for meter in applied.closed_meters]
            steps += [Step("armed", meter, now_ms) for meter in applied.armed_meters]
            done.paid_to_closed_ms += applied.paid_to_closed_ms
            steps += [Step("received", meter, now_ms) for meter in applied.received_meters]
        due = self._sweep(transaction, now_ms)
        if due.freezes or is_news:
            told, done.telling = freezes.tell(transaction, self._telling)
            outgoing += told
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
        gate = self._gate()
        ready |= self._opens.sweep(transaction, due, context, gate)
        if ready or due.commands_wait:
            whom = None if due.commands_wait else ready
            fixed = publisher.fill(transaction, self.settings.signer, agent_ids=whom, now_ms=now_ms)
            steps += [Step("published", one.topic.rpartition("/")[2], now_ms) for one in fixed]
            outgoing += fixed
        outgoing += self._opens.sign(transaction, due, context, gate)
        outgoing += self._after_filling(transaction, due, now_ms)
        outgoing += self._live.steps(transaction, steps)
        return outgoing

    def _gate(self) -> Gate:
        registry = self.settings.authorities.registry
        return Gate(ring=self._ring, registry=registry, generation_ms=self.generation_ms)

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
        if not hellos:
            return [], set()
        facts = LedgerFacts(
            freeze=freezes.read(transaction),
            generation_ms=self.generation_ms,
            signer=self.settings.signer,
            authorities=self.settings.authorities,
        )
        greeted = Greeted()
        for hello in hellos:
            greet(transaction, hello, facts, greeted, now_ms=now_ms)
        return greeted.outgoing, greeted.voided_episodes

    def _take_freezes(
        self, transaction: Connection, brought: Sequence[freezes.Brought], now_ms: int
    ) -> bool:
        """R9: keep them; whether there is one that nobody has been told of."""
        registry = self.settings.authorities.registry
        keys = registry.keys if registry else ()
        intakes = {key.subject for key in keys if key.role is Role.INTAKE}
        answers = [
            freezes.take(transaction, one, now_ms=now_ms, intakes=intakes) for one in brought
        ]
        return any(answer.is_new for answer in answers)

    def _note_decided(self, decided: Decided, steps: list[Step], now_ms: int) -> set[str]:
        steps += [Step("decided", meter, now_ms) for meter in decided.decided_meters]
        return decided.agents_with_work

    def _file(
        self,
        transaction: Connection,
        parcels: Sequence[Parcel],
        done: _Done,
        context: DecisionContext,
    ) -> Applied:
        now_ms = context.now_ms
        filed = acknowledgements.file(transaction, parcels, now_ms=now_ms)
        done.progressed += [
            one for one in filed.progress.values() if one.is_current and not one.is_forked
        ]
        applied = apply_items(transaction, filed.fresh, now_ms=now_ms)
        ends = conclude_ends(transaction, applied.of_proposals, context)
        decided = decisions.decide_accounts(transaction, ends.accounts, context)
        applied.agents_with_work |= ends.agents_with_work
        applied.agents_with_work |= self._note_decided(decided, done.steps, now_ms)
        return applied

    def _take_watermarks(
        self, transaction: Connection, watermarks: Sequence[Watermark], now_ms: int
    ) -> list[Outgoing]:
        outgoing = []
        for watermark in watermarks:
            must_hear = spools.take_watermark(
                transaction, watermark, now_ms=now_ms, generation_ms=self.generation_ms
            )
            if must_hear:
                outgoing.append(self._answers.receipt(watermark.intake, watermark.spool, ()))
        spools.complete_watermarks(transaction)
        return outgoing

    def _resend(self, transaction: Connection, now_ms: int) -> list[Outgoing]:
        rows = outbox.due_for_resend(transaction, now_ms=now_ms, limit=RESEND_BATCH_MAX)
        return [
            Outgoing(topic=command_topic(row.agent_id, row.meter_id), payload=row.envelope)
            for row in rows
        ]

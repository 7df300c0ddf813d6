"""The life of a command at the agent: verified, journaled, begun, finished.

    (arrives) -> received -> actuating -> outcome        refused: straight to its outcome
                     |-> outcome: superseded, withdrawn, refused, already there, read, unreachable
Rules kept here (docs/protocol.md, "command"; R3, R14):
 * The highest counter is raised in the transaction that accepts or finally refuses.
 * A higher counter ends a lower one that is only `received`; what is `actuating` is waited for.
 * A withdrawal ends everything below it that has not acted; if something has, it waits for that and
   says `too_late` with what was read back.
 * Guarded and unguarded ask nothing of a relay: they end in the transaction that accepts them.
 * Immediately before the ACTION: expired, stop and caps, superseded, withdrawn are asked again.
 * After a restart: received closes go on, received opens are refused `restarted`; what was acting
   acts at most once more, after it was read back, and never an open (I6).
Every method that writes takes part in the caller's transaction.
"""

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from edge_agent.clock import TimeView
from edge_agent.command_rows import Begun, Step
from edge_agent.facts import FactSources
from edge_agent.greeting import Greeting
from edge_agent.journal import InvariantBroken, Journal
from edge_agent.relay import AskToAct, RelayResult
from edge_agent.unfinished import ATTEMPTS_MAX, MOVEMENTS, Pending, Unfinished
from edge_agent.verification import (
    CAPPED,
    Accept,
    AlreadyFinished,
    NotNow,
    Refusal,
    counter_of,
    expiry_refusal,
    opening_refusal,
    verify,
)
from wire.checking import Checked
from wire.decoding import decode_body
from wire.fields import CommandId, MeterId
from wire.messages import Command, CommandItem, ReceivedItem, RelayReading
from wire.vocabulary import Action, Outcome, RefusalReason

INTERIM_AFTER_MS = 5_000  # the engine re-sends after 5 s; the interim word ends that


class Commands:
    """Every command of one journal and one boot."""

    def __init__(
        self,
        journal: Journal,
        greeting: Greeting,
        facts: FactSources,
        running: dict[MeterId, CommandId],
    ) -> None:
        self._journal = journal
        self._rows = journal.commands
        self._greeting = greeting
        self._facts = facts
        self.unfinished = Unfinished((_restored(one) for one in self._rows.begun()), running)
        self.asked_again: list[int] = []  # items that duplicates of this batch ask for
        self.not_now: Tally[str] = Tally()

    # Arrival

    def take(self, checked: Checked) -> None:
        """Judge and journal one command that passed steps 1 to 7."""
        command = cast("Command", checked.message)
        command_id = CommandId(checked.digest[:16])
        time = self._greeting.time()
        facts = self._facts.of_command(checked, command_id, self.unfinished.outstanding)
        verdict = verify(command, facts)
        if isinstance(verdict, NotNow) or time is None:
            self.not_now[verdict.reason if isinstance(verdict, NotNow) else "no_welcome"] += 1
        elif isinstance(verdict, AlreadyFinished):
            self.asked_again.append(verdict.item_number)
        elif isinstance(verdict, Refusal):
            self._refuse(command_id, command, verdict, time)
        elif isinstance(verdict, Accept):
            self._accept(command_id, command, checked.body, time)

    def _refuse(
        self, command_id: CommandId, command: Command, refusal: Refusal, time: TimeView
    ) -> None:
        is_low = refusal.reason is RefusalReason.LOW_COUNTER
        if refusal.raises_counter(command.action):
            self._rows.raise_highest(command.meter, counter_of(command))
        item = CommandItem(
            number=self._journal.made + 1,
            command=command_id,
            meter=command.meter,
            epoch=command.epoch,
            sequence_ms=command.sequence_ms,
            outcome=Outcome.REFUSED,
            reason=refusal.reason.value,
            before=None,
            after=None,
            received_at_ms=time.middle_ms,
            acted_at_ms=None,
            read_at_ms=None,
            highest=self._rows.highest(command.meter) if is_low else None,
        )
        self._write_outcome(item, command, time.middle_ms)

    def _accept(self, command_id: CommandId, command: Command, body: bytes, time: TimeView) -> None:
        row = _row("received", command_id, command, time.middle_ms)
        self._write(replace(row, body=body))
        pending = Pending(
            command_id=command_id,
            command=command,
            received_at_ms=time.middle_ms,
            interim_due_ms=self._greeting.elapsed_ms() + INTERIM_AFTER_MS,
        )
        if command.action == Action.READ:
            self.unfinished.add(pending)
            return
        self._rows.raise_highest(command.meter, pending.counter)
        on_meter = self.unfinished.on_meter(command.meter)
        lower = [one for one in on_meter if one.counter < pending.counter]
        self.unfinished.add(pending)
        if command.action == Action.WITHDRAW:
            self._withdraw(pending, lower)
            return
        for one in lower:
            if one.command.action in MOVEMENTS and not one.is_acting:
                self._end(one, Outcome.SUPERSEDED)
        if command.action == Action.GUARDED:
            self._journal.rosters.guard(command.meter)
            self._end(pending, Outcome.SET)
        elif command.action == Action.UNGUARDED:
            self._journal.rosters.unguard(command.meter)
            self._end(pending, Outcome.SET)

    def _withdraw(self, pending: Pending, lower: list[Pending]) -> None:
        meant = [one for one in lower if one.command.action != Action.WITHDRAW]
        for one in meant:
            if not one.is_acting:
                self._end(one, Outcome.WITHDRAWN)
        if not any(one.is_acting for one in meant):
            self._end(pending, Outcome.WITHDREW if meant else Outcome.NOTHING_PENDING)

    # After a restart

    def first_welcome(self) -> None:
        """This boot may act now: opens that only were received have waited too long."""
        for one in tuple(self.unfinished):
            if one.is_restarted and not one.is_acting and one.command.action in CAPPED:
                self._end(one, Outcome.REFUSED, RefusalReason.RESTARTED)

    # The ACTION

    def begin(self, asks: Iterable[AskToAct]) -> frozenset[CommandId]:
        """Look once more, then journal `actuating`; the ids that may move their relay now."""
        given = set()
        for ask in asks:
            pending = self.unfinished.get(ask.command_id)
            if pending is None:
                continue  # superseded or withdrawn while it was read, or of a journal put aside
            refused = self._refused_at_last(pending)
            if refused is not None:
                if pending.is_acting and refused[0] is not Outcome.REFUSED:
                    # I6: an earlier boot told the relay to move, and it still may: not "withdrawn".
                    refused = (Outcome.UNKNOWN, None)
                self._end(pending, *refused, before=ask.reading)
                continue
            if pending.attempts and not (pending.is_restarted and pending.attempts < ATTEMPTS_MAX):
                raise InvariantBroken(f"I6: command {ask.command_id.hex()} would act again")
            self._journal_acting(pending)
            given.add(ask.command_id)
        return frozenset(given)

    def _refused_at_last(self, pending: Pending) -> tuple[Outcome, str | None] | None:
        time = self._greeting.time()
        command = pending.command
        for other in self.unfinished.on_meter(command.meter):
            if other.counter > pending.counter and other.command.action != Action.READ:
                is_withdrawn = other.command.action == Action.WITHDRAW
                return (Outcome.WITHDRAWN if is_withdrawn else Outcome.SUPERSEDED), None
        # Without a time nothing can be shown to be alive.
        reason = RefusalReason.EXPIRED if time is None else expiry_refusal(command, time)
        if reason is None and time is not None and command.action in CAPPED:
            facts = self._facts.of_opening(command)
            if pending.is_restarted or facts is None:
                reason = RefusalReason.RESTARTED
            else:
                reason = opening_refusal(command, facts, time)
        return None if reason is None else (Outcome.REFUSED, reason.value)

    def _journal_acting(self, pending: Pending) -> None:
        at_ms = max(self._now_ms(), pending.received_at_ms)
        attempt = pending.attempts + 1
        row = _row("actuating", pending.command_id, pending.command, at_ms)
        self._write(replace(row, attempt=attempt, manifest=pending.command.manifest))
        self.unfinished.update(
            replace(pending, acted_at_ms=at_ms, attempts=attempt, is_restarted=False)
        )

    def finish(self, results: Iterable[RelayResult]) -> None:
        """Journal the outcomes of operations that ended; their meters are free again."""
        running_ms = self._greeting.running_ms()
        for result in results:
            self.unfinished.ended(result.meter)
            if result.before is not None or result.after is not None:
                self._rows.note_reached(result.meter, running_ms)
            pending = self.unfinished.get(result.command_id)
            if pending is not None and result.outcome is not None:
                self._finish(pending, result, running_ms)

    def _finish(self, pending: Pending, result: RelayResult, running_ms: int) -> None:
        command = pending.command
        if command.action in (Action.CLOSE, Action.ARM) and pending.is_acting:
            self._rows.note_closed(command.meter, running_ms)
        outcome = result.outcome or Outcome.UNKNOWN
        if command.action == Action.WITHDRAW:
            outcome = Outcome.TOO_LATE  # it only waited to be able to say what was read back
        self._end(pending, outcome, result.reason, before=result.before, after=result.after)

    # Writing down

    def interim(self, elapsed_ms: int) -> None:
        """Tell once of each command that takes longer than 5 s."""
        for one in tuple(self.unfinished):
            if one.interim_due_ms is not None and one.interim_due_ms <= elapsed_ms:
                number = self._journal.made + 1
                self._journal.append(
                    ReceivedItem(number=number, command=one.command_id, meter=one.command.meter)
                )
                self.unfinished.update(replace(one, interim_due_ms=None))

    def next_interim_ms(self) -> int | None:
        """When the next interim word is due, in elapsed ms."""
        due = (one.interim_due_ms for one in self.unfinished)
        return min((one for one in due if one is not None), default=None)

    def _end(
        self,
        pending: Pending,
        outcome: Outcome,
        reason: str | None = None,
        *,
        before: RelayReading | None = None,
        after: RelayReading | None = None,
    ) -> None:
        """The one final word: it is appended to the items and closes the command for ever."""
        command = pending.command
        # A welcome may set the clock back; received <= acted <= read must hold all the same.
        at_ms = max(self._now_ms(), pending.acted_at_ms or pending.received_at_ms)
        item = CommandItem(
            number=self._journal.made + 1,
            command=pending.command_id,
            meter=command.meter,
            epoch=command.epoch,
            sequence_ms=command.sequence_ms,
            outcome=outcome,
            reason=None if reason is None else _printable(reason),
            before=before,
            after=after,
            received_at_ms=pending.received_at_ms,
            acted_at_ms=pending.acted_at_ms,
            read_at_ms=None if before is None and after is None else at_ms,
            highest=None,
        )
        self._write_outcome(item, command, at_ms)
        self.unfinished.remove(pending)

    def _write_outcome(self, item: CommandItem, command: Command, at_ms: int) -> None:
        self._journal.append(item)
        row = _row("outcome", item.command, command, at_ms)
        self._write(replace(row, item=item.number))

    def _write(self, row: Step) -> None:
        self._rows.write(row, self._greeting.running_ms())

    def _now_ms(self) -> int:
        time = self._greeting.time()
        return 0 if time is None else time.middle_ms


def _row(step: str, command_id: CommandId, command: Command, at_ms: int) -> Step:
    return Step(
        command_id=command_id,
        step=step,
        meter=command.meter,
        action=command.action,
        at_ms=at_ms,
        expires_at_ms=command.expires_at_ms,
    )


def _restored(begun: Begun) -> Pending:
    return Pending(
        command_id=begun.command_id,
        command=decode_body(Command, begun.body),
        received_at_ms=begun.received_at_ms,
        interim_due_ms=None,  # the hello's `unfinished` tells of it
        acted_at_ms=begun.acted_at_ms,
        attempts=begun.attempts,
        is_restarted=True,
    )


def _printable(reason: str) -> str:
    """A meter's words as the wire carries them: 32 printable ASCII characters."""
    return "".join(one if " " <= one <= "~" else "?" for one in reason)[:32]

"""The agent of one concentrator: the one control flow over greeting, commands and filing.

Synchronous and deterministic: the clock that counts, ids and the journal are handed in, and every
call returns what the rim must do. The rim calls `connected`, `receive` with what the broker
delivered, `begin` with the operations that ask to act, `finish` with their results, and `due` when
`next_due_ms` has come. Rules kept here:
 * Each call is at most one transaction, committed before its effects are returned: the rim may send
   and act on what it is given, and on nothing else (I5; one commit for a whole batch).
 * In a batch, trust and welcome come first, then stops, then withdrawals, then other commands.
 * Until a welcome of this boot, nothing is answered and nothing moves.
 * A journal the engine calls rolled back or retired is put aside; its successor says hello.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from edge_agent.commands import Commands
from edge_agent.documents import Documents
from edge_agent.facts import FactSources
from edge_agent.filing import Filing
from edge_agent.greeting import Greeting
from edge_agent.held_roster import HeldRoster
from edge_agent.journal import RUNNING_SAVED_MS, TRIM_MAX, InvariantBroken, Journal
from edge_agent.relay import AskToAct, RelayResult
from edge_agent.roster import Roster
from edge_agent.settings import AgentSettings, Effects, Outgoing
from wire.checking import Checked, Delivered, Junk, check
from wire.documents import Manifest, Resume, Stop
from wire.documents import Roster as SignedRoster
from wire.envelope import MalformedError
from wire.fields import CommandId, MeterId
from wire.messages import AlarmItem, Command, Filed, Welcome
from wire.topics import MessageType, NotATopicError, parse
from wire.trust import TrustRefusedError
from wire.vocabulary import Action

TRIM_PERIOD_MS = 3_600_000
TRIM_PAUSE_MS = 1_000  # between two full portions, so that commands are not kept waiting
ALARM_PERIOD_MS = 3_600_000  # the same alarm at most once an hour: nobody floods the journal (I13)
ANEW_PERIOD_MS = 60_000  # journals put aside, at most one a minute
BOOT_STEP_BYTES = 4  # a restored disk must not reach the boot it lost (docs/decisions/0008)

_TURNS = {
    MessageType.TRUST.value: 0,
    MessageType.WELCOME.value: 1,
    MessageType.STOP.value: 2,
    MessageType.RESUME.value: 3,
    MessageType.FILED.value: 4,
}


class Agent:
    """One agent over one journal, until the process ends."""

    def __init__(
        self,
        *,
        settings: AgentSettings,
        journal: Journal,
        roster: Roster,
        elapsed_ms: Callable[[], int],
        new_id: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.journal = journal
        self._commissioned = roster
        self._elapsed_ms = elapsed_ms
        self._new_id = new_id
        self.junk: Tally[str] = Tally()  # one word per check of `wire.checking`
        self._alarmed_ms: dict[str, int] = {}
        self._trim_at_ms = elapsed_ms()
        self._anew_at_ms = elapsed_ms()
        self._is_over = False
        self._begin_life({})

    def _begin_life(
        self, running: dict[MeterId, CommandId], unjudged: Iterable[Delivered] = ()
    ) -> None:
        standing = self.journal.standing
        roster = HeldRoster(self.journal, self._commissioned)
        self._greeting = Greeting(
            self.settings, self.journal, roster, self._elapsed_ms, self._new_id
        )
        with self.journal.transaction(standing.running_ms):
            step = 1 + int.from_bytes(self._new_id(BOOT_STEP_BYTES), "big")
            self.journal.change(boot=standing.boot + step)
        installation = self._greeting.ring.installation
        self._filing = Filing(self.settings, self.journal, installation)
        self._documents = Documents(self.journal, self._greeting, roster, unjudged)
        facts = FactSources(
            journal=self.journal,
            greeting=self._greeting,
            roster=roster,
            window=self.settings.window,
        )
        self._commands = Commands(self.journal, self._greeting, facts, running)

    @property
    def is_welcomed(self) -> bool:
        """Whether this boot may move and answer."""
        return self._greeting.is_welcomed

    @property
    def not_now(self) -> Tally[str]:
        """How many commands were dropped without a trace, by reason."""
        return self._commands.not_now

    def connected(self) -> Effects:
        """There is a (new) connection: say hello."""
        self._greeting.connected()
        return self.due()

    def receive(self, deliveries: Sequence[Delivered]) -> Effects:
        """Take what the broker delivered; afterwards it may be acknowledged to the broker."""
        with self._writing():
            self._take_all(deliveries)
        return self._effects()

    def begin(self, asks: Iterable[AskToAct]) -> Effects:
        """Journal `actuating` for the operations that may act; `may_act` names them."""
        with self._writing():
            may_act = self._commands.begin(asks)
        return self._effects(may_act=may_act)

    def finish(self, results: Iterable[RelayResult]) -> Effects:
        """Journal the outcomes of operations that ended, and acknowledge them."""
        with self._writing():
            self._commands.finish(results)
        return self._effects()

    def due(self) -> Effects:
        """Do what the time asks for; cheap when nothing is due."""
        now_ms = self._elapsed_ms()
        if self._must_commit(now_ms):
            with self._writing():
                self._commands.interim(now_ms)
                self._trim(now_ms)
        outgoing, move_broker = [], False
        if self._greeting.hello_is_due():
            move_broker = self._greeting.after_hello()
            if not move_broker:
                outgoing.append(self._hello())
        if self.is_welcomed:
            outgoing += self._filing.due(now_ms)
        return self._effects(outgoing, move_broker=move_broker)

    def next_due_ms(self) -> int:
        """When `due` has something to do, in elapsed ms."""
        unsaved_ms = self._greeting.running_ms() - self.journal.standing.running_ms
        times = [
            self._elapsed_ms() + max(0, RUNNING_SAVED_MS - unsaved_ms),
            self._greeting.next_hello_ms,
            self._commands.next_interim_ms() if self.is_welcomed else None,
            self._filing.resend_at_ms if self.is_welcomed else None,
            self._anew_at_ms if self._greeting.must_start_anew else None,
        ]
        return min(one for one in times if one is not None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. If it fails, memory may be ahead of the file: this object is over."""
        self._demand_alive()
        try:
            with self.journal.transaction(self._greeting.running_ms()):
                yield
        except BaseException:
            self._is_over = True
            raise

    def _demand_alive(self) -> None:
        if self._is_over:
            raise InvariantBroken("an agent that met an error starts again from its journal")

    # Messages

    def _take_all(self, deliveries: Iterable[Delivered]) -> None:
        commands: list[Checked] = []
        for delivered in sorted(deliveries, key=_turn):
            if _turn(delivered) == _TURNS[MessageType.TRUST]:
                self._take_trust(delivered)
                continue
            checked = self._checked(delivered)
            if checked is None:
                continue
            if checked.topic.message_type is MessageType.COMMAND:
                commands.append(checked)
            else:
                self._take(checked, delivered)
        # A withdrawal goes before what it may still hold back.
        for checked in sorted(commands, key=_is_no_withdrawal):
            self._commands.take(checked)
        if commands and self.journal.is_full:
            self._alarm("journal_full")

    def _checked(self, delivered: Delivered) -> Checked | None:
        checked = check(
            delivered,
            self._greeting.ring,
            at_ms=self._greeting.latest_ms(),
            receiver=self.settings.agent,
        )
        if isinstance(checked, Checked):
            return checked
        self._count_junk(checked)
        return None

    def _count_junk(self, junk: Junk) -> None:
        self.junk[junk.reason] += 1
        if junk.reason == "signers":
            self._greeting.ask()

    def _take(self, checked: Checked, delivered: Delivered) -> None:
        message = checked.message
        if isinstance(message, Welcome):
            self._take_welcome(checked, message)
        elif isinstance(message, Filed):
            self._take_filed(message)
        elif isinstance(message, Stop | Resume | Manifest | SignedRoster):
            alarm = self._documents.take(checked, delivered)
            if alarm is not None:
                self._alarm(alarm)
        else:
            self.junk["type"] += 1  # not meant for any agent

    def _take_trust(self, delivered: Delivered) -> None:
        try:
            if parse(delivered.topic).agent not in (None, self.settings.agent):
                self.junk["ids"] += 1
                return
            alarm = self._greeting.take_trust(delivered.payload)
        except (NotATopicError, MalformedError, TrustRefusedError):
            # Unsigned until proven: whoever can publish could fill the journal with alarms.
            self.junk["trust"] += 1
            return
        if alarm is not None:
            self._alarm(alarm)

    def _take_welcome(self, checked: Checked, welcome: Welcome) -> None:
        greeting = self._greeting
        if not greeting.answered(checked):
            self.junk["welcome"] += 1
            return
        was_welcomed = greeting.is_welcomed
        for code in greeting.welcomed(checked):
            self._alarm(code)
        if greeting.must_start_anew:
            return
        self._mark_filed(welcome.through, welcome.head)
        self._filing.start_over()
        if greeting.is_welcomed and not was_welcomed:
            self._commands.first_welcome()
            self._take_all(self._documents.unjudged())

    def _take_filed(self, filed: Filed) -> None:
        standing = self.journal.standing
        is_ours = filed.journal == standing.journal_id
        if not is_ours or filed.generation_ms < standing.generation_ms or not self.is_welcomed:
            return
        if filed.generation_ms > standing.generation_ms:
            self.journal.adopt_generation(filed.generation_ms)
            self._filing.start_over()
        self._mark_filed(filed.through, filed.head)

    def _mark_filed(self, through: int, head: bytes) -> None:
        running_ms = self._greeting.running_ms()
        if not self._filing.mark(through, head, running_ms, self._elapsed_ms()):
            self._alarm("history_forked")

    # Time

    def _must_commit(self, now_ms: int) -> bool:
        interim_ms = self._commands.next_interim_ms()
        unsaved_ms = self._greeting.running_ms() - self.journal.standing.running_ms
        return (
            unsaved_ms >= RUNNING_SAVED_MS
            or (interim_ms is not None and interim_ms <= now_ms)
            or self._trim_at_ms <= now_ms
        )

    def _trim(self, now_ms: int) -> None:
        latest_ms = self._greeting.latest_ms()
        if self._trim_at_ms <= now_ms:
            self._trim_at_ms = now_ms + TRIM_PERIOD_MS
            if latest_ms is None:
                return
            if self.journal.trim(self._greeting.running_ms(), latest_ms) == TRIM_MAX:
                self._trim_at_ms = now_ms + TRIM_PAUSE_MS

    def _hello(self) -> Outgoing:
        return self._greeting.hello(self._commands.unfinished.ids())

    def _alarm(self, code: str) -> None:
        now_ms = self._elapsed_ms()
        last_ms = self._alarmed_ms.get(code)
        if last_ms is not None and now_ms - last_ms < ALARM_PERIOD_MS:
            return
        self._alarmed_ms[code] = now_ms
        time = self._greeting.time()
        at_ms = 0 if time is None else time.middle_ms
        number = self.journal.made + 1
        self.journal.append(AlarmItem(number=number, code=code, meter=None, at_ms=at_ms))

    # Effects

    def _effects(
        self,
        outgoing: Iterable[Outgoing] = (),
        *,
        may_act: frozenset[CommandId] = frozenset(),
        move_broker: bool = False,
    ) -> Effects:
        self._demand_alive()
        now_ms = self._elapsed_ms()
        if self._greeting.must_start_anew and now_ms >= self._anew_at_ms:
            return self._start_anew(now_ms)
        if not self.is_welcomed:
            return Effects(outgoing=tuple(outgoing), move_broker=move_broker)
        again = self._filing.send_again(self._commands.asked_again)
        self._commands.asked_again.clear()
        return Effects(
            outgoing=(*outgoing, *again, *self._filing.send(now_ms)),
            jobs=self._commands.unfinished.start(),
            may_act=may_act,
            move_broker=move_broker,
        )

    def _start_anew(self, now_ms: int) -> Effects:
        self._anew_at_ms = now_ms + ANEW_PERIOD_MS
        running = self._commands.unfinished.running
        self.journal = self.journal.start_anew(self._new_id)
        self._begin_life(running, self._documents.unjudged())
        self._greeting.connected()
        return self.due()


def _turn(delivered: Delivered) -> int:
    return _TURNS.get(delivered.topic.partition("/")[0], len(_TURNS))


def _is_no_withdrawal(checked: Checked) -> bool:
    return cast("Command", checked.message).action != Action.WITHDRAW

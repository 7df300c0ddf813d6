"""Everything a case plays with, and the words it is written in: send, see, must not see.

Rules kept here: every wait has a longest time, named here, and says what it waited for; "nothing
happens" is never a pause but a fence: a good command behind the bad one, whose answer is seen.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.conformance.engine import Engine, Message, Sent
from edge_agent.conformance.handout import Handout
from edge_agent.conformance.line import Line, forget_session
from edge_agent.conformance.process import AgentProcess
from edge_agent.conformance.record import Book
from edge_agent.conformance.relay_files import OPEN, Meters
from wire.link_settings import BrokerAddress, TlsFiles
from wire.messages import AlarmItem, CommandItem, Hello, ReceivedItem
from wire.vocabulary import Outcome

HELLO_S = 15.0  # from the start, or from a lost connection, to a hello
ANSWER_S = 5.0  # from a command to its item, when its meter answers at once
DROPPED_S = 0.5  # before a welcome no fence is possible: so long a message may take to be dropped
_LOOK_S = 0.002


class NotSeenError(Exception):
    """What must be seen was not, or what must not be seen was: the row fails with this text."""


def demand(is_so: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence
    """Fail the row unless it is so.

    Raises:
        NotSeenError: with `otherwise`.
    """
    if not is_so:
        raise NotSeenError(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The real broker, and the agent's own certificate for it."""

    address: BrokerAddress
    agent_files: TlsFiles


@dataclass(slots=True, kw_only=True)
class Stage:
    """One agent under test, its meters, its line, and the engine that speaks to it."""

    handout: Handout
    process: AgentProcess
    meters: Meters
    line: Line
    broker: Broker
    new_engine: Callable[[], Engine]
    engine: Engine

    # Lives and boots

    async def begin_life(self) -> None:
        """A new, empty agent; it is not running."""
        await self.process.kill()
        self.line.is_up = True
        await self.forget_session()
        self.handout.empty_state()
        self.engine = self.new_engine()

    async def forget_session(self) -> None:
        """The broker keeps nothing for the agent; it must not be connected."""
        agent = self.engine.installation.agent
        await forget_session(self.broker.address, self.broker.agent_files, agent)

    async def boot(self) -> Hello:
        """Start the agent, and see its first hello; it is welcomed only if the engine does so."""
        heard = len(self.engine.record.hellos)
        await self.process.start()
        return await self.next_hello(heard)

    async def restart(self) -> Hello:
        """Kill the agent without warning, start it again, see its hello and welcome nothing."""
        await self.process.kill()
        self.engine.welcomes = False
        return await self.boot()

    async def next_hello(self, heard: int) -> Hello:
        """The hello behind the first `heard` ones."""
        hellos = self.engine.record.hellos
        await self.until(lambda: len(hellos) > heard, HELLO_S, "a hello")
        return hellos[heard]

    async def is_ready(self, meter: str = "METER-8") -> None:
        """A read is answered: the agent has taken the welcome and whatever stood before it."""
        await self.fence(meter)

    # Waiting

    async def until(self, is_so: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait for something to be seen.

        Raises:
            NotSeenError: not within that time.
        """
        give_up_s = time.monotonic() + within_s
        while not is_so():
            if not self.process.is_running:
                raise NotSeenError(f"waiting for {what}: the agent's process has ended")
            if time.monotonic() > give_up_s:
                raise NotSeenError(f"no {what} within {within_s:g} s")
            await asyncio.sleep(_LOOK_S)

    async def until_ms(self, at_ms: int) -> None:
        """Wait until the engine's clock is past this time."""
        while self.engine.now_ms <= at_ms:  # noqa: ASYNC110  # a clock tells nobody
            await asyncio.sleep(_LOOK_S)

    # Sending and seeing

    @property
    def book(self) -> Book:
        """The items of the journal the agent speaks of now."""
        return self.engine.record.book(self.engine.record.hellos[-1].journal)

    def send(self, action: str, meter: str, **changes: object) -> Sent:
        """Send one command."""
        sent = self.engine.command(action, meter, **changes)
        self.engine.send(sent)
        return sent

    def found(self, sent: Sent) -> CommandItem | None:
        """The one final item of a command, if it came."""
        for item in self.book.items.values():
            if isinstance(item, CommandItem) and item.command == sent.command_id:
                return item
        return None

    async def final(self, sent: Sent, within_s: float = ANSWER_S) -> CommandItem:
        """Wait for the one final item of a command."""
        what = f"outcome of the {sent.command.action} of {sent.command.meter}"
        await self.until(lambda: self.found(sent) is not None, within_s, what)
        item = self.found(sent)
        assert item is not None  # noqa: S101  # the line above waited for it
        return item

    async def outcome(self, sent: Sent, *wanted: Outcome) -> CommandItem:
        """Wait for the final item, and hold it to its outcome and to its command."""
        item = await self.final(sent)
        names = " or ".join(wanted)
        said = f"{item.outcome} {item.reason or ''}".strip()
        demand(item.outcome in wanted, f"outcome {said!r}, not {names}")
        command = sent.command
        is_its = (item.meter, item.epoch, item.sequence_ms) == (
            command.meter,
            command.epoch,
            command.sequence_ms,
        )
        demand(is_its, "meter, epoch and sequence of the item are not the command's")
        return item

    async def refused(self, sent: Sent, *reasons: str) -> CommandItem:
        """Wait for a refusal with this reason."""
        item = await self.outcome(sent, Outcome.REFUSED)
        wanted = " or ".join(reasons)
        demand(item.reason in reasons, f"refused {item.reason!r}, not {wanted}")
        return item

    async def fence(self, meter: str) -> None:
        """A good read behind whatever was sent before: its answer shows that all that was taken."""
        await self.outcome(self.send("read", meter), Outcome.READ)

    async def no_answer(self, *sent: Sent) -> None:
        """Behind a fence on the same meter: no item about these commands."""
        await self.fence(sent[-1].command.meter)
        for one in sent:
            item = self.found(one)
            demand(item is None, f"answered: {item and (item.outcome, item.reason)}")

    async def is_dropped(self, *sent: Sent) -> None:
        """Before a welcome: give the agent time to drop these; it may not answer."""
        await asyncio.sleep(DROPPED_S)
        for one in sent:
            demand(self.found(one) is None, "answered before the welcome")

    def moves(self, meter: str) -> int:
        """How often the relay was told to move in this run."""
        return len(self.meters.told(meter))

    def place(self, meter: str, **how: object) -> int:
        """An open relay, unless `reading` says otherwise; how often it was told to move so far."""
        self.meters.place(meter, how.pop("reading", OPEN), **how)  # type: ignore[arg-type]
        return self.moves(meter)

    def moved(self, meter: str, before: int, times: int) -> None:
        """The relay was told to move exactly so often since `place` said `before`."""
        found = self.moves(meter) - before
        demand(found == times, f"{meter} was told to move {found} times, not {times}")

    async def is_told(self, meter: str, before: int) -> None:
        """Wait until the relay is told to move."""
        await self.until(lambda: self.moves(meter) > before, ANSWER_S, f"movement of {meter}")

    def times_heard(self, number: int) -> list[float]:
        """When an item came, each time, in monotonic seconds."""
        return [one.at_s for one in self.book.heard if one.number == number]

    async def heard_again(self, number: int, heard: int, within_s: float = ANSWER_S) -> None:
        """Wait until an item has come more often than `heard` times."""
        what = f"item {number} again"
        await self.until(lambda: len(self.times_heard(number)) > heard, within_s, what)

    async def alarm(self, code: str) -> None:
        """Wait for an alarm item."""
        await self.until(
            lambda: any(
                isinstance(item, AlarmItem) and item.code == code
                for item in self.book.items.values()
            ),
            ANSWER_S,
            f"alarm {code}",
        )

    def interim(self, sent: Sent) -> bool:
        """Whether the interim word on a command has come."""
        return any(
            isinstance(item, ReceivedItem) and item.command == sent.command_id
            for item in self.book.items.values()
        )

    async def opens_are(self, *reasons: str) -> None:
        """What an open of METER-7 is refused for now: a new journal refuses each one."""
        await self.refused(self.send("open", "METER-7"), *reasons)

    def replay(self, message: Message) -> None:
        """Send recorded bytes."""
        self.engine.send(message)

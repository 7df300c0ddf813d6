"""The asynchronous rim of one agent: it carries messages to the core and the core's wishes out.

Rules kept here:
 * What the broker delivered is acknowledged to it only after the core has committed it.
 * Operations that ask to act, and those that ended, are gathered for one turn of the event loop and
   handed to the core together, so that a batch of commands costs three commits and not three each.
 * At most `meters_at_once` operations are on the lines; the others wait. The core's window bounds
   how many there are.
 * No threads: the journal commits on the loop, and many hosts live on one loop.
 * An error of the core or of the journal ends `run`; the process stops and starts from its journal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from edge_agent.agent import Agent
from edge_agent.relay import (
    Answer,
    AskToAct,
    Leave,
    MeterRefused,
    MoveRelay,
    NoAnswer,
    Pause,
    RelayDoor,
    RelayJob,
    RelayResult,
    Request,
    operate,
)
from edge_agent.settings import Effects
from wire.fields import MeterId
from wire.link import Delivery, PublishResult
from wire.messages import RelayReading
from wire.topics import presence_topic
from wire.vocabulary import Action

ONLINE = b"online"
OFFLINE = b"offline"
RECEIVE_MAX = 256  # deliveries in one transaction: some tens of milliseconds of work
TICK_MAX_MS = 1_000  # the longest sleep of the timer: a second late is early enough for all of it
METERS_AT_ONCE = 32


class MessageLink(Protocol):
    """What the host needs of `wire.link.Link`."""

    async def receive(self, limit: int, wait_ms: int | None = None) -> list[Delivery]:
        """Take what has arrived."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that these are stored."""

    def send(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1
    ) -> "asyncio.Future[PublishResult]":
        """Publish without waiting."""

    async def next_connection(self, after: int) -> int:
        """Wait for a connection with a number above `after`."""

    async def move_to_next_broker(self) -> None:
        """Leave this broker."""

    async def run(self) -> None:
        """Keep the connection."""

    async def stop(self) -> None:
        """Disconnect cleanly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The clock and the sleep of the world the host lives in."""

    elapsed_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Host:
    """One agent with its link and its door; `run` until cancelled."""

    def __init__(
        self,
        agent: Agent,
        link: MessageLink,
        door: RelayDoor,
        surroundings: Surroundings,
        meters_at_once: int = METERS_AT_ONCE,
    ) -> None:
        self._agent = agent
        self._link = link
        self._door = door
        self._surroundings = surroundings
        self._lines = asyncio.Semaphore(meters_at_once)
        self._asking: list[tuple[AskToAct, asyncio.Future[bool]]] = []
        self._ended: list[RelayResult] = []
        self._is_gathering = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            Exception: whatever the core or the journal raised; nothing is sent after it.
        """
        self._failed = asyncio.get_running_loop().create_future()
        for part in (self._link.run(), self._greet(), self._receive(), self._tick()):
            self._spawn(part)
        try:
            await self._failed
        finally:
            presence = presence_topic(self._agent.settings.agent)
            self._link.send(presence, OFFLINE, retain=True)
            tasks = tuple(self._tasks)
            await self._link.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._part_ended)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    # The four parts

    async def _greet(self) -> None:
        number = 0
        while True:
            number = await self._link.next_connection(number)
            self._link.send(presence_topic(self._agent.settings.agent), ONLINE, retain=True)
            self._apply(self._agent.connected())

    async def _receive(self) -> None:
        while True:
            deliveries = await self._link.receive(RECEIVE_MAX)
            if not deliveries:
                continue
            effects = self._agent.receive(deliveries)
            self._link.acknowledge(deliveries)
            self._apply(effects)

    async def _tick(self) -> None:
        while True:
            wait_ms = self._agent.next_due_ms() - self._surroundings.elapsed_ms()
            await self._surroundings.sleep(min(max(wait_ms, 1), TICK_MAX_MS) / 1_000)
            self._apply(self._agent.due())

    def _apply(self, effects: Effects) -> None:
        for message in effects.outgoing:
            # What becomes of it does not matter here: until it is filed it is sent again.
            self._link.send(message.topic, message.payload, retain=message.retain)
        for job in effects.jobs:
            self._spawn(self._operate(job))
        if effects.move_broker:
            self._spawn(self._link.move_to_next_broker())

    # Operations

    async def _operate(self, job: RelayJob) -> None:
        async with self._lines:
            steps = operate(job, self._surroundings.elapsed_ms)
            answer: Answer = None
            try:
                while True:
                    answer = await self._fulfil(job.meter, steps.send(answer))
            except StopIteration as stop:
                self._ended.append(cast("RelayResult", stop.value))
                self._gather()

    async def _fulfil(self, meter: MeterId, request: Request) -> Answer:
        if isinstance(request, AskToAct):
            asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._asking.append((request, asked))
            self._gather()
            return Leave(await asked)
        if isinstance(request, Pause):
            await self._surroundings.sleep(request.wait_ms / 1_000)
            return None
        try:
            if not isinstance(request, MoveRelay):
                output, state, mode = await self._door.read(meter)
                return RelayReading(output=output, control_state=state, control_mode=mode)
            move = self._door.close if request.action is Action.CLOSE else self._door.open
            await move(meter)
        except PermissionError as refusal:
            return MeterRefused(str(refusal))
        except OSError:
            # A line that is reset or refused answers as little as a silent one: TimeoutError too.
            return NoAnswer()
        return None

    def _gather(self) -> None:
        """Hand over what this turn of the loop brings, at its end."""
        if not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._is_gathering = False
        asking, self._asking = self._asking, []
        ended, self._ended = self._ended, []
        try:
            if ended:
                self._apply(self._agent.finish(ended))
            if asking:
                self._begin(asking)
        except Exception as error:  # noqa: BLE001  # a callback: `run` raises it
            self._fail(error)

    def _begin(self, asking: list[tuple[AskToAct, asyncio.Future[bool]]]) -> None:
        effects = self._agent.begin([request for request, _ in asking])
        self._apply(effects)
        for request, asked in asking:
            if not asked.done():
                asked.set_result(request.command_id in effects.may_act)

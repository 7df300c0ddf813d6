"""HTTP requests made beforehand, over kept-alive connections: at a pace, or as fast as answered.

Rules kept here: the client does nothing between two requests but write bytes that were ready and
find the end of an answer, so that what is measured is the other side; at a pace, latency counts
from the moment a request was due, not from when a connection was free for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

CONNECTIONS = 32  # a provider's senders and a proxy keep some tens open
ANSWERS_WITHIN_S = 120.0


@dataclass(slots=True, kw_only=True)
class Answers:
    """What came back. `latencies_ms` and `statuses` stand in the order of the requests."""

    latencies_ms: list[float]
    statuses: list[int]
    total_s: float = 0.0

    @property
    def rate_per_s(self) -> float:
        """Answers in a second, from the first request to the last answer."""
        return len(self.statuses) / self.total_s


@dataclass(slots=True)
class _Load:
    requests: Sequence[bytes]
    due_s: list[float]
    answers: Answers
    is_done: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: deque[int] = field(default_factory=deque)
    idle: list["_Sender"] = field(default_factory=list)
    left: int = 0

    def offer(self, place: int) -> None:
        """A request is due: a free connection takes it, or the next that is free."""
        if self.idle:
            self.idle.pop().send(place)
        else:
            self.waiting.append(place)

    def answered(self, sender: "_Sender", place: int, status: int) -> None:
        self.answers.latencies_ms[place] = (time.perf_counter() - self.due_s[place]) * 1_000
        self.answers.statuses[place] = status
        self.left -= 1
        if self.waiting:
            sender.send(self.waiting.popleft())
        else:
            self.idle.append(sender)
        if self.left == 0:
            self.is_done.set()


class _Sender(asyncio.Protocol):
    """One connection: one request under way at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._place = -1
        self._read = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class
        self._load.idle.append(self)

    def send(self, place: int) -> None:
        assert self._transport is not None
        self._place = place
        if self._load.due_s[place] == 0.0:  # without a pace it is due when it can be sent
            self._load.due_s[place] = time.perf_counter()
        self._transport.write(self._load.requests[place])

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, mark, body = self._read.partition(b"\r\n\r\n")
        if not mark or len(body) < _announced(head):
            return
        self._read = b""
        self._load.answered(self, self._place, int(head[9:12]))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


def _announced(head: bytes) -> int:
    after = head.lower().partition(b"content-length:")[2]
    return int(after.split(b"\r\n", 1)[0])


async def send_all(
    port: int, requests: Sequence[bytes], *, rate_per_s: float | None = None
) -> Answers:
    """Send every request to loopback and wait for every answer.

    Args:
        port: where somebody answers HTTP.
        requests: whole requests, each with its length.
        rate_per_s: requests begun in a second, whatever is unanswered; None: each connection
            sends its next when it has its answer.

    Raises:
        TimeoutError: not everything was answered in time.
    """
    count = len(requests)
    answers = Answers(latencies_ms=[0.0] * count, statuses=[0] * count)
    load = _Load(requests, [0.0] * count, answers, left=count)
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Sender(load), "127.0.0.1", port)
    senders = list(load.idle)
    started_s = time.perf_counter()
    if rate_per_s is None:
        for place in range(count):
            load.offer(place)
    else:
        await _pace(load, started_s, rate_per_s)
    async with asyncio.timeout(ANSWERS_WITHIN_S):
        await load.is_done.wait()
    answers.total_s = time.perf_counter() - started_s
    for sender in senders:
        sender.close()
    return answers


async def _pace(load: _Load, started_s: float, rate_per_s: float) -> None:
    for place in range(len(load.requests)):
        load.due_s[place] = started_s + place / rate_per_s
        early_s = load.due_s[place] - time.perf_counter()
        if early_s > 0:
            await asyncio.sleep(early_s)
        load.offer(place)

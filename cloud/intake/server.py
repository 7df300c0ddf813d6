"""The HTTP door: a provider's webhook in, one answer out; `GET /health` for whoever watches.

Rules kept here (domain rules 7 and 8; I1):
 * 2xx only when the raw bytes are fsynced. 401 without a good signature, 413 over 256 KiB, 503 with
   Retry-After when it cannot be stored now: the provider sends it again, for 24 hours.
 * Nothing is parsed before it is verified: size, then signature, then room, then JSON.
 * A genuine report is never answered with a "no" for what it says: what makes no sense is stored
   as unreadable, answered 2xx, and waits for a person.
 * Every outcome is counted by name. Nothing that is shown or logged holds a body or a secret.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cloud.intake.counting import Counted, Counters, count_stored
from cloud.intake.facts import Report, Unreadable
from cloud.intake.provider import Provider, Signature
from cloud.intake.spool import StoreUnavailableError
from cloud.intake.writing import QueueFullError, ReportWriter

BODY_BYTES_MAX = 256 * 1_024  # domain rule 7; Razorpay's largest sample has 4 kB
BODY_WAIT_MAX_S = 5.0  # the provider gives up after 5 s as well
EVENT_ID_CHARACTERS_MAX = 64
RETRY_AFTER_S = 5
BAD_SIGNATURES_ALARM = 5  # so many within the next line's time are an alarm
BAD_SIGNATURES_WITHIN_MS = 600_000
# Open connections; each may hold one body and uvicorn's 64 kB: some 330 MB at the very worst.
CONNECTIONS_MAX = 1_024
KEEP_ALIVE_S = 75  # longer than the usual 60 s of a proxy in front of us
SHUTDOWN_MAX_S = 5  # for requests under way; what is unanswered comes again

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider hears."""

    status: int
    text: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


_RETRY = ((b"retry-after", str(RETRY_AFTER_S).encode()),)
_STORED = Answer(200, b"stored")
_DUPLICATE = Answer(200, b"stored before")
_NOT_GENUINE = Answer(401, b"signature missing or wrong: is the webhook secret the one set here?")
_STALE = Answer(401, b"the signature's time is too far from ours: sign each delivery anew; clocks?")
# What follows of the body is not read, so the connection cannot go on.
_TOO_LARGE = Answer(413, b"a report has at most 262144 bytes", ((b"connection", b"close"),))
_TOO_SLOW = Answer(408, b"the body did not arrive in 5 s", ((b"connection", b"close"),))
_BAD = {
    Signature.MISSING: Counted.SIGNATURE_MISSING,
    Signature.WRONG: Counted.SIGNATURE_WRONG,
    Signature.STALE: Counted.SIGNATURE_STALE,
}
_UNAVAILABLE = Answer(503, b"cannot be stored now; send it again", _RETRY)


class _TooLargeError(Exception):
    """The body is over the limit."""


class _DisconnectedError(Exception):
    """The other side went before its body was whole."""


@dataclass(slots=True, kw_only=True)
class Door:
    """The ASGI endpoint of one provider's webhooks."""

    provider: Provider
    writer: ReportWriter
    has_room: Callable[[], bool]
    counters: Counters
    clock_ms: Callable[[], int]
    _is_refusing: bool = False
    _bad_at_ms: deque[int] = field(default_factory=lambda: deque(maxlen=BAD_SIGNATURES_ALARM))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one webhook."""
        answer = await self._answer(scope, receive)
        if answer is None:
            return
        length = (b"content-length", str(len(answer.text)).encode())
        headers = [(b"content-type", b"text/plain"), length, *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.text})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])  # names come in lower case
        try:
            async with asyncio.timeout(BODY_WAIT_MAX_S):
                raw = await _body(receive, int(headers.get(b"content-length", b"0")))
        except _TooLargeError:
            self.counters.count(Counted.TOO_LARGE)
            return _TOO_LARGE
        except TimeoutError:
            self.counters.count(Counted.BODY_TOO_SLOW)
            return _TOO_SLOW
        except _DisconnectedError:
            self.counters.count(Counted.DISCONNECTED)
            return None
        signature = headers.get(self.provider.signature_header, b"").decode("latin-1")
        judged = self.provider.judge(raw, signature, self.clock_ms())
        if judged is not Signature.GENUINE:
            self._count_bad(judged)
            return _STALE if judged is Signature.STALE else _NOT_GENUINE
        if not self.has_room():
            self.counters.count(Counted.UNRECEIPTED_FULL)
            return _UNAVAILABLE
        return await self._store(raw, headers.get(self.provider.event_id_header, b""))

    async def _store(self, raw: bytes, event_id: bytes) -> Answer:
        report = Report(
            provider=self.provider.name,
            # No signature covers it: it may be anything, and decides nothing.
            event_id=event_id.decode("latin-1")[:EVENT_ID_CHARACTERS_MAX],
            raw=raw,
            received_at_ms=self.clock_ms(),
            reading=self.provider.read_report(raw),
        )
        try:
            taken = await self.writer.submit(report)
        except QueueFullError:
            self.counters.count(Counted.QUEUE_FULL)
            return _UNAVAILABLE
        except StoreUnavailableError as error:
            self.counters.count(Counted.STORE_UNAVAILABLE)
            if not self._is_refusing:  # told once: a full disk must not be filled with log lines
                _LOG.error("reports cannot be stored: %s", error)
            self._is_refusing = True
            return _UNAVAILABLE
        self._is_refusing = False
        if taken.is_duplicate:
            self.counters.count(Counted.DUPLICATE)
            return _DUPLICATE
        self.counters.count(Counted.STORED)
        count_stored(self.counters, report, self.provider.needs_person)
        if isinstance(report.reading, Unreadable):
            # Genuine is genuine: never a "no". The words help who builds the sender.
            return Answer(200, f"stored, not understood: {report.reading.reason}".encode())
        return _STORED

    def _count_bad(self, judged: Signature) -> None:
        self.counters.count(_BAD[judged])
        now_ms = self.clock_ms()
        self._bad_at_ms.append(now_ms)
        is_full = len(self._bad_at_ms) == BAD_SIGNATURES_ALARM
        if is_full and now_ms - self._bad_at_ms[0] <= BAD_SIGNATURES_WITHIN_MS:
            _LOG.error(
                "alarm: %d webhooks of %s with a missing, wrong or stale signature within "
                "10 minutes; is a secret or a clock set wrongly, or is somebody forging?",
                *(BAD_SIGNATURES_ALARM, self.provider.name),
            )
            self._bad_at_ms.clear()  # the next alarm needs five more: a flood fills no log


async def _body(receive: Receive, announced_bytes: int) -> bytes:
    """The whole body; an announced length can only refuse it, the real one is counted."""
    if announced_bytes > BODY_BYTES_MAX:
        raise _TooLargeError
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise _TooLargeError
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def application(doors: Iterable[Door], health: Callable[[], dict[str, object]]) -> Starlette:
    """The doors, each at `/webhooks/` and its provider's name, and `GET /health`."""

    async def tell_health(_: Request) -> JSONResponse:
        return JSONResponse(health())

    # In capitals as in the configuration, and in small letters as addresses mostly are.
    webhooks = [
        Route(f"/webhooks/{name}", door, methods=["POST"])
        for door in doors
        for name in (door.provider.name, door.provider.name.lower())
    ]
    return Starlette(routes=[*webhooks, Route("/health", tell_health, methods=["GET"])])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the program; we are stopped by cancellation."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything else is started; port 0 takes a free one.

    Raises:
        OSError: with host and port.
    """
    try:
        return socket.create_server((host, port), backlog=2_048)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error}") from error


async def serve(app: Starlette, listener: socket.socket) -> None:
    """Serves until cancelled, then finishes the requests under way."""
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_MAX_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving

"""The line between the agent under test and the broker: a TCP relay that the runner can cut.

TLS goes through it untouched, so it is no broker; what it can do is what a bad line does. Beside it
stands the one other thing a broker may do to an agent: forget its session.
"""

import asyncio
import contextlib

from wire.link_settings import BrokerAddress, TlsFiles, tls_context

_CHUNK_BYTES = 65_536
_ANSWER_S = 5.0
_CLEAN_START = 0x02
_CONNACK = 0x20
_DISCONNECT = b"\xe0\x00"


class SessionError(Exception):
    """The broker did not let the runner in under a name whose certificate it was given."""


class Line:
    """Listens on loopback and carries bytes to the broker and back while it is up."""

    def __init__(self, broker: BrokerAddress) -> None:
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_up = True
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut what is left."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Every connection ends without a word, in both directions."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection(self._broker.host, self._broker.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        for one in (self._pump(reader, there[1]), self._pump(there[0], writer)):
            task = asyncio.get_running_loop().create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()


async def forget_session(broker: BrokerAddress, files: TlsFiles, client_id: str) -> None:
    """Let the broker forget what waits for `client_id`: connect with Clean Start, and leave.

    Written out because a link never starts clean. MQTT 5, 3.1: CONNECT without properties ends the
    session with the connection.

    Raises:
        SessionError: refused.
        OSError: no broker there, or the files are wrong.
    """
    name = client_id.encode("ascii")
    rest = b"\x00\x04MQTT\x05" + bytes((_CLEAN_START, 0, 20, 0)) + len(name).to_bytes(2) + name
    async with asyncio.timeout(_ANSWER_S):
        reader, writer = await asyncio.open_connection(
            broker.host, broker.port, ssl=tls_context(files)
        )
        try:
            writer.write(bytes((0x10, len(rest))) + rest)
            answer = await reader.readexactly(4)
            if answer[0] != _CONNACK or answer[3] != 0:
                raise SessionError(f"the broker answered {client_id} with {answer.hex()}")
            writer.write(_DISCONNECT)
            await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

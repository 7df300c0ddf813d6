"""GET over HTTPS: one request, one whole answer, within a bounded time.

Rules kept here: the server's certificate is verified; one deadline spans look-up, connection and
the last byte, so a server that drips holds nobody; an answer that ends early is an error, never a
short answer; redirects are not followed, so the key goes to nobody else.
"""

import asyncio
import base64
import ssl
from typing import Protocol
from urllib.parse import urlsplit

import httptools

from cloud.intake.provider import SettingsError

REQUEST_MAX_S = 10.0  # an answer takes some 0.3 s; the next try may find the server well again
ANSWER_BYTES_MAX = 4 * 2**20  # a hundred entities are some 150 kB
RETRY_AFTER_MAX_S = 300  # what a server may ask us to wait; the watermark is too old by then
_READ_BYTES = 65_536
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class FetchError(Exception):
    """The list cannot be fetched now; the text says why."""

    def __init__(self, text: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Fetch(Protocol):
    """The door to a provider's API."""

    async def get(self, target: str) -> bytes:
        """The body of the answer to GET `target`, a path with its query.

        Raises:
            FetchError: there is no whole, good answer.
        """


class HttpFetch:
    """A provider's API behind its address.

    Args:
        api: `https://host[:port]`; plain http only to this machine.
        user: the key's id.
        password: its secret.

    Raises:
        SettingsError: the address is none.
    """

    def __init__(self, api: str, user: str, password: str) -> None:
        parts = urlsplit(api)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise SettingsError(f"api: {api!r} is no address like https://api.razorpay.com")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise SettingsError(f"api: {api!r} would send the key in clear: use https")
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Basic {token}\r\n"
            "Accept: application/json\r\nConnection: close\r\n\r\n"
        )

    async def get(self, target: str) -> bytes:
        """The body of the answer to GET `target`.

        Raises:
            FetchError: there is no whole, good answer.
        """
        try:
            async with asyncio.timeout(REQUEST_MAX_S):
                status, answer = await self._exchange(target)
        except TimeoutError:
            raise FetchError(f"no whole answer within {REQUEST_MAX_S:.0f} s") from None
        except (OSError, httptools.HttpParserError) as error:
            raise FetchError(f"{self._host}: {error}") from error
        if status == 200:
            return bytes(answer.body)
        if status in (401, 403):
            raise FetchError(f"status {status}: are key_id and key_secret the live ones?")
        raise FetchError(f"status {status}", retry_after_s=answer.retry_after_s)

    async def _exchange(self, target: str) -> tuple[int, "_Answer"]:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(f"GET {target} HTTP/1.1\r\n{self._head}".encode("ascii"))
            answer = _Answer()
            parser = httptools.HttpResponseParser(answer)
            while not answer.is_whole:
                part = await reader.read(_READ_BYTES)
                if not part:
                    raise FetchError("the answer ended early")
                parser.feed_data(part)
                if len(answer.body) > ANSWER_BYTES_MAX:
                    raise FetchError(f"the answer is over {ANSWER_BYTES_MAX} bytes")
            return parser.get_status_code(), answer
        finally:
            # Not closed politely: a server that does not say goodbye would hold us.
            writer.transport.abort()


class _Answer:
    """What httptools calls while it reads an answer."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.retry_after_s = 0.0
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        # The other spelling, a date, is as good as none: we wait by our own rule then.
        if name.lower() == b"retry-after" and value.isdigit():
            self.retry_after_s = float(min(int(value[:6]), RETRY_AFTER_MAX_S))

    def on_body(self, part: bytes) -> None:
        """More of the body."""
        self.body += part

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.is_whole = True

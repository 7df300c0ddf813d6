"""When a line is given up although its socket still looks alive.

* The broker was silent for 1.5 keepalives, though asked. While we do not read, silence is ours.
* The oldest publish got no PUBACK: a broker that swallows, or nobody receives here and the PUBACKs
  stand behind the full queue.
* The canary did not come back although nothing else arrived either: the subscriptions are dead.
"""

import random

from wire.gmqtt_guards import BrokerConnection
from wire.link_settings import LinkSettings
from wire.link_windows import Answer, PublishWindow

_CANARY_BYTES = 8  # random, so that an older canary still in the session is not taken for this one
_LOOKS = 4  # looks at the line within each of its time limits


class LineWatch:
    """Watches one connection; times are the event loop's, in seconds."""

    def __init__(
        self, connection: BrokerConnection, window: PublishWindow, settings: LinkSettings
    ) -> None:
        self._connection = connection
        self._window = window
        self._keepalive_s = settings.keepalive_s
        self._limit_s = settings.answer_timeout_s
        self._oldest: Answer | None = None
        self._oldest_since_s = 0.0
        self._canary_since_s = 0.0
        self._canary: bytes | None = None
        self.look_s = min(self._keepalive_s, self._limit_s) / _LOOKS

    def new_canary(self, randomness: random.Random, now_s: float) -> bytes:
        """The bytes to publish to ourselves; from now on they are waited for."""
        self._canary_since_s = now_s
        self._canary = randomness.randbytes(_CANARY_BYTES)
        return self._canary

    def is_canary(self, payload: bytes) -> bool:
        """Whether this is the canary waited for; then it is waited for no more."""
        if payload != self._canary:
            return False
        self._canary = None
        return True

    def message_arrived(self, now_s: float) -> None:
        """Something came before the canary: it stands behind a backlog."""
        self._canary_since_s = now_s

    def look(self, now_s: float) -> None:
        """Asks for a sign of life when it is time; gives the line up when it should be."""
        self._look_for_life()
        self._look_for_puback(now_s)
        self._look_for_canary(now_s)

    def _look_for_life(self) -> None:
        silence_s = self._connection.silence_s()
        if silence_s > 1.5 * self._keepalive_s:
            self._connection.abort(f"the broker was silent for {silence_s:.1f} s")
        elif max(silence_s, self._connection.idle_s()) >= self._keepalive_s / 2:
            self._connection.ping()

    def _look_for_puback(self, now_s: float) -> None:
        oldest = self._window.oldest()
        if oldest is None or oldest is not self._oldest:
            self._oldest, self._oldest_since_s = oldest, now_s
        elif now_s - self._oldest_since_s > self._limit_s:
            self._connection.abort(f"no PUBACK within {self._limit_s} s; is somebody receiving?")

    def _look_for_canary(self, now_s: float) -> None:
        if self._canary is None or not self._connection.is_reading:
            self._canary_since_s = now_s
        elif now_s - self._canary_since_s > self._limit_s:
            self._connection.abort(f"the canary did not come back within {self._limit_s} s")

"""The simulated world's only time: events in order, and a digest of everything that was noted.

Rules kept here: no real clock; events of one millisecond happen in the order in which they were
planned; what is noted becomes the trace, whose digest is the history's identity (I14).
"""

import heapq
from collections.abc import Callable
from hashlib import blake2b

EVENTS_MAX = 60_000  # far above any healthy seed: a loop without progress must not run for ever


class Violation(AssertionError):  # noqa: N818  # what was broken, not an error of the program
    """An invariant does not hold; the text begins with its number."""


class Schedule:
    """The heap of what is to come, and the trace of what was."""

    def __init__(self, start_ms: int, show: Callable[[str], None] | None = None) -> None:
        self.now_ms = start_ms
        self.start_ms = start_ms
        self.events = 0
        self._show = show
        self._coming: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0
        self._trace = blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """The identity of this history."""
        return self._trace.hexdigest()

    def after(self, wait_ms: int, act: Callable[[], None]) -> None:
        """Plan an event `wait_ms` from now."""
        self._planned += 1
        heapq.heappush(self._coming, (self.now_ms + max(0, wait_ms), self._planned, act))

    def note(self, who: str, what: str, *more: object) -> None:
        """Write one line of the trace."""
        words = " ".join(one.hex() if isinstance(one, bytes) else str(one) for one in more)
        line = f"{self.now_ms - self.start_ms:>9} {who:<9} {what} {words}"
        self._trace.update(line.encode())
        if self._show is not None:
            self._show(line)

    def run(self, until_ms: int, is_done: Callable[[], bool] | None = None) -> None:
        """Let everything happen that is due by then, or until `is_done`."""
        while self._coming and self._coming[0][0] <= until_ms:
            if is_done is not None and is_done():
                return
            at_ms, _, act = heapq.heappop(self._coming)
            self.now_ms = at_ms
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Violation(f"I13: {EVENTS_MAX} events and no end: something goes in circles")
            act()
        if is_done is None:
            self.now_ms = max(self.now_ms, until_ms)

"""The numbered items of a journal on their way to the engine, until it says that they are filed.

Rules kept here (R8, R13; docs/protocol.md, acknowledgement and filed):
 * An item is stored with its chain head before it is sent.
 * Consecutive items travel as one list, up to 64 or the topic's size; at most 64 kB are under way.
 * Without progress everything unfiled is sent again, oldest first, after 2, 10 and 60 s, then each
   minute, and on each welcome.
 * `filed` of another journal or an older ledger is ignored; a head that is not ours is an alarm,
   and then nothing is marked and nothing is ever removed on its word.
"""

from collections import deque
from collections.abc import Iterable

from edge_agent.journal import Journal
from edge_agent.settings import AgentSettings, Outgoing
from wire.decoding import encode, raw_items
from wire.envelope import seal
from wire.fields import InstallationId
from wire.messages import ACKNOWLEDGEMENT_ITEMS_MAX, Acknowledgement
from wire.topics import SHAPES, MessageType, acknowledgement_topic

IN_FLIGHT_MAX_BYTES = 65_536  # sent and not filed: some seconds of the slowest line
RESEND_MS = (2_000, 10_000, 60_000)
# Envelope, body and list headers take 200 B of the topic's limit at most.
ITEMS_MAX_BYTES = SHAPES[MessageType.ACKNOWLEDGEMENT].limit_bytes - 256


class Filing:
    """Which items of one journal are under way."""

    def __init__(
        self, settings: AgentSettings, journal: Journal, installation: InstallationId
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._installation = installation
        self._sent = journal.standing.filed
        self._in_flight: deque[tuple[int, int]] = deque()  # (last number, bytes)
        self._in_flight_bytes = 0
        self._resends = 0
        self.resend_at_ms: int | None = None  # elapsed

    def send(self, elapsed_ms: int) -> list[Outgoing]:
        """What may go now: items behind the last one sent, as far as there is room."""
        outgoing = []
        while self._sent < self._journal.made and self._in_flight_bytes < IN_FLIGHT_MAX_BYTES:
            rows = self._journal.items_after(self._sent, ACKNOWLEDGEMENT_ITEMS_MAX)
            taken = _within_bytes(rows)
            message = self._message(taken)
            outgoing.append(message)
            self._sent = taken[-1][0]
            self._in_flight.append((self._sent, len(message.payload)))
            self._in_flight_bytes += len(message.payload)
        if outgoing and self.resend_at_ms is None:
            self.resend_at_ms = elapsed_ms + RESEND_MS[0]
        return outgoing

    def send_again(self, numbers: Iterable[int]) -> list[Outgoing]:
        """The stored items that duplicates of their commands ask for; they change no mark."""
        outgoing = []
        run: list[tuple[int, bytes]] = []
        for number in sorted(set(numbers)):
            row = self._journal.items_after(number - 1, 1)
            if run and (number != run[-1][0] + 1 or len(run) == ACKNOWLEDGEMENT_ITEMS_MAX):
                outgoing.append(self._message(run))
                run = []
            run += row
        if run:
            outgoing.append(self._message(run))
        return outgoing

    def start_over(self) -> None:
        """Everything unfiled is to be sent again, oldest first."""
        self._sent = self._journal.standing.filed
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self.resend_at_ms = None

    def due(self, elapsed_ms: int) -> list[Outgoing]:
        """Send again what was not filed in time."""
        if self.resend_at_ms is None or elapsed_ms < self.resend_at_ms:
            return []
        self.start_over()
        self._resends = min(self._resends + 1, len(RESEND_MS) - 1)
        outgoing = self.send(elapsed_ms)
        self.resend_at_ms = elapsed_ms + RESEND_MS[self._resends] if outgoing else None
        return outgoing

    def mark(self, through: int, head: bytes, running_ms: int, elapsed_ms: int) -> bool:
        """The engine holds 1..through with this head; False: that is not our history.

        Takes part in the caller's transaction.
        """
        if through <= self._journal.checkpoint and through < self._journal.made:
            return True  # removed long ago, or nothing claimed: no head to compare
        if self._journal.head_at(through) != head:
            return through == 0
        if through <= self._journal.standing.filed:
            return True
        self._journal.mark_filed(through, running_ms)
        while self._in_flight and self._in_flight[0][0] <= through:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        self._sent = max(self._sent, through)
        self._resends = 0
        self.resend_at_ms = elapsed_ms + RESEND_MS[0] if self._in_flight else None
        return True

    def _message(self, items: list[tuple[int, bytes]]) -> Outgoing:
        before = self._journal.head_at(items[0][0] - 1)
        standing = self._journal.standing
        body = encode(
            Acknowledgement(
                agent=standing.agent,
                journal=standing.journal_id,
                boot=standing.boot,
                before=before or b"",
                items=raw_items(item for _, item in items),
            )
        )
        payload = seal(
            self._installation,
            MessageType.ACKNOWLEDGEMENT,
            body,
            [self._settings.signing_key],
        )
        return Outgoing(topic=acknowledgement_topic(standing.agent), payload=payload)


def _within_bytes(rows: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The longest beginning that fits one message; never none, an item is 250 B at most."""
    size = 0
    for place, (_, item) in enumerate(rows):
        size += len(item)
        if size > ITEMS_MAX_BYTES:
            return rows[:place]
    return rows

"""Signed words that are kept: stop, resume, manifest, roster; each is stored before it counts.

Rules kept here (docs/protocol.md, "stop" to "roster"; R9, R10, R11):
 * A stop or resume from the future is not believed: it could never be lifted again.
 * Stops and resumes that come before any time is known are kept and judged at the first welcome.
 * A manifest is judged against the time, so it needs a welcome. It is answered once, by an item
   that says for all to see what this agent holds; its row starts a cool-off that nothing shortens.
Every method takes part in the caller's transaction.
"""

from collections import deque
from collections.abc import Iterable
from typing import cast

from edge_agent.clock import CLOSE_WELCOME_MAX_AGE_MS
from edge_agent.greeting import Greeting
from edge_agent.held_roster import HeldRoster
from edge_agent.journal import Journal
from edge_agent.verification import FUTURE_MAX_MS
from wire.checking import Checked, Delivered
from wire.documents import Manifest, Resume, Roster, Stop
from wire.messages import ManifestItem
from wire.vocabulary import ManifestVerdict, RefusalReason

UNJUDGED_MAX = 16  # stops and resumes that arrived before any time was known
MANIFEST_LIFE_MAX_MS = 4 * 3_600_000  # a list of opens is for today: it waits in nobody's drawer
MANIFESTS_MAX = 1_000  # answered in 35 days, one an hour: whoever signs more is not a person
# So long expired, its row may be removed already, and nobody waits for a second answer.
MANIFEST_ANSWERED_MS = 30 * 86_400_000


class Documents:
    """What people signed for one agent, over one journal."""

    def __init__(
        self,
        journal: Journal,
        greeting: Greeting,
        roster: HeldRoster,
        unjudged: Iterable[Delivered] = (),
    ) -> None:
        self._journal = journal
        self._greeting = greeting
        self._roster = roster
        self._unjudged: deque[Delivered] = deque(unjudged, maxlen=UNJUDGED_MAX)

    def unjudged(self) -> tuple[Delivered, ...]:
        """Hand over what waited for a time."""
        waited = tuple(self._unjudged)
        self._unjudged.clear()
        return waited

    def take(self, checked: Checked, delivered: Delivered) -> str | None:
        """Take a stop, resume, manifest or part of a roster; the code of the alarm it calls for."""
        message = checked.message
        if isinstance(message, Manifest):
            return self._take_manifest(checked.digest[:16], message)
        if isinstance(message, Roster):
            return self._take_roster(checked)
        latest_ms = self._greeting.latest_ms()
        if latest_ms is None:
            self._unjudged.append(delivered)
            return None
        if isinstance(message, Stop):
            return self._take_stop(message.number_ms, latest_ms)
        return self._take_resume(cast("Resume", message).lifts_ms, latest_ms)

    def _take_stop(self, number_ms: int, latest_ms: int) -> str | None:
        if number_ms > latest_ms + FUTURE_MAX_MS:
            return "stop_from_future"
        if number_ms > self._journal.standing.stop_ms:
            self._journal.change(stop_ms=number_ms)
        return None

    def _take_resume(self, lifts_ms: int, latest_ms: int) -> str | None:
        if lifts_ms > latest_ms + FUTURE_MAX_MS:
            return "resume_from_future"
        if lifts_ms > self._journal.standing.lifted_ms:
            self._journal.change(lifted_ms=lifts_ms)
        return None

    def _take_roster(self, checked: Checked) -> str | None:
        if self._greeting.time() is None:
            return None  # not now: it is sent again when the next hello shows the older version
        before = self._roster.version
        alarm = self._roster.take(checked)
        if self._roster.version > before:
            self._greeting.say_hello()
        return alarm

    def _take_manifest(self, manifest_id: bytes, manifest: Manifest) -> str | None:
        time, rows = self._greeting.time(), self._journal.manifests
        if time is None or time.age_ms > CLOSE_WELCOME_MAX_AGE_MS or self._journal.is_full:
            return None  # not now: it is sent again each minute
        is_old = time.latest_ms - manifest.expires_at_ms > MANIFEST_ANSWERED_MS
        if is_old or rows.is_known(manifest_id):
            return None
        if rows.count() >= MANIFESTS_MAX:
            return "manifests_full"
        reason = None
        if manifest.expires_at_ms > time.latest_ms + MANIFEST_LIFE_MAX_MS:
            reason = RefusalReason.LIFE_TOO_LONG.value
        elif manifest.expires_at_ms <= time.latest_ms:
            reason = RefusalReason.MANIFEST_EXPIRED.value
        running_ms = self._greeting.running_ms()
        rows.write(manifest_id, manifest, reason, running_ms)
        self._journal.append(
            ManifestItem(
                number=self._journal.made + 1,
                manifest=manifest_id,
                verdict=ManifestVerdict.REFUSED if reason else ManifestVerdict.HELD,
                reason=reason,
                running_ms=running_ms,
            )
        )
        return None

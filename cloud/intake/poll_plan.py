"""Which stretch of a provider's lists is fetched next, and what may be said of it then (pure).

The lists are sorted by the time a payment was *created*, and what was created may become final
later. So the past is read again and again, three times as deep:

| sweep | looks back | each | because |
|---|---|---|---|
| `recent` | 15 min | minute | a bank that is silent for 10 min makes a payment `failed` |
| `late` | 6 h | hour | most of what is authorised late (under 0.5 %) comes within hours |
| `deep` | 7 d | day | a bank is asked for 3 days; after 5 working days it is sent back |

Rules kept here (R1):
 * A sweep begins its depth before the point to which the last one of its kind came, so an outage
   of ours leaves no hole; it goes on from there in slices, oldest first.
 * `recent` goes before the others, whose slices fill its pauses: no watermark waits for them.
 * Only `recent` moves the watermark, slice by slice, each when all it holds is stored, and never
   nearer to now than LIST_LAG_MS. A slice that failed is asked for again; nothing goes past it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cloud.intake.spool_schema import Sweep

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
DEPTH_MS = {Sweep.RECENT: 15 * MINUTE_MS, Sweep.LATE: 6 * HOUR_MS, Sweep.DEEP: 7 * DAY_MS}
EVERY_MS = {Sweep.RECENT: MINUTE_MS, Sweep.LATE: HOUR_MS, Sweep.DEEP: DAY_MS}
# One `recent` sweep is one slice; at 8 payments a second, the highest peak expected, 10,000.
SLICE_MS = 20 * MINUTE_MS
LIST_LAG_MS = MINUTE_MS  # until what is final stands in the provider's list, and clocks agree
# What is older than the spool's own memory is not caught up with by itself, but reconciled.
CATCH_UP_MAX_MS = 35 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A stretch of creation times, fetched as a whole or again."""

    sweep: Sweep
    from_ms: int
    until_ms: int


@dataclass(slots=True)
class _Run:
    """One sweep under way: everything from its start to `position_ms` is stored."""

    started_ms: int
    position_ms: int


class PollPlan:
    """The three sweeps of one provider.

    Args:
        marks: how far each sweep came, as the spool keeps it.
        every_ms: the pause between two starts of each sweep.
        now_ms: the time of the first start.
    """

    def __init__(
        self, marks: Mapping[Sweep, int], every_ms: Mapping[Sweep, int], now_ms: int
    ) -> None:
        self._every_ms = dict(every_ms)
        self._marks = dict(marks)
        self._due_ms = {sweep: marks.get(sweep, now_ms) + every_ms[sweep] for sweep in Sweep}
        self._due_ms[Sweep.RECENT] = now_ms
        self._runs: dict[Sweep, _Run] = {}
        if Sweep.RECENT not in marks:
            # The first start of all: one sweep as deep as any, so the others have nothing to add.
            self._marks[Sweep.RECENT] = now_ms - DEPTH_MS[Sweep.DEEP]

    def next(self, now_ms: int) -> Slice | None:
        """The slice to fetch now; None while no sweep is due."""
        for sweep in Sweep:
            run = self._runs.get(sweep)
            if run is None and now_ms >= self._due_ms[sweep]:
                run = self._runs[sweep] = _Run(now_ms, self._start_ms(sweep, now_ms))
            if run is not None:
                until_ms = min(run.position_ms + SLICE_MS, run.started_ms)
                return Slice(sweep=sweep, from_ms=run.position_ms, until_ms=until_ms)
        return None

    def wait_ms(self, now_ms: int) -> int:
        """How long no sweep is due."""
        return 0 if self._runs else max(0, min(self._due_ms.values()) - now_ms)

    def marks_after(self, part: Slice) -> dict[Sweep, int]:
        """The marks to keep once all that `part` holds is stored."""
        run = self._runs[part.sweep]
        if part.sweep is not Sweep.RECENT:
            return {part.sweep: run.started_ms} if part.until_ms == run.started_ms else {}
        # A mark that a wrong clock put into the future is taken back.
        held_ms = min(self._marks[Sweep.RECENT], run.started_ms)
        # The others count from here, so that restarts cannot put their first time off for ever.
        first = {sweep: run.started_ms for sweep in Sweep if sweep not in self._marks}
        return first | {Sweep.RECENT: max(held_ms, part.until_ms - LIST_LAG_MS)}

    def done(self, part: Slice) -> None:
        """All that `part` holds is stored, and the marks after it are kept."""
        self._marks |= self.marks_after(part)
        run = self._runs[part.sweep]
        run.position_ms = part.until_ms
        if part.until_ms == run.started_ms:
            del self._runs[part.sweep]
            self._due_ms[part.sweep] = run.started_ms + self._every_ms[part.sweep]

    def _start_ms(self, sweep: Sweep, now_ms: int) -> int:
        mark_ms = min(self._marks.get(sweep, now_ms), now_ms)
        return max(mark_ms - DEPTH_MS[sweep], now_ms - CATCH_UP_MAX_MS)

"""What time it can be, from welcomes and a clock that only counts: interval arithmetic, pure.

Rules kept here (docs/protocol.md, "Time"; R5.6):
 * A welcome's `now` was true between the leaving of its hello and its own arrival, so the time is
   an interval: `earliest` counts from the arrival, `latest` from the leaving, and both widen by the
   500 ppm that a concentrator's quartz may be wrong.
 * A round trip over 10 s gives no time: whoever holds messages back could shift the clock.
 * A welcome that contradicts the running interval by over 120 s is not believed: the old time
   stays, opens are refused for 24 h of running time. Three such welcomes that agree with each other
   over at least 10 minutes replace the time for closes.
All times are milliseconds; `elapsed` is CLOCK_BOOTTIME, `running` its sum over all boots.
"""

from dataclasses import dataclass, replace

DRIFT_PPM = 500
ROUND_TRIP_MAX_MS = 10_000
CONTRADICTION_MS = 120_000
DISPUTE_MS = 86_400_000  # of running time
AGREEING_WELCOMES = 3
AGREEING_SPAN_MS = 600_000
CLOSE_WELCOME_MAX_AGE_MS = 86_400_000
OPEN_WELCOME_MAX_AGE_MS = 900_000
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeReading:
    """One welcome's `now` with the elapsed times of its hello's leaving and of its arrival."""

    now_ms: int
    left_ms: int
    arrived_ms: int

    def earliest_ms(self, elapsed_ms: int) -> int:
        """The time it is at least."""
        since = max(0, elapsed_ms - self.arrived_ms)
        return self.now_ms + since * (_MILLION - DRIFT_PPM) // _MILLION

    def latest_ms(self, elapsed_ms: int) -> int:
        """The time it is at most (rounded up)."""
        since = max(0, elapsed_ms - self.left_ms)
        return self.now_ms - (-since * (_MILLION + DRIFT_PPM) // _MILLION)

    def agrees_with(self, other: "TimeReading") -> bool:
        """Whether the two intervals, at the arrival of the later one, are within 120 s."""
        at = max(self.arrived_ms, other.arrived_ms)
        gap_ms = max(
            self.earliest_ms(at) - other.latest_ms(at), other.earliest_ms(at) - self.latest_ms(at)
        )
        return gap_ms <= CONTRADICTION_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeView:
    """What the rules see of the clock at one moment."""

    earliest_ms: int
    latest_ms: int
    age_ms: int  # since the welcome that gave this time arrived
    is_disputed: bool

    @property
    def middle_ms(self) -> int:
        """The likeliest time, for reports; no rule looks at it."""
        return (self.earliest_ms + self.latest_ms) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time believed now, and the welcomes that contradict it."""

    reading: TimeReading | None = None
    contradicting: tuple[TimeReading, ...] = ()  # at most AGREEING_WELCOMES: first and newest
    disputed_until_ms: int = 0  # running ms; stored, so that a restart does not end a dispute

    def view(self, elapsed_ms: int, running_ms: int) -> TimeView | None:
        """What time it can be; None before the first usable welcome of this boot."""
        if self.reading is None:
            return None
        return TimeView(
            earliest_ms=self.reading.earliest_ms(elapsed_ms),
            latest_ms=self.reading.latest_ms(elapsed_ms),
            age_ms=max(0, elapsed_ms - self.reading.arrived_ms),
            is_disputed=running_ms < self.disputed_until_ms,
        )

    def latest_ms(self, elapsed_ms: int) -> int | None:
        """The time it is at most; None while none is known."""
        return None if self.reading is None else self.reading.latest_ms(elapsed_ms)

    def welcomed(self, reading: TimeReading, running_ms: int) -> "Clock":
        """The clock after one more verified welcome."""
        if reading.arrived_ms - reading.left_ms > ROUND_TRIP_MAX_MS:
            return self
        if self.reading is None or self.reading.agrees_with(reading):
            return replace(self, reading=reading, contradicting=())
        disputed = replace(self, disputed_until_ms=running_ms + DISPUTE_MS)
        witnesses = _witnesses(self.contradicting, reading)
        span_ms = reading.arrived_ms - witnesses[0].arrived_ms
        if len(witnesses) >= AGREEING_WELCOMES and span_ms >= AGREEING_SPAN_MS:
            return replace(disputed, reading=reading, contradicting=())
        return replace(disputed, contradicting=witnesses)


def _witnesses(earlier: tuple[TimeReading, ...], reading: TimeReading) -> tuple[TimeReading, ...]:
    """The contradicting welcomes that agree with each other and with the newest one."""
    if not all(one.agrees_with(reading) for one in earlier):
        return (reading,)
    # The first one carries the span, so it stays; of the others two are enough.
    return (*earlier[: AGREEING_WELCOMES - 1], reading)

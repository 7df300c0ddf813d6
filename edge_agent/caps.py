"""How many opens an agent may carry out by itself, and when: small rules, pure.

Rules kept here (docs/protocol.md, "Caps"; R2):
 * The base is the meters this agent itself reached lately, never the roster, which others write.
 * Limit and hours stand in the root-signed edge policy: no online key can lift them.
 * Everything is counted in running time, which no message moves.
 * A new journal behaves as if every limit had been used at running time 0: losing a journal costs
   24 hours of opens and gains none.
"""

from wire.documents import EdgePolicy, OpenWindow

CAP_PERIOD_MS = 86_400_000  # of running time
# Of running time, from the row of a manifest: time for people to see what agents hold (R10).
COOL_OFF_MS = 900_000
REACHED_PERIOD_MS = 7 * 86_400_000  # of running time
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_THURSDAY = 3  # 1970-01-01, Monday being 0


def agent_limit(policy: EdgePolicy, reached: int) -> int:
    """Opens an agent may do within 24 h of running time, given how many meters it reached."""
    if reached < policy.small:
        return 0
    return min(policy.ceiling, max(1, reached * policy.per_mille // 1_000))


def is_journal_young(running_ms: int) -> bool:
    """Whether the limits count as used up because the journal is new."""
    return running_ms < CAP_PERIOD_MS


def is_within_windows(policy: EdgePolicy, earliest_ms: int, latest_ms: int) -> bool:
    """Whether every moment of [earliest, latest] lies in an allowed window of an allowed day."""
    offset_ms = policy.utc_offset_ms
    at_ms, until_ms = earliest_ms + offset_ms, latest_ms + offset_ms
    # Each turn goes to the end of one window; touching windows of two days are the most there are.
    for _ in range(2 * len(policy.windows)):
        end_ms = _window_end_ms(policy, at_ms)
        if end_ms is None or until_ms < end_ms:
            return end_ms is not None
        at_ms = end_ms
    return False


def _window_end_ms(policy: EdgePolicy, local_ms: int) -> int | None:
    """When the windows that hold this local moment end; None if none holds it."""
    day, within_ms = divmod(local_ms, _DAY_MS)
    if day in policy.closed_days:
        return None
    weekday = (day + _THURSDAY) % 7
    ends = [window.to_minute for window in policy.windows if _holds(window, weekday, within_ms)]
    return day * _DAY_MS + max(ends) * _MINUTE_MS if ends else None


def _holds(window: OpenWindow, weekday: int, within_ms: int) -> bool:
    is_on_day = bool(window.weekdays >> weekday & 1)
    return is_on_day and window.from_minute <= within_ms // _MINUTE_MS < window.to_minute

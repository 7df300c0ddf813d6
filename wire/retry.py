"""How long a link waits before it tries again: for ever, capped, and never all at once.

A pause is a uniform part of a ceiling that doubles from the first failure up to the cap, so that
1,450 agents do not return in one moment. It begins anew when a proved line has lasted: two programs
with one certificate throw each other out at once, and mosquitto 2.0.11 does not say why. When a
person must act, the pause is long, and the log line is an error.
"""

import random

from wire.link_settings import LinkSettings

_DOUBLINGS_MAX = 10  # past it any cap holds
_TAKEN_OVER = 0x8E  # another connection came with our client id: a cloned certificate
# Codes that pass by themselves: unspecified, implementation, unavailable, busy, quota, rate.
_PASSING_CODES = frozenset({0x80, 0x83, 0x88, 0x89, 0x97, 0x9F})


def refusal_needs_person(code: int) -> bool:
    """Whether a refused CONNECT or SUBSCRIBE stays refused until somebody changes something."""
    return code not in _PASSING_CODES


def end_needs_person(code: int) -> bool:
    """Whether the broker's DISCONNECT says that somebody must change something."""
    return code == _TAKEN_OVER


class RetryPauses:
    """The pauses of one link, in seconds."""

    def __init__(self, settings: LinkSettings, randomness: random.Random) -> None:
        self._settings = settings
        self._randomness = randomness
        self._failures = 0

    def begin_anew(self) -> None:
        """The line was proved and lasted: the next failure is a first one."""
        self._failures = 0

    def next_s(self, *, needs_person: bool) -> float:
        """The pause after one more failure."""
        settings = self._settings
        doubled_s = settings.retry_first_s * 2.0 ** min(self._failures, _DOUBLINGS_MAX)
        self._failures += 1
        if needs_person:
            return settings.refused_retry_s * self._randomness.uniform(0.5, 1.0)
        return self._randomness.uniform(0.0, min(settings.retry_cap_s, doubled_s))

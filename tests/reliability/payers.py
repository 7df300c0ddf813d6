"""Consumers who pay at a pace; and the provider, which repeats what was not answered 2xx."""

import http.client
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.walk.installation import OWED_PAISE
from tests.walk.provider import Consumer, Provider, captured

AT_ONCE = 8  # webhooks under way together
REPEATS_MAX = 100  # of one report; Razorpay gives up after 24 hours
REPEAT_PAUSE_S = 0.1


@dataclass(slots=True)
class Payers:
    """What was sent for whom, and what was answered."""

    provider: Provider
    bodies: dict[Consumer, bytes] = field(default_factory=dict)
    answered: set[Consumer] = field(default_factory=set)
    asked_at_s: dict[Consumer, float] = field(default_factory=dict)
    repeats: int = 0

    @property
    def asked(self) -> set[Consumer]:
        return set(self.bodies)

    def have_asked(self, count: int) -> bool:
        """Whether as many webhooks were sent."""
        return len(self.bodies) >= count

    def pay(self, consumer: Consumer) -> None:
        """One payment is captured and reported; the answer may never come."""
        self.bodies[consumer] = captured(consumer, OWED_PAISE)
        self.asked_at_s[consumer] = time.time()
        self._report(consumer)

    def pay_at_pace(
        self, consumers: Iterable[Consumer], pace_s: float, is_over: Callable[[], bool]
    ) -> None:
        """Everybody pays, one every so many seconds, until it is over."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for number, one in enumerate(consumers):
                if is_over():
                    return
                if number == 0:
                    started_s = time.monotonic()
                threads.submit(self.pay, one)
                time.sleep(max(0.0, started_s + (number + 1) * pace_s - time.monotonic()))

    def repeat(self) -> list[Consumer]:
        """The same bytes under the same event id again, until each is answered 2xx."""
        unanswered = sorted(self.asked - self.answered, key=lambda one: one.number)
        for one in unanswered:
            for _ in range(REPEATS_MAX):
                self.repeats += 1
                self._report(one)
                if one in self.answered:
                    break
                time.sleep(REPEAT_PAUSE_S)
        assert self.asked == self.answered, "a report was never answered 2xx"
        return unanswered

    def _report(self, consumer: Consumer) -> None:
        try:
            status = self.provider.post(self.bodies[consumer], event_id=f"evt_{consumer.number}")
        except (OSError, http.client.HTTPException):
            return  # the line broke: the provider knows nothing
        if status in range(200, 300):
            self.answered.add(consumer)


def in_order(consumers: Iterable[Consumer]) -> Sequence[Consumer]:
    return sorted(consumers, key=lambda one: one.number)

"""A thousand seeds of the whole walk under every fault: I1 to I10, I13 and I15 at each step.

A failure names its seed, the invariant, and the command that shows its history again.
"""

import pytest

from tests.simulation.seeds import Outcome, outcomes

SEEDS = 1_000
LEAST_MEDIAN_EVENTS = 300  # each is a call of our own code: a seed that does little finds little


@pytest.fixture(scope="module")
def ran() -> list[Outcome]:
    return list(outcomes(range(SEEDS)))


def test_nothing_forbidden_happens_and_who_paid_has_light(ran: list[Outcome]) -> None:
    assert len(ran) == SEEDS
    failed = [str(one) for one in ran if one.failure]
    assert not failed, "\n".join(failed)


def test_half_of_the_seeds_have_300_events_or_more(ran: list[Outcome]) -> None:
    events = sorted(one.events for one in ran)
    assert events[len(events) // 2] >= LEAST_MEDIAN_EVENTS

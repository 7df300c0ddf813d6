"""Two hundred seeds of the whole walk under every fault: I1 to I10, I13 and I15 at each step.

A failure names its seed and the command that shows its history again.
"""

import logging

import pytest

from tests.simulation.__main__ import replay_command, run_seed

SEEDS = 200
CHUNK = 10


@pytest.fixture(autouse=True)
def _no_logs():
    # Some thousand warnings of the parties, which are what the faults look like.
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_forbidden_happens_and_who_paid_has_light(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            run_seed(seed)
        except Exception as error:
            error.add_note(f"seed {seed}; see it again: {replay_command(seed)}")
            raise

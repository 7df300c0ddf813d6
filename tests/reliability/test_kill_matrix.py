"""SIGKILL at each point while payments are under way: nothing is lost, nothing happens twice.

I1 to I6, I8 to I10 are demanded of spool, ledger, journals and the true contacts after each kill.
"""

import pytest

from tests.reliability.matrix import Kill, Restart
from tests.reliability.points import POINTS

HIT = 2  # the first payment of the armed process, and those before it, are still under way


@pytest.mark.parametrize("point", POINTS, ids=[one.name for one in POINTS])
def test_process_killed_at_a_point_loses_nothing_and_repeats_nothing(matrices, point):
    kill = Kill(point=point, hit=HIT, restart=Restart.AT_ONCE, is_hurried=True)
    outcome = matrices.ready().run(kill)
    assert outcome.unfinished >= HIT  # else it was killed behind the work


@pytest.mark.parametrize("name", ["G4", "E7", "A3", "A4"])
def test_process_that_comes_back_when_its_commands_have_expired_closes_all_the_same(matrices, name):
    (point,) = (one for one in POINTS if one.name == name)
    kill = Kill(point=point, hit=1, restart=Restart.AFTER_EXPIRY, is_hurried=True)
    assert matrices.ready().run(kill).unfinished

"""A broker that is killed under payments, with its sessions once; the full run is a command."""

from tests.reliability.chaos import ChaosPlan, run_chaos


def test_broker_killed_three_times_under_payments_loses_and_repeats_nothing(tmp_path):
    """I1, I2, I6: PUBACK is no promise; every hop has a signed answer of its own."""
    plan = ChaosPlan(payments=300, kills=3, rate_per_s=40.0, agents=4, is_hurried=True)
    figures = run_chaos(tmp_path / "installation", plan)
    assert figures.sessions_lost == 1
    assert figures.commands >= plan.payments

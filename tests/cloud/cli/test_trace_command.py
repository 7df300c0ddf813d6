"""`relight trace`: what it says of what it knows, and of what it does not."""

import json

import pytest

from tests.cloud.cli.commands import change, done, refused


@pytest.fixture
def known(config, tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text("account_id,zone,language\nN-1,INDORE-EAST,hi\n")
    done("import", "accounts", path, "--config", config)
    path = tmp_path / "bills.csv"
    path.write_text(
        "bill_id,account_id,amount,issued_on,due_on\nB-1,N-1,1842.50,2026-01-01,2026-01-15\n"
    )
    done("import", "bills", path, "--config", config)
    return config


def test_account_is_told_with_its_bill(known):
    title, _, step = done("trace", "N-1", "--config", known).splitlines()
    assert title == "account N-1, zone INDORE-EAST"
    assert "billed" in step
    assert "Rs 1,842.50" in step


def test_trace_for_programs_is_json_with_times(known):
    told = json.loads(done("trace", "N-1", "--json", "--config", known))
    (step,) = told["steps"]
    assert told["subject"] == "account N-1, zone INDORE-EAST"
    assert (step["name"], type(step["at_ms"])) == ("billed", int)


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("unknown", ["pay_NONE", "episode 1", "00" * 16, "N-2", "x" * 500])
def test_name_the_ledger_does_not_know_is_refused(known, unknown, options):
    said = refused("trace", unknown, *options, "--config", known)
    assert said == f"nothing is known of {unknown!r}"


def test_trace_in_a_ledger_that_does_not_exist_is_refused_and_makes_none(config):
    change(config, 'ledger = "ledger.db"', 'ledger = "leger.db"')
    mistyped = config.parent / "leger.db"
    assert str(mistyped) in refused("trace", "N-1", "--config", config)
    assert not mistyped.exists()

"""Files: all of one or nothing of it, every bad row named, its digest kept."""

from hashlib import sha256

import pytest

from cloud.guard.file_kinds import Kind
from cloud.guard.imports import import_file
from tests.cloud.guard.guarded import DAY_MS

METERS = "meter_id,account_id,agent_id,feeder,transformer"
BILLS = "bill_id,account_id,amount,issued_on,due_on"
PROPOSALS = "account_id,meter_id,sum,notice_served_on,notice_proof"


@pytest.mark.parametrize(
    ("kind", "lines", "fault"),
    [
        ("accounts", ["account_id,zone,language", "a 1,Z,hi"], "2: account_id 'a 1' is no id"),
        ("accounts", ["account_id", "A-8", "A-8"], "3: account_id 'A-8' stands on line 2"),
        ("accounts", ["account", "A-8"], "1: account_id '' the column is missing"),
        ("accounts", ["account_id,colour", "A-8,red"], "1: colour 'colour' no such column"),
        ("accounts", ["account_id"], "2:  '' the file has no rows"),
        ("accounts", ["account_id", "A-8,B"], "2:  'A-8,B' has 2 fields"),
        ("meters", [METERS, "M-9,A-9,AG-1,F,T"], "2: account_id 'A-9' is not known"),
        ("meters", [METERS, "M-9,A-1,AG-1,=F,T"], "2: feeder '=F' is no name"),
        ("meters", [METERS + ",protected", "M-9,A-1,A,F,T,1"], "2: protected '1' is neither"),
        ("bills", [BILLS, "B-9,A-1,0,2026-08-01,2026-08-02"], "2: amount '0' must be more"),
        ("bills", [BILLS, "B-9,A-1,1e3,2026-08-01,2026-08-02"], "2: amount '1e3' is no amount"),
        ("bills", [BILLS, "B-1,A-1,9,2026-08-01,2026-08-15"], "2: bill_id 'B-1' is there already"),
        ("bills", [BILLS, "B-9,A-1,9,2026-08-02,2026-07-01"], "2: due_on 'B-9' is due before"),
        ("bills", [BILLS, "B-9,A-1,9,2026-12-01,2026-12-02"], "2: issued_on 'B-9' was issued in"),
        ("proposals", [PROPOSALS, "A-2,M-1,9,2026-09-01,x"], "2: account_id 'A-2' is the meter's"),
        ("proposals", [PROPOSALS, "A-1,M-9,9,2026-09-01,x"], "2: meter_id 'M-9' is not known"),
        ("proposals", [PROPOSALS, "A-1,M-1,9,2026-09-01,"], "2: notice_proof '' is no proof"),
        ("proposals", [PROPOSALS, "A-1,M-1,9,2026-12-01,x"], "2: notice_served_on 'M-1' a notice"),
    ],
)
def test_bad_row_is_named_and_nothing_of_the_file_is_imported(world, kind, lines, fault):
    before = list(world.store.iterdump())
    report = world.give(kind, *lines)
    assert not report.is_good
    assert fault in report.text()
    assert list(world.store.iterdump()) == before


def test_one_bad_row_keeps_the_good_ones_out(world):
    report = world.give("accounts", "account_id", "A-8", "a")
    assert report.fault_count == 1
    assert world.rows("SELECT 1 FROM accounts WHERE account_id = 'A-8'") == []


def test_digest_of_each_file_is_kept_and_its_bytes_count_once(world):
    lines = ("account_id,zone,language", "A-8,Z,hi")
    assert not world.give("accounts", *lines).was_known
    assert "imported before" in world.give("accounts", *lines).text()
    digest = sha256("\n".join((*lines, "")).encode()).digest()
    assert world.rows("SELECT rows FROM files WHERE digest = ?", digest) == [(1,)]


def test_file_that_is_no_utf8_is_refused(world, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"account_id\n\xff\n")
    assert "x.csv:2:  '' is no UTF-8" in _give(world, path).text()


def test_quote_that_does_not_close_is_refused(world, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b'account_id\n"A-8\n')
    assert "is no CSV" in _give(world, path).text()


def test_newest_proposal_of_a_meter_counts(world):
    assert world.propose(1, paise=900_000, served_on="2026-09-02").is_good
    assert world.verdict(world.row()) == "arrears_too_low"


def test_earlier_payments_count_once_and_were_before_the_notice(world):
    header = "provider,payment_id,account_id,amount,captured_on"
    line = "RAZORPAY,pay_old,A-1,2000,2026-08-20"
    assert world.give("payments", header, line).is_good
    late = world.now_ms - 40 * DAY_MS
    world.pay(world.item(1, payment_id="pay_old", happened_at_ms=late))
    assert world.rows("SELECT standing FROM items ORDER BY id") == [("counted",), ("repeated",)]
    assert world.verdict(world.row(owed_paise=0)) == "arrears_too_low"


def _give(world, path):
    return import_file(world.store, Kind.ACCOUNTS, path, now_ms=world.now_ms)

"""Files come in whole or not at all, and everything wrong with one is told at once."""

from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from cloud.import_job import ImportReport, Kind
from cloud.import_rows import BAD_ROWS_KEPT, LINE_MAX_BYTES
from cloud.imports import import_file
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import (
    accounts,
    agents,
    bills,
    entries,
    episodes,
    imported_files,
    locks,
    meters,
    orders,
    quotes,
)
from cloud.schema import ledger as ledger_row
from cloud.spelling import DAY_MS, parse_day, parse_instant
from tests.cloud.engine_world import World, sent

ACCOUNTS = "account_id,zone,language\nA-1,INDORE-1,hi\nA-2,INDORE-1,en\n"
METERS = (
    "meter_id,account_id,agent_id,serial,installed_on,mapped_on,feeder,transformer\n"
    "M-1,A-1,AG-1,SN 1,2022-05-10,2022-05-11,11 kV Palasia,T-1\n"
    "M-2,A-2,AG-2,,2022-05-10,2022-05-11,11 kV Palasia,T-1\n"
)
BILLS = (
    "bill_id,account_id,amount,issued_on,due_on\n"
    'B-1,A-1,"1,842.50",2026-08-01,2026-08-15\n'
    "B-2,A-2,500.00,2026-09-15,2026-09-30\n"
)
CUTS = (
    "account_id,meter_id,cut_at,cut_by,disconnection_charge,reconnection_charge,order\n"
    "A-1,M-1,2026-09-21 10:30,remote,150.00,150.00,RAZORPAY:order_1\n"
)


class Files:
    """A ledger and a folder of files to import into it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder

    def bring(self, kind: str, content: str | bytes, *, is_dry_run: bool = False) -> ImportReport:
        path = self.folder / f"{kind}.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_file(
            self.world.store, kind, path, now_ms=self.world.now_ms, is_dry_run=is_dry_run,
            policy=MP_WEST_FIRST_PHASE,
        )  # fmt: skip

    def reasons(self, kind: str, content: str | bytes) -> list[str]:
        """Why a file is refused; nothing of it may be in the ledger."""
        before = self.world.everything()
        report = self.bring(kind, content)
        assert not report.is_good
        assert self.world.everything() == before
        return [f"{one.line} {one.field}: {one.reason}" for one in report.bad]

    def all(self) -> None:
        for kind, content in (("accounts", ACCOUNTS), ("meters", METERS), ("bills", BILLS)):
            assert self.bring(kind, content).is_good, kind


@pytest.fixture
def files(empty: World, tmp_path: Path) -> Files:
    return Files(empty, tmp_path)


def count(files: Files, table) -> int:
    return int(files.world.value(select(func.count()).select_from(table)))


def test_accounts_meters_and_bills_come_in_as_they_stand(files: Files):
    files.all()
    meter = files.world.rows(select(meters).order_by(meters.c.meter_id))[0]
    assert (meter.account_id, meter.agent_id, meter.serial) == ("A-1", "AG-1", "SN 1")
    assert meter.installed_at_ms == parse_day("2022-05-10")
    bill = files.world.rows(select(bills).order_by(bills.c.bill_id))[0]
    assert bill.amount_paise == 184_250
    assert bill.due_at_ms == parse_day("2026-08-15") + DAY_MS
    assert files.world.owed(1) == 184_250
    assert count(files, agents) == 2


def test_cut_becomes_an_episode_with_lock_charges_and_quote(files: Files):
    """I15: its lock is effective at once, because nothing is live for the meter."""
    files.all()
    report = files.bring("cuts", CUTS)
    assert (report.is_good, report.added) == (True, 1)
    episode = files.world.episode()
    assert episode.cut_at_ms == parse_instant("2026-09-21T10:30:00+05:30")
    assert (episode.state, episode.cut_by) == ("open", "remote")
    quote = files.world.one(select(quotes))
    assert quote.amount_paise == 214_250
    assert quote.breakdown == (
        '[["overdue bills",184250],["disconnection charge",15000],["reconnection charge",15000]]'
    )
    assert quote.expires_at_ms - quote.made_at_ms == MP_WEST_FIRST_PHASE.quote_life_ms
    lock = files.world.one(select(locks))
    assert (lock.kind, lock.effective_at_ms) == ("non_payment", files.world.now_ms)
    assert files.world.owed() == 214_250
    assert files.world.one(select(orders)).quote_id == quote.id


def test_imported_cut_can_be_paid_and_closes(files: Files):
    agent = files.world.add_agent("AG-1")
    files.all()
    files.bring("cuts", CUTS)
    files.world.start()
    files.world.turn(agent.hello())
    (close,) = sent(files.world.pay(files.world.item(order="order_1", account_hint=None)))
    assert close.body.meter == "M-1"


def test_bill_not_yet_due_at_the_cut_does_not_raise_the_quote(files: Files):
    """Electricity Act s. 56: `but no longer`."""
    files.all()
    files.bring(
        "bills", "bill_id,account_id,amount,issued_on,due_on\nB-3,A-1,9,2026-09-20,2026-10-05\n"
    )
    files.bring("cuts", CUTS)
    assert files.world.one(select(quotes)).amount_paise == 214_250


def test_money_paid_before_the_cut_lowers_the_quote(files: Files):
    files.all()
    files.world.pay(files.world.item(amount_paise=100_000))
    files.bring("cuts", CUTS)
    quote = files.world.one(select(quotes))
    assert quote.amount_paise == 114_250
    assert '["paid and other entries",-100000]' in quote.breakdown


def test_lock_waits_where_a_restored_ledger_must(files: Files):
    """R3: the restored ledger has forgotten live closes."""
    files.all()
    files.world.execute(update(ledger_row).values(locks_wait_until_ms=files.world.now_ms + 1))
    files.bring("cuts", CUTS)
    assert files.world.one(select(locks)).effective_at_ms is None


def test_dry_run_reports_the_same_and_writes_nothing(files: Files):
    before = files.world.everything()
    report = files.bring("accounts", ACCOUNTS, is_dry_run=True)
    assert (report.is_good, report.added) == (True, 2)
    assert files.world.everything() == before
    assert "nothing was written" in report.text()
    assert files.bring("accounts", ACCOUNTS).imported_before_at_ms is None


def test_same_bytes_again_change_nothing_and_say_so(files: Files):
    files.all()
    files.bring("cuts", CUTS)
    before = files.world.everything()
    for kind, content in (("accounts", ACCOUNTS), ("bills", BILLS), ("cuts", CUTS)):
        report = files.bring(kind, content)
        assert report.imported_before_at_ms == files.world.now_ms
        assert "imported before" in report.text()
    assert files.world.everything() == before
    assert count(files, imported_files) == 4


def test_unchanged_rows_in_another_file_are_left_alone(files: Files):
    files.all()
    files.bring("accounts", ACCOUNTS + "A-3,INDORE-2,hi\n")
    report = files.bring("bills", BILLS + "B-4,A-2,1,2026-09-15,2026-09-30\n")
    assert (report.added, report.unchanged) == (1, 2)
    assert count(files, accounts) == 3
    assert files.world.owed(1) == 184_250


def test_changed_account_and_meter_are_changed(files: Files):
    files.all()
    assert files.bring("accounts", ACCOUNTS.replace("A-2,INDORE-1", "A-2,UJJAIN")).changed == 1
    assert files.bring("meters", METERS.replace("M-2,A-2,AG-2", "M-2,A-2,AG-3")).changed == 1
    zones = files.world.rows(select(accounts.c.zone).order_by(accounts.c.account_id))
    assert [row.zone for row in zones] == ["INDORE-1", "UJJAIN"]
    assert count(files, agents) == 3


def test_meter_keeps_its_account_while_a_command_for_it_is_under_way(files: Files):
    """What is signed could light another house."""
    agent = files.world.add_agent("AG-1")
    files.all()
    files.bring("cuts", CUTS)
    files.world.start()
    files.world.turn(agent.hello())
    files.world.pay()
    moved = METERS.replace("M-1,A-1,AG-1", "M-1,A-2,AG-1")
    assert files.reasons("meters", moved)[0].startswith("2 meter_id: goes from account A-1 to A-2")


def test_bill_that_changed_is_refused(files: Files):
    """I3: corrections are new entries."""
    files.all()
    (reason,) = files.reasons("bills", BILLS.replace("500.00", "600.00"))
    assert reason.startswith("3 bill_id: is there already, Rs 500.00 for A-2")


def test_one_bad_row_and_nothing_of_the_file_is_imported(files: Files):
    reasons = files.reasons("accounts", ACCOUNTS + "a-3,INDORE-1,hi\n")
    assert reasons == [
        "4 account_id: is no id: capital letters, digits and '-', at most 32, no spaces"
    ]
    assert count(files, accounts) == 0


def test_every_fault_is_told_with_file_line_field_and_value(files: Files):
    report = files.bring(
        "accounts", "account_id,zone,language\na 1,z z,HINDI\nA-2\nA-3,Z,hi\nA-3,Z,hi\n"
    )
    text = report.text()
    for told in ("accounts.csv:2: account_id 'a 1'", "zone 'z z'", "language 'HINDI'",
                 "accounts.csv:3: 'A-2' has 1 fields, the header names 3",
                 "accounts.csv:5: account_id 'A-3' stands in line 4 already"):  # fmt: skip
        assert told in text
    assert (report.bad_count, report.rows) == (5, 4)


def test_faults_beyond_a_thousand_are_counted(files: Files):
    rows = "".join(f"bad {n},Z,hi\n" for n in range(BAD_ROWS_KEPT + 5))
    report = files.bring("accounts", "account_id,zone,language\n" + rows)
    assert (len(report.bad), report.bad_count) == (BAD_ROWS_KEPT, BAD_ROWS_KEPT + 5)
    assert "and 5 more" in report.text()


@pytest.mark.parametrize("front", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_file_as_a_spreadsheet_writes_it_is_imported(files: Files, front: bytes, end: bytes):
    assert files.bring("accounts", front + ACCOUNTS.encode().replace(b"\n", end)).added == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "1 : the file is empty"),
        (b"account_id,zone,language\n", "2 : the file has a header and no rows"),
        (ACCOUNTS.encode() + b"A-3,Z\r,hi\n", "4 : the line holds a carriage return"),
        (ACCOUNTS.encode("utf-16-le"), "1 : the line holds a NUL byte"),
        (ACCOUNTS.encode() + b"A-3,Z\x00,hi\n", "4 : the line holds a NUL byte"),
        (ACCOUNTS.encode() + b"A-3,\xff,hi\n", "4 : byte 5 of the line is no UTF-8"),
        (ACCOUNTS.encode() + b'A-3,"Z,hi\n', "4 : its quotes do not match"),
        (ACCOUNTS.encode() + b'A-3,"Z"x,hi\n', "4 : its quotes do not match"),
        (ACCOUNTS.encode() + b"\nA-3,Z,hi\n", "4 : the line is empty"),
        (ACCOUNTS.encode() + b"A-3,Z,hi,\n", "4 : has 4 fields, the header names 3"),
        (b"account_id,zone\nA-1,Z\n", "1 language: the column is missing"),
        (b"account_id,zone,language,x\nA-1,Z,hi,\n", "1 x: no such column"),
        (b"account_id,zone,language,zone\nA-1,Z,hi,Z\n", "1 zone: the column stands there twice"),
        (b"account_id,zone,language\nA-1,Z," + b"h" * 10**6 + b"\n", "2 : the line is longer"),
        (b"account_id,zone,language\nA-1,=1+1,hi\n", "2 zone: is no id"),
    ],
)  # fmt: skip
def test_file_that_is_no_csv_of_ours_is_refused(files: Files, content: bytes, told: str):
    assert files.reasons("accounts", content)[0].startswith(told)


def test_line_after_an_enormous_one_keeps_its_number(files: Files):
    huge = "x" * (3 * LINE_MAX_BYTES)
    reasons = files.reasons("accounts", f"account_id,zone,language\n{huge}\nA-1,Z,hi\nbad,Z,hi\n")
    assert [one.split()[0] for one in reasons] == ["2", "4"]


def test_last_line_without_an_end_is_read(files: Files):
    assert files.bring("accounts", ACCOUNTS.rstrip("\n")).added == 2


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        ("meters", "M-3,A-404,AG-1,,2022-05-10,2022-05-11,F,T", "account_id: is no known account"),
        ("meters", "M-1,A-1,AG-1,,2022-05-10,2022-05-11,F,T", "meter_id: stands in line 2"),
        ("meters", "M-3,A-1,AG-1,,2022-02-30,2022-05-11,F,T", "installed_on: is no day"),
        ("meters", "M-3,A-1,AG-1,,2032-02-20,2032-05-11,F,T", "installed_on: was fitted in the f"),
        ("meters", "M-3,A-1,AG-1,,2022-05-10,2022-05-11,,T", "feeder: is no name"),
        ("meters", "M-3,A-1,AG-1,=X,2022-05-10,2022-05-11,F,T", "serial: is no name"),
        ("bills", "B-9,A-404,1,2026-08-01,2026-08-15", "account_id: is no known account"),
        ("bills", "B-9,A-1,1.005,2026-08-01,2026-08-15", "amount: is no amount"),
        ("bills", "B-9,A-1,1e3,2026-08-01,2026-08-15", "amount: is no amount"),
        ("bills", "B-9,A-1,0.00,2026-08-01,2026-08-15", "amount: must be more than nothing"),
        ("bills", "B-9,A-1,-5,2026-08-01,2026-08-15", "amount: is no amount"),
        ("bills", "B-9,A-1,5,2026-08-01,2026-07-15", "due_on: is due before it was issued"),
        ("bills", "B-9,A-1,5,2026-12-01,2026-12-15", "issued_on: was issued in the future"),
        ("bills", "B-1,A-1,5,2026-08-01,2026-08-15", "bill_id: stands in line 2 already"),
        ("cuts", "A-404,M-1,2026-09-21 10:30,remote,0,0,", "account_id: is no known account"),
        ("cuts", "A-2,M-404,2026-09-21 10:30,remote,0,0,", "meter_id: is no known meter"),
        ("cuts", "A-2,M-1,2026-09-21 10:30,remote,0,0,", "meter_id: stands in line 2 already"),
        ("cuts", "A-2,M-2,2026-09-21,remote,1,0,", "cut_at: is no date and time"),
        ("cuts", "A-2,M-2,2026-09-22 10:30,remote,1,0,", "cut_at: lies in the future"),
        ("cuts", "A-2,M-2,2026-09-21 10:30,ladder,1,0,", "cut_by: must be one of remote, pole"),
        ("cuts", "A-2,M-2,2026-09-21 10:30,remote,0,0,", "account_id: owes Rs 0.00 with its"),
        ("cuts", "A-2,M-2,2026-09-21 10:30,remote,1,,", "reconnection_charge: is no amount"),
        ("cuts", "A-2,M-2,2026-09-21 10:30,remote,1,0,order_1", "order: is no order"),
        ("cuts", "A-2,M-2,2026-09-21 10:30,remote,1,0,RAZORPAY:order_1", "order: stands in line"),
    ],
)  # fmt: skip
def test_row_that_cannot_be_true_is_refused(files: Files, kind: str, row: str, told: str):
    files.all()
    content = {"meters": METERS.replace("SN 1", "SN 2"), "bills": BILLS, "cuts": CUTS}[kind]
    reasons = files.reasons(kind, content + row + "\n")
    line = content.count("\n") + 1
    assert any(one.startswith(f"{line} {told}") for one in reasons), reasons


def test_meter_of_another_account_cannot_be_cut(files: Files):
    files.all()
    reasons = files.reasons("cuts", CUTS.replace("A-1,M-1", "A-1,M-2"))
    assert reasons == ["2 meter_id: measures account A-2, not A-1"]


def test_account_that_is_cut_already_is_refused(files: Files):
    files.all()
    files.bring("cuts", CUTS)
    reasons = files.reasons("cuts", CUTS.replace("10:30", "10:31").replace("order_1", "order_2"))
    assert reasons == ["2 account_id: is cut already: episode 1, since 2026-09-21 10:30:00.000"]
    reasons = files.reasons("cuts", CUTS.replace("10:30", "10:31"))
    assert "2 order: belongs to another quote already" in reasons


def test_order_column_may_be_left_out(files: Files):
    files.all()
    lines = [line.rpartition(",")[0] for line in CUTS.splitlines()]
    assert files.bring("cuts", "\n".join(lines) + "\n").added == 1
    assert count(files, orders) == 0


def test_books_are_even_after_every_import(files: Files):
    """I3."""
    files.all()
    files.bring("cuts", CUTS)
    assert files.world.value(select(func.sum(entries.c.amount_paise))) == 0
    assert count(files, episodes) == 1


def test_more_rows_than_one_statement_takes_come_in_whole(files: Files):
    rows = "".join(f"C-{n},Z,hi\n" for n in range(12_001))
    assert files.bring("accounts", "account_id,zone,language\n" + rows).added == 12_001
    assert count(files, accounts) == 12_001


def test_kinds_are_what_the_command_offers():
    assert [*Kind] == ["accounts", "meters", "bills", "cuts"]

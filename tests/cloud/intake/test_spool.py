import sqlite3
from hashlib import sha256

import pytest

from cloud.intake.facts import Irrelevant, Unreadable
from cloud.intake.razorpay import PROVIDER
from cloud.intake.spool import (
    KNOWN_MAX,
    RETENTION_MS,
    Marks,
    Receipted,
    Spool,
    SpoolError,
    StoreUnavailableError,
)
from cloud.intake.spool_schema import Sweep
from tests.cloud.intake.reports import captured, genuine, open_spool, payment, raw_of, report
from tests.wire.installation import NOW_MS, SPOOL
from wire.fields import ProviderId
from wire.topics import payment_shard
from wire.vocabulary import PaymentKind, ReceiptVerdict

IRRELEVANT = raw_of(report("payment.failed", payment=payment()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path):
    spool = open_spool(path)
    yield spool
    spool.close()


def rows(path, query):
    with sqlite3.connect(path) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def marks(*numbers, at_ms=NOW_MS, generation_ms=None):
    receipts = tuple(Receipted(number, ReceiptVerdict.STORED, at_ms) for number in numbers)
    return Marks(generation_ms, receipts)


def open_numbers(spool):
    return [one.number for one in spool.unreceipted(after=0, limit=100)]


def test_report_is_stored_byte_for_byte_with_its_verdict(spool, path):
    """I1: stored byte for byte, and every report has one of the ends."""
    raws = [captured(1), IRRELEVANT, b"\x00not json\xff"]
    taken = spool.take_in([genuine(raw, event_id=f"evt_{n}") for n, raw in enumerate(raws)])
    assert [(one.is_duplicate, one.items) for one in taken] == [(False, 1), (False, 0), (False, 0)]
    assert rows(path, "SELECT raw, sha256, provider, event_id, verdict, reason FROM reports") == [
        (raws[0], sha256(raws[0]).digest(), PROVIDER, "evt_0", "forwarded", ""),
        (raws[1], sha256(raws[1]).digest(), PROVIDER, "evt_1", "irrelevant", "payment.failed"),
        (raws[2], sha256(raws[2]).digest(), PROVIDER, "evt_2", "unreadable", "not UTF-8"),
    ]
    assert spool.unreadable == 1


def test_items_are_numbered_densely_and_hold_the_fact(spool):
    """R1: 1, 2, 3 ... ; a report without a payment fact gets no number."""
    spool.take_in([genuine(captured(1)), genuine(IRRELEVANT), genuine(captured(2))])
    spool.take_in([genuine(captured(3))])
    items = spool.unreceipted(after=0, limit=100)
    assert [one.number for one in items] == [one.item.number for one in items] == [1, 2, 3]
    assert [one.item.raw for one in items] == [sha256(captured(n)).digest() for n in (1, 2, 3)]
    for one in items:
        assert one.shard == payment_shard(PROVIDER, one.item.payment_id)
        assert one.item.received_at_ms == NOW_MS
    assert spool.made == 3


def test_same_bytes_are_one_report_in_one_batch_and_across_batches(spool):
    first = spool.take_in([genuine(captured(1), event_id="a"), genuine(captured(1), event_id="a")])
    again = spool.take_in([genuine(captured(1), event_id="a")])
    assert [one.is_duplicate for one in first + again] == [False, True, True]
    assert spool.made == 1


def test_other_bytes_under_a_known_event_id_are_stored_too(spool, path):
    """I1: the event id is not signed; who replays it must not make us drop a payment."""
    spool.take_in([genuine(captured(1), event_id="evt_1")])
    (taken,) = spool.take_in([genuine(captured(2), event_id="evt_1")])
    assert not taken.is_duplicate
    assert len(rows(path, "SELECT id FROM reports WHERE event_id = 'evt_1'")) == 2


def test_reopened_after_a_crash_it_holds_the_same_numbers(path):
    """I1: what was committed is there with the same numbers, whatever died afterwards."""
    before = open_spool(path)
    before.take_in([genuine(captured(1)), genuine(captured(2))])
    before.stage([genuine(captured(3))])  # the process dies before COMMIT
    items = Spool.beside(path).unreceipted(after=0, limit=9)
    before.close()
    after = open_spool(path, spool_id=b"another!")
    assert after.spool_id == SPOOL
    assert after.unreceipted(after=0, limit=9) == items
    assert [one.number for one in items] == [1, 2]
    after.take_in([genuine(captured(4))])
    assert open_numbers(after) == [1, 2, 3]
    after.close()


def test_full_disk_stores_nothing_and_goes_on_when_there_is_room(spool, path):
    """I1: a batch is stored whole or refused whole."""
    pages = rows(path, "PRAGMA page_count")[0][0]
    spool._execute(f"PRAGMA max_page_count = {pages + 4}")
    batch = [genuine(captured(n, description="x" * 3_000)) for n in range(1, 9)]
    with pytest.raises(StoreUnavailableError, match="full"):
        spool.take_in(batch)
    assert rows(path, "SELECT count(*) FROM reports") == [(0,)]
    assert spool.made == 0
    spool._execute("PRAGMA max_page_count = 100000")
    assert [one.items for one in spool.take_in(batch)] == [1] * 8
    assert open_numbers(spool) == list(range(1, 9))


def test_locked_file_stores_nothing_and_says_so(spool, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for write in (
        lambda: spool.take_in([genuine(captured(1))]),
        lambda: spool.save(marks(1)),
        lambda: spool.trim(NOW_MS),
    ):
        with pytest.raises(StoreUnavailableError, match="locked"):
            write()
    other.execute("ROLLBACK")
    other.close()
    assert spool.take_in([genuine(captured(1))])[0].items == 1


def test_write_that_fails_in_the_middle_leaves_nothing_and_no_transaction_open(spool, path):
    """I1: all of a batch or none of it."""

    def reports():
        yield genuine(captured(1))
        spool._execute("PRAGMA query_only = ON")  # the disk turns read-only here
        yield genuine(captured(2))

    with pytest.raises(StoreUnavailableError):
        spool.take_in(reports())
    spool._execute("PRAGMA query_only = OFF")
    assert rows(path, "SELECT count(*) FROM reports") == [(0,)]
    assert spool.take_in([genuine(captured(2))])[0].items == 1
    assert rows(path, "SELECT count(*) FROM reports") == [(1,)]


@pytest.mark.usefixtures("spool")
def test_second_intake_on_one_spool_is_refused(path):
    with pytest.raises(SpoolError, match="another intake uses it"):
        open_spool(path)


def test_file_that_is_no_spool_is_refused_by_name(path):
    path.write_bytes(b"this is no database, it is a letter " * 100)
    with pytest.raises(SpoolError, match=r"spool\.db: file is not a database"):
        open_spool(path)


def test_spool_file_belongs_to_its_owner_alone(spool, path):
    spool.take_in([genuine(captured(1))])
    modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_commits_wait_for_the_disk(spool):
    assert spool._execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert spool._execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reports SET verdict = 'irrelevant', reason = 'x'",
        "UPDATE items SET shard = 1",
        "UPDATE receipts SET verdict = 'duplicate'",
        "DELETE FROM items WHERE number = 2",
        "DELETE FROM reports WHERE verdict = 'unreadable'",
        "DELETE FROM reports WHERE id = 1",
        "INSERT INTO items SELECT 4, report_id, shard, item FROM items WHERE number = 1",
        "UPDATE spool SET made = 1",
        "UPDATE spool SET generation_ms = 4",
        "UPDATE spool SET id = x'0000000000000000'",
        "INSERT INTO receipts VALUES (2, 'lost', 1)",
        "INSERT INTO receipts VALUES (9, 'stored', 1)",
    ],
)
def test_schema_itself_refuses_what_would_break_an_invariant(spool, statement):
    """I1, R1, R13: whoever writes to the file."""
    spool.take_in([genuine(captured(1)), genuine(captured(2)), genuine(b"nonsense")])
    spool.save(marks(1, generation_ms=5))
    with pytest.raises(sqlite3.IntegrityError):
        spool._execute(statement)


def test_receipts_close_numbers_and_only_those(spool):
    spool.take_in([genuine(captured(n)) for n in (1, 2, 3)])
    assert spool.raw16_of_open([1, 2, 9]) == {n: sha256(captured(n)).digest()[:16] for n in (1, 2)}
    spool.save(marks(2))
    spool.save(marks(2))
    assert open_numbers(spool) == [1, 3]
    assert spool.raw16_of_open([1, 2]) == {1: sha256(captured(1)).digest()[:16]}
    assert spool.count_receipts() == 1


def test_new_generation_forgets_every_receipt(spool):
    """R13: a restored ledger is offered everything that is retained."""
    spool.take_in([genuine(captured(n)) for n in (1, 2, 3)])
    spool.save(marks(1, 2, generation_ms=7))
    assert (spool.generation_ms, open_numbers(spool)) == (7, [3])
    spool.save(marks(3, generation_ms=8))
    assert (spool.generation_ms, open_numbers(spool)) == (8, [1, 2])


def test_trim_removes_what_ended_before_and_nothing_else(spool, path):
    """I1: neither the unreceipted nor the unreadable ever go; the rest after 35 days."""
    raws = [captured(1), captured(2), captured(3), IRRELEVANT, b"nonsense"]
    spool.take_in([genuine(raw) for raw in raws])
    spool.save(marks(1, at_ms=NOW_MS))
    spool.save(marks(2, at_ms=NOW_MS + 1_000))
    assert spool.trim(NOW_MS) == 0
    assert spool.trim(NOW_MS + 1_000) == 3  # item 1, its report, the irrelevant report
    left = rows(path, "SELECT raw FROM reports ORDER BY id")
    assert left == [(raws[1],), (raws[2],), (raws[4],)]
    assert spool.trim(NOW_MS + RETENTION_MS) == 2
    assert open_numbers(spool) == [3]
    assert spool.trimmed == 2


def test_numbers_go_on_after_everything_was_trimmed(spool):
    """R1: a number is never given twice."""
    spool.take_in([genuine(captured(1))])
    spool.save(marks(1))
    spool.trim(NOW_MS + RETENTION_MS)
    spool.take_in([genuine(captured(2))])
    assert open_numbers(spool) == [2]


def test_reading_verdicts_are_values_not_exceptions():
    assert isinstance(genuine(IRRELEVANT).reading, Irrelevant)
    assert isinstance(genuine(b"nonsense").reading, Unreadable)


# What the poller asks and notes


def test_fact_is_known_by_provider_kind_and_object_id(spool):
    spool.take_in([genuine(captured(1)), genuine(captured(2))])
    asked = [f"pay_{n:014d}" for n in (1, 3)]
    assert spool.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == {asked[0]}
    assert spool.known_facts(PROVIDER, PaymentKind.REFUNDED, asked) == set()
    assert spool.known_facts(ProviderId("BANK-A"), PaymentKind.CAPTURED, asked) == set()


def test_fact_said_twice_is_known_until_the_last_item_of_it_is_trimmed(spool):
    asked = [f"pay_{1:014d}"]
    spool.take_in([genuine(captured(1)), genuine(captured(1, description="again"))])
    spool.save(marks(1, at_ms=NOW_MS))
    spool.save(marks(2, at_ms=NOW_MS + 1_000))
    spool.trim(NOW_MS + 1)
    assert spool.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == set(asked)
    spool.trim(NOW_MS + RETENTION_MS)
    assert spool.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == set()


def test_as_many_facts_as_are_asked_for_at_once_are_found_by_their_index(spool):
    """I13: a bounded look-up, whatever the spool holds."""
    spool.take_in([genuine(captured(n)) for n in range(KNOWN_MAX)])
    asked = [f"pay_{n:014d}" for n in range(KNOWN_MAX)]
    seen = []
    spool._db.conn.set_trace_callback(seen.append)
    assert spool.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == set(asked)
    spool._db.conn.set_trace_callback(None)
    plan = " ".join(row[3] for row in spool._execute("EXPLAIN QUERY PLAN " + seen[-1]))
    assert "INDEX facts_by_object (provider=? AND kind=? AND object_id=?)" in plan


def test_report_is_known_by_its_bytes(spool):
    spool.take_in([genuine(IRRELEVANT)])
    digests = [sha256(IRRELEVANT).digest(), sha256(b"other").digest()]
    assert spool.known_reports(PROVIDER, digests) == {digests[0]}
    assert spool.known_reports(ProviderId("BANK-A"), digests) == set()


def test_marks_of_polling_are_kept_per_provider_and_sweep(spool, path):
    spool.mark_polled(PROVIDER, {Sweep.RECENT: 5, Sweep.DEEP: 3})
    spool.mark_polled(PROVIDER, {Sweep.RECENT: 4})  # a clock that ran ahead was set right
    assert Spool.beside(path).polled_through(PROVIDER) == {Sweep.RECENT: 4, Sweep.DEEP: 3}
    assert spool.polled_through(ProviderId("BANK-A")) == {}


def test_mark_that_cannot_be_written_is_told(spool, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        spool.mark_polled(PROVIDER, {Sweep.RECENT: 5})
    other.execute("ROLLBACK")
    other.close()
    assert spool.polled_through(PROVIDER) == {}


def test_spool_of_the_first_schema_is_taken_over_and_its_facts_are_known(path):
    before = open_spool(path)
    before.take_in([genuine(captured(1)), genuine(captured(2)), genuine(IRRELEVANT)])
    for statement in (
        "DROP TABLE facts",
        "DROP TABLE polls",
        "DELETE FROM _sqlite_migrations WHERE name = 'facts_polls'",
    ):
        before._execute(statement)
    before.close()
    after = open_spool(path)
    asked = [f"pay_{n:014d}" for n in (1, 2, 3)]
    assert after.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == set(asked[:2])
    assert open_numbers(after) == [1, 2]
    after.take_in([genuine(captured(3))])
    assert after.known_facts(PROVIDER, PaymentKind.CAPTURED, asked) == set(asked)
    after.close()

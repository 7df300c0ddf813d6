"""Counted before it is signed, across a kill; a new, lost or restored store signs nothing."""

import shutil
import sqlite3
import stat

import pytest

from cloud.guard.store import StoreError, held, open_store, writing
from tests.cloud.guard.guarded import DAY_MS, MINUTE_MS, Guarded
from tests.wire.installation import NOW_MS, key


class KilledError(Exception):
    """The process ends here."""


class KilledWhileSigning:
    """A signer in a process that is killed when it should sign."""

    key_id = key("guard").key_id

    def sign(self, signed: bytes) -> bytes:
        raise KilledError(len(signed))


def killed(folder):
    """A guard that counted an open and was killed before it signed; started again."""
    world = Guarded(folder)
    world.signer = KilledWhileSigning()
    world.store.close()
    world.start()
    row = world.row()
    with pytest.raises(KilledError):
        world.ask(row)
    world.store.close()
    world.signer = key("guard")
    world.start()
    return world, row


def test_count_is_on_the_disk_before_the_key_is_used(tmp_path):
    world, _ = killed(tmp_path)
    assert world.rows("SELECT meter_id FROM counted") == [("M-1",)]
    assert world.answers() == []
    world.store.close()


def test_command_counted_before_a_kill_is_signed_once_and_counted_once(tmp_path):
    world, row = killed(tmp_path)
    assert world.verdict(row) == "signed"
    assert world.rows("SELECT count(*) FROM counted") == [(1,)]
    assert world.rows("SELECT meters FROM days") == [(1,)]
    assert world.ask(row).answers == ()
    world.store.close()


def test_command_counted_before_a_kill_is_refused_when_it_was_paid_meanwhile(tmp_path):
    world, row = killed(tmp_path)
    world.pay(world.item(1))
    assert "arrears_too_low" in world.verdict(row)
    assert world.rows("SELECT signature FROM answers") == [(None,)]
    world.store.close()


def test_nothing_can_be_signed_that_was_not_counted(world):
    with pytest.raises(sqlite3.IntegrityError, match="counted first"), writing(world.store) as one:
        one.execute(
            "INSERT INTO answers VALUES (?, ?, ?, 'signed', '', 1)", (b"c" * 16, b"k", b"s")
        )


@pytest.mark.parametrize("statement", ["UPDATE answers SET reason = 'x'", "DELETE FROM counted"])
def test_what_was_counted_and_answered_stays(world, statement):
    world.verdict(world.row())
    with pytest.raises(sqlite3.IntegrityError, match="stays"):
        world.store.execute(statement)


def test_new_store_signs_nothing_for_a_day_of_running(tmp_path):
    world = Guarded(tmp_path, used_up_ms=DAY_MS)
    assert world.verdict(world.row()) == "thresholds_used_up"
    world.later(DAY_MS - MINUTE_MS)
    assert world.verdict(world.row()) == "thresholds_used_up"
    world.later(MINUTE_MS)
    assert world.verdict(world.row()) == "signed"
    assert world.alarm_codes() == []
    world.store.close()


def test_store_that_an_import_made_waits_as_long_as_its_guard_is_told(tmp_path):
    open_store(tmp_path / "guard.db", now_ms=NOW_MS).close()
    world = Guarded(tmp_path, used_up_ms=MINUTE_MS)
    assert world.verdict(world.row()) == "thresholds_used_up"
    world.later(MINUTE_MS)
    assert world.verdict(world.row()) == "signed"
    world.store.close()


def test_running_time_is_kept_over_a_short_restart(tmp_path):
    world = Guarded(tmp_path, used_up_ms=DAY_MS)
    world.later(DAY_MS)
    world.store.close()
    world.now_ms += MINUTE_MS
    world.start()
    world.hear(world.watermark())
    assert world.verdict(world.row()) == "signed"
    world.store.close()


def test_older_copy_of_the_store_begins_with_every_threshold_used_up(tmp_path):
    world = Guarded(tmp_path, used_up_ms=DAY_MS)
    world.later(DAY_MS)
    world.store.close()
    shutil.copy(world.path, tmp_path / "copy")
    world.start()
    assert world.verdict(world.row()) == "signed"
    world.later(60 * MINUTE_MS)
    world.store.close()
    shutil.copy(tmp_path / "copy", world.path)
    world.start()
    world.hear(world.watermark())
    assert world.verdict(world.row(2)) == "thresholds_used_up"
    assert world.alarm_codes() == ["store_gap"]
    world.store.close()


@pytest.mark.parametrize("step_ms", [10 * MINUTE_MS + 1, -MINUTE_MS - 1])
def test_clock_that_steps_is_as_good_as_a_restored_store(tmp_path, step_ms):
    world = Guarded(tmp_path, used_up_ms=DAY_MS)
    world.later(DAY_MS)
    world.now_ms += step_ms
    world.hear(world.watermark())
    assert "thresholds_used_up" in world.verdict(world.row())
    world.store.close()


def test_store_is_its_owners_alone_and_durable(world):
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert world.rows("PRAGMA journal_mode") == [("wal",)]
    assert world.rows("PRAGMA synchronous") == [(2,)]


def test_second_guard_on_one_store_is_refused(world):
    with held(world.path), pytest.raises(StoreError, match="another guard"), held(world.path):
        pass


def test_other_databases_are_refused(tmp_path):
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE accounts (account_id TEXT)")
    other.close()
    with pytest.raises(StoreError, match="another program's"):
        open_store(path, now_ms=NOW_MS)
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(StoreError, match="is it a store of this guard"):
        open_store(path, now_ms=NOW_MS)


def test_locked_store_signs_nothing(world):
    row = world.row()
    other = sqlite3.connect(world.path, isolation_level=None)
    world.store.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        world.ask(row)
    other.execute("ROLLBACK")
    other.close()
    assert world.answers() == []
    assert world.verdict(row) == "signed"

"""A backup is one checked moment of a running ledger, and says what it is (I3)."""

import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import insert

from cloud.backup import BackupError, back_up, facts_path, read_backup
from cloud.schema import accounts
from tests.cloud.engine_world import World
from tests.wire.installation import EPOCH, GENERATION_MS, INSTALLATION


@pytest.fixture
def target(tmp_path):
    return tmp_path / "backups" / "one"


@pytest.fixture(autouse=True)
def folder(target):
    target.parent.mkdir()
    return target.parent


def account(name: str) -> dict[str, str]:
    return {"account_id": name, "zone": "INDORE-1", "language": "hi"}


def names_in(path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT account_id FROM accounts")}


def test_backup_of_a_running_ledger_holds_everything_committed(world: World, target):
    world.pay()
    facts = back_up(world.path, target, now_ms=world.now_ms)
    assert read_backup(target) == facts
    with closing(sqlite3.connect(target)) as copy, closing(sqlite3.connect(world.path)) as held:
        assert list(copy.iterdump()) == list(held.iterdump())
    assert facts.rows["payments"] == 1
    assert facts.rows["commands"] == 1


def test_backup_waits_for_no_writer_and_holds_nothing_uncommitted(world: World, target):
    with world.transaction() as transaction:
        transaction.execute(insert(accounts), account("A-2"))
        back_up(world.path, target, now_ms=world.now_ms)
    assert names_in(target) == {"A-1"}
    world.pay()
    assert world.commands() != []


def test_backup_says_whose_it_is_and_belongs_to_its_owner(world: World, target):
    facts = back_up(world.path, target, now_ms=world.now_ms)
    assert bytes.fromhex(facts.installation) == INSTALLATION
    assert (facts.generation_ms, facts.epoch) == (GENERATION_MS, EPOCH)
    assert (facts.made_at_ms, facts.schema) == (world.now_ms, "0001")
    for path in (target, facts_path(target)):
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in target.parent.iterdir()} == {"one", "one.json"}


@pytest.mark.parametrize("taken", ["one", "one.json"])
def test_backup_overwrites_nothing(world: World, target, taken: str):
    path = target.parent / taken
    path.write_bytes(b"mine")
    with pytest.raises(BackupError, match="exists"):
        back_up(world.path, target, now_ms=world.now_ms)
    assert path.read_bytes() == b"mine"
    assert list(target.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            "INSERT INTO entries VALUES (99, 'bill X', 'receivable', 'A-1', 100, 1)",
            "posting 'bill X' is off by 100 paise",
        ),
        ("DELETE FROM accounts", "names no row of accounts"),
    ],
)
def test_damaged_ledger_is_told_of_and_not_backed_up(world: World, target, harm: str, told: str):
    with closing(sqlite3.connect(world.path, isolation_level=None)) as connection:
        connection.execute(harm)
    with pytest.raises(BackupError, match=told):
        back_up(world.path, target, now_ms=world.now_ms)
    assert list(target.parent.iterdir()) == []


def test_ledger_with_a_damaged_page_is_not_backed_up(world: World, target):
    for number in range(2, 200):
        world.add_home(number)
    world.store.dispose()
    pages = bytearray(world.path.read_bytes())
    middle = len(pages) // 2
    pages[middle : middle + 20_000] = b"\xa5" * 20_000
    world.path.write_bytes(pages)
    with pytest.raises(BackupError, match="cannot be backed up"):
        back_up(world.path, target, now_ms=world.now_ms)
    assert list(target.parent.iterdir()) == []


def cut_short(target):
    target.write_bytes(target.read_bytes()[:-4_096])


def one_bit(target):
    changed = bytearray(target.read_bytes())
    changed[len(changed) // 2] ^= 1
    target.write_bytes(changed)


def without_facts(target):
    facts_path(target).unlink()


def without_file(target):
    target.unlink()


def facts_of_another(target):
    told = json.loads(facts_path(target).read_text())
    facts_path(target).write_text(json.dumps(told | {"generation_ms": 7}))


def other_format(target):
    told = json.loads(facts_path(target).read_text())
    facts_path(target).write_text(json.dumps(told | {"format": 2}))


def no_json(target):
    facts_path(target).write_text("{}")


@pytest.mark.parametrize(
    "harm",
    [cut_short, one_bit, without_facts, without_file, facts_of_another, other_format, no_json],
)
def test_backup_that_is_not_what_it_was_is_refused(world: World, target, harm):
    back_up(world.path, target, now_ms=world.now_ms)
    harm(target)
    with pytest.raises(BackupError):
        read_backup(target)

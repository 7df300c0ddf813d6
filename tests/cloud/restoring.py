"""Backing a world up and restoring it, as an operator does it."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.backup import BackupError, BackupFacts, back_up
from cloud.ledger_file import LedgerInUseError
from cloud.restore import Restored, RestoreError, RestoreOrder, restore
from cloud.store import open_store, sqlite_url
from tests.cloud.engine_world import World
from tests.wire.installation import EPOCH, INSTALLATION


def back_up_now(world: World, target: Path) -> BackupFacts:
    return back_up(world.path, target, now_ms=world.now_ms)


def order_of(world: World, target: Path, **changes: object) -> RestoreOrder:
    order = RestoreOrder(ledger=world.path, backup=target, installation=INSTALLATION, epoch=EPOCH)
    return replace(order, **changes)  # type: ignore[arg-type]


def restored(world: World, target: Path, **changes: object) -> Restored:
    """Restore as an operator does: the engine is stopped, and started again."""
    world.store.dispose()
    done = restore(order_of(world, target, **changes), now_ms=world.now_ms)
    world.store = open_store(sqlite_url(world.path))
    return done


def refused(world: World, target: Path, **changes: object) -> str:
    """Why a restore is refused; nothing may have changed."""
    world.store.dispose()
    before = world.path.read_bytes()
    folder = set(world.path.parent.iterdir())
    with pytest.raises((RestoreError, BackupError, LedgerInUseError)) as refusal:
        restore(order_of(world, target, **changes), now_ms=world.now_ms)
    assert world.path.read_bytes() == before
    lock = world.path.with_name("ledger.db.lock")
    assert set(world.path.parent.iterdir()) == folder | {lock}
    return str(refusal.value)


def accounts_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT account_id FROM accounts")}

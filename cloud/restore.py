"""`relight restore`: an older ledger takes the place of a lost one, as its new generation (R13).

Rules kept here:
 * Nobody has the ledger meanwhile: the engine's lock is taken, and no other connection may be open.
 * The copy becomes a ledger of its new generation *before* it has the ledger's name, and gets the
   name in one rename: a crash leaves the old ledger or the restored one, never one in between.
 * The replaced ledger is kept beside it under the time of the restore. What SQLite left beside it
   (`-wal`) goes with it: under the restored file it would be applied to pages it never knew.
 * R13: the generation is above every one the backup, the replaced ledger and the clock know, so
   intakes and agents offer again everything they retained. Opens are frozen.
 * R3: what was published since the backup is forgotten and can still act, so every lock is pending
   until the longest close that anybody signed has ended.

Commands need nothing here. A *queued* one has neither counter nor bytes: it gets them above
everything issued before (R4), and its reason still stands in the same rows, so deciding it anew
would say the same; money that went back since is offered again and drops it. A *published* one is
the agent's to answer: its item is offered again, or it lapses and is decided anew. What the ledger
forgot comes as orphans, which are filed; a close that acted already is answered `already_closed`.
"""

import os
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, exists, func, select, update

from cloud.backup import (
    BackupError,
    BackupFacts,
    leave_wal,
    part_file,
    read_backup,
    side_files,
    single_file,
)
from cloud.intake.spool import RETENTION_MS
from cloud.ledger_file import LedgerInUseError, connect, digest_of, held, settle_on_disk
from cloud.outbox import LAPSE_MS, LIFE_MS
from cloud.schema import agents, commands, ledger, locks, meters, spools
from cloud.spelling import ist
from cloud.store import migrate, open_store, schema_versions, sqlite_url
from cloud.vocabulary import CommandState

HORIZON_MS = RETENTION_MS  # spools and journals keep so long what a restored ledger must learn
CLOCK_BEHIND_MAX_MS = 60_000  # a backup made later than that is not from the past: mend the clock
HELLOS_PER_CENT = 99  # of the agents must have heard of the new generation before anybody opens


class RestoreError(ValueError):
    """Nothing was restored and nothing changed; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """What is to be restored where, and what the operator takes upon themselves.

    Attributes:
        installation: of the configured root.
        epoch: of the configured engine key.
    """

    ledger: Path
    backup: Path
    installation: bytes
    epoch: int
    is_production: bool = False
    is_new_installation: bool = False
    is_older_than_horizon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    facts: BackupFacts
    generation_ms: int
    locks_wait_until_ms: int
    replaced: Path | None  # where the former ledger is now; None: there was none


@dataclass(frozen=True, slots=True)
class _Former:
    """The life that ends, as far as it can be read."""

    generation_ms: int = 0
    epoch: int = 0


def restore(order: RestoreOrder, *, now_ms: int) -> Restored:
    """Put the backup in the ledger's place; the engine may be started afterwards.

    Raises:
        RestoreError, BackupError, LedgerInUseError: nothing changed.
        OSError: the folder cannot be written.
    """
    with held(order.ledger):
        facts = read_backup(order.backup)
        _demand_fit(order, facts, now_ms)
        _demand_epoch(order, facts.epoch)
        former = _let_go(order.ledger)
        _demand_epoch(order, former.epoch)
        generation_ms = max(now_ms, facts.generation_ms + 1, former.generation_ms + 1)
        ledger_path = order.ledger.resolve()
        with part_file(ledger_path) as part:
            shutil.copyfile(order.backup, part)
            if ledger_path.exists():
                part.chmod(ledger_path.stat().st_mode & 0o777)
            if digest_of(part) != facts.sha256:
                raise BackupError(f"{order.backup} changed while it was copied: try again")
            _begin_anew(part, order, generation_ms, now_ms=now_ms)
            replaced = _replace(ledger_path, part, now_ms)
    return Restored(
        facts=facts,
        generation_ms=generation_ms,
        locks_wait_until_ms=now_ms + LIFE_MS + LAPSE_MS,
        replaced=replaced,
    )


def resumable(transaction: Connection, intakes: Collection[str] | None = None) -> tuple[str, ...]:
    """Why nobody may open yet after a restore, in words for a person; empty: opens may resume.

    R13: the newest watermark of every active intake and the newest hellos of 99 % of the agents
    that have meters carry this ledger's generation. That the stored freeze (`opens_frozen_since_ms`
    of `ledger`) must be lifted as well is not said here: people do that, when this lets them.
    `relight status` shows the reasons. An agent's hello carries what it believed *before* it was
    answered: the next one, within 12 minutes, carries the new generation.

    Args:
        transaction: the caller's; only read.
        intakes: those of the registry; None takes every intake the ledger has heard of.
    """
    row = transaction.execute(select(ledger)).one()
    if row.restored_at_ms is None:
        return ()
    silent = _silent_intakes(transaction, row.generation_ms, intakes)
    return (*silent, *_silent_agents(transaction, row.generation_ms))


def _silent_intakes(
    transaction: Connection, generation_ms: int, intakes: Collection[str] | None
) -> list[str]:
    newest = func.max(spools.c.watermark_generation_ms)
    rows = transaction.execute(select(spools.c.intake, newest).group_by(spools.c.intake))
    heard = {intake: of_generation_ms for intake, of_generation_ms in rows}  # noqa: C416  # typed
    return [
        f"intake {intake} has not spoken to the restored ledger yet"
        for intake in sorted(heard if intakes is None else intakes)
        if heard.get(intake, 0) < generation_ms
    ]


def _silent_agents(transaction: Connection, generation_ms: int) -> list[str]:
    in_service = (
        select(func.count())
        .select_from(agents)
        .where(agents.c.heard_at_ms.is_not(None))
        .where(exists().where(meters.c.agent_id == agents.c.agent_id))
    )
    total = transaction.scalar(in_service) or 0
    told = transaction.scalar(in_service.where(agents.c.generation_ms >= generation_ms)) or 0
    if told * 100 >= total * HELLOS_PER_CENT:
        return []
    reason = f"{told} of {total} agents have said hello to the restored ledger"
    return [f"{reason}, {HELLOS_PER_CENT} % are needed"]


def _demand_fit(order: RestoreOrder, facts: BackupFacts, now_ms: int) -> None:
    """The backup is of this installation, of the past, within the horizon, of a known schema."""
    if order.ledger.exists() and order.ledger.stat().st_uid != os.geteuid():
        raise RestoreError(
            f"{order.ledger} belongs to user id {order.ledger.stat().st_uid}: restore as that user,"
            " or the engine cannot open what is put there"
        )
    is_own = bytes.fromhex(facts.installation) == order.installation
    if order.is_new_installation and order.is_production:
        raise RestoreError("--new-installation makes a copy for tests; this is a production one")
    if order.is_new_installation and is_own:
        raise RestoreError(
            f"{order.backup} is of this very installation: restore it without --new-installation,"
            " or give the copy for tests a root of its own"
        )
    if not is_own and not order.is_new_installation:
        raise RestoreError(
            f"{order.backup} is of installation {facts.installation}, this one is"
            f" {order.installation.hex()}: give its own backup, or, outside production,"
            " --new-installation"
        )
    if facts.made_at_ms > now_ms + CLOCK_BEHIND_MAX_MS:
        raise RestoreError(
            f"{order.backup} was made at {ist(facts.made_at_ms)}, later than this machine's"
            f" clock, {ist(now_ms)}: set the clock first"
        )
    if facts.schema not in schema_versions():
        raise RestoreError(
            f"{order.backup} has schema {facts.schema}, newer than this release knows:"
            " install the release that made it, or a newer one"
        )
    age_ms = now_ms - facts.made_at_ms
    if age_ms > HORIZON_MS and not order.is_older_than_horizon:
        raise RestoreError(
            f"{order.backup} is {age_ms // 86_400_000} days old; intakes and agents keep"
            f" {HORIZON_MS // 86_400_000} days: payments and relay movements in between may be"
            " lost for ever, find them with the providers' statements. --older-than-horizon"
            " restores it all the same"
        )


def _demand_epoch(order: RestoreOrder, epoch: int) -> None:
    """R4: counters rise by epoch first. Another installation's counters mean nothing here."""
    if order.epoch < epoch and not order.is_new_installation:
        raise RestoreError(
            f"the engine's key has epoch {order.epoch}, the ledger {epoch}: configure the key of"
            " the current epoch first"
        )


def _let_go(path: Path) -> _Former:
    """Make sure nobody has the former ledger open, and write its log into it if it can be read.

    Raises:
        LedgerInUseError: a command of `relight` or another program has it open.
    """
    if not path.exists():
        return _Former()
    try:
        with closing(connect(path)) as connection:
            # It needs the file alone: SQLite refuses while any other connection is open.
            leave_wal(connection)
            row = connection.execute("SELECT generation_ms, epoch FROM ledger").fetchone()
            return _Former() if row is None else _Former(*row)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise LedgerInUseError(
                f"{path} is open in another program (an import, `relight status`, a shell):"
                " end it first"
            ) from None
        return _Former()  # cannot be read: that is why it is replaced
    except sqlite3.DatabaseError:
        return _Former()


def _begin_anew(part: Path, order: RestoreOrder, generation_ms: int, *, now_ms: int) -> None:
    """The new life of the ledger, in the copy, in one transaction."""
    store = open_store(sqlite_url(part))
    try:
        migrate(store)
        with store.begin() as transaction:
            transaction.execute(
                update(ledger).values(
                    installation=order.installation,
                    generation_ms=generation_ms,
                    epoch=order.epoch,
                    restored_at_ms=now_ms,
                    opens_frozen_since_ms=now_ms,
                    locks_wait_until_ms=now_ms + LIFE_MS + LAPSE_MS,
                )
            )
            transaction.execute(
                update(locks).where(locks.c.cleared_at_ms.is_(None)).values(effective_at_ms=None)
            )
            if order.is_new_installation:
                _void_signatures(transaction, now_ms)
    finally:
        store.dispose()
    single_file(part)


def _void_signatures(transaction: Connection, now_ms: int) -> None:
    """R23: what was signed under another root does nothing here: the first sweep ends it."""
    transaction.execute(
        update(commands)
        .where(commands.c.state == CommandState.PUBLISHED.value)
        .values(expires_at_ms=now_ms - LAPSE_MS - 1)
    )


def _replace(path: Path, part: Path, now_ms: int) -> Path | None:
    """Give the finished copy the ledger's name; where the former ledger is now."""
    settle_on_disk(part)
    replaced = _free_name(path, now_ms)
    # Beside a ledger that could be read there is nothing any more; beside another, its log.
    for old, kept in zip(side_files(path), side_files(replaced), strict=True):
        if old.exists():
            old.rename(kept)
    had_ledger = path.exists()
    if had_ledger:
        try:
            os.link(path, replaced)  # a rename alone would leave a moment without any ledger
        except OSError:
            path.rename(replaced)
    part.rename(path)
    settle_on_disk(path)
    return replaced if had_ledger else None


def _free_name(path: Path, now_ms: int) -> Path:
    name = f"{path.name}.replaced-{now_ms}"
    taken = 0
    while (kept := path.with_name(name + (f"-{taken}" if taken else ""))).exists():
        taken += 1
    return kept

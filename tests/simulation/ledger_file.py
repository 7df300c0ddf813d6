"""The ledger's file in the simulated world: copied from an image, cut into, backed up, restored.

Rules kept here: the schema is the product's own migration, run once per process and copied per
seed; a cut writes the rows that an import of bills and cuts writes; a restore raises the
generation and holds locks back, as an operator's restore does. The files lie in memory, where an
fsync is free: durability settings stay as the product sets them. A crash here is a process that
dies, never a power cut, so nothing of what was committed is lost.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from cloud.outbox import LAPSE_MS, LIFE_MS
from cloud.schema import accounts, agents, ledger, meters
from cloud.store import migrate, open_store, sqlite_url
from tests.simulation.files import folder
from tests.simulation.installation import DAY_MS, EPOCH, INSTALLATION, START_MS
from tests.simulation.plan import AGENT_OF, AGENTS, ALL_METERS
from tests.simulation.sources import SOURCES

GENERATION_MS = START_MS - 30 * DAY_MS
_FITTED_MS = 1_650_000_000_000  # 2022: within the phase


def account_of(meter: str) -> str:
    """The account a meter measures."""
    return "ACC-" + meter[4:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A meter that is open, as it is imported: a bill, charges, an episode, its quote and order."""

    number: int
    meter: str
    at_ms: int
    bill_paise: int
    charges_paise: int

    @property
    def account(self) -> str:
        """Whose supply it is."""
        return account_of(self.meter)

    @property
    def quote_paise(self) -> int:
        """What must be paid."""
        return self.bill_paise + self.charges_paise

    @property
    def order(self) -> str:
        """The provider's order for the quote."""
        return f"order_Cut{self.number}"


@cache
def _image() -> Path:
    path = folder() / "image.sqlite"
    store = open_store(sqlite_url(path))
    migrate(store)
    with store.begin() as transaction:
        transaction.execute(
            ledger.insert(),
            {"id": 1, "installation": INSTALLATION, "generation_ms": GENERATION_MS, "epoch": EPOCH},
        )
        transaction.execute(agents.insert(), [{"agent_id": agent} for agent in AGENTS])
        transaction.execute(
            accounts.insert(),
            [{"account_id": account_of(m), "zone": "Z", "language": "en"} for m in ALL_METERS],
        )
        transaction.execute(
            meters.insert(),
            [
                {
                    "meter_id": meter,
                    "account_id": account_of(meter),
                    "agent_id": AGENT_OF[meter],
                    "installed_at_ms": _FITTED_MS,
                    "mapped_at_ms": _FITTED_MS,
                    "feeder": "F",
                    "transformer": "T",
                }
                for meter in ALL_METERS
            ],
        )
    store.dispose()  # the last connection that goes writes the log into the file
    return path


class LedgerFile:
    """The one ledger file of this process; `begin` makes it new for a seed."""

    def __init__(self) -> None:
        self.path = folder() / "ledger.sqlite"
        # One object for all seeds: its compiled statements are what makes a seed fast.
        self.store = open_store(sqlite_url(self.path))
        self._fails_in = 0
        event.listen(self.store, "before_cursor_execute", self._maybe_fail)
        event.listen(self.store, "commit", self._maybe_fail_commit)

    def begin(self) -> None:
        """A new, empty ledger."""
        self._replace(_image())
        self._fails_in = 0

    def close_all(self) -> None:
        """What a crash does to the database: every connection is gone, open transactions too."""
        self.store.dispose()

    def fail_once(self, statements: int) -> None:
        """Let the database fail at the given statement from now, or at the commit before it."""
        self._fails_in = statements

    def never_fail(self) -> None:
        """The database is well, also if a failure was planned."""
        self._fails_in = 0

    def _maybe_fail(self, *_: object) -> None:
        if self._fails_in:
            self._fails_in -= 1
            if not self._fails_in:
                raise OperationalError("simulated", {}, sqlite3.OperationalError("disk I/O error"))

    def _maybe_fail_commit(self, *_: object) -> None:
        if self._fails_in:
            self._fails_in = 1
            self._maybe_fail()

    def reader(self) -> sqlite3.Connection:
        """A connection of the checks; it sees what is committed."""
        return sqlite3.connect(self.path, isolation_level=None)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction beside the engine, as an import has it."""
        connection = self.reader()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()

    def back_up(self) -> Path:
        """A copy of this moment."""
        target = folder() / "backup.sqlite"
        target.unlink(missing_ok=True)
        source, copy = self.reader(), sqlite3.connect(target)
        source.backup(copy)
        source.close()
        copy.close()
        return target

    def restore(self, copy: Path, cuts: list[Cut], *, now_ms: int) -> None:
        """Put an older copy in place, raise the generation, import again what it does not know."""
        self._replace(copy)
        with self.writing() as connection:
            connection.execute(
                "UPDATE ledger SET generation_ms = ?, locks_wait_until_ms = ?",
                (now_ms, now_ms + LIFE_MS + LAPSE_MS),
            )
            known = {row[0] for row in connection.execute("SELECT order_id FROM orders")}
            for cut in cuts:
                if cut.order not in known:
                    write_cut(connection, cut, cut.at_ms)

    def _replace(self, by: Path) -> None:
        self.close_all()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(by, self.path)


@cache
def ledger_file() -> LedgerFile:
    """The ledger file of this process."""
    return LedgerFile()


def write_cut(connection: sqlite3.Connection, cut: Cut, now_ms: int) -> None:
    """The rows an import of one bill and one cut writes, in the caller's transaction."""
    write = connection.execute
    write(
        "INSERT INTO bills (bill_id, account_id, amount_paise, due_at_ms, issued_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (f"B-{cut.number}", cut.account, cut.bill_paise, cut.at_ms, cut.at_ms - 20 * DAY_MS),
    )
    _post(connection, f"bill B-{cut.number}", "revenue", cut, cut.bill_paise)
    episode = write(
        "INSERT INTO episodes (account_id, meter_id, cut_at_ms, cut_by, created_at_ms, state)"
        " VALUES (?, ?, ?, 'remote', ?, 'open') RETURNING id",
        (cut.account, cut.meter, cut.at_ms, now_ms),
    ).fetchone()[0]
    _post(connection, f"charges of episode {episode}", "charges", cut, cut.charges_paise)
    quote = write(
        "INSERT INTO quotes (episode_id, amount_paise, breakdown, made_at_ms, expires_at_ms)"
        " VALUES (?, ?, '[]', ?, ?) RETURNING id",
        (episode, cut.quote_paise, now_ms, now_ms + DAY_MS),
    ).fetchone()[0]
    for source in SOURCES:
        write("INSERT INTO orders VALUES (?, ?, ?)", (source.name, cut.order, quote))
    standing = write(
        "SELECT 1 FROM locks WHERE account_id = ? AND kind = 'non_payment'"
        " AND cleared_at_ms IS NULL",
        (cut.account,),
    ).fetchone()
    if standing is None:
        wait_ms = write("SELECT locks_wait_until_ms FROM ledger").fetchone()[0]
        write(
            "INSERT INTO locks (account_id, kind, owner, document, placed_at_ms, effective_at_ms)"
            " VALUES (?, 'non_payment', 'relight', 'import', ?, ?)",
            (cut.account, now_ms, now_ms if wait_ms <= now_ms else None),
        )


def _post(connection: sqlite3.Connection, name: str, head: str, cut: Cut, paise: int) -> None:
    for one, amount in (("receivable", paise), (head, -paise)):
        connection.execute(
            "INSERT INTO entries (posting, head, account_id, amount_paise, posted_at_ms)"
            " VALUES (?, ?, ?, ?, ?)",
            (name, one, cut.account, amount, cut.at_ms),
        )

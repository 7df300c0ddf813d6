"""The rows of an agent's journal about its meters: the signed list, the protected, the guarded.

Every writer here takes part in the transaction that `journal.Journal.transaction` opened.
"""

import sqlite3
from collections.abc import Iterable

from wire.documents import RosterEntry
from wire.fields import MeterId

_TABLES = {"roster": 5, "protected_meters": 1, "guarded_meters": 1}  # columns


class RosterRows:
    """The roster of one open journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany

    def entries(self) -> list[RosterEntry]:
        """The list as it was signed."""
        rows = self._execute("SELECT meter, serial, flags, invocation, line FROM roster")
        return [
            RosterEntry(meter=row[0], serial=row[1], flags=row[2], invocation=row[3], line=row[4])
            for row in rows
        ]

    def replace(self, entries: Iterable[RosterEntry]) -> None:
        """Write down a newer list; nothing of the old one stays."""
        self._execute("DELETE FROM roster")
        self._execute_many(
            "INSERT INTO roster VALUES (?, ?, ?, ?, ?)",
            ((one.meter, one.serial, one.flags, one.invocation, one.line) for one in entries),
        )

    def protected(self) -> set[MeterId]:
        """Every meter that was protected once and not cleared by enrol and guard."""
        return {MeterId(row[0]) for row in self._execute("SELECT meter FROM protected_meters")}

    def protect(self, meters: Iterable[MeterId]) -> None:
        """Remember that these are protected."""
        self._execute_many(
            "INSERT OR IGNORE INTO protected_meters VALUES (?)", ((one,) for one in meters)
        )

    def clear(self, meters: Iterable[MeterId]) -> None:
        """Enrol and guard said that these are protected no longer."""
        self._execute_many(
            "DELETE FROM protected_meters WHERE meter = ?", ((one,) for one in meters)
        )

    def guard(self, meter: MeterId) -> None:
        """From now on a close of this meter needs the guard too (R20)."""
        self._execute("INSERT OR IGNORE INTO guarded_meters VALUES (?)", (meter,))

    def unguard(self, meter: MeterId) -> None:
        """The end of that."""
        self._execute("DELETE FROM guarded_meters WHERE meter = ?", (meter,))

    def is_guarded(self, meter: MeterId) -> bool:
        """Whether a close of this meter needs the guard too."""
        found = self._execute("SELECT 1 FROM guarded_meters WHERE meter = ?", (meter,))
        return found.fetchone() is not None

    def hand_on(self, successor: sqlite3.Connection) -> None:
        """Give all of it to the journal that follows this one."""
        for table, columns in _TABLES.items():
            marks = ", ".join("?" * columns)
            rows = self._execute(f"SELECT * FROM {table}").fetchall()
            successor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

"""The rows of an agent's journal that speak of manifests: what two approvers allowed it (R10).

A manifest is answered once, held or refused; which of its meters were used, the steps say. Every
writer here takes part in the transaction that `journal.Journal.transaction` opened.
"""

import sqlite3

from edge_agent.verification import ManifestFacts
from wire.documents import Manifest
from wire.fields import MeterId


class ManifestRows:
    """The manifests of one open journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany

    def write(
        self, manifest_id: bytes, manifest: Manifest, refused: str | None, running_ms: int
    ) -> None:
        """Remember how a manifest was answered, and its meters if it is held."""
        self._execute(
            "INSERT INTO manifests VALUES (?, ?, ?, ?)",
            (manifest_id, refused, running_ms, manifest.expires_at_ms),
        )
        if refused is None:
            meters = ((manifest_id, meter) for meter in manifest.meters)
            self._execute_many("INSERT INTO manifest_meters VALUES (?, ?)", meters)

    def is_known(self, manifest_id: bytes) -> bool:
        """Whether it was answered already."""
        found = self._execute("SELECT 1 FROM manifests WHERE manifest = ?", (manifest_id,))
        return found.fetchone() is not None

    def count(self) -> int:
        """How many are remembered."""
        return int(self._execute("SELECT count(*) FROM manifests").fetchone()[0])

    def facts(self, manifest_id: bytes, meter: MeterId, running_ms: int) -> ManifestFacts | None:
        """What a held manifest says of a meter; None if it is not held."""
        row = self._execute(
            "SELECT running_ms, expires_at_ms,"
            " EXISTS (SELECT 1 FROM manifest_meters l"
            " WHERE l.manifest = m.manifest AND l.meter = :meter),"
            " EXISTS (SELECT 1 FROM steps s WHERE s.step = 'actuating'"
            " AND s.manifest = m.manifest AND s.meter = :meter)"
            " FROM manifests m WHERE m.manifest = :manifest AND m.refused IS NULL",
            {"manifest": manifest_id, "meter": meter},
        ).fetchone()
        if row is None:
            return None
        return ManifestFacts(
            held_for_ms=running_ms - row[0],
            expires_at_ms=row[1],
            names_meter=bool(row[2]),
            is_used=bool(row[3]),
        )

    def trim(self, before_ms: int) -> None:
        """Remove those that were answered up to this running time."""
        self._execute(
            "DELETE FROM manifest_meters WHERE manifest IN"
            " (SELECT manifest FROM manifests WHERE running_ms <= ?)",
            (before_ms,),
        )
        self._execute("DELETE FROM manifests WHERE running_ms <= ?", (before_ms,))

"""The roster in force: the file of commissioning, until enrol signs a newer one (R11).

Rules kept here (docs/protocol.md, "roster"):
 * The highest version is in force; a signed one is stored before it is used.
 * A version is used when all its parts are here. Parts wait in memory: what a restart loses, the
   next hello asks for again.
 * Protected in a signed roster, or in the file it followed, is protected until a part signed by
   enrol and guard names the meter without it: leaving the list, a newer file or a new journal
   clears nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from edge_agent.journal import Journal
from edge_agent.roster import Roster, RosterMeter
from wire import documents
from wire.checking import Checked
from wire.documents import RosterEntry
from wire.fields import MeterId
from wire.vocabulary import Role

PARTS_MAX = 10  # of 1,000 meters: ten times the largest concentrator
PROTECTED_FLAG = 1
NO_RELAY_FLAG = 2
_FLAGS = PROTECTED_FLAG | NO_RELAY_FLAG


@dataclass(frozen=True, slots=True)
class _Part:
    content: documents.Roster
    digest: bytes
    may_clear: bool  # the guard signed it too


class HeldRoster:
    """The meters one agent answers for, over one journal."""

    def __init__(self, journal: Journal, commissioned: Roster) -> None:
        self._journal = journal
        self._rows = journal.rosters
        self._parts: dict[int, _Part] = {}  # of the newest version that is not complete
        self._in_force = self._read(commissioned)

    @property
    def version(self) -> int:
        """The version in force, which every hello shows."""
        return self._in_force.version

    @property
    def meters(self) -> Mapping[MeterId, RosterMeter]:
        """Every meter of it."""
        return self._in_force.meters

    def _read(self, commissioned: Roster) -> Roster:
        version = self._journal.standing.roster_version
        protected = self._rows.protected()
        meters = dict(commissioned.meters)
        if version and version >= commissioned.version:
            meters = {MeterId(one.meter): _meter(one) for one in self._rows.entries()}
        for meter in protected & meters.keys():
            meters[meter] = replace(meters[meter], is_protected=True)
        return Roster(version=max(version, commissioned.version), meters=meters)

    def take(self, checked: Checked) -> str | None:
        """Take one part; the code of the alarm it calls for.

        Takes part in the caller's transaction.
        """
        content = cast("documents.Roster", checked.message)
        if content.roster_version <= self.version:
            return None
        if not _is_possible(content):
            return "roster_unusable"
        arriving = max((one.content.roster_version for one in self._parts.values()), default=0)
        if content.roster_version < arriving:
            return None
        if content.roster_version > arriving:
            self._parts = {}
        part = _Part(content, checked.digest, Role.GUARD in checked.roles)
        if any(_contradict(part, other) for other in self._parts.values()):
            self._parts = {}
            return "roster_forked"
        known = self._parts.get(content.part)
        if known is None or not known.may_clear:
            self._parts[content.part] = part
        return self._use() if len(self._parts) == content.parts else None

    def _use(self) -> str | None:
        parts, self._parts = list(self._parts.values()), {}
        entries = [entry for part in parts for entry in part.content.meters]
        if len({entry.meter for entry in entries}) < len(entries):
            return "roster_unusable"
        protected = {meter for meter, one in self.meters.items() if one.is_protected}
        protected |= {MeterId(one.meter) for one in entries if one.flags & PROTECTED_FLAG}
        cleared = {
            MeterId(one.meter)
            for part in parts
            for one in part.content.meters
            if part.may_clear and not one.flags & PROTECTED_FLAG
        }
        self._rows.replace(entries)
        self._rows.protect(sorted(protected))
        self._rows.clear(sorted(cleared))
        self._journal.change(roster_version=parts[0].content.roster_version)
        self._in_force = self._read(Roster(version=0, meters={}))
        return None


def _is_possible(content: documents.Roster) -> bool:
    """An unknown flag could be a protection that this agent would not keep."""
    return 1 <= content.part <= content.parts <= PARTS_MAX and all(
        one.flags <= _FLAGS for one in content.meters
    )


def _contradict(part: _Part, other: _Part) -> bool:
    """Whether two rosters of one version were signed."""
    if part.content.part == other.content.part:
        return part.digest != other.digest
    return part.content.parts != other.content.parts


def _meter(entry: RosterEntry) -> RosterMeter:
    return RosterMeter(
        serial=entry.serial,
        is_protected=bool(entry.flags & PROTECTED_FLAG),
        has_relay=not entry.flags & NO_RELAY_FLAG,
        line=entry.line,
    )

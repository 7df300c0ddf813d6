"""The meters an agent answers for, from a local file: pure parsing, one row per meter.

Rules kept here: ids obey the wire's grammar; a meter stands in the list once; an unknown flag is an
error, because the word it stands for could be `protected`. A file may begin with `# version N`:
the engine then sees in the hello which file is in place.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wire.fields import MeterId
from wire.topics import is_id

COLUMNS = ("meter", "serial", "flags", "line")
PROTECTED = "protected"
NO_RELAY = "no_relay"
_VERSION = re.compile(r"# version ([1-9][0-9]{0,14})")
METERS_MAX = 10_000  # ten times the largest concentrator; more is a wrong file


class RosterError(ValueError):
    """A roster that cannot be used, with the row and the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterMeter:
    """One meter as commissioning wrote it down."""

    serial: str
    is_protected: bool = False
    has_relay: bool = True
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Every meter of one agent."""

    version: int
    meters: Mapping[MeterId, RosterMeter]


def parse_roster(text: str) -> Roster:
    """Read `meter,serial,flags,line` rows behind an optional line `# version N` (else 0).

    Flags are words separated by blanks.

    Raises:
        RosterError: with the row's number, what stands there and what to write instead.
    """
    lines = text.splitlines()
    above = 1 if lines and lines[0].startswith("#") else 0
    version = _version(lines[0]) if above else 0
    rows = list(csv.reader(lines[above:]))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise RosterError(f"the first row must be {','.join(COLUMNS)}")
    if len(rows) - 1 > METERS_MAX:
        raise RosterError(f"{len(rows) - 1} meters; one agent takes at most {METERS_MAX}")
    meters: dict[MeterId, RosterMeter] = {}
    for number, row in enumerate(rows[1:], 2 + above):
        if not row:
            continue
        meter, entry = _entry(number, row)
        if meter in meters:
            raise RosterError(f"row {number}: meter {meter} stands above already: remove one")
        meters[meter] = entry
    return Roster(version=version, meters=MappingProxyType(meters))


def _version(line: str) -> int:
    found = _VERSION.fullmatch(line)
    if found is None:
        raise RosterError(f"the first line {line!r} is neither the columns nor `# version N`")
    return int(found[1])


def _entry(number: int, row: list[str]) -> tuple[MeterId, RosterMeter]:
    if len(row) != len(COLUMNS):
        raise RosterError(
            f"row {number}: {len(row)} fields; {','.join(COLUMNS)} are {len(COLUMNS)}"
        )
    meter, serial, flags, line = (field.strip() for field in row)
    if not is_id(meter):
        raise RosterError(f"row {number}: {meter!r} is no meter id: A-Z, 0-9 and -, at most 32")
    unknown = sorted(set(flags.split()) - {PROTECTED, NO_RELAY})
    if unknown:
        raise RosterError(
            f"row {number}: flag {unknown[0]!r} is unknown:"
            f" write {PROTECTED}, {NO_RELAY} or nothing"
        )
    words = flags.split()
    return MeterId(meter), RosterMeter(
        serial=serial, is_protected=PROTECTED in words, has_relay=NO_RELAY not in words, line=line
    )

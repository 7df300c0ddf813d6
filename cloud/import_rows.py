"""One line of a CSV file becomes typed values, or a bad row that says what to mend.

Rules kept here: UTF-8 without a byte order mark, lines that end in LF, a header with exactly the
columns of its kind; each line is read by itself, so one broken quote spoils one line; every fault
is named with file, line, field and value, and at most `BAD_ROWS_KEPT` of them are kept.
"""

import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from cloud.spelling import parse_day, parse_instant, parse_rupees
from wire.topics import is_id

BAD_ROWS_KEPT = 1_000  # more than a person mends before trying again; the rest are counted
LINE_MAX_BYTES = 4_096  # the longest honest row is under 400
ROWS_MAX = 2_000_000  # in memory at once, about 600 B each; the first phase has 725,000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN_MAX = 60  # characters of a wrong value that are shown
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_()-]{0,63}")  # feeders and the like; no formulas
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_COUNT = re.compile(r"[1-9][0-9]{0,14}")
_WORD = re.compile(r"[!-~]{1,64}")

_Row = TypeVar("_Row")
_Value = TypeVar("_Value")
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One thing to mend in a file."""

    line: int
    field: str
    value: str
    reason: str


@dataclass(slots=True)
class BadRows:
    """Everything wrong with one file: the first thousand, and how many in all."""

    count: int = 0
    kept: list[BadRow] = field(default_factory=list)

    def add(self, line: int, name: str, value: str, reason: str) -> None:
        """Note one fault; `name` is the column, empty when the whole line is meant."""
        self.count += 1
        if len(self.kept) < BAD_ROWS_KEPT:
            shown = value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "..."
            self.kept.append(BadRow(line=line, field=name, value=shown, reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a file's header must name: all of `needed`, any of `optional`, nothing else."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Read(Generic[_Row]):
    """A file as read: its SHA-256, its good rows, and how many rows there were."""

    digest: bytes
    rows: list[_Row]
    count: int


class Fields:
    """One line's cells by column name; a wrong one is noted and stands in as an empty value."""

    def __init__(self, header: Sequence[str], bad: BadRows) -> None:
        self.line = 0
        self.has_fault = False
        self._places = {name: place for place, name in enumerate(header)}
        self._cells: Sequence[str] = ()
        self._bad = bad

    def take(self, line: int, cells: Sequence[str]) -> None:
        """Turn to the next line."""
        self.line, self._cells, self.has_fault = line, cells, False

    def text(self, name: str) -> str:
        """The cell as it stands; empty when the file has no such column."""
        place = self._places.get(name)
        return "" if place is None else self._cells[place]

    def refuse(self, name: str, reason: str) -> None:
        """Say what is wrong with one cell."""
        self.has_fault = True
        self._bad.add(self.line, name, self.text(name), reason)

    def identifier(self, name: str) -> str:
        """An id as topics and certificates can carry it."""
        value = self.text(name)
        if not is_id(value):
            self.refuse(name, "is no id: capital letters, digits and '-', at most 32, no spaces")
        return value

    def shared_identifier(self, name: str) -> str:
        """An id that many rows repeat: kept in memory once."""
        return sys.intern(self.identifier(name))

    def name(self, name: str, *, is_optional: bool = False) -> str:
        """A free name of the company's: letters, digits, spaces and ./_()- ."""
        value = sys.intern(self.text(name))
        if not (is_optional and not value) and _NAME.fullmatch(value) is None:
            self.refuse(name, "is no name: 1 to 64 letters, digits, spaces or any of ./_()-")
        return value

    def language(self, name: str) -> str:
        """An ISO 639 code."""
        value = sys.intern(self.text(name))
        if _LANGUAGE.fullmatch(value) is None:
            self.refuse(name, "is no language code: write it like hi or en")
        return value

    def rupees(self, name: str, *, may_be_zero: bool = False) -> int:
        """An amount, in paise."""
        paise = self._parsed(name, parse_rupees, -1)
        if paise == 0 and not may_be_zero:
            self.refuse(name, "must be more than nothing")
        return paise

    def count(self, name: str) -> int | None:
        """A whole number from 1, or None when the cell is empty."""
        value = self.text(name)
        if not value:
            return None
        if _COUNT.fullmatch(value) is None:
            self.refuse(name, "is no number: write a whole one from 1, or leave it empty")
            return None
        return int(value)

    def day(self, name: str) -> int:
        """The beginning of a day in India, ms UTC."""
        return self._parsed(name, parse_day, -1)

    def instant(self, name: str) -> int:
        """A moment, ms UTC."""
        return self._parsed(name, parse_instant, -1)

    def word(self, name: str, words: type[_Word]) -> _Word:
        """One of an enum's words."""
        try:
            return words(self.text(name))
        except ValueError:
            self.refuse(name, f"must be one of {', '.join(words)}")
            return next(iter(words))

    def order(self, name: str) -> tuple[str, str] | None:
        """`PROVIDER:order_id`, or None when the cell is empty."""
        value = self.text(name)
        if not value:
            return None
        provider, _, order_id = value.partition(":")
        if not is_id(provider) or _WORD.fullmatch(order_id) is None:
            self.refuse(name, "is no order: write it like RAZORPAY:order_DESxiijbl9xjDB")
        return provider, order_id

    def _parsed(self, name: str, parse: Callable[[str], _Value], otherwise: _Value) -> _Value:
        try:
            return parse(self.text(name))
        except ValueError as error:
            self.refuse(name, str(error))
            return otherwise


def read_rows(
    path: Path, columns: Columns, make: Callable[[Fields], _Row], bad: BadRows
) -> Read[_Row]:
    """Read a whole file; what is wrong with it goes into `bad`.

    Raises:
        OSError: the file cannot be read.
    """
    seen = sha256()
    rows: list[_Row] = []
    count = 0
    with path.open("rb") as file:
        lines = _lines(file, seen.update, bad)
        header = _header(next(lines, None), columns, bad)
        fields = Fields(header or (), bad)
        for line, text in lines:
            count += 1
            if header is None or count > ROWS_MAX:
                continue  # read on for the digest alone
            cells = _cells(line, text, len(header), bad)
            if cells is None:
                continue
            fields.take(line, cells)
            row = make(fields)
            if not fields.has_fault:
                rows.append(row)
    if count > ROWS_MAX:
        bad.add(ROWS_MAX + 2, "", "", f"more than {ROWS_MAX} rows: split the file")
    if header is not None and count == 0:
        bad.add(2, "", "", "the file has a header and no rows")
    return Read(seen.digest(), rows, count)


def _lines(
    file: BinaryIO, update: Callable[[bytes], None], bad: BadRows
) -> Iterator[tuple[int, str]]:
    """Each line with its number; a line that is no text of ours comes as an empty one, noted."""
    number = 0
    while raw := file.readline(LINE_MAX_BYTES):
        number += 1
        update(raw)
        # What a spreadsheet writes: a byte order mark in front, and CR LF at the ends (RFC 4180).
        body = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
        body = body.removesuffix(b"\n").removesuffix(b"\r")
        fault = _line_fault(body)
        if len(raw) == LINE_MAX_BYTES and not raw.endswith(b"\n"):
            fault = f"the line is longer than {LINE_MAX_BYTES} bytes"
            while (rest := file.readline(LINE_MAX_BYTES)) and not rest.endswith(b"\n"):
                update(rest)
            update(rest)
        if fault is not None:
            bad.add(number, "", raw[:_SHOWN_MAX].decode("ascii", "backslashreplace"), fault)
        yield number, "" if fault is not None else body.decode("utf-8")


def _line_fault(raw: bytes) -> str | None:
    if b"\x00" in raw:
        return "the line holds a NUL byte: this is no text file (UTF-16?); save it as UTF-8"
    if b"\r" in raw:
        return "the line holds a carriage return in its middle: end lines with LF or CR LF"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} of the line is no UTF-8: save the file as UTF-8"
    return "the line is empty: remove it" if not text.strip() else None


def _header(first: tuple[int, str] | None, columns: Columns, bad: BadRows) -> list[str] | None:
    wanted = ", ".join((*columns.needed, *(f"[{name}]" for name in columns.optional)))
    if first is None:
        bad.add(1, "", "", f"the file is empty: its first line must name the columns {wanted}")
        return None
    line, text = first
    if not text:
        return None  # noted already
    names = _cells(line, text, None, bad)
    if names is None:
        return None
    faults = bad.count
    for name in columns.needed:
        if name not in names:
            bad.add(line, name, "", f"the column is missing; this kind has {wanted}")
    for place, name in enumerate(names):
        if name not in columns.needed and name not in columns.optional:
            bad.add(line, name, name, f"no such column; this kind has {wanted}")
        elif name in names[:place]:
            bad.add(line, name, name, "the column stands there twice")
    return names if bad.count == faults else None


def _cells(line: int, text: str, width: int | None, bad: BadRows) -> list[str] | None:
    if not text:
        return None  # noted already
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        bad.add(line, "", text, f"its quotes do not match ({error}); a row stands on one line")
        return None
    if width is not None and len(cells) != width:
        bad.add(line, "", text, f"has {len(cells)} fields, the header names {width}")
        return None
    return cells

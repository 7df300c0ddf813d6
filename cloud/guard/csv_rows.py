"""One line of a CSV file becomes typed values, or a fault that says what to mend.

The guard's own reader over the files that the ledger imports too: what one of the two misreads,
the other does not.

Rules kept here: UTF-8, a header with the columns of its kind and no others; every fault is named
with line, column and value, and at most `FAULTS_KEPT` of them are kept.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from cloud.spelling import parse_day, parse_rupees
from wire.topics import is_id

FILE_MAX_BYTES = 512 * 1024 * 1024  # in memory at once; the first phase's meters are 80 MB
FAULTS_KEPT = 1_000  # more than a person mends before trying again; the rest are counted
_SHOWN_MAX = 60  # characters of a wrong value that are shown
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_()-]{0,63}")  # feeders and the like; no formulas
_PROOF = re.compile(r"[ -~]{1,128}")
_PAYMENT_ID = re.compile(r"[!-~]{1,64}")
_YES_NO = {"yes": True, "no": False}

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to mend in a file."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Faults:
    """Everything wrong with one file: the first thousand, and how many in all."""

    count: int = 0
    kept: list[Fault] = field(default_factory=list)

    def add(self, line: int, column: str, value: str, reason: str) -> None:
        """Note one fault; `column` is empty when the whole line is meant."""
        self.count += 1
        if len(self.kept) < FAULTS_KEPT:
            shown = value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "..."
            self.kept.append(Fault(line=line, column=column, value=shown, reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a header names: all of `needed`, any of `optional`, nothing else."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Read(Generic[_Row]):
    """A file as read: its SHA-256, its good rows, and how many there were."""

    digest: bytes
    rows: list[_Row]
    count: int


class Cells:
    """One line's cells by column; a wrong one is noted and stands in as an empty value."""

    def __init__(self, line: int, cells: Mapping[str, str], faults: Faults) -> None:
        self.line = line
        self._cells = cells
        self._faults = faults

    def identifier(self, column: str) -> str:
        """An id as topics can carry it."""
        return self._demand(column, is_id(self._text(column)), "is no id")

    def name(self, column: str) -> str:
        """A free name of the company's."""
        return self._demand(column, bool(_NAME.fullmatch(self._text(column))), "is no name")

    def proof(self, column: str) -> str:
        """What proves that a notice was served."""
        is_good = bool(_PROOF.fullmatch(self._text(column)))
        return self._demand(column, is_good, "is no proof: 1 to 128 ASCII characters")

    def payment_id(self, column: str) -> str:
        """A provider's id of a payment."""
        is_good = bool(_PAYMENT_ID.fullmatch(self._text(column)))
        return self._demand(column, is_good, "is no payment's id: 1 to 64, no spaces")

    def rupees(self, column: str) -> int:
        """An amount above nothing, in paise."""
        paise = self._parsed(column, parse_rupees)
        if paise == 0:
            self._demand(column, False, "must be more than nothing")
        return paise

    def day(self, column: str) -> int:
        """The beginning of a day in India, ms UTC."""
        return self._parsed(column, parse_day)

    def yes_no(self, column: str) -> bool | None:
        """`yes` or `no`; None: the file does not say."""
        text = self._text(column)
        self._demand(column, text in _YES_NO or not text, "is neither yes nor no")
        return _YES_NO.get(text)

    def _text(self, column: str) -> str:
        return self._cells.get(column, "")

    def _parsed(self, column: str, parse: Callable[[str], int]) -> int:
        try:
            return parse(self._text(column))
        except ValueError as error:
            self._demand(column, False, str(error))
            return -1

    def _demand(self, column: str, is_good: bool, reason: str) -> str:  # noqa: FBT001  # a finding
        text = self._text(column)
        if not is_good:
            self._faults.add(self.line, column, text, reason)
        return text


def read_rows(
    path: Path, columns: Columns, make: Callable[[Cells], _Row], faults: Faults
) -> Read[_Row]:
    """Read a whole file; what is wrong with it goes into `faults`.

    Raises:
        OSError: the file cannot be read.
    """
    if path.stat().st_size > FILE_MAX_BYTES:
        faults.add(1, "", "", f"is over {FILE_MAX_BYTES} bytes: split the file")
        return Read(b"", [], 0)
    content = path.read_bytes()
    digest = sha256(content).digest()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(line, "", "", "is no UTF-8: save the file as UTF-8")
        return Read(digest, [], 0)
    rows: list[_Row] = []
    count = 0
    for line, cells in _lines(text, columns, faults):
        count += 1
        before = faults.count
        row = make(Cells(line, cells, faults))
        if faults.count == before:
            rows.append(row)
    if not count and not faults.count:
        faults.add(2, "", "", "the file has no rows")
    return Read(digest, rows, count)


def _lines(text: str, columns: Columns, faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with its line, after a header as it must be."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            faults.add(1, "", "", f"the file is empty: it begins with {', '.join(columns.needed)}")
            return
        if not _is_header(header, columns, faults):
            return
        for cells in reader:
            if len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
                continue
            reason = f"has {len(cells)} fields, the header names {len(header)}"
            faults.add(reader.line_num, "", ",".join(cells), reason)
    except csv.Error as error:
        faults.add(reader.line_num, "", "", f"is no CSV: {error}")


def _is_header(header: Sequence[str], columns: Columns, faults: Faults) -> bool:
    known = {*columns.needed, *columns.optional}
    missing = [name for name in columns.needed if name not in header]
    wrong = [
        name for place, name in enumerate(header) if name not in known or name in header[:place]
    ]
    for name in missing:
        faults.add(1, name, "", "the column is missing")
    for name in wrong:
        faults.add(1, name, name, "no such column, or it stands there twice")
    return not missing and not wrong

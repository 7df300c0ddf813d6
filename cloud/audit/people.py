"""What people did: the chain over their acts, recomputed from its beginning."""

import sqlite3
from hashlib import sha256

from cloud.audit.findings import Report
from cloud.audit.signatures import Trusted

_PREFIX = b"RELIGHT1 acts"


def check_acts(ledger: sqlite3.Connection, trust: Trusted, report: Report) -> None:
    """I3: no act was changed, taken out or slipped in."""
    head = sha256(_PREFIX + trust.installation).digest()
    for number, row in enumerate(ledger.execute("SELECT * FROM acts ORDER BY id"), start=1):
        report.saw("acts")
        told = [row[name] for name in ("id", "at_ms", "who", "act", "subject", "detail")]
        head = sha256(head + sha256(packed(told)).digest()).digest()
        if row["id"] != number or row["head"] != head:
            report.add("I3", f"act {row['id']}", "the chain of acts is broken here")
            return


def packed(row: list[int | str]) -> bytes:
    """One row as canonical msgpack: an array of integers and texts (UTF-8, as people write)."""
    return bytes([0x90 | len(row)]) + b"".join(map(_value, row))


def _value(value: int | str) -> bytes:
    if isinstance(value, str):
        raw = value.encode("utf-8")
        return (
            _sized(len(raw), ((0x20, b"\xa0", 0), (1 << 8, b"\xd9", 1), (1 << 16, b"\xda", 2)))
            + raw
        )
    return _sized(
        value,
        (
            (0x80, b"\x00", 0),
            (1 << 8, b"\xcc", 1),
            (1 << 16, b"\xcd", 2),
            (1 << 32, b"\xce", 4),
            (1 << 64, b"\xcf", 8),
        ),
    )


def _sized(number: int, forms: tuple[tuple[int, bytes, int], ...]) -> bytes:
    """A number in the shortest of its forms: (below, mark, bytes behind it)."""
    for below, mark, size in forms:
        if number < below:
            return mark + number.to_bytes(size, "big") if size else bytes([mark[0] | number])
    raise ValueError(f"{number} has no form here")

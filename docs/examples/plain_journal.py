"""What an agent writes down before it acts or answers, and what time it can be.

Part of the tutorial that ends in plain_agent.py. The journal is one append-only file, because that
is what every concentrator has; a database does as well. Its folder is `state` of agent.json.
"""

# ruff: noqa: INP001  # an example is a script

import hashlib
import os
import random
import time
from pathlib import Path
from typing import Any

import plain_wire as wire

DAY = 86_400_000


def elapsed() -> int:
    """A clock that only counts and that nobody sets, in ms."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Journal:
    """An append-only file: each record is on the disk before anything follows from it.

    `apply` is the only place where memory changes, so a restart takes the same steps again.
    """

    def __init__(self, folder: Path, agent: str, inherited: list[list[Any]]) -> None:
        self.path, self.agent, self.id, self.trust = folder / "journal", agent, b"", b""
        self.boot = self.generation = self.filed = self.stop = self.lifted = 0
        self.base = self.saved = self.disputed_until = self.welcome_stop = 0
        self.floor, self.started = (0, 0), elapsed()
        self.items: list[tuple[bytes, bytes]] = []  # (bytes, head behind it), from number 1
        self.commands: dict[bytes, dict[str, Any]] = {}  # unfinished, in order of arrival
        self.answers: dict[bytes, int] = {}  # finished: the number of its one item
        self.highest: dict[str, tuple[int, int]] = {}
        self.sent = self.resends = self.resend_at = 0  # items under way; in memory only
        self.file = self.path.open("a+b")
        self.file.seek(0)
        end = 0
        while len(size := self.file.read(4)) == 4:
            record = self.file.read(int.from_bytes(size, "big"))
            if len(record) < int.from_bytes(size, "big"):
                break
            end = self.file.tell()
            self.base, kind, values = wire.unpack(record)
            self.apply(kind, values)
        self.file.truncate(end)  # a torn end was never acted upon
        # The id comes last: a crash in between begins once more.
        for kind, *values in () if self.id else (*inherited, ["id", os.urandom(8)]):
            self.write(kind, *values)
        # The step is random, so that a disk restored from a copy does not reach the boot it lost.
        self.write("boot", self.boot + 1 + random.SystemRandom().getrandbits(32))
        folder_file = os.open(folder, os.O_RDONLY)
        os.fsync(folder_file)  # the file's name is on the disk too
        os.close(folder_file)

    @property
    def running(self) -> int:
        """Running time: elapsed time summed over all boots; no message moves it."""
        return self.base + elapsed() - self.started

    def write(self, kind: str, *values: Any) -> None:
        """Append, fsync, and only then believe it."""
        self.saved = self.running
        record = wire.pack([self.saved, kind, list(values)])
        self.file.write(len(record).to_bytes(4, "big") + record)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.apply(kind, values)

    def head(self, number: int) -> bytes:
        """The head behind item `number` (R8)."""
        first = b"RELIGHT1 journal" + self.id + self.agent.encode()
        return self.items[number - 1][1] if number else hashlib.sha256(first).digest()

    def apply(self, kind: str, values: Any) -> None:
        """What one record changes."""
        if kind == "welcome":
            self.welcome_stop, self.floor = values[0], max(self.floor, tuple(values[1]))
        elif kind == "received":
            key, command, at = values
            self.commands[key] = {"fields": command, "received": at, "acted": None, "tries": 0}
            if command[1] != "read":
                self.highest[command[3]] = (command[4], command[5])
        elif kind == "actuating":
            row = self.commands[values[0]]
            row["acted"], row["tries"] = values[1], row["tries"] + 1
        elif kind == "item":
            raw, raises = values
            head = self.head(len(self.items)) + hashlib.sha256(raw).digest()
            self.items.append((raw, hashlib.sha256(head).digest()))
            number, item, key, meter, *counter = wire.unpack(raw)
            if item == "command":
                self.commands.pop(key, None)
                self.answers[key] = number
            if raises:
                self.highest[meter] = max(self.highest.get(meter, (0, 0)), tuple(counter[:2]))
        elif kind != "running":
            setattr(self, kind, values[0])  # id, boot, filed, generation, stop, lifted, trust ...

    # Items, until they are filed (R8).

    def add(self, *values: Any, raises: bool = False) -> None:
        """Give the next number of the one dense stream."""
        self.write("item", wire.pack([len(self.items) + 1, *values]), raises)

    def due(self) -> tuple[int, int] | None:
        """Which items go now: new ones, and unfiled ones after 2, 10, 60 s; at most 64."""
        now, first = elapsed(), self.sent + 1
        if self.resend_at and now >= self.resend_at:
            first, self.resends, self.resend_at = self.filed + 1, min(self.resends + 1, 2), 0
        self.sent = min(len(self.items), self.filed + 64)
        if self.sent > self.filed and not self.resend_at:
            self.resend_at = now + (2_000, 10_000, 60_000)[self.resends]
        return (first, self.sent) if first <= self.sent else None

    def start_over(self) -> None:
        """Each welcome brings everything unfiled again."""
        self.sent, self.resends, self.resend_at = self.filed, 0, 0

    def mark(self, generation: int, through: int, head: bytes) -> bool:
        """The engine holds 1..through of it; False: that is another history."""
        if generation > self.generation:  # a restored ledger: everything kept is offered again
            self.write("generation", generation)
            self.write("filed", 0)
            self.start_over()
        if through > len(self.items) or (through and head != self.head(through)):
            return False
        if through > self.filed:
            self.write("filed", through)
            self.sent, self.resends, self.resend_at = max(self.sent, through), 0, 0
        return True


class Clock:
    """What time it can be: an interval, from welcomes and a clock that only counts ("Time")."""

    def __init__(self) -> None:
        self.reading: tuple[int, int, int] | None = None  # (now, its hello left, it arrived)
        self.rivals: list[tuple[int, int, int]] = []  # welcomes that contradict it

    def interval(self) -> tuple[int, int]:
        """The earliest and the latest time it can be."""
        return _interval(self.reading) if self.reading else (0, 0)

    @property
    def latest(self) -> int | None:
        """The latest time it can be; None before a welcome of this boot."""
        return self.interval()[1] if self.reading else None

    def age(self) -> int:
        """How long ago the last welcome that gave time arrived."""
        return elapsed() - self.reading[2] if self.reading else 365 * DAY

    def take(self, now: int, left: int) -> bool:
        """Take the `now` of a welcome; False: it contradicts the time by over 120 s."""
        new = (now, left, elapsed())
        if new[2] - left > 10_000:
            return True
        if self.reading is None or _agree(self.reading, new):
            self.reading, self.rivals = new, []
            return True
        self.rivals = [*(one for one in self.rivals if _agree(one, new)), new]
        if len(self.rivals) >= 3 and new[2] - self.rivals[0][2] >= 600_000:
            self.reading, self.rivals = new, []
        return False


def _interval(reading: tuple[int, int, int]) -> tuple[int, int]:
    """A welcome's `now`, widened by the 500 ppm that a quartz may be wrong."""
    now, left, arrived = reading
    earliest = now + (elapsed() - arrived) * 999_500 // 1_000_000
    return earliest, now + (elapsed() - left) * 1_000_500 // 1_000_000 + 1


def _agree(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    (a, b), (c, d) = _interval(one), _interval(other)
    return max(a - d, c - b) <= 120_000

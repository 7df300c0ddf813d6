"""One page of memory shared with every process of an installation: its clock, and where to die.

It is a file in the installation's folder, mapped by all. Rules kept here:
 * Written by the test alone, but for `died`, which a process writes as the last thing it does.
 * Nothing of it is durable or part of the product; a page of zeros changes nothing.
"""

import mmap
import struct
from pathlib import Path

_NAME_BYTES = 8
_AHEAD = struct.Struct("<q")
_POINT = struct.Struct(f"<{_NAME_BYTES}sq")
_AHEAD_AT, _ARMED_AT, _DIED_AT = 0, _AHEAD.size, _AHEAD.size + _POINT.size
_SIZE = _DIED_AT + _POINT.size


class Steering:
    """The page, mapped."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    @property
    def ahead_ms(self) -> int:
        """How far every clock of the installation is ahead of the machine's."""
        (ahead_ms,) = _AHEAD.unpack_from(self._page, _AHEAD_AT)
        return int(ahead_ms)

    def jump(self, by_ms: int) -> None:
        """Let time pass in no time, for all processes at once."""
        _AHEAD.pack_into(self._page, _AHEAD_AT, self.ahead_ms + by_ms)

    @property
    def armed(self) -> tuple[str, int]:
        """The point at which to die, and at which time of reaching it; '' is none."""
        return self._named(_ARMED_AT)

    def arm(self, point: str, hit: int) -> None:
        _POINT.pack_into(self._page, _DIED_AT, b"", 0)
        _POINT.pack_into(self._page, _ARMED_AT, point.encode("ascii"), hit)

    def disarm(self) -> None:
        _POINT.pack_into(self._page, _ARMED_AT, b"", 0)

    @property
    def died(self) -> tuple[str, int]:
        """Where a process died since `arm`, and its pid."""
        return self._named(_DIED_AT)

    def note_death(self, point: str, pid: int) -> None:
        _POINT.pack_into(self._page, _DIED_AT, point.encode("ascii"), pid)

    def _named(self, at: int) -> tuple[str, int]:
        name, number = _POINT.unpack_from(self._page, at)
        return name.rstrip(b"\0").decode("ascii"), number

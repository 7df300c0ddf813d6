"""The door of our own agent to the relay files of a conformance run.

agent.toml names it: `door = "edge_agent.conformance.relay_door:open_door"`, option `folder`.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from edge_agent.conformance.relay_files import parse_reading, reading_path, told_path

ANSWER_TIMEOUT_S = 30.0  # a meter whose file is missing for longer has not answered
_LOOK_S = 0.01


class RelayFilesDoor:
    """Reads and moves relays that are files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, meter: str) -> tuple[bool, int, int]:
        """Read (output, control_state, control_mode).

        Raises:
            TimeoutError: the meter does not answer.
        """
        path = reading_path(self._folder, meter)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                try:
                    found = parse_reading(path.read_text(encoding="ascii"))
                except FileNotFoundError:
                    await asyncio.sleep(_LOOK_S)
                else:
                    return found.output, found.control_state, found.control_mode

    async def close(self, meter: str) -> None:
        """Tell the relay to close."""
        self._tell(meter, b"close\n")

    async def open(self, meter: str) -> None:
        """Tell the relay to open."""
        self._tell(meter, b"open\n")

    def _tell(self, meter: str, line: bytes) -> None:
        descriptor = os.open(told_path(self._folder, meter), os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def open_door(options: Mapping[str, object]) -> RelayFilesDoor:
    """Make the door.

    Raises:
        ValueError: `folder` is missing or is no folder.
    """
    folder = options.get("folder")
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise ValueError(f"option 'folder' is {folder!r}: name the folder of the relay files")
    return RelayFilesDoor(Path(folder))

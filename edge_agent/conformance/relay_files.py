"""The relays of a conformance run: one small file per meter to read, one to tell it to move.

The file contract (docs/conformance.md), in the folder that agent.json names:
 * `METER` holds what the relay says of itself: `output control_state control_mode`, three numbers
   and a line end. It is replaced whole. Where it is missing, the meter has not answered yet.
 * `METER.told` takes one line, `close` or `open`, for each time the relay is told to move. It is
   appended to, in one write, by the agent alone; the runner plays the meter and obeys.
So the runner sees every movement at the moment it is asked for, and nothing is written by both.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from wire.messages import RelayReading
from wire.vocabulary import Action

LOOK_S = 0.003  # how often the runner looks whether a relay was told to move
_ARMS = frozenset({1, 3})  # control modes in which a close waits for the button
CLOSE_BY_DEFAULT = 4

OPEN = RelayReading(output=False, control_state=0, control_mode=CLOSE_BY_DEFAULT)
CLOSED = RelayReading(output=True, control_state=1, control_mode=CLOSE_BY_DEFAULT)
WAITS_FOR_BUTTON = RelayReading(output=False, control_state=0, control_mode=3)
ARMED = RelayReading(output=False, control_state=2, control_mode=3)


def reading_path(folder: Path, meter: str) -> Path:
    """The file that is read."""
    return folder / meter


def told_path(folder: Path, meter: str) -> Path:
    """The file that is appended to."""
    return folder / f"{meter}.told"


def parse_reading(text: str) -> RelayReading:
    """What stands in a reading's file.

    Raises:
        ValueError: not three numbers.
    """
    output, control_state, control_mode = map(int, text.split())
    return RelayReading(output=bool(output), control_state=control_state, control_mode=control_mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meter:
    reading: RelayReading
    after_ms: int | None  # from being told to having moved; None: it does not move
    is_silent: bool = False
    falls_silent: bool = False  # as soon as it is told to move
    told: int = 0  # lines obeyed so far
    moves_at_s: float | None = None
    asked: str = ""


class Meters:
    """Every meter of the run, played by the runner."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder = folder
        self._meters: dict[str, _Meter] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            told_path(folder, name).write_bytes(b"")
            self.place(name, OPEN)

    def place(
        self,
        meter: str,
        reading: RelayReading,
        *,
        after_ms: int | None = 0,
        falls_silent: bool = False,
    ) -> None:
        """Put a relay where a case wants it: it answers, and moves so long after it is told."""
        self._meters[meter] = _Meter(
            reading=reading,
            after_ms=after_ms,
            falls_silent=falls_silent,
            told=len(self.told(meter)),
        )
        self._write(meter, reading)

    def silence(self, meter: str) -> None:
        """From now on the meter does not answer, though it moves as before."""
        self._meters[meter] = replace(self._meters[meter], is_silent=True)
        reading_path(self._folder, meter).unlink(missing_ok=True)

    def answer(self, meter: str) -> None:
        """The meter answers again."""
        self._meters[meter] = replace(self._meters[meter], is_silent=False)
        self._write(meter, self._meters[meter].reading)

    def reading(self, meter: str) -> RelayReading:
        """Where the relay stands."""
        return self._meters[meter].reading

    def told(self, meter: str) -> list[str]:
        """Every time the relay was told to move, from the beginning of the run."""
        return told_path(self._folder, meter).read_text(encoding="ascii").splitlines()

    def obey(self, now_s: float) -> None:
        """Let the relays do what they were told; cheap when nothing was."""
        for name in self._meters:
            told = self.told(name)
            if len(told) > self._meters[name].told:
                self._is_told(name, told, now_s)
            moves_at_s = self._meters[name].moves_at_s
            if moves_at_s is not None and moves_at_s <= now_s:
                self._move(name)

    def _is_told(self, name: str, told: list[str], now_s: float) -> None:
        meter = self._meters[name]
        moves_at_s = None if meter.after_ms is None else now_s + meter.after_ms / 1_000
        self._meters[name] = replace(meter, told=len(told), asked=told[-1], moves_at_s=moves_at_s)
        if meter.falls_silent:
            self.silence(name)

    def _move(self, name: str) -> None:
        meter = self._meters[name]
        moved = replace(meter, reading=_moved(meter.reading, meter.asked), moves_at_s=None)
        self._meters[name] = moved
        if not moved.is_silent:
            self._write(name, moved.reading)

    async def live(self) -> None:
        """Obey until cancelled."""
        while True:
            self.obey(time.monotonic())
            await asyncio.sleep(LOOK_S)

    def _write(self, meter: str, reading: RelayReading) -> None:
        path = reading_path(self._folder, meter)
        part = path.with_name(f"{meter}.part")
        text = f"{int(reading.output)} {reading.control_state} {reading.control_mode}\n"
        part.write_text(text, encoding="ascii")
        part.rename(path)


def _moved(reading: RelayReading, asked: str) -> RelayReading:
    mode = reading.control_mode
    if asked != Action.CLOSE.value:
        return RelayReading(output=False, control_state=0, control_mode=mode)
    if mode in _ARMS:
        return RelayReading(output=False, control_state=2, control_mode=mode)
    return RelayReading(output=True, control_state=1, control_mode=mode)

"""`python -m tests.reliability.crashing PAGE PART -- COMMAND ...`: an installed command, mortal.

Runs one of the installed commands in this process, with two changes. Every function that `points`
names for PART is wrapped, so that the process kills itself with SIGKILL when it reaches the armed
point for the HIT-th time. And the machine's clocks are as far ahead as the page says. The product
itself knows nothing of either.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

from tests.reliability.points import POINTS, Call, Moment, Point
from tests.reliability.steering import Steering

# Turns of the event loop: in the first the tasks that hold an answer write it, at its end uvloop
# hands it to the kernel; the second is there for what TLS writes a turn later.
_TURNS_UNTIL_SENT = 3


class Mortal:
    """Counts how often the armed point was reached, and ends the process there."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering
        self._hits = 0
        self._is_dying = False

    def before(self, point: Point, call: Call) -> bool:
        """Die instead of the call, if so armed; whether the call is not to be made any more."""
        if point.moment is Moment.BEFORE and self._is_here(point, call):
            self._die(point)
        if point.moment is not Moment.BEFORE_AND_SENT:
            return False
        if self._is_here(point, call):
            self._die_when_sent(point)
        return self._is_dying

    def after(self, point: Point, call: Call) -> None:
        """Die behind the call, if so armed."""
        if point.moment in (Moment.BEFORE, Moment.BEFORE_AND_SENT):
            return
        if not self._is_here(point, call):
            return
        if point.moment is Moment.AFTER:
            self._die(point)
        elif point.moment is Moment.AFTER_AND_SENT:
            self._die_when_sent(point)
        else:
            call.result.add_done_callback(lambda _: self._die(point))

    def _is_here(self, point: Point, call: Call) -> bool:
        """Whether this is where, and the time at which, to die."""
        name, hit = self._steering.armed
        if name != point.name or self._is_dying or not point.is_meant(call):
            return False
        self._hits += 1
        self._is_dying = self._hits == hit
        return self._is_dying

    def _die(self, point: Point) -> NoReturn:
        self._steering.note_death(point.name, os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL came back")

    def _die_when_sent(self, point: Point, turns: int = _TURNS_UNTIL_SENT) -> None:
        if turns == 0:
            self._die(point)
        asyncio.get_running_loop().call_soon(self._die_when_sent, point, turns - 1)


def wrap(point: Point, mortal: Mortal) -> None:
    """Put the point's death around its function.

    Raises:
        AttributeError, ImportError: the function is not there any more; correct the table.
    """
    module, _, attribute = point.place.partition(":")
    path = attribute.split(".")
    owner = functools.reduce(getattr, path[:-1], importlib.import_module(module))
    original = getattr(owner, path[-1])
    first = 1 if inspect.isclass(owner) else 0  # `self` is no argument

    @functools.wraps(original)
    def plain(*arguments: Any, **named: Any) -> Any:
        if mortal.before(point, Call(arguments[first:])):
            return None
        result = original(*arguments, **named)
        mortal.after(point, Call(arguments[first:], result))
        return result

    @functools.wraps(original)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        assert not mortal.before(point, Call(arguments[first:]))  # it dies, or the call is made
        result = await original(*arguments, **named)
        mortal.after(point, Call(arguments[first:], result))
        return result

    setattr(owner, path[-1], awaited if inspect.iscoroutinefunction(original) else plain)


def set_clocks(steering: Steering) -> None:
    """The wall clock, and the one that nobody can set, run ahead as the page says.

    The event loop's own clock stays: its pauses are real ones.
    """
    wall, counting = time.time_ns, time.clock_gettime_ns
    time.time_ns = lambda: wall() + steering.ahead_ms * 1_000_000
    time.clock_gettime_ns = lambda which: counting(which) + steering.ahead_ms * 1_000_000


def main(page: str, part: str, *command: str) -> None:
    steering = Steering(Path(page))
    mortal = Mortal(steering)
    (script,) = entry_points(group="console_scripts", name=Path(command[0]).name)
    program = script.load()
    for point in POINTS:
        if point.part == part:
            wrap(point, mortal)
    set_clocks(steering)
    sys.argv = list(command)
    program()


if __name__ == "__main__":
    main(*(one for one in sys.argv[1:] if one != "--"))

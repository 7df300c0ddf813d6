"""Finds the mosquitto program, checks that it is new enough, and runs it in the foreground."""

import re
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from types import FrameType

from mosquitto.configuration import OLDEST_VERSION

_OPEN_FILES = 65_536  # connections; at the usual soft limit of 1024 the 1018th is refused, and the
# log blames tcpd
_SBIN = "/usr/sbin:/usr/local/sbin"  # where Debian puts it; rarely on a person's PATH
_VERSION_MAX_S = 10  # seconds to print a line of text
_CURE = "install it with: apt-get install mosquitto"


class BrokerMissingError(Exception):
    """There is no usable mosquitto, or no configuration for it; the message names the cure."""


def program() -> Path:
    """The mosquitto program, new enough.

    Raises:
        BrokerMissingError: none, or too old.
    """
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)
    if found is None:
        raise BrokerMissingError(f"mosquitto is neither on PATH nor in {_SBIN}; {_CURE}")
    shown = subprocess.run(  # noqa: S603  # the path comes from which, no argument from outside
        [found, "-h"], capture_output=True, text=True, timeout=_VERSION_MAX_S, check=False
    )
    version = re.search(r"mosquitto version (\d+)\.(\d+)\.(\d+)", shown.stdout + shown.stderr)
    if version is None or tuple(map(int, version.groups())) < OLDEST_VERSION:
        has = version.group(0) if version else "no mosquitto version"
        needed = ".".join(map(str, OLDEST_VERSION))
        raise BrokerMissingError(f"{found} is {has}; {needed} or later is needed; {_CURE}")
    return Path(found)


def command(directory: Path) -> list[str]:
    """The command line that runs the broker of this directory in the foreground.

    Raises:
        BrokerMissingError: no program, or the directory holds no broker.
    """
    configuration = directory.resolve() / "mosquitto.conf"
    if not configuration.is_file():
        raise BrokerMissingError(
            f"{configuration} does not exist; make it with: relight broker init"
        )
    return [str(program()), "-c", str(configuration)]


def raise_open_file_limit() -> int:
    """Raises this process's soft limit, which children inherit; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= ceiling:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return ceiling


def run(directory: Path) -> int:
    """Runs the broker until it ends, handing SIGTERM and SIGINT on; returns its exit status.

    Call it from the main thread.

    Raises:
        BrokerMissingError: no program, or the directory holds no broker.
    """
    line = command(directory)
    raise_open_file_limit()
    with subprocess.Popen(line) as child:  # noqa: S603  # program and path are our own
        handed_on: set[int] = set()

        def hand_on(number: int, _frame: FrameType | None) -> None:
            handed_on.add(number)
            child.send_signal(number)

        before = {one: signal.signal(one, hand_on) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            status = child.wait()
            # mosquitto listens before it handles signals; ended as asked is ended well.
            return 0 if -status in handed_on else status
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

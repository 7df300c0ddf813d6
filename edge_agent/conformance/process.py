"""The agent under test as a process: started, killed without warning, started again.

Rules kept here: it runs in a process group of its own, and that group is what is killed, so that a
command that is a script takes its children with it; what it prints is appended to one file.
"""

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path

_END_S = 5.0


class AgentProcess:
    """At most one process at a time."""

    def __init__(self, command: str, words: Mapping[str, str], log: Path) -> None:
        """`words`: what stands for `{agent_json}` and the like in `command`."""
        self._arguments = tuple(_filled(one, words) for one in shlex.split(command))
        if not self._arguments:
            raise ValueError("--agent-command is empty: give the command that starts the agent")
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: there is no such program.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """End it and its children at once, by SIGKILL: it gets no chance to tidy up."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it had ended by itself, children and all
            os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(_END_S):
            await process.wait()


def _filled(argument: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        argument = argument.replace("{" + word + "}", value)
    return argument

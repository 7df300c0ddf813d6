"""The command `relight-agent conformance` as a process, on a broker of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker.running_broker import RunningBroker

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
LONGEST_RUN_S = 400.0  # a whole run takes 65 to 110 s on an idle machine of two cores


@contextmanager
def broker_in(folder: Path) -> Iterator[RunningBroker]:
    broker = RunningBroker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def plain_agent(folder: Path = EXAMPLES) -> str:
    """The command that starts the stranger's agent of this folder."""
    return f"{sys.executable} {folder / 'plain_agent.py'} {{agent_json}}"


class Run:
    """One run; its table is read when it has ended."""

    def __init__(self, broker: RunningBroker, folder: Path, *options: str) -> None:
        folder.mkdir()
        self._table, self._log = folder / "table.json", folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "edge_agent", "conformance"),
                    *(f"127.0.0.1:{broker.port}", "--broker-folder", str(broker.directory)),
                    *("--agent", "A1", "--folder", str(folder / "run")),
                    *("--json", str(self._table), *options),
                ],
                stdout=log,
                stderr=log,
            )

    def end(self) -> int:
        """Waits for the end; the exit code."""
        try:
            return self.process.wait(LONGEST_RUN_S)
        finally:
            self.process.kill()

    def rows(self) -> dict[str, dict[str, str]]:
        return {one["name"]: one for one in json.loads(self._table.read_text())}

    def failed(self) -> list[str]:
        return [name for name, row in self.rows().items() if row["verdict"] == "failed"]

    def log(self) -> str:
        return self._log.read_text()

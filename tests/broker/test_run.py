import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.broker.running_broker import LONGEST_WAIT_S, Links, RunningBroker

HOUSE = Path(__file__).parents[2]
RUN = "import sys, pathlib, mosquitto.broker as b; sys.exit(b.run(pathlib.Path(sys.argv[1])))"


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def connect_once(broker: RunningBroker) -> None:
    links = Links()
    await links.ready(broker.settings("A1"))
    await links.stop()


def test_broker_run_in_the_foreground_ends_with_its_runner(tmp_path):
    broker = RunningBroker(tmp_path / "broker")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(broker.directory)], cwd=HOUSE, stderr=subprocess.PIPE
    ) as runner:
        asyncio.run(connect_once(broker))
        runner.send_signal(signal.SIGTERM)
        _, said = runner.communicate(timeout=LONGEST_WAIT_S)
    assert (runner.returncode, is_listening(broker.port)) == (0, False)
    assert b"Error" not in said
    assert (broker.directory / "mosquitto.db").is_file()

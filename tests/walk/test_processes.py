"""What is started together stays up, ends when it is told to, and the demo tells the truth."""

import json
import os
import subprocess
from pathlib import Path

from tests.walk.conftest import FAST
from tests.walk.facts import demand_closed_once, demand_posted_once, until_closed
from tests.walk.installation import LONGEST_WAIT_S, OWED_PAISE, is_listening, program


def children(pid: int) -> dict[str, int]:
    """The processes that `relight up` minds: name and pid."""
    found = {}
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    for child in listed:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found |= {name: int(child) for name in ("engine", "intake") if name.encode() in words}
    return found


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_every_part_ends_cleanly_when_it_is_told_to(walk):
    parts = (*walk.plan, "intake", "engine", "broker")
    assert {name: walk.stop(name) for name in parts} == dict.fromkeys(parts, 0)
    assert not is_listening(walk.ports[0])
    assert not is_listening(walk.ports[1])


def test_up_restarts_a_killed_engine_and_ends_with_both_of_its_processes(walk):
    assert (walk.stop("engine"), walk.stop("intake")) == (0, 0)
    walk.start("up")
    up = walk.processes["up"]
    walk.until("both processes", lambda: set(children(up.pid)) == {"engine", "intake"})
    killed = children(up.pid)["engine"]
    os.kill(killed, 9)
    walk.until("another engine", lambda: children(up.pid).get("engine", killed) != killed)
    consumers = walk.take(FAST, 3)
    assert set(walk.provider.report(consumers, OWED_PAISE)) == {200}
    until_closed(walk, consumers)
    demand_posted_once(walk, consumers)
    demand_closed_once(walk, consumers)
    minded = children(up.pid)
    assert walk.stop("up") == 0
    assert [name for name, pid in minded.items() if is_running(pid)] == []
    assert "relight engine ended with -9; starting it again" in walk.log("up")


def test_demo_tells_what_the_consumer_waited_and_reports_it(tmp_path):
    report = tmp_path / "report.json"
    done = subprocess.run(
        [program("relight"), "demo", "--report", str(report)],
        capture_output=True, text=True, check=False, timeout=2 * LONGEST_WAIT_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(report.read_text(encoding="utf-8"))
    waited_ms = told["paid_to_acknowledged_ms"]
    assert done.stdout.splitlines()[-1] == (
        f"The consumer waited {waited_ms} ms from payment report to light, "
        "proven by reading the relay back."
    )
    steps = told["steps"]
    assert all(set(one) == {"name", "at_ms"} for one in steps)
    assert waited_ms == steps[-1]["at_ms"] - steps[0]["at_ms"]
    names = [one["name"] for one in steps]
    assert names[0] == "webhook sent by the provider"
    assert names[-1].startswith("ended: episode 1")
    assert "read back: relay is closed" in names

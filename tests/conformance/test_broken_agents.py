"""Rows can fail: the stranger's agent with one broken line is caught by the row about that."""

import shutil
from dataclasses import dataclass

import pytest

from tests.conformance.conformance_run import EXAMPLES, Run, broker_in, plain_agent


@dataclass(frozen=True)
class Sabotage:
    file: str
    line: str
    instead: str
    row: str


BROKEN = {
    "does not verify signatures": Sabotage(
        "plain_wire.py",
        "if not all(i in known and verifies(known[i], s, signed) for i, s in signatures.items()):",
        "if not all(i in known for i in signatures):",
        "junk/signature of zeros",
    ),
    "accepts S + L": Sabotage(
        "plain_wire.py", "if key is None or s >= L:", "if key is None:",
        "junk/signature beyond the order",
    ),
    "accepts two spellings": Sabotage(
        "plain_wire.py", "if pack(value) == data:", "if value:", "junk/long-form integer",
    ),
    "carries out what was retained": Sabotage(
        "plain_agent.py", 'elif not is_retained or kind in ("stop", "resume"):', "else:",
        "junk/retained",
    ),
    "keeps no journal": Sabotage(
        "plain_journal.py",
        'self.file.write(len(record).to_bytes(4, "big") + record)',
        "pass",
        "restart/boot rises",
    ),
    "does not journal `actuating`": Sabotage(
        "plain_journal.py",
        'row["acted"], row["tries"] = values[1], row["tries"] + 1',
        'row["tries"] = row["tries"] + 1',
        "restart/killed after `actuating`, it moved",
    ),
    "takes commands before the welcome": Sabotage(
        "plain_agent.py", "if self.clock.age() > DAY:", "if False:",
        "greeting/nothing before the welcome",
    ),
    "ignores the floor": Sabotage(
        "plain_agent.py", "counter <= journal.floor,", "False,", "floor/at and above it",
    ),
    "believes every floor": Sabotage(
        "plain_agent.py", "sequence <= now + 60_000", "True", "floor/an hour ahead",
    ),
    "does not read back": Sabotage(
        "plain_agent.py",
        'told.write(action.encode() + b"\\n")',
        'told.write(action.encode() + b"\\n")\n'
        '            self.end(key, "closed", after=[True, 1, 4])',
        "command/read back",
    ),
    "tells the relay twice": Sabotage(
        "plain_agent.py", 'action.encode() + b"\\n"', '2 * (action.encode() + b"\\n")',
        "command/close",
    ),
    "forgets what it answered": Sabotage(
        "plain_agent.py", "if message.id in journal.answers:", "if False:",
        "command/repeated bytes",
    ),
    "does not know the future": Sabotage(
        "plain_agent.py", "sequence > latest + 60_000,", "False,", "refusal/from the future",
    ),
    "opens without the guard": Sabotage(
        "plain_agent.py", '"guard" not in message.roles,', "False,",
        "refusal/open without the guard",
    ),
    "does not stop": Sabotage(
        "plain_agent.py", "max(journal.stop, journal.welcome_stop) > journal.lifted,", "False,",
        "freeze/stop",
    ),
    "files on every head": Sabotage(
        "plain_journal.py", "(through and head != self.head(through))", "False",
        "filing/filed with another head",
    ),
    "believes development keys": Sabotage(
        "plain_trust.py", 'any(one[7] == "development" for one in keys)', "False",
        "trust/development keys",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with broker_in(tmp_path_factory.mktemp("broken") / "broker") as running:
        yield running


@pytest.mark.parametrize("name", BROKEN)
def test_agent_with_one_broken_line_fails_its_row(name, broker, tmp_path):
    broken = BROKEN[name]
    for file in EXAMPLES.glob("plain_*.py"):
        shutil.copy(file, tmp_path)
    text = (tmp_path / broken.file).read_text()
    assert text.count(broken.line) == 1, f"the example has no such line any more: {broken.line}"
    (tmp_path / broken.file).write_text(text.replace(broken.line, broken.instead))
    command = plain_agent(tmp_path)
    run = Run(broker, tmp_path / "run", "--agent-command", command, "--only", broken.row)
    assert run.end() == 1, run.log()
    assert broken.row in run.failed(), run.log()

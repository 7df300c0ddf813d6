"""The folder that the agent under test is given: agent.json says all, agent.toml the same to ours.

Rules kept here: paths in agent.json are absolute; bytes are hex; the private key's file belongs to
its owner alone; whatever the agent must still know after a crash, it keeps in `state`, which the
runner empties, puts aside and brings back.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_agent.conformance.installation import Installation
from wire.fields import AgentId
from wire.key_files import PRIVATE_MODE, write_signing_key, write_whole
from wire.link_settings import TlsFiles

METERS = tuple(f"METER-{number}" for number in range(1, 9))
PROTECTED_METER = "METER-9"
DOOR = "edge_agent.conformance.relay_door:open_door"


@dataclass(frozen=True, slots=True)
class Handout:
    """One folder with everything an agent needs."""

    folder: Path

    @property
    def agent_json(self) -> Path:
        """What a stranger's agent reads."""
        return self.folder / "agent.json"

    @property
    def agent_toml(self) -> Path:
        """What our own agent reads."""
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        """Where the agent keeps its journal."""
        return self.folder / "state"

    @property
    def relays(self) -> Path:
        """The relay files."""
        return self.folder / "relays"

    @property
    def log(self) -> Path:
        """What the agent printed."""
        return self.folder / "agent.log"

    def write(self, installation: Installation, port: int, files: TlsFiles) -> None:
        """Write agent.json and agent.toml; the broker is reached on this port of loopback."""
        self.relays.mkdir(parents=True, exist_ok=True)
        self.empty_state()
        told = json.dumps(self._agent_json(installation, port, files), indent=2) + "\n"
        write_whole(self.agent_json, told.encode("ascii"), mode=PRIVATE_MODE)
        write_signing_key(self.folder / "agent.key", installation.keys["agent"])
        (self.folder / "root-1.msgpack").write_bytes(installation.first_root())
        rows = ["meter,serial,flags,line", *(f"{one},,," for one in METERS)]
        (self.folder / "roster.csv").write_text(
            "\n".join([*rows, f"{PROTECTED_METER},,protected,"]) + "\n", encoding="ascii"
        )
        self.agent_toml.write_text(
            _agent_toml(installation.agent, installation.pin(), port, files, self.relays),
            encoding="utf-8",
        )

    def _agent_json(self, installation: Installation, port: int, files: TlsFiles) -> object:
        meters = [{"meter": one, "protected": False} for one in METERS]
        return {
            "agent": installation.agent,
            "production": True,
            "seed": installation.keys["agent"].seed.hex(),
            "root_document": installation.first_root().hex(),
            "root_pin": installation.pin().hex(),
            "broker": {
                "host": "127.0.0.1",
                "port": port,
                "ca": str(files.ca.resolve()),
                "certificate": str(files.certificate.resolve()),
                "key": str(files.key.resolve()),
            },
            "meters": [*meters, {"meter": PROTECTED_METER, "protected": True}],
            "relays": str(self.relays.resolve()),
            "state": str(self.state.resolve()),
        }

    def empty_state(self) -> None:
        """The agent has lost everything it wrote down."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(parents=True)

    def copy_state(self) -> None:
        """Put a copy of the state aside; the agent must not be running."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.state, self._copy)

    def roll_back_state(self) -> None:
        """Bring the copy back, as a restored disk does."""
        shutil.rmtree(self.state)
        shutil.copytree(self._copy, self.state)

    @property
    def _copy(self) -> Path:
        return self.folder / "state-put-aside"


def _agent_toml(agent: AgentId, pin: bytes, port: int, files: TlsFiles, relays: Path) -> str:
    return f"""\
agent = {json.dumps(agent)}
installation_pin = "{pin.hex()}"
root_document = "root-1.msgpack"
key = "agent.key"
production = true
brokers = ["127.0.0.1:{port}"]
journal = "state/journal.db"
roster = "roster.csv"

[tls]
ca = {json.dumps(str(files.ca.resolve()))}
certificate = {json.dumps(str(files.certificate.resolve()))}
key = {json.dumps(str(files.key.resolve()))}

[relay]
door = "{DOOR}"

[relay.options]
folder = {json.dumps(str(relays.resolve()))}
"""

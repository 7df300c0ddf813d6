"""A second mosquitto from the same configuration and access list, on a free port, to break things.

On it every identity can be tried and the broker can be killed while nobody is disturbed. Only where
it listens, where it keeps its sessions and where it logs differ; and the doctor may publish
everything on it, to see who hears it. A configuration that reaches out (bridges, includes) is not
copied: the copy would speak to others in the original's name.
"""

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from cloud.doctor.findings import Broker
from mosquitto.broker import BrokerMissingError, program
from mosquitto.configuration import Kind
from wire.link import BrokerAddress

START_MAX_S = 5.0  # seconds until it listens
LOOK_S = 0.02
_REACHES_OUT = re.compile(r"^\s*(include_dir|connection|bridge_\w+|address)\b", re.MULTILINE)
_SECTION = re.compile(r"^# (\w+):.*\nuser (\S+)$", re.MULTILINE)
_HOST = "127.0.0.1"


class NotCopiedError(Exception):
    """There is no copy; the message says why and what would help."""


@dataclass(slots=True, kw_only=True)
class CopiedBroker:
    """The copy. `broker`: as the checks see one."""

    broker: Broker
    folder: Path
    original: Path
    text: str  # of mosquitto.conf, as it was
    process: asyncio.subprocess.Process | None = None

    @property
    def certificates(self) -> Path:
        """The original's certificates."""
        return self.broker.tls.ca.parent

    @property
    def sessions(self) -> Path:
        """The file sessions are saved to."""
        return self.folder / (self.setting("persistence_file") or "mosquitto.db")

    def kinds(self) -> dict[str, Kind]:
        """Everybody with a certificate here; who has no section of the access list is an agent."""
        acl = self._acl().read_text(encoding="utf-8")
        named = {name: Kind(kind) for kind, name in _SECTION.findall(acl) if kind in list(Kind)}
        found = sorted(one.stem for one in self.certificates.glob("*.crt"))
        return {one: named.get(one, Kind.AGENT) for one in found if one not in ("ca", "server")}

    def setting(self, name: str) -> str | None:
        """The last value of a line of mosquitto.conf."""
        values = re.findall(rf"^\s*{name}[ \t]+(\S+)", self.text, re.MULTILINE)
        return values[-1] if values else None

    def write(self) -> None:
        """Write the copy's files."""
        changed = {
            r"(listener|port)\b.*": f"listener {self.broker.address.port} {_HOST}",
            r"persistence_location\b.*": f"persistence_location {self.folder}/",
            r"acl_file\b.*": f"acl_file {self.folder / 'acl'}",
            r"log_dest\b.*": "log_dest stderr",
            r"pid_file\b.*": "",
        }
        text = self.text
        for pattern, line in changed.items():
            text = re.sub(rf"^[ \t]*{pattern}$", line, text, flags=re.MULTILINE)
        (self.folder / "mosquitto.conf").write_text(text, encoding="utf-8")
        granted = f"\nuser {self.broker.subject.name}\ntopic readwrite #\n"
        acl = self._acl().read_text(encoding="utf-8") if self.setting("acl_file") else ""
        (self.folder / "acl").write_text(acl + granted, encoding="utf-8")
        self._hand_over()

    async def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(str(program()), "-c", str(self.folder / "mosquitto.conf")),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(int(START_MAX_S / LOOK_S)):
            if _is_listening(self.broker.address):
                return
            if self.process.returncode is not None:
                break
            await asyncio.sleep(LOOK_S)
        await self.kill()
        last = (self.folder / "log").read_text(errors="replace").splitlines()[-1:]
        raise NotCopiedError(f"a copy of {self.original} did not start: {' '.join(last)}")

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def _acl(self) -> Path:
        return Path(self.setting("acl_file") or self.original.with_name("acl"))

    def _hand_over(self) -> None:
        """A broker that root starts becomes another user, and must own what it writes."""
        user = self.setting("user") or "mosquitto"
        if os.getuid() != 0 or user == "root":
            return
        with contextlib.suppress(KeyError):  # no such user: mosquitto says so itself
            one = pwd.getpwnam(user)
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, one.pw_uid, one.pw_gid)


@contextlib.asynccontextmanager
async def copied(broker: Broker, folder: Path) -> AsyncIterator[CopiedBroker]:
    """Run a copy of the broker of `folder`, kill it and remove it at the end.

    Raises:
        NotCopiedError: it cannot be copied or does not start.
    """
    original = folder / "mosquitto.conf"
    try:
        text = original.read_text(encoding="utf-8")
    except OSError as error:
        raise NotCopiedError(f"{original} cannot be read: {error}") from None
    reaching = _REACHES_OUT.search(text)
    if reaching is not None:
        raise NotCopiedError(f"{original} has `{reaching[0].strip()}`: a copy would reach out")
    made = Path(tempfile.mkdtemp(prefix="relight-doctor-"))
    copy = CopiedBroker(
        broker=replace(broker, address=BrokerAddress(_HOST, _free_port())),
        folder=made,
        original=original,
        text=text,
    )
    try:
        copy.write()
        await copy.start()
        yield copy
    except (OSError, BrokerMissingError) as error:
        raise NotCopiedError(str(error)) from None
    finally:
        await copy.kill()
        shutil.rmtree(made, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])


def _is_listening(address: BrokerAddress) -> bool:
    with socket.socket() as one:
        return one.connect_ex((address.host, address.port)) == 0

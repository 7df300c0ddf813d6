"""A broker whose configuration a test may spoil before it starts, and the doctor's look at it."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from cloud.configuration import Installation
from cloud.doctor.findings import Broker, Code, Finding, NotProven, Remark, Subject
from tests.broker.running_broker import RunningBroker
from wire.link import BrokerAddress

DOCTOR = "DOCTOR-1"


class ExaminedBroker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = RunningBroker(folder / "broker")

    @property
    def configuration(self) -> Path:
        return self.running.directory / "mosquitto.conf"

    @property
    def acl(self) -> Path:
        return self.running.directory / "acl"

    def set(self, **lines: str | int | None) -> None:
        """Change lines of mosquitto.conf; None takes one out."""
        kept = self.configuration.read_text().splitlines()
        for name, value in lines.items():
            at = [one.split(" ")[0] for one in kept].index(name)
            kept[at] = "" if value is None else f"{name} {value}"
        self.configuration.write_text("\n".join(kept) + "\n")

    def add(self, path: Path, text: str) -> None:
        path.write_text(f"{path.read_text()}\n{text}\n")

    def start(self) -> None:
        self.running.start()

    def subject(self, *, is_production: bool = False, **others: object) -> Subject:
        path = self.folder / "relight.toml"
        path.write_text(
            f'[trust]\npin = ""\nis_production = {str(is_production).lower()}\n'
            f'[broker]\naddresses = ["127.0.0.1:{self.running.port}"]\n'
            'certificates = "broker/certificates"\n'
        )
        given = {"plain_ports": (), "broker_folder": None} | others
        return Subject(
            installation=Installation(path),
            name=DOCTOR,
            now_ms=1_767_225_600_000,
            random_bytes=random.Random(1).randbytes,
            **given,
        )

    def broker(self, **others: object) -> Broker:
        return Broker(
            subject=self.subject(**others),
            address=BrokerAddress("127.0.0.1", self.running.port),
            tls=self.running.files(DOCTOR),
        )


def codes(remarks: list[Remark]) -> set[Code]:
    """The findings' codes; what could not be proven is no finding and not good either."""
    assert not [one for one in remarks if isinstance(one, NotProven)]
    return {one.code for one in remarks if isinstance(one, Finding)}


Look = Callable[[Broker], Awaitable[list[Remark]]]

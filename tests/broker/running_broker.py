"""A real mosquitto with our configuration, for one test; and what the tests wait with."""

import asyncio
import random
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mosquitto.broker import command
from mosquitto.configuration import BrokerPlan
from mosquitto.initialisation import initialise
from wire.link import BrokerAddress, Link, LinkSettings, TlsFiles

LONGEST_WAIT_S = 20.0  # a condition not met by then is a failure; none takes 2 on an idle machine
_LOOK_S = 0.005


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_WAIT_S):
        while not is_true():  # noqa: ASYNC110  # what is waited for is often not ours to signal
            await asyncio.sleep(_LOOK_S)


class RunningBroker:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        initialise(
            BrokerPlan(
                directory=directory,
                port=self.port,
                engines=("ENGINE-1",),
                guards=("GUARD-1",),
                intakes=(("INTAKE-1", ("PAYCO",)),),
                desks=("DESK-1",),
                dashboards=("VIEW-1",),
                doctors=("DOCTOR-1",),
                agents=("A1", "A2"),
            ),
            now=datetime.now(UTC),
        )

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command(self.directory), stderr=log)
        give_up_s = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() < give_up_s:
            if self.process.poll() is not None:
                raise AssertionError(f"mosquitto ended: {self.log}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(_LOOK_S)
        raise AssertionError(f"mosquitto does not listen: {self.log}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(LONGEST_WAIT_S)

    def files(self, name: str) -> TlsFiles:
        certificates = self.directory / "certificates"
        return TlsFiles(
            certificates / "ca.crt", certificates / f"{name}.crt", certificates / f"{name}.key"
        )

    def settings(self, name: str, *subscriptions: str, **others: object) -> LinkSettings:
        defaults: dict[str, object] = {
            "client_id": name,
            "brokers": (BrokerAddress("127.0.0.1", self.port),),
            "tls": self.files(name),
            "subscriptions": subscriptions,
            "canary": f"canary/{name}",
            "retry_first_s": 0.02,
            "retry_cap_s": 0.2,
            "refused_retry_s": 0.2,
        }
        return LinkSettings(**(defaults | others))


class Links:
    """Starts links and ends all of them with the test."""

    def __init__(self) -> None:
        self._running: list[tuple[Link, asyncio.Task[None]]] = []

    def start(self, settings: LinkSettings) -> Link:
        link = Link(settings, randomness=random.Random(len(self._running)))
        self._running.append((link, asyncio.create_task(link.run())))
        return link

    async def ready(self, settings: LinkSettings) -> Link:
        link = self.start(settings)
        async with asyncio.timeout(LONGEST_WAIT_S):
            await link.until_ready()
        return link

    async def stop(self) -> None:
        for link, task in self._running:
            await link.stop()
            async with asyncio.timeout(LONGEST_WAIT_S):
                await task


async def receive(link: Link, count: int) -> list[tuple[str, bytes]]:
    """Takes exactly so many messages and acknowledges them."""
    got: list[tuple[str, bytes]] = []
    async with asyncio.timeout(LONGEST_WAIT_S):
        while len(got) < count:
            deliveries = await link.receive(count - len(got))
            link.acknowledge(deliveries)
            got += [(one.topic, one.payload) for one in deliveries]
    return got

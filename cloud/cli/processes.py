"""The cloud's long-running commands: engine, intake, and `up`, which runs both and minds them."""

import asyncio
import gc
import hashlib
import logging
import random
import secrets
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from cloud.configuration import Installation
from cloud.engine import Engine, EngineSettings
from cloud.engine_process import EngineProcess
from cloud.intake.process import IntakeSettings, run_intake
from cloud.live import Live
from cloud.publisher import Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.store import migrate, open_store
from wire.fields import IntakeId
from wire.link import Link
from wire.topics import engine_subscriptions
from wire.trust import DEVELOPMENT_MARK
from wire.vocabulary import Role

RESTART_AFTER_S = 1.0  # between the end of a process and its next start
GC_THRESHOLD = 20_000  # new objects between two collections; a busy turn makes some thousands
STOP_WITHIN_S = 10.0  # how long a process may take to end before it is killed

_LOG = logging.getLogger(__name__)


def clock_ms() -> int:
    """The wall clock, ms UTC."""
    return time.time_ns() // 1_000_000


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or SIGTERM or SIGINT asks it to end cleanly."""

    async def guarded() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            _LOG.info("stopped")

    # What start-up made lives as long as the process: out of the collector's sight, it no longer
    # walks a hundred thousand objects, tens of milliseconds, in the middle of a payment.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    uvloop.run(guarded())


def make_engine(installation: Installation) -> tuple[Engine, Link]:
    """The engine of an installation, and its link."""
    now_ms = clock_ms()
    section = installation.engine
    authorities = installation.authorities(latest_ms=now_ms)
    key = installation.signing_key(section.key)
    entry = authorities.keyring().keys.get(key.key_id)
    if entry is None or entry.subject != section.name or entry.role is not Role.ENGINE:
        raise ValueError(f"{section.key} is no key of {section.name} in the registry")
    store = open_store(installation.ledger_url())
    migrate(store)
    engine = Engine(
        EngineSettings(
            signer=Signer(installation=authorities.root.installation, key=key, epoch=entry.epoch),
            authorities=authorities,
            identities=installation.identities(authorities, at_ms=now_ms),
            policy=MP_WEST_FIRST_PHASE,
        ),
        store,
        Live(
            key=hashlib.sha256(b"live" + key.seed).digest(),
            is_development=entry.mark == DEVELOPMENT_MARK,
        ),
        secrets.token_bytes,
    )
    settings = installation.link_settings(section.name, engine_subscriptions())
    return engine, Link(settings, randomness=random.Random())  # noqa: S311  # jitter only


def run_engine(installation: Installation) -> None:
    """Serve until asked to stop."""
    engine, link = make_engine(installation)
    run_until_stopped(EngineProcess(engine, link, clock_ms).run())


def run_intake_process(installation: Installation) -> None:
    """Serve until asked to stop."""
    section = installation.intake
    link = installation.link_settings(section.name, ())
    settings = IntakeSettings(
        intake=IntakeId(section.name),
        host=section.host,
        port=section.port,
        spool=installation.at(section.spool),
        razorpay_secrets=installation.secrets(section.razorpay.secrets),
        razorpay_merchant=section.razorpay.merchant,
        key=installation.signing_key(section.key),
        authorities=installation.authorities(latest_ms=clock_ms()),
        brokers=link.brokers,
        tls=link.tls,
        clock_ms=clock_ms,
        randomness=random.Random(),  # noqa: S311  # jitter only
    )
    run_until_stopped(run_intake(settings))


def run_up(config: Path) -> None:
    """Run intake and engine as processes of their own; start again what ends by itself."""
    run_until_stopped(_mind(config, ("intake", "engine")))


async def _mind(config: Path, names: tuple[str, ...]) -> None:
    # A group, not gather: gather ends with the first that ends, and would leave the other running.
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(_keep(config, name))


async def _keep(config: Path, name: str) -> None:
    command = [sys.executable, "-m", "cloud.cli", name, "--config", str(config)]
    while True:
        process = await asyncio.create_subprocess_exec(*command)
        try:
            code = await process.wait()
        finally:
            await _end(process)
        _LOG.error("relight %s ended with %s; starting it again", name, code)
        await asyncio.sleep(RESTART_AFTER_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()

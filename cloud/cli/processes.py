"""The cloud's long-running commands: engine, intake, guard, and `up`, which minds all of them."""

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
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from cloud.alarms import tell_ledger
from cloud.configuration import NO_RAZORPAY, ConfigurationError, Installation
from cloud.cosigning import AskGuard, GuardStore, nobody_answers
from cloud.engine import Engine, EngineSettings
from cloud.engine_process import EngineProcess
from cloud.guard import store as guard_store
from cloud.guard.guard import Guard, GuardSettings
from cloud.guard.process import SUBSCRIPTIONS, GuardProcess
from cloud.intake.fetching import HttpFetch
from cloud.intake.process import IntakeSettings, RazorpayPoll, run_intake
from cloud.intake.provider import Provider
from cloud.intake.razorpay import Razorpay
from cloud.intake.signed import Signed
from cloud.intake.spool_schema import Sweep
from cloud.ledger_file import held
from cloud.live import Live
from cloud.publisher import Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.store import migrate, open_store
from cloud.trust_files import TrustFiles, tell
from wire.fields import IntakeId, ProviderId
from wire.link import Link
from wire.topics import engine_subscriptions
from wire.trust import DEVELOPMENT_MARK, Authorities

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


@dataclass(frozen=True, slots=True)
class MadeEngine:
    """The engine of an installation, its link, and what it believes."""

    engine: Engine
    link: Link
    trust: TrustFiles


def make_engine(installation: Installation) -> MadeEngine:
    """The engine of an installation, ready to run."""
    section = installation.engine
    store = open_store(installation.ledger_url())
    migrate(store)
    trust = installation.engine_trust(partial(tell_ledger, store=store, clock_ms=clock_ms))
    believed = installation.begin(trust, now_ms=clock_ms())
    authorities = believed.authorities
    key, entry = installation.engine_key(authorities)
    engine = Engine(
        EngineSettings(
            signer=Signer(installation=authorities.root.installation, key=key, epoch=entry.epoch),
            authorities=authorities,
            identities=believed.identities,
            policy=MP_WEST_FIRST_PHASE,
            ask_guard=_guard_of(installation),
        ),
        store,
        Live(
            key=hashlib.sha256(b"live" + key.seed).digest(),
            is_development=entry.mark == DEVELOPMENT_MARK,
        ),
        secrets.token_bytes,
    )
    settings = installation.link_settings(section.name, engine_subscriptions())
    link = Link(settings, randomness=random.Random())  # noqa: S311  # jitter only
    return MadeEngine(engine, link, trust)


def _guard_of(installation: Installation) -> AskGuard:
    section = installation.configuration.guard
    return nobody_answers if section is None else GuardStore(installation.at(section.store))


def run_engine(installation: Installation) -> None:
    """Serve until asked to stop."""
    path = installation.ledger_path()
    # On PostgreSQL several engines share a ledger; a SQLite one is one engine's.
    with nullcontext() if path is None else held(path):
        made = make_engine(installation)
        look = partial(made.trust.look_again, clock_ms)
        run_until_stopped(EngineProcess(made.engine, made.link, clock_ms, look).run())


def run_intake_process(installation: Installation) -> None:
    """Serve until asked to stop."""
    section = installation.intake
    link = installation.link_settings(section.name, ())
    trust = installation.intake_trust(tell)
    authorities = installation.begin(trust, now_ms=clock_ms()).authorities
    settings = IntakeSettings(
        intake=IntakeId(section.name),
        host=section.host,
        port=section.port,
        spool=installation.at(section.spool),
        providers=_providers(installation),
        razorpay_poll=_razorpay_poll(installation),
        key=installation.signing_key(section.key),
        authorities=authorities,
        look=partial(trust.look_again, clock_ms),
        brokers=link.brokers,
        tls=link.tls,
        clock_ms=clock_ms,
        randomness=random.Random(),  # noqa: S311  # jitter only
    )
    run_until_stopped(run_intake(settings))


def run_guard(installation: Installation) -> None:
    """Serve until asked to stop."""
    section = installation.guard
    ledger = installation.ledger_path()
    if ledger is None:
        raise ConfigurationError(
            f"{installation.path} [engine]: the guard reads a ledger that is a SQLite file, not"
            f" {installation.engine.ledger!r}"
        )
    path = installation.at(section.store)
    with guard_store.held(path):
        trust = installation.guard_trust(tell)
        authorities = installation.begin(trust, now_ms=clock_ms()).authorities
        key, entry = installation.guard_key(authorities)
        # A day of waiting protects nobody where every key is published for trying things out.
        used_up_ms = 0 if entry.mark == DEVELOPMENT_MARK else guard_store.USED_UP_MS
        settings = GuardSettings(
            signer=key,
            authorities=authorities,
            is_production=installation.configuration.trust.is_production,
            used_up_ms=used_up_ms,
        )
        store = guard_store.open_store(path, now_ms=clock_ms(), used_up_ms=used_up_ms)
        link = Link(
            installation.link_settings(section.name, SUBSCRIPTIONS),
            randomness=random.Random(),  # noqa: S311  # jitter only
        )

        def newer_trust() -> Authorities | None:
            believed = trust.look_again(clock_ms)
            return None if believed is None else believed.authorities

        guard = Guard(settings, store)
        run_until_stopped(GuardProcess(guard, link, ledger, clock_ms, newer_trust).run())


def _providers(installation: Installation) -> tuple[Provider, ...]:
    """Whose webhooks [intake] takes in."""
    section = installation.intake
    razorpay = section.razorpay
    found: list[Provider] = []
    # A section that is there without secrets only polls, or is told that they are missing.
    if razorpay.secrets or (razorpay is not NO_RAZORPAY and razorpay.key_id is None):
        secrets = installation.secrets(razorpay.secrets)
        found.append(Razorpay(secrets=secrets, merchant=razorpay.merchant))
    for name, signed in section.signed.items():
        secrets = installation.secrets(signed.secrets)
        found.append(Signed(name=ProviderId(name), secrets=secrets, tolerance_s=signed.tolerance_s))
    return tuple(found)


def _razorpay_poll(installation: Installation) -> RazorpayPoll | None:
    """How [intake.razorpay] polls, if it does."""
    section = installation.intake.razorpay
    if section.key_id is None and section.key_secret is None:
        return None
    if section.key_id is None or section.key_secret is None:
        raise ConfigurationError(
            f"{installation.path} [intake.razorpay]: key_id and key_secret belong together"
        )
    user, password = installation.secrets((section.key_id, section.key_secret))
    every_s = {
        Sweep.RECENT: section.recent_every_s,
        Sweep.LATE: section.late_every_s,
        Sweep.DEEP: section.deep_every_s,
    }
    return RazorpayPoll(
        fetch=HttpFetch(section.api, user, password),
        every_ms={sweep: 1_000 * seconds for sweep, seconds in every_s.items()},
    )


def run_up(config: Path) -> None:
    """Run intake, engine and guard as processes of their own; start again what ends by itself."""
    has_guard = Installation(config).configuration.guard is not None
    run_until_stopped(_mind(config, ("intake", "engine", *(("guard",) if has_guard else ()))))


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

"""Plays the rows against one agent, one after the other, each on the ground it asks for.

Rules kept here: a row that fails says why and takes nothing with it, the next one begins a new
life; rows that begin welcomed share a life as long as each of them passes; whatever the agent said
or moved that no row asked for fails the row during which it happened.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.conformance.case import Begin, Case
from edge_agent.conformance.command_cases import COMMANDS
from edge_agent.conformance.engine import Engine
from edge_agent.conformance.filing_cases import FILING
from edge_agent.conformance.floor_cases import FLOOR
from edge_agent.conformance.freeze_cases import FREEZE
from edge_agent.conformance.greeting_cases import GREETING
from edge_agent.conformance.handout import METERS, PROTECTED_METER, Handout
from edge_agent.conformance.installation import new_installation
from edge_agent.conformance.junk_cases import JUNK
from edge_agent.conformance.line import Line, SessionError, forget_session
from edge_agent.conformance.process import AgentProcess
from edge_agent.conformance.refusal_cases import REFUSALS
from edge_agent.conformance.relay_files import Meters
from edge_agent.conformance.report import Row, Verdict, row
from edge_agent.conformance.restart_cases import RESTARTS
from edge_agent.conformance.stage import Broker, NotSeenError, Stage
from edge_agent.conformance.trust_cases import TRUST
from wire.fields import AgentId
from wire.link import Link, LinkError, LinkSettings
from wire.link_settings import BrokerAddress, TlsFiles
from wire.topics import canary_topic, presence_topic

ENGINE_NAME = "ENGINE-1"  # as `relight broker init` calls the engine
CHAPTERS = (GREETING, FLOOR, COMMANDS, REFUSALS, JUNK, FILING, RESTARTS, FREEZE, TRUST)
_RECEIVE_MAX = 256
_READY_S = 15.0


class ConformanceError(Exception):
    """The run cannot begin: nothing is said about the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is told."""

    broker: BrokerAddress
    broker_folder: Path  # as `relight broker init` wrote it
    agent: AgentId
    command: str
    folder: Path  # what the agent under test is given is written here
    only: tuple[str, ...] = ()  # parts of names; none: every row


def wanted_cases(only: Iterable[str]) -> list[Case]:
    """The rows whose name holds any of these, or all."""
    cases = [case for chapter in CHAPTERS for case in chapter.cases]
    parts = tuple(only)
    return [one for one in cases if not parts or any(part in one.name for part in parts)]


async def play(plan: Plan, tell: Callable[[Row], None]) -> list[Row]:
    """Play every wanted row; `tell` gets each as soon as it is known.

    Raises:
        ConformanceError: the broker, its certificates or the agent's command cannot be used.
    """
    rows: list[Row] = []
    try:
        async with _stage(plan) as stage:
            is_shared = False
            for case in wanted_cases(plan.only):
                rows.append(await _play_one(stage, case, is_shared=is_shared))
                tell(rows[-1])
                is_good = rows[-1].verdict is Verdict.PASSED
                is_shared = is_good and case.begin is Begin.WELCOMED
    except (OSError, LinkError, SessionError, ValueError) as error:
        raise ConformanceError(str(error) or repr(error)) from None
    return rows


async def _play_one(stage: Stage, case: Case, *, is_shared: bool) -> Row:
    began_s = time.monotonic()
    found = ""
    try:
        if not (is_shared and case.begin is Begin.WELCOMED):
            await _begin(stage, case.begin)
        stage.engine.welcomes = case.begin is not Begin.UNWELCOMED
        stage.engine.files = True
        await case.play(stage)
    except NotSeenError as error:
        found = str(error)
    violations, stage.engine.record.violations = stage.engine.record.violations, []
    found = "; ".join([one for one in (found, *violations) if one])
    return row(case, found, int((time.monotonic() - began_s) * 1_000))


async def _begin(stage: Stage, begin: Begin) -> None:
    await stage.begin_life()
    stage.engine.welcomes = begin is not Begin.UNWELCOMED
    await stage.boot()
    if begin is not Begin.UNWELCOMED:
        await stage.is_ready()


@asynccontextmanager
async def _stage(plan: Plan) -> AsyncIterator[Stage]:
    certificates = plan.broker_folder / "certificates"
    files = {name: _files(certificates, name) for name in (ENGINE_NAME, plan.agent)}
    installation = new_installation(plan.agent, os.urandom)
    line, handout = Line(plan.broker), Handout(plan.folder.resolve())
    # What an earlier run left behind is of other keys.
    await forget_session(plan.broker, files[ENGINE_NAME], ENGINE_NAME)
    await line.start()
    handout.write(installation, line.port, files[plan.agent])
    words = {"agent_json": str(handout.agent_json), "agent_toml": str(handout.agent_toml)}
    link = Link(_link_settings(plan, files[ENGINE_NAME]), randomness=random.SystemRandom())
    stage = Stage(
        handout=handout,
        process=AgentProcess(plan.command, words, handout.log),
        meters=Meters(handout.relays, (*METERS, PROTECTED_METER)),
        line=line,
        broker=Broker(address=plan.broker, agent_files=files[plan.agent]),
        new_engine=lambda: Engine(installation, link, lambda: time.time_ns() // 1_000_000),
        engine=Engine(installation, link, lambda: time.time_ns() // 1_000_000),
    )
    running = asyncio.create_task(link.run())
    tasks = [asyncio.create_task(one) for one in (_listen(link, stage), stage.meters.live())]
    try:
        await _until_ready(link, plan)
        yield stage
    finally:
        await stage.process.kill()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await link.stop()
        await line.stop()
        await running
        for ended in ends:
            if isinstance(ended, Exception):
                raise ended


async def _until_ready(link: Link, plan: Plan) -> None:
    try:
        async with asyncio.timeout(_READY_S):
            await link.until_ready()
    except TimeoutError:
        raise ConformanceError(
            f"no connection to the broker {plan.broker.host}:{plan.broker.port} as {ENGINE_NAME}"
        ) from None


async def _listen(link: Link, stage: Stage) -> None:
    while True:
        deliveries = await link.receive(_RECEIVE_MAX)
        for one in deliveries:
            stage.engine.hear(one)
        link.acknowledge(deliveries)


def _files(certificates: Path, name: str) -> TlsFiles:
    files = TlsFiles(
        certificates / "ca.crt", certificates / f"{name}.crt", certificates / f"{name}.key"
    )
    for path in (files.ca, files.certificate, files.key):
        if not path.is_file():
            raise ConformanceError(
                f"{path} is missing: make the broker with `relight broker init FOLDER"
                f" --agent {name}`"
            )
    return files


def _link_settings(plan: Plan, files: TlsFiles) -> LinkSettings:
    agent = plan.agent
    return LinkSettings(
        client_id=ENGINE_NAME,
        brokers=(plan.broker,),
        tls=files,
        subscriptions=(f"hello/+/{agent}", f"acknowledgement/+/{agent}", presence_topic(agent)),
        canary=canary_topic(ENGINE_NAME),
    )

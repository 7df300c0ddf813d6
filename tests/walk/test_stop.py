"""`relight stop` and `relight resume` over real processes: what every agent then believes (R9)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud import freezes
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.freezes import Freeze
from cloud.schema import alarms
from cloud.store import reading
from tests.broker.stranger import context, stranger
from tests.walk.conftest import FAST, SLOW
from tests.walk.facts import rows, until_heard
from tests.walk.installation import WITNESS, Walk
from wire import envelope
from wire.decoding import encode
from wire.documents import Resume, Stop
from wire.key_files import read_signing_key
from wire.link import TlsFiles
from wire.topics import MessageType

HOUR_MS = 3_600_000
DESK, ANNA, BALA = "DESK-1", "APPROVER-A", "APPROVER-B"


@dataclass(frozen=True, slots=True)
class Believed:
    """What an agent keeps of stops."""

    stop_ms: int
    lifted_ms: int
    welcome_stop_ms: int

    @classmethod
    def read(cls, path: Path) -> "Believed":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            query = "SELECT stop_ms, lifted_ms, welcome_stop_ms FROM standing"
            return cls(*connection.execute(query).fetchone())


def key(walk: Walk, name: str) -> Path:
    return walk.folder / "trust" / "keys" / f"{name}.key"


def stop(walk: Walk) -> int:
    """The number of a stop that one person gave."""
    said = walk.relight("stop", "--note", "storm", "--key", str(key(walk, DESK)), "--wait", "0")
    assert "ledger: stored" in said
    assert "broker: published" in said
    return standing(walk).stop.number_ms


def resume(walk: Walk) -> int:
    """The number up to which two people lifted."""
    file = walk.folder / f"resume-{clock_ms()}"
    walk.relight("resume", "draft", str(file), "--note", "over")
    for name in (ANNA, BALA):
        walk.relight_alone("resume", "sign", str(file), "--key", str(key(walk, name)), "--yes")
    walk.relight("resume", "send", str(file))
    return standing(walk).resume.number_ms


def standing(walk: Walk) -> Freeze:
    ledger = walk.ledger()
    try:
        with reading(ledger) as connection:
            return freezes.read(connection)
    finally:
        ledger.dispose()


def believed(walk: Walk, agent: str) -> Believed:
    return Believed.read(walk.journal(agent))


def until_stopped(walk: Walk, agent: str, number_ms: int) -> None:
    walk.until(f"stop at {agent}", lambda: believed(walk, agent).stop_ms == number_ms)


def until_lifted(walk: Walk, agent: str, number_ms: int) -> None:
    walk.until(f"resume at {agent}", lambda: believed(walk, agent).lifted_ms == number_ms)


def sealed(walk: Walk, message_type: MessageType, body: Stop | Resume, *names: str) -> bytes:
    authorities = Installation(walk.config).authorities(latest_ms=clock_ms())
    keys = [read_signing_key(key(walk, name)) for name in names]
    return envelope.seal(authorities.root.installation, message_type.value, encode(body), keys)


def publish(walk: Walk, topic: str, *payloads: bytes) -> None:
    """As somebody who has the engine's place at the broker, and none of its keys."""
    certificates = walk.folder / "broker" / "certificates"
    files = TlsFiles(*(certificates / f"{one}" for one in ("ca.crt", f"{WITNESS}.crt")),
                     certificates / f"{WITNESS}.key")  # fmt: skip
    with stranger(walk.ports[0], context(files), WITNESS) as witness:
        assert witness.refusal == ""
        for payload in payloads:
            assert witness.publish(topic, payload) == 0


@pytest.fixture
def frozen(walk) -> Iterator[tuple[Walk, int]]:
    """The installation with a stop that both agents keep; it is lifted afterwards."""
    number_ms = stop(walk)
    for agent in (FAST, SLOW):
        until_stopped(walk, agent, number_ms)
    yield walk, number_ms
    walk.start_all()
    lifted_ms = resume(walk) if standing(walk).is_frozen else standing(walk).resume.number_ms
    for agent in (FAST, SLOW):
        until_lifted(walk, agent, lifted_ms)


def test_stop_reaches_every_agent_and_one_that_was_away_by_its_welcome(frozen):
    walk, first_ms = frozen
    assert walk.stop(SLOW) == 0
    second_ms = stop(walk)
    assert second_ms > first_ms
    until_stopped(walk, FAST, second_ms)
    assert believed(walk, SLOW).stop_ms == first_ms
    walk.start(SLOW)
    until_heard(walk, SLOW)
    until_stopped(walk, SLOW, second_ms)
    walk.until("welcome", lambda: believed(walk, SLOW).welcome_stop_ms == second_ms)


def test_resume_of_one_approver_lifts_nothing_and_of_two_it_does(frozen):
    walk, number_ms = frozen
    body = Resume(lifts_ms=number_ms, note="")
    publish(walk, "resume", *(sealed(walk, MessageType.RESUME, body, one) for one in (ANNA, DESK)))
    marker_ms = stop(walk)  # behind what was published: whoever keeps it has judged that
    for agent in (FAST, SLOW):
        until_stopped(walk, agent, marker_ms)
        assert believed(walk, agent).lifted_ms < number_ms
    assert standing(walk).is_frozen
    lifted_ms = resume(walk)
    assert lifted_ms == marker_ms
    for agent in (FAST, SLOW):
        until_lifted(walk, agent, lifted_ms)
    assert not standing(walk).is_frozen


def test_older_resume_that_is_replayed_changes_nothing(frozen):
    walk, number_ms = frozen
    resume(walk)
    old = standing(walk).resume.envelope
    later_ms = stop(walk)
    assert later_ms > number_ms
    publish(walk, "resume", old)
    for agent in (FAST, SLOW):
        publish(walk, f"resume/{agent}", old)
    marker_ms = stop(walk)
    for agent in (FAST, SLOW):
        until_stopped(walk, agent, marker_ms)
        assert believed(walk, agent).lifted_ms == number_ms
    assert standing(walk).is_frozen


def test_stop_of_an_hour_ahead_is_ignored_by_everybody_with_an_alarm(frozen):
    walk, _ = frozen
    ahead_ms = clock_ms() + HOUR_MS
    body = Stop(number_ms=ahead_ms, note="")
    publish(walk, "stop", sealed(walk, MessageType.STOP, body, DESK))
    told = select(alarms).where(alarms.c.code == "stop_from_future")
    engines = told.where(alarms.c.subject == str(ahead_ms))
    walk.until("alarm of the engine", lambda: len(rows(walk, engines)) == 1)
    marker_ms = stop(walk)
    assert marker_ms < ahead_ms
    for agent in (FAST, SLOW):
        until_stopped(walk, agent, marker_ms)


def test_stop_reaches_agents_while_the_engine_is_down_and_the_engine_keeps_it(frozen):
    walk, first_ms = frozen
    walk.kill("engine")
    second_ms = stop(walk)
    assert second_ms > first_ms
    for agent in (FAST, SLOW):
        until_stopped(walk, agent, second_ms)
    walk.start("engine")
    assert standing(walk).stop.number_ms == second_ms

"""Each check of the doctor against a real broker whose configuration is wrong in that one way."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from cloud.cli.demo_world import is_listening
from cloud.doctor import entrance, limits, names, probe, topics
from cloud.doctor.examination import BROKER_CHECKS, examine
from cloud.doctor.findings import (
    BrokerCheck,
    Code,
    Finding,
    Measured,
    Note,
    NotProven,
    Remark,
    Report,
)
from cloud.doctor.running import engine_is_alive
from tests.broker.examined_broker import ExaminedBroker, Look, codes
from tests.broker.running_broker import LONGEST_WAIT_S, free_port, until
from wire.topics import LIVE_SUMMARY

OPEN_TO_ALL = {
    "require_certificate": "false",
    "use_identity_as_username": "false",
    "use_username_as_clientid": "false",
    "allow_anonymous": "true",
}
# Check, the lines of mosquitto.conf that are wrong, what is found.
WRONG_LINES: list[tuple[Look, dict[str, str | int | None], Code]] = [
    (entrance.refuses_anonymous, OPEN_TO_ALL, Code.ANONYMOUS_LET_IN),
    (
        entrance.demands_certificate,
        {"require_certificate": "false"},
        Code.CERTIFICATE_NOT_DEMANDED,
    ),
    (
        entrance.refuses_foreign_authority,
        {"require_certificate": "false"},
        Code.FOREIGN_AUTHORITY_BELIEVED,
    ),
    (entrance.refuses_foreign_authority, OPEN_TO_ALL, Code.FOREIGN_AUTHORITY_BELIEVED),
    (entrance.refuses_old_tls, {"tls_version": "tlsv1.2"}, Code.OLD_TLS_ACCEPTED),
    (
        names.client_id_is_the_name,
        {"use_username_as_clientid": "false"},
        Code.CLIENT_ID_NOT_BOUND,
    ),
    (
        names.user_name_is_the_name,
        OPEN_TO_ALL | {"require_certificate": "true"},
        Code.USER_NAME_BELIEVED,
    ),
    (topics.writes_no_foreign_topic, {"acl_file": None}, Code.FOREIGN_TOPIC_WRITTEN),
    (limits.answers_at_once, {"set_tcp_nodelay": "false"}, Code.BROKER_DELAYS),
    (limits.keeps_what_waits, {"max_queued_messages": None}, Code.QUEUE_TOO_SHORT),
    (limits.keeps_what_waits, {"max_queued_messages": 2_990}, Code.QUEUE_TOO_SHORT),
    (limits.announces_a_window, {"max_inflight_messages": None}, Code.WINDOW_TOO_SMALL),
    (
        limits.carries_the_largest_message,
        {"max_packet_size": 49_152},
        Code.LARGEST_MESSAGE_REFUSED,
    ),
    (
        limits.refuses_what_is_far_too_large,
        {"max_packet_size": None},
        Code.PACKET_SIZE_UNBOUNDED,
    ),
]
# Grants to the doctor that it must not have.
WRONG_GRANTS: list[tuple[Look, str, Code]] = [
    (topics.writes_no_foreign_topic, "topic write command/#", Code.FOREIGN_TOPIC_WRITTEN),
    (topics.writes_no_foreign_topic, "topic write live/#", Code.FOREIGN_TOPIC_WRITTEN),
    (topics.writes_no_foreign_topic, "topic write stop", Code.FOREIGN_TOPIC_WRITTEN),
    (topics.keeps_no_foreign_retained, "topic write trust/+", Code.FOREIGN_RETAINED_KEPT),
    (topics.publishes_no_foreign_will, "topic write stop/+", Code.FOREIGN_WILL_PUBLISHED),
]
# The last one is tested where somebody plays the engine.
QUIET_CHECKS = [one for one in BROKER_CHECKS if one.run is not engine_is_alive]
HANGS_UP_AFTER_S = 0.3


@pytest.fixture
def examined(tmp_path) -> Iterator[ExaminedBroker]:
    broker = ExaminedBroker(tmp_path)
    yield broker
    broker.running.kill()


@pytest.mark.parametrize("check", QUIET_CHECKS, ids=lambda one: one.name)
async def test_broker_as_it_is_shipped_is_good_by_every_check(examined, check: BrokerCheck):
    examined.start()
    remarks = await check.run(examined.broker())
    assert [one for one in remarks if not isinstance(one, Measured)] == []


@pytest.mark.parametrize(("look", "lines", "code"), WRONG_LINES)
async def test_wrong_line_of_the_configuration_is_found(examined, look, lines, code):
    examined.set(**lines)
    examined.start()
    assert codes(await look(examined.broker())) == {code}


@pytest.mark.parametrize(("look", "grant", "code"), WRONG_GRANTS)
async def test_topic_granted_to_the_doctor_is_found(examined, look, grant, code):
    examined.add(examined.acl, f"user DOCTOR-1\n{grant}")
    examined.start()
    assert codes(await look(examined.broker())) == {code}


async def test_retained_message_that_got_through_is_removed_again(examined):
    examined.add(examined.acl, "user DOCTOR-1\ntopic write trust/+")
    examined.start()
    for _ in range(2):
        found = await topics.keeps_no_foreign_retained(examined.broker())
        assert [one.code for one in found] == [Code.FOREIGN_RETAINED_KEPT]
    broker = examined.broker()
    async with await topics._enter(broker) as later:
        await later.subscribe("#")
        assert [one for one in await topics._until_fence(broker, later, b"x") if one.payload] == []


async def test_port_that_speaks_without_tls_is_found(examined):
    without = ("cafile", "certfile", "keyfile", "require_certificate", "tls_version")
    examined.set(**dict.fromkeys((*without, "use_identity_as_username")))
    examined.start()
    found = await entrance.refuses_plaintext(examined.broker())
    assert codes(found) == {Code.PLAINTEXT_LISTENER}


@pytest.mark.parametrize("protocol", ["mqtt", "websockets"])
async def test_second_listener_without_tls_is_found_in_production_and_noted_elsewhere(
    examined, protocol
):
    port = free_port()
    listener = f"listener {port} 127.0.0.1\nsocket_domain ipv4\nprotocol {protocol}"
    examined.add(examined.configuration, listener)
    examined.start()
    await until(lambda: is_listening(port))  # mosquitto opens it after the first
    for is_production, kind in ((True, Finding), (False, Note)):
        broker = examined.broker(is_production=is_production, plain_ports=(port, free_port()))
        (remark,) = await entrance.has_no_plain_listener(broker)
        assert isinstance(remark, kind)
        assert f"127.0.0.1:{port}" in remark.text


async def test_counters_of_the_broker_that_cannot_be_read_are_not_called_good(examined):
    text = examined.acl.read_text()
    examined.acl.write_text(text.replace("topic read $SYS/#", ""))
    examined.start()
    (remark,) = await limits.dropped_nothing(examined.broker())
    assert isinstance(remark, NotProven)


async def test_messages_the_broker_dropped_are_noted(examined):
    examined.set(max_queued_messages=100, sys_interval=1)
    examined.start()
    await limits.keeps_what_waits(examined.broker())

    async def dropped() -> list[Remark]:
        return list(await limits.dropped_nothing(examined.broker()))

    async with asyncio.timeout(LONGEST_WAIT_S):
        while not (remarks := await dropped()):
            continue
    assert isinstance(remarks[0], Note)


async def test_engine_that_says_nothing_is_not_proven_and_one_that_speaks_is_good(examined, links):
    examined.start()
    engine = await links.ready(examined.running.settings("ENGINE-1"))
    await engine.publish(LIVE_SUMMARY, b"{}", retain=True)
    looking = asyncio.create_task(engine_is_alive(examined.broker()))
    async with asyncio.timeout(LONGEST_WAIT_S):
        while not looking.done():
            await engine.publish(LIVE_SUMMARY, b"{}", retain=True)
            await asyncio.sleep(0.01)
    assert await looking == []
    (remark,) = await engine_is_alive(examined.broker())
    assert isinstance(remark, NotProven)  # what is retained may be of any age


LEAVING = [limits.keeps_what_waits, topics.publishes_no_foreign_will]


@pytest.mark.parametrize("look", LEAVING)
async def test_check_that_goes_away_and_comes_back_leaves_no_session(examined, look):
    examined.start()
    broker = examined.broker()
    await look(broker)
    greeting = probe.Greeting(client_id="DOCTOR-1", is_clean=False)
    tls = topics.tls_context(broker.tls)
    async with await probe.enter(broker.address, tls, greeting) as later:
        assert not later.is_session_present


def broker_findings(report: Report) -> list[Code]:
    """This folder has no trust documents, which is found too."""
    return [one.code for one in report.findings if one.code is not Code.TRUST_REFUSED]


async def test_dead_broker_is_one_finding(examined):
    assert broker_findings(await examine(examined.subject())) == [Code.BROKER_UNREACHABLE]


async def test_broker_that_accepts_and_says_nothing_is_one_finding_and_no_hang(
    examined, monkeypatch
):
    monkeypatch.setattr(probe, "ANSWER_MAX_S", HANGS_UP_AFTER_S)
    with socket.create_server(("127.0.0.1", examined.running.port)):
        report = await examine(examined.subject())
    assert broker_findings(report) == [Code.BROKER_UNREACHABLE]

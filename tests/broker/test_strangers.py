"""What a stranger's client gets from our broker: nothing that is not its own."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from mosquitto.configuration import BrokerPlan
from mosquitto.initialisation import initialise
from tests.broker.running_broker import LONGEST_WAIT_S, receive
from tests.broker.stranger import context, stranger
from wire.link import TlsFiles

BOTH = pytest.mark.parametrize(
    "protocol", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]
)


@BOTH
async def test_agent_does_not_hear_the_commands_of_another(broker, links, protocol):
    engine = await links.ready(broker.settings("ENGINE-1"))
    with stranger(broker.port, context(broker.files("A2")), "A2", protocol) as thief:
        for filter_ in ("command/A1/#", "command/#", "#", "+/A1/+"):
            thief.subscribe(filter_)
        await engine.publish("command/A1/M1", b"not for you")
        await engine.publish("welcome/A1", b"not for you")
        await engine.publish("welcome/A2", b"yours")
        assert thief.heard.get(timeout=LONGEST_WAIT_S) == ("welcome/A2", b"yours")
        assert thief.heard.empty()


@BOTH
@pytest.mark.parametrize("topic", ["hello/00/A1", "acknowledgement/00/A1", "presence/A1"])
async def test_agent_does_not_speak_for_another(broker, links, protocol, topic):
    engine = await links.ready(
        broker.settings("ENGINE-1", "hello/+/+", "acknowledgement/+/+", "presence/+")
    )
    with stranger(broker.port, context(broker.files("A2")), "A2", protocol) as thief:
        code = thief.publish(topic, b"forged")
        # 3.1.1 has no way to say no: it lies, and delivers nothing.
        assert code == (0x87 if protocol is MQTTProtocolVersion.MQTTv5 else 0)
        thief.publish("hello/00/A2", b"true")
        assert await receive(engine, 1) == [("hello/00/A2", b"true")]


async def test_nobody_comes_in_without_a_certificate(broker):
    anonymous = context(broker.files("A1"), shows_certificate=False)
    with stranger(broker.port, anonymous) as one:
        assert one.refusal


async def test_nobody_comes_in_without_tls(broker):
    with stranger(broker.port, None) as one:
        assert one.refusal


async def test_certificate_of_another_authority_is_refused(broker, tmp_path):
    plan = BrokerPlan(directory=tmp_path / "forger", agents=("A1",))
    initialise(plan, now=datetime.now(UTC))
    forged = tmp_path / "forger" / "certificates"
    files = TlsFiles(broker.files("A1").ca, forged / "A1.crt", forged / "A1.key")
    with stranger(broker.port, context(files)) as one:
        assert one.refusal


async def test_tls_1_2_is_refused(broker):
    old = context(broker.files("A1"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=old)


async def test_session_of_another_is_not_taken_by_its_client_id(broker, links):
    victim = await links.ready(broker.settings("A1", "command/A1/+"))
    engine = await links.ready(broker.settings("ENGINE-1"))
    with stranger(broker.port, context(broker.files("A2")), client_id="A1") as thief:
        assert not thief.refusal
        thief.subscribe("command/A1/+")
        await engine.publish("command/A1/M1", b"for A1")
        assert await receive(victim, 1) == [("command/A1/M1", b"for A1")]
        assert victim.connection_number == 1
        assert thief.heard.empty()


async def test_link_refuses_a_broker_of_another_authority(broker, links, tmp_path, caplog):
    plan = BrokerPlan(directory=tmp_path / "other", agents=("A1",))
    initialise(plan, now=datetime.now(UTC))
    other = tmp_path / "other" / "certificates"
    tls = TlsFiles(other / "ca.crt", other / "A1.crt", other / "A1.key")
    link = links.start(broker.settings("A1", tls=tls))
    trusting = await links.ready(broker.settings("A2"))
    while "CERTIFICATE_VERIFY_FAILED" not in caplog.text:
        await trusting.publish("canary/A2", b"")
    assert not link.connected

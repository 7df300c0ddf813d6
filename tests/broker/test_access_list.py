"""Who may say and hear what, judged by what is delivered: SUBACK and PUBACK prove nothing here.

The tables below are written from the protocol's page and not from the acl. A fence, each one's own
canary, makes "never delivered" certain: the broker routes in order.
"""

import asyncio
import signal
from datetime import UTC, datetime

import pytest

from mosquitto.configuration import Identity, Kind
from mosquitto.initialisation import add_identity
from tests.broker.running_broker import LONGEST_WAIT_S, Links, RunningBroker
from wire.link import Link, PublishDenied

TOPICS = (
    "payment/03/PAYCO",
    "payment/03/OTHER",
    "receipt/INTAKE-1",
    "receipt/INTAKE-2",
    "watermark/INTAKE-1",
    "watermark/INTAKE-2",
    "hello/03/A1",
    "hello/03/A2",
    "welcome/A1",
    "command/A1/M1",
    "command/A2/M1",
    "acknowledgement/03/A1",
    "acknowledgement/03/A2",
    "filed/A1",
    "manifest/A1",
    "roster/A1",
    "trust",
    "trust/A1",
    "stop",
    "stop/A1",
    "resume",
    "resume/A1",
    "presence/A1",
    "presence/A2",
    "live/summary",
    "live/step/Z1",
    "canary/A1",
    "canary/ENGINE-1",
    "canary/VIEW-1",
)
AGENT_READS = frozenset(
    {"command/A1/M1", "welcome/A1", "filed/A1", "manifest/A1", "roster/A1", "trust", "trust/A1"}
    | {"stop", "stop/A1", "resume", "resume/A1", "canary/A1"}
)
MAY_READ: dict[str, frozenset[str]] = {
    "A1": AGENT_READS,
    "A2": frozenset({"command/A2/M1", "trust", "stop", "resume"}),
    "INTAKE-1": frozenset({"receipt/INTAKE-1", "trust"}),
    "GUARD-1": frozenset(
        {"payment/03/PAYCO", "payment/03/OTHER", "watermark/INTAKE-1", "watermark/INTAKE-2"}
        | {"stop", "resume", "trust"}
    ),
    # stop: mosquitto has no deny for one direction, and a desk may write it; see the acl.
    "DESK-1": frozenset({"presence/A1", "presence/A2", "trust", "stop"}),
    "VIEW-1": frozenset({"live/summary", "live/step/Z1", "canary/VIEW-1"}),
    "ENGINE-1": frozenset(
        {"payment/03/PAYCO", "payment/03/OTHER", "watermark/INTAKE-1", "watermark/INTAKE-2"}
        | {"hello/03/A1", "hello/03/A2", "acknowledgement/03/A1", "acknowledgement/03/A2"}
        | {"command/A1/M1", "command/A2/M1", "presence/A1", "presence/A2"}
        | {"trust", "stop", "resume", "canary/ENGINE-1"}
    ),
    "DOCTOR-1": frozenset(TOPICS),
}
MAY_WRITE: dict[str, frozenset[str]] = {
    "A1": frozenset({"hello/03/A1", "acknowledgement/03/A1", "presence/A1", "canary/A1"}),
    "A2": frozenset({"hello/03/A2", "acknowledgement/03/A2", "presence/A2"}),
    "INTAKE-1": frozenset({"payment/03/PAYCO", "watermark/INTAKE-1"}),
    "GUARD-1": frozenset({"stop"}),
    "DESK-1": frozenset({"stop"}),
    "VIEW-1": frozenset({"canary/VIEW-1"}),
    "ENGINE-1": frozenset(
        {"receipt/INTAKE-1", "receipt/INTAKE-2", "welcome/A1", "command/A1/M1", "command/A2/M1"}
        | {"filed/A1", "manifest/A1", "roster/A1", "trust", "trust/A1", "stop", "stop/A1"}
        | {"resume", "resume/A1", "live/summary", "live/step/Z1", "canary/ENGINE-1"}
    ),
    "DOCTOR-1": frozenset(),
}


async def everything_until_fence(name: str, link: Link) -> set[tuple[str, str]]:
    got: set[tuple[str, str]] = set()
    link.send(f"canary/{name}", b"fence")
    async with asyncio.timeout(LONGEST_WAIT_S):
        while True:
            deliveries = await link.receive(100)
            link.acknowledge(deliveries)
            fresh = {(one.topic, one.payload.decode()) for one in deliveries}
            got |= {one for one in fresh if one[1] != "fence"}
            if (f"canary/{name}", "fence") in fresh:
                return got


async def is_taken(link: Link, topic: str, name: str) -> bool:
    try:
        await link.publish(topic, name.encode())
    except PublishDenied as denied:
        return (denied.topic, denied.code) != (topic, 0x87)
    return True


async def test_everyone_reaches_exactly_the_topics_of_the_table_both_ways(
    broker: RunningBroker, links: Links
):
    everybody = {
        name: await links.ready(broker.settings(name, "#", canary=None)) for name in MAY_READ
    }
    taken = {
        (topic, name)
        for name, link in everybody.items()
        for topic in TOPICS
        if await is_taken(link, topic, name)
    }
    assert taken == {(topic, name) for name, topics in MAY_WRITE.items() for topic in topics}
    for name, link in everybody.items():
        heard = await everything_until_fence(name, link)
        assert heard == {(topic, by) for topic, by in taken if topic in MAY_READ[name]}, name


async def test_link_whose_canary_is_not_its_own_never_counts_as_ready(broker, links, caplog):
    link = links.start(broker.settings("A1", "command/A1/+", canary="canary/A2"))
    await link.next_connection(1)
    assert not link._is_ready
    assert "publish on canary/A2 denied with reason code 0x87" in caplog.text


async def test_identity_added_to_a_running_broker_may_speak_after_a_reload(broker, links):
    identity = Identity(name="INTAKE-2", kind=Kind.INTAKE, providers=("BANK",))
    add_identity(broker.directory, identity, now=datetime.now(UTC))
    link = await links.ready(broker.settings("INTAKE-2"))
    with pytest.raises(PublishDenied):
        await link.publish("payment/00/BANK", b"")
    broker.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(LONGEST_WAIT_S):
        while not await is_taken(link, "payment/00/BANK", "INTAKE-2"):
            continue
    assert not await is_taken(link, "payment/00/PAYCO", "INTAKE-2")

"""The link on a real mosquitto with our configuration."""

import asyncio
import asyncio.sslproto
import socket
from contextlib import suppress

import pytest
import uvloop

from tests.broker.running_broker import LONGEST_WAIT_S, Links, receive, until
from wire.gmqtt_guards import TLS_READ_BYTES
from wire.link import LinkError, PublishResult, Will


async def walk_there_and_back(broker):
    links = Links()
    engine = await links.ready(broker.settings("ENGINE-1", "acknowledgement/+/+"))
    agent = await links.ready(broker.settings("A1", "command/A1/+"))
    for number in range(600):
        engine.send("command/A1/M1", b"%d" % number)
    commands = await receive(agent, 600)
    answers = [agent.send("acknowledgement/03/A1", payload) for _, payload in commands]
    got = await receive(engine, 600)
    assert [payload for _, payload in got] == [b"%d" % number for number in range(600)]
    assert await asyncio.gather(*answers) == [PublishResult()] * 600
    assert (await engine.publish("command/NOBODY/M1", b"")).no_subscriber
    raw = engine._connection._transport.get_extra_info("socket")
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert engine._connection._transport.get_extra_info("ssl_object").version() == "TLSv1.3"
    await links.stop()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_messages_go_there_and_back_on_either_loop(broker, new_loop):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(walk_there_and_back(broker), LONGEST_WAIT_S))


async def test_tls_buffers_of_asyncio_stay_small(broker, links):
    await links.ready(broker.settings("A1"))
    assert asyncio.sslproto.SSLProtocol.max_size == TLS_READ_BYTES


async def test_messages_sent_while_away_wait_in_the_session(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1"))
    first = Links()
    await first.ready(broker.settings("A1", "command/A1/+"))
    await first.stop()
    assert not (await engine.publish("command/A1/M1", b"while away")).no_subscriber
    again = await links.ready(broker.settings("A1", "command/A1/+"))
    assert await receive(again, 1) == [("command/A1/M1", b"while away")]


async def test_message_that_was_not_acknowledged_comes_again_and_then_no_more(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1"))
    agent = await links.ready(broker.settings("A1", "command/A1/+"))
    await engine.publish("command/A1/M1", b"1")
    held = await agent.receive(1)
    agent._connection.abort("test")
    await agent.next_connection(1)
    agent.acknowledge(held)
    assert await receive(agent, 1) == [("command/A1/M1", b"1")]
    await agent.publish("canary/A1", b"")
    agent._connection.abort("test")
    await agent.next_connection(2)
    await engine.publish("command/A1/M1", b"2")
    assert await receive(agent, 1) == [("command/A1/M1", b"2")]


async def test_session_lost_with_the_broker_is_subscribed_anew(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1"))
    agent = await links.ready(broker.settings("A1", "command/A1/+"))
    broker.kill()
    (broker.directory / "mosquitto.db").unlink(missing_ok=True)
    await until(lambda: not (engine.connected or agent.connected))
    broker.start()
    await agent.until_ready()
    await engine.until_ready()
    assert not (await engine.publish("command/A1/M1", b"again")).no_subscriber
    assert await receive(agent, 1) == [("command/A1/M1", b"again")]


async def test_nothing_is_lost_when_the_broker_is_killed_under_load(broker, links):
    """I13: the outboxes send again until the other side has stored it; the broker may lose all."""
    engine = await links.ready(broker.settings("ENGINE-1", "acknowledgement/+/+"))
    agent = await links.ready(broker.settings("A1", "command/A1/+"))
    stored: set[bytes] = set()
    outbox = {b"%d" % number for number in range(3_000)}

    async def send_again_until_filed() -> None:
        number = 0
        while outbox:
            with suppress(TimeoutError):  # the re-send timer of the outbox
                await asyncio.wait_for(engine.next_connection(number), 0.3)
            number = engine.connection_number
            answers = [engine.send("command/A1/M1", one) for one in sorted(outbox)]
            await asyncio.gather(*answers, return_exceptions=True)

    async def store_and_acknowledge() -> None:
        while True:
            deliveries = await agent.receive(100)
            stored.update(one.payload for one in deliveries)
            agent.acknowledge(deliveries)
            for one in deliveries:
                agent.send("acknowledgement/00/A1", one.payload)

    async def file() -> None:
        while outbox:
            deliveries = await engine.receive(100)
            outbox.difference_update(one.payload for one in deliveries)
            engine.acknowledge(deliveries)

    async with asyncio.timeout(LONGEST_WAIT_S):
        storing = asyncio.create_task(store_and_acknowledge())
        sending = asyncio.create_task(send_again_until_filed())
        filing = asyncio.create_task(file())
        for still_open in (2_500, 1_500, 500):
            await until(lambda limit=still_open: len(outbox) < limit)
            broker.kill()
            await until(lambda: not (engine.connected or agent.connected))
            broker.start()
        await asyncio.gather(sending, filing)
        storing.cancel()
    assert len(stored) == 3_000
    assert engine.connection_number >= 4


async def test_will_is_published_when_a_link_is_cut_and_forgotten_when_it_stops(broker, links):
    desk = await links.ready(broker.settings("DESK-1", "presence/+"))
    will = Will("presence/A1", b"offline", retain=True)
    mine = Links()
    agent = await mine.ready(broker.settings("A1", will=will))
    await agent.publish("presence/A1", b"online", retain=True)
    agent._connection.abort("test")
    assert await receive(desk, 2) == [("presence/A1", b"online"), ("presence/A1", b"offline")]
    await agent.next_connection(1)
    await agent.publish("presence/A1", b"back", retain=True)
    await mine.stop()
    other = await links.ready(broker.settings("A2"))
    await other.publish("presence/A2", b"here")
    assert await receive(desk, 2) == [("presence/A1", b"back"), ("presence/A2", b"here")]


async def test_retained_hint_is_told_from_a_fresh_message(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1"))
    await engine.publish("stop", b"7", retain=True)
    agent = await links.ready(broker.settings("A1", "stop"))
    (hint,) = await agent.receive(1)
    await engine.publish("stop", b"8", retain=True)
    (fresh,) = await agent.receive(1)
    assert [(one.payload, one.is_retained) for one in (hint, fresh)] == [
        (b"7", True),
        (b"8", False),
    ]


async def test_live_lines_at_qos_0_arrive_and_are_not_kept(broker, links):
    view = await links.ready(broker.settings("VIEW-1", "live/#"))
    engine = await links.ready(broker.settings("ENGINE-1"))
    assert await engine.publish("live/summary", b"{}", qos=0) == PublishResult()
    (line,) = await view.receive(1)
    assert (line.topic, line.packet_id) == ("live/summary", 0)
    view.acknowledge([line])


async def test_link_cut_again_and_again_goes_on(broker, links):
    engine = await links.ready(broker.settings("ENGINE-1", "hello/+/+"))
    agent = await links.ready(broker.settings("A1", retry_cap_s=0.02))
    for number in range(1, 21):
        answers = [agent.send("hello/00/A1", b"%d" % number) for _ in range(20)]
        agent._connection.abort("test")
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert all(isinstance(one, LinkError | PublishResult) for one in outcomes)
        await agent.next_connection(number)
    await agent.publish("hello/00/A1", b"last")
    while (await receive(engine, 1))[0][1] != b"last":
        pass

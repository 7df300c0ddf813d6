"""Each measured trap of gmqtt 0.8.0 stays closed. The broker is scripted."""

import asyncio
import gc
import logging

import pytest

from tests.broker.running_broker import receive, until
from tests.broker.scripted_broker import publish_frame
from wire.gmqtt_guards import PACKET_MAX, READ_BYTES
from wire.link import LinkFull, LinkLost, PublishDenied


async def settled(link, broker):
    """Everything written before this has arrived: a later publish has."""
    mark = len(broker.seen.publishes)
    link.send("fence", b"", qos=0)
    await until(lambda: len(broker.seen.publishes) > mark)
    broker.seen.publishes = [one for one in broker.seen.publishes if one[0] != "fence"]


async def test_sessions_lost_with_messages_in_flight_never_block_publishing(scripted, links):
    scripted.script.receive_maximum = 10
    link = await links.ready(scripted.settings())
    for _ in range(50):
        scripted.script.puback = None
        number = link.connection_number
        answers = [link.send("hello/00/A1", b"x") for _ in range(12)]
        await until(lambda: len(scripted.seen.publishes) >= 8)
        scripted.drop()
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(one) for one in outcomes] == [LinkLost] * 12
        scripted.script.puback = 0
        scripted.seen.publishes.clear()
        await link.next_connection(number)
        await link.publish("hello/00/A1", b"still here")
        scripted.seen.publishes.clear()


async def test_window_stays_two_below_the_receive_maximum_and_the_rest_follows(scripted, links):
    scripted.script.receive_maximum, scripted.script.puback = 10, None
    link = await links.ready(scripted.settings())
    answers = [link.send("t", bytes((number,))) for number in range(30)]
    await until(lambda: len(scripted.seen.publishes) == 8)
    await settled(link, scripted)
    assert len(scripted.seen.publishes) == 8
    scripted.script.puback = 0
    for _, _, packet_id in list(scripted.seen.publishes):
        scripted.write(b"\x40\x02" + packet_id.to_bytes(2, "big"))
    await asyncio.gather(*answers)
    assert [payload for _, payload, _ in scripted.seen.publishes] == [
        bytes((n,)) for n in range(30)
    ]


async def test_nothing_in_flight_is_sent_again_from_the_link(scripted, links):
    scripted.script.puback, scripted.script.session_present = None, 1
    link = await links.ready(scripted.settings())
    answer = link.send("t", b"once")
    await until(lambda: len(scripted.seen.publishes) == 1)
    scripted.drop()
    with pytest.raises(LinkLost):
        await answer
    await link.next_connection(1)
    await settled(link, scripted)
    assert [payload for _, payload, _ in scripted.seen.publishes] == [b"once"]


async def test_acknowledgement_of_an_older_connection_is_not_written_on_the_new_one(
    scripted, links
):
    link = await links.ready(scripted.settings("command/A1/+"))
    scripted.deliver("command/A1/M1", b"old", 7)
    old = await link.receive(1)
    scripted.drop()
    await link.next_connection(1)
    await link.until_ready()
    scripted.deliver("command/A1/M2", b"new", 7)
    new = await link.receive(1)
    link.acknowledge(old)
    await settled(link, scripted)
    assert scripted.seen.pubacks == []
    link.acknowledge(new)
    await until(lambda: scripted.seen.pubacks == [7])


async def test_broker_hears_nothing_until_acknowledge_and_then_each_once(scripted, links):
    link = await links.ready(scripted.settings("command/A1/+"))
    for packet_id in (1, 2, 3):
        scripted.deliver("command/A1/M1", b"c", packet_id)
    deliveries = await link.receive(2)
    deliveries += await link.receive(1)
    await settled(link, scripted)
    assert scripted.seen.pubacks == []
    link.acknowledge(deliveries[1:])
    link.acknowledge(deliveries)
    await settled(link, scripted)
    assert scripted.seen.pubacks == [2, 3, 1]


async def test_flood_is_left_in_the_socket_once_the_queue_is_full(scripted, links):
    """I13: the queue stays under its bound, and nothing is dropped to keep it."""
    link = await links.ready(scripted.settings("t", receive_queue_max=100))
    connection = link._connection
    frames = [publish_frame("t", b"%06d" % n + b"x" * 294, n % 50_000 + 1) for n in range(30_000)]
    bound = 100 + READ_BYTES // len(frames[0])
    scripted.write(b"".join(frames))
    await until(lambda: not connection.is_reading)
    got = []
    while len(got) < len(frames):
        assert len(link._arrivals) <= bound
        got += [one.payload[:6] for one in await link.receive(64)]
        await asyncio.sleep(0)
    assert got == [b"%06d" % n for n in range(30_000)]


async def test_line_is_not_called_silent_while_it_is_we_who_do_not_read(scripted, links):
    settings = scripted.settings("t", receive_queue_max=1, keepalive_s=1)
    link = await links.ready(settings)
    connection = link._connection
    scripted.deliver("t", b"1", 1)
    await until(lambda: not connection.is_reading)
    connection.last_data_in -= 1_000
    link._watch.look(asyncio.get_running_loop().time())
    assert connection.end_reason == ""
    connection.go_on_reading()
    connection.last_data_in -= 1_000
    link._watch.look(asyncio.get_running_loop().time())
    await until(connection.lost.is_set)
    assert "silent" in connection.end_reason


async def test_half_open_line_is_asked_and_given_up(scripted, links):
    scripted.script.answers_pings = False
    link = await links.ready(scripted.settings(keepalive_s=1))
    assert await link.next_connection(1) == 2
    assert scripted.seen.pings > 0


async def test_line_that_swallows_publishes_is_given_up(scripted, links):
    scripted.script.puback = None
    link = await links.ready(scripted.settings(answer_timeout_s=0.2))
    with pytest.raises(LinkLost, match="no PUBACK"):
        await link.publish("t", b"")


async def test_refusals_of_a_publish_are_raised_and_a_lack_of_subscribers_is_told(scripted, links):
    link = await links.ready(scripted.settings())
    assert (await link.publish("t", b"")).no_subscriber is False
    scripted.script.puback = 0x10
    assert (await link.publish("t", b"")).no_subscriber is True
    scripted.script.puback = 0x87
    with pytest.raises(PublishDenied, match="0x87") as caught:
        await link.publish("t", b"")
    assert (caught.value.topic, caught.value.code) == ("t", 0x87)


async def test_link_is_not_ready_before_its_canary_has_come_back(scripted, links):
    scripted.script.returns_canaries = False
    link = links.start(scripted.settings("t", answer_timeout_s=0.1))
    await until(lambda: len(scripted.seen.connects) >= 3)
    assert not link._is_ready
    scripted.script.returns_canaries = True
    await link.until_ready()


async def test_canary_behind_a_backlog_is_waited_for(scripted, links):
    scripted.script.returns_canaries = False
    settings = scripted.settings("t", receive_queue_max=4, answer_timeout_s=0.2)
    link = links.start(settings)
    await link.next_connection(0)
    for number in range(1, 9):
        scripted.deliver("t", b"", number)
    connection, watch = link._connection, link._watch
    await until(lambda: not connection.is_reading)
    watch.look(asyncio.get_running_loop().time() + 1_000)
    assert connection.end_reason == ""


@pytest.mark.parametrize("code", [0x86, 0x87, 0x88])
async def test_refused_connect_is_tried_again_for_ever(scripted, links, code, caplog):
    scripted.script.connack = code
    link = links.start(scripted.settings())
    await until(lambda: len(scripted.seen.connects) >= 4)
    assert f"0x{code:02x}" in caplog.text
    levels = {record.levelno for record in caplog.records if record.name == "wire.link"}
    assert levels == {logging.WARNING if code == 0x88 else logging.ERROR}
    scripted.script.connack = 0
    await link.until_ready()


async def test_subscription_that_is_not_granted_is_an_error_and_no_connection(
    scripted, links, caplog
):
    scripted.script.suback = 0x87
    link = links.start(scripted.settings("command/A1/+"))
    await until(lambda: len(scripted.seen.connects) >= 2)
    assert not link.connected
    assert "SUBSCRIBE to command/A1/+" in caplog.text


async def test_connect_asks_for_a_session_that_lasts_and_subscribes_whatever_the_broker_kept(
    scripted, links
):
    scripted.script.session_present = 1
    link = await links.ready(scripted.settings("a", "b/+", session_expiry_s=77, receive_window=55))
    connect = scripted.seen.connects[0]
    assert connect[:7] == b"\x00\x04MQTT\x05"
    assert connect[7] & 0x02 == 0  # no clean start
    assert b"\x11" + (77).to_bytes(4, "big") in connect
    assert b"\x21" + (55).to_bytes(2, "big") in connect
    scripted.drop()
    await link.next_connection(1)
    filters = b"\x00\x01a\x01" + b"\x00\x03b/+\x01" + b"\x00\x09canary/A1\x01"
    assert [one[3:] for one in scripted.seen.subscribes] == [filters, filters]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x32\x02\x00\x09",  # PUBLISH that ends before its topic
        b"\x34\x06\x00\x01t\x00\x01\x00",  # QoS 2, never asked for
        b"\x32\x06\x00\x01\xff\x00\x01\x00",  # a topic that is not UTF-8
        b"\x32\x06\x00\x01t\x00\x01\x05",  # properties behind the end
        b"\x40\x01\x00",  # half a packet id
        b"\xf0\x00",  # AUTH
        b"\x30" + b"\xff\xff\xff\x7f" + bytes(PACKET_MAX + READ_BYTES),  # 256 MB announced
    ],
)
async def test_malformed_packet_ends_the_line_and_not_the_link(scripted, links, frame):
    link = await links.ready(scripted.settings("t"))
    scripted.write(frame)
    await link.next_connection(1)
    await link.until_ready()
    scripted.deliver("t", b"well", 1)
    assert await receive(link, 1) == [("t", b"well")]


async def test_packet_with_properties_in_pieces_is_understood(scripted, links):
    link = await links.ready(scripted.settings("t"))
    text = b"\x26" + b"\x00\x01k" + (200).to_bytes(2, "big") + b"v" * 200  # a user property
    body = b"\x00\x01t\x00\x09" + bytes((len(text) & 0x7F | 0x80, len(text) >> 7)) + text + b"pay"
    frame = b"\x33" + bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body
    for at in range(len(frame)):
        scripted.write(frame[at : at + 1])
    (delivery,) = await link.receive(1)
    assert (delivery.payload, delivery.is_retained) == (b"pay", True)


async def test_publishes_nobody_looks_at_fail_without_a_sound(scripted, links, complaints):
    scripted.script.puback = None
    link = await links.ready(scripted.settings(publish_window=1, send_queue_max=1))
    for _ in range(3):
        link.send("t", b"")
    await until(lambda: len(scripted.seen.publishes) == 1)
    scripted.drop()
    await link.next_connection(1)
    gc.collect()
    assert complaints == []


async def test_sender_is_told_when_there_is_no_line_and_when_too_much_waits(scripted, links):
    link = links.start(scripted.settings(publish_window=1, send_queue_max=2))
    with pytest.raises(LinkLost):
        await link.publish("t", b"")
    await link.until_ready()
    scripted.script.puback = None
    answers = [link.send("t", b"") for _ in range(4)]
    with pytest.raises(LinkFull):
        await answers[3]
    assert not any(answer.done() for answer in answers[:3])


async def test_publish_given_up_by_its_caller_frees_its_place(scripted, links):
    scripted.script.puback = None
    link = await links.ready(scripted.settings(publish_window=1))
    first, second = link.send("t", b"1"), link.send("t", b"2")
    third = link.send("t", b"3")
    await until(lambda: len(scripted.seen.publishes) == 1)
    first.cancel()
    second.cancel()
    scripted.script.puback = 0
    scripted.write(b"\x40\x02" + scripted.seen.publishes[0][2].to_bytes(2, "big"))
    await third
    assert [payload for _, payload, _ in scripted.seen.publishes] == [b"1", b"3"]

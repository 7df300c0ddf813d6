"""The broker's speed and its limits, measured at the doctor's own canary.

The doctor is one client id, so the session that falls behind is its own: it acknowledges nothing
while it publishes, goes away, and comes back for what waited.
"""

import statistics
import time

from cloud.doctor.findings import (
    Broker,
    BrokerCheck,
    Code,
    Finding,
    Measured,
    Note,
    NotProven,
    Remarks,
)
from cloud.doctor.probe import Greeting, LineClosedError, Probe, enter
from wire.link_settings import tls_context
from wire.topics import SHAPES, canary_topic

ROUND_TRIPS = 50
DELAY_MAX_MS = 20.0  # half of what Nagle with delayed acknowledgement costs (40 ms and more)
LOST_S = 1.0  # a canary that is not back by then counts as so late
QUEUED = 3_000  # three times mosquitto's default queue; a drain of 1,450 agents holds more
SESSION_S = 60  # seconds the session waits; it ends when the doctor came back
DRAIN_MAX_S = 5.0  # a broker hands out 100,000 a second
DROPPED = "$SYS/broker/publish/messages/dropped"
FACT_MAX_S = 1.0  # retained: it comes with the subscription
LARGEST_MESSAGE_BYTES = max(shape.limit_bytes for shape in SHAPES.values())
FAR_TOO_LARGE_BYTES = 8 * LARGEST_MESSAGE_BYTES
WINDOW_LEAST = 258  # messages: a link's publish window is 256, and it leaves two of the broker's


async def answers_at_once(broker: Broker) -> Remarks:
    """One canary at a time; against pings, which carry nothing, so distance does not count.

    The broker answers with two small packets, delivery and PUBACK. With Nagle it holds the second
    until the first is acknowledged by TCP; so nothing is said before both are here.
    """
    topic = canary_topic(broker.subject.name)
    async with await _enter(broker) as probe:
        probe.is_acknowledging = False
        await probe.subscribe(topic)
        canaries, pings = [], []
        for number in range(ROUND_TRIPS):
            begun = time.perf_counter()
            await probe.publish(topic, b"%d" % number)
            await probe.hear_for(LOST_S, until=lambda one: bool(one.payload))
            probe.acknowledge(probe.heard)
            probe.heard.clear()
            canaries.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await probe.ping()
            pings.append(time.perf_counter() - begun)
        await probe.leave()
    canary_ms, ping_ms = (1_000 * statistics.median(one) for one in (canaries, pings))
    text = f"canary p50 {canary_ms:.1f} ms, ping p50 {ping_ms:.1f} ms at {broker.place}"
    if canary_ms - ping_ms > DELAY_MAX_MS:
        return [Finding(Code.BROKER_DELAYS, text)]
    return [Measured(text)]


async def keeps_what_waits(broker: Broker) -> Remarks:
    """Fall behind by QUEUED messages, go away, come back: all must be there."""
    name, tls = broker.subject.name, tls_context(broker.tls)
    topic, tag = canary_topic(name), broker.subject.random_bytes(8)
    greeting = Greeting(client_id=name, session_expiry_s=SESSION_S, receive_maximum=1)
    async with await enter(broker.address, tls, greeting) as slow:
        slow.is_acknowledging = False
        await slow.subscribe(topic)
        await slow.publish_all((topic, tag + b"%d" % number) for number in range(QUEUED))
    again = Greeting(client_id=name, is_clean=False)  # no expiry: the session ends with the line
    async with await enter(broker.address, tls, again) as probe:
        # Above its limit a broker drops the newest, so the last one is waited for, in vain if so.
        await probe.hear_for(
            DRAIN_MAX_S, until=lambda one: one.payload == tag + b"%d" % (QUEUED - 1)
        )
        came = {one.payload for one in probe.heard}
    if len(came) == QUEUED:
        return [Measured(f"{QUEUED} of {QUEUED} waiting messages came")]
    text = f"{len(came)} of {QUEUED} messages that {broker.place} had taken came back"
    return [Finding(Code.QUEUE_TOO_SHORT, text)]


async def announces_a_window(broker: Broker) -> Remarks:
    """A small window makes every process wait for the line; the number is what a link obeys."""
    async with await _enter(broker) as probe:
        window = probe.window
        await probe.leave()
    if window >= WINDOW_LEAST:
        return [Measured(f"{window} messages")]
    text = f"{broker.place} takes {window} messages without PUBACK, {WINDOW_LEAST} are needed"
    return [Finding(Code.WINDOW_TOO_SMALL, text)]


async def carries_the_largest_message(broker: Broker) -> Remarks:
    """The largest message of the protocol must arrive whole."""
    async with await _enter(broker) as probe:
        is_whole = await _is_carried(broker, probe, LARGEST_MESSAGE_BYTES)
    if is_whole:
        return []
    text = f"a message of {LARGEST_MESSAGE_BYTES} bytes did not come through {broker.place}"
    return [Finding(Code.LARGEST_MESSAGE_REFUSED, text)]


async def refuses_what_is_far_too_large(broker: Broker) -> Remarks:
    """Nothing of ours is that large: it is a fault or an attack on the broker's memory."""
    async with await _enter(broker) as probe:
        is_whole = await _is_carried(broker, probe, FAR_TOO_LARGE_BYTES)
    if not is_whole:
        return []
    text = f"{broker.place} carried a message of {FAR_TOO_LARGE_BYTES} bytes"
    return [Finding(Code.PACKET_SIZE_UNBOUNDED, text)]


async def dropped_nothing(broker: Broker) -> Remarks:
    """The broker's own count of messages it dropped from full sessions since it started."""
    async with await _enter(broker) as probe:
        await probe.subscribe(DROPPED)
        if not await probe.hear_for(FACT_MAX_S, until=lambda one: one.topic == DROPPED):
            how = "the acl gives the doctor: topic read $SYS/#"
            return [NotProven("the broker's own counters were not delivered", how)]
        (count, *_) = (one.payload.decode("ascii", "replace") for one in probe.heard)
        await probe.leave()
    if count == "0":
        return []
    return [Note(f"{count} since it started: a session was full; the senders send again")]


async def _is_carried(broker: Broker, probe: Probe, size: int) -> bool:
    topic = canary_topic(broker.subject.name)
    payload = broker.subject.random_bytes(8).ljust(size, b".")
    await probe.subscribe(topic)
    try:
        await probe.publish(topic, payload)
        await probe.hear(until=payload)
    except (LineClosedError, ConnectionError):  # refused; a slow line is no answer
        return False
    return True


async def _enter(broker: Broker) -> Probe:
    greeting = Greeting(client_id=broker.subject.name)
    return await enter(broker.address, tls_context(broker.tls), greeting)


CHECKS = (
    BrokerCheck("delay", "the broker answers at once", answers_at_once),
    BrokerCheck("queue", "what waits for a session is kept", keeps_what_waits),
    BrokerCheck("window", "enough messages at once", announces_a_window),
    BrokerCheck("largest-message", "the largest message passes", carries_the_largest_message),
    BrokerCheck("packet-size", "far larger ones are refused", refuses_what_is_far_too_large),
    BrokerCheck("dropped", "the broker dropped nothing since it started", dropped_nothing),
)

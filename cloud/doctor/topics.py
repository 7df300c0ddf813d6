"""Foreign topics, judged by delivery on the running broker: the doctor writes nothing of others.

The doctor may read everything, so what it manages to publish comes back to it. SUBACK and PUBACK
are not believed (mosquitto 2.0.11 grants any filter; to MQTT 3.1.1 it calls a denied publish done).
Ids of the topics are nobody's, and nothing that is sent is signed: an agent that hears it on a
broken broker drops it.
"""

from cloud.doctor.findings import Broker, BrokerCheck, Code, Finding, NotProven, Remarks
from cloud.doctor.probe import Delivered, Greeting, Probe, enter
from cloud.doctor.rights import COMMAND, DIRECTED, STOP, TOPICS
from wire.link import Will
from wire.link_settings import tls_context
from wire.topics import canary_topic

SESSION_S = 60  # seconds the session waits for its will; it is emptied at the end
_DENIED = 0x87


async def writes_no_foreign_topic(broker: Broker) -> Remarks:
    """Publish on every topic there is; none may come back."""
    tag = broker.subject.random_bytes(8)
    async with await _enter(broker) as probe:
        await probe.subscribe(*TOPICS, canary_topic(broker.subject.name))
        codes = await probe.publish_all((topic, tag) for topic in TOPICS)
        heard = await _until_fence(broker, probe, tag)
    through = sorted({one.topic for one in heard if one.payload == tag})
    if through:
        text = f"{broker.subject.name} published on {', '.join(through)}, and it was delivered"
        return [Finding(Code.FOREIGN_TOPIC_WRITTEN, text)]
    taken = [topic for topic, code in zip(TOPICS, codes, strict=True) if code != _DENIED]
    if taken:
        return [
            NotProven(
                f"the broker took messages on {', '.join(taken)} and did not deliver them here",
                "subscribe to them with the engine's certificate while the doctor runs",
            )
        ]
    return []


async def keeps_no_foreign_retained(broker: Broker) -> Remarks:
    """What is retained on a command or stop topic would meet every agent that comes back."""
    tag = broker.subject.random_bytes(8)
    async with await _enter(broker) as probe:
        await probe.publish_all([(topic, tag) for topic in DIRECTED], is_retained=True)
        await probe.subscribe(*DIRECTED, canary_topic(broker.subject.name))
        heard = await _until_fence(broker, probe, tag)
        kept = sorted({one.topic for one in heard if one.payload == tag})
        await probe.publish_all([(topic, b"") for topic in kept], is_retained=True)
    if not kept:
        return []
    text = f"{broker.subject.name} left a retained message on {', '.join(kept)} (removed again)"
    return [Finding(Code.FOREIGN_RETAINED_KEPT, text)]


async def publishes_no_foreign_will(broker: Broker) -> Remarks:
    """A will is published when its owner is gone: it must not reach what its owner may not."""
    own = canary_topic(broker.subject.name)
    if not await _is_will_delivered(broker, own):
        text = "not even a will on the doctor's own canary was delivered"
        return [NotProven(text, "compare mosquitto.conf and acl with the shipped ones")]
    through = [one for one in (COMMAND, STOP) if await _is_will_delivered(broker, one)]
    if not through:
        return []
    text = f"a will of {broker.subject.name} on {', '.join(through)} was delivered"
    return [Finding(Code.FOREIGN_WILL_PUBLISHED, text)]


async def _is_will_delivered(broker: Broker, topic: str) -> bool:
    """Leave a session that listens to the topic, vanish with a will on it, come back, look."""
    tag = broker.subject.random_bytes(8)
    name, tls = broker.subject.name, tls_context(broker.tls)
    greeting = Greeting(
        client_id=name,
        session_expiry_s=SESSION_S,
        will=Will(topic=topic, payload=tag, retain=False),
    )
    async with await enter(broker.address, tls, greeting) as vanishing:
        await vanishing.subscribe(topic, canary_topic(name))
    again = Greeting(client_id=name, is_clean=False)  # no expiry: the session ends with the line
    async with await enter(broker.address, tls, again) as probe:
        heard = await _until_fence(broker, probe, tag)
        await probe.leave()
    return any(one.payload == tag for one in heard)


async def _enter(broker: Broker) -> Probe:
    greeting = Greeting(client_id=broker.subject.name)
    return await enter(broker.address, tls_context(broker.tls), greeting)


async def _until_fence(broker: Broker, probe: Probe, tag: bytes) -> list[Delivered]:
    """Everything before our own canary: the broker delivers in order."""
    await probe.publish(canary_topic(broker.subject.name), tag + b"fence")
    return await probe.hear(until=tag + b"fence")


CHECKS = (
    BrokerCheck("foreign-topics", "nothing of others can be published", writes_no_foreign_topic),
    BrokerCheck(
        "foreign-retained", "nothing retained on others' topics", keeps_no_foreign_retained
    ),
    BrokerCheck("foreign-will", "no will reaches others' topics", publishes_no_foreign_will),
)

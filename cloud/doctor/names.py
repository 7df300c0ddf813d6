"""Who one is: the certificate's name is the user and the client id, whatever CONNECT asks for.

Nothing here can disturb a running party: a broker that believes what it is told would hand the
doctor a name nobody has, and the only line that may be cut is the doctor's own.
"""

from cloud.doctor.findings import Broker, BrokerCheck, Code, Finding, NotProven, Remarks
from cloud.doctor.probe import Greeting, LineClosedError, NotLetInError, enter
from cloud.doctor.rights import NOBODY
from wire.link_settings import tls_context
from wire.topics import canary_topic

CANARY_MAX_S = 2.0  # seconds until one of the two canaries is back


async def client_id_is_the_name(broker: Broker) -> Remarks:
    """A second connection that asks for another client id must become, and so replace, the first.

    A broker that grants the asked id would let anybody take over, or empty, anybody's session.
    """
    tls, name = tls_context(broker.tls), broker.subject.name
    async with (
        await enter(broker.address, tls, Greeting(client_id=name)) as first,
        await enter(broker.address, tls, Greeting(client_id=NOBODY)) as second,
    ):
        try:
            await first.ping()
        except LineClosedError:
            await second.ping()  # it took over; a broker that fell over is something else
            return []
    text = f"{broker.place} gave {name} the client id {NOBODY} it asked for"
    return [Finding(Code.CLIENT_ID_NOT_BOUND, text)]


async def user_name_is_the_name(broker: Broker) -> Remarks:
    """With a user name in CONNECT, what that user may do must stay out of reach."""
    tls, name = tls_context(broker.tls), broker.subject.name
    tag = broker.subject.random_bytes(8)
    greeting = Greeting(client_id=name, user_name=NOBODY)
    try:
        async with await enter(broker.address, tls, greeting) as probe:
            await probe.subscribe(canary_topic(NOBODY), canary_topic(name))
            await probe.publish_all([(canary_topic(one), tag) for one in (NOBODY, name)])
            # Only the canary of who one is comes back, so there is no fence for the other one.
            await probe.hear_for(CANARY_MAX_S, until=lambda one: one.payload == tag)
            heard = probe.heard
    except NotLetInError as error:
        heard, reason = [], str(error)
    else:
        reason = "no canary came back"
    if not heard:
        text = f"with a user name in CONNECT: {reason}"
        return [NotProven(text, "compare mosquitto.conf with the shipped one")]
    if any(one.topic == canary_topic(NOBODY) for one in heard):
        text = f"{broker.place} believed the user name {NOBODY} that {name} put into CONNECT"
        return [Finding(Code.USER_NAME_BELIEVED, text)]
    return []


CHECKS = (
    BrokerCheck("client-id", "another client id is not given", client_id_is_the_name),
    BrokerCheck("user-name", "a user name in CONNECT changes nothing", user_name_is_the_name),
)

"""Every identity of the installation tries, on the copied broker, what it may not.

On the copy the doctor publishes everywhere and each identity listens everywhere; then each
publishes wherever it may not and the doctor listens. Everyone's own canary is the fence.
"""

import ssl
from collections.abc import Iterable

from cloud.doctor.copied_broker import CopiedBroker
from cloud.doctor.findings import Code, Finding, Measured, NotProven, Remark, Remarks
from cloud.doctor.probe import Greeting, LineClosedError, NotLetInError, Probe, enter
from cloud.doctor.rights import BROKER_FACTS, RIGHTS, TOPICS
from mosquitto.configuration import Kind
from wire.link import TlsFiles
from wire.link_settings import tls_context
from wire.topics import canary_topic

OF_A_KIND_MAX = 2  # agents share their patterns; two of each kind are tried


async def reach_only_their_own(copy: CopiedBroker) -> Remarks:
    """Try up to two of each kind."""
    remarks: list[Remark] = []
    tried: list[str] = []
    kinds = copy.kinds()
    for name, kind in _chosen(kinds):
        if name == copy.broker.subject.name:
            continue
        try:
            remarks += await _try(copy, name, kind)
            tried.append(name)
        except (OSError, NotLetInError, LineClosedError, TimeoutError) as error:
            how = f"run the doctor where {name}.key can be read and {name} may connect"
            remarks.append(NotProven(f"{name} could not be tried: {error}", how))
    if Kind.AGENT not in kinds.values():
        how = "run the doctor on a machine with the certificate of one agent"
        remarks.append(NotProven("what an agent may reach: there is no agent's certificate", how))
    return remarks or [Measured(", ".join(tried))]


def _chosen(kinds: dict[str, Kind]) -> Iterable[tuple[str, Kind]]:
    for kind in Kind:
        for name in [one for one, its in kinds.items() if its is kind][:OF_A_KIND_MAX]:
            yield name, kind


async def _try(copy: CopiedBroker, name: str, kind: Kind) -> list[Remark]:
    rights, address = RIGHTS[kind], copy.broker.address
    doctor = copy.broker.subject.name
    tag = copy.broker.subject.random_bytes(8)
    forbidden = [one for one in TOPICS if one not in rights.writes]
    async with (
        await enter(address, _tls(copy, doctor), Greeting(client_id=doctor)) as witness,
        await enter(address, _tls(copy, name), Greeting(client_id=name)) as stranger,
    ):
        await witness.subscribe(*TOPICS, canary_topic(name))
        await stranger.subscribe(*TOPICS, BROKER_FACTS, canary_topic(name))
        await stranger.publish_all((topic, tag) for topic in forbidden)
        written = await _before_fence(stranger, witness, name, tag + b"written")
        await witness.publish_all((topic, tag) for topic in TOPICS)
        read = await _before_fence(witness, stranger, name, tag + b"read")
    return [
        *_remark(name, kind, "write", written & set(forbidden)),
        *_remark(name, kind, "read", read - rights.reads - {canary_topic(name)}),
    ]


async def _before_fence(sender: Probe, listener: Probe, name: str, fence: bytes) -> set[str]:
    await sender.publish(canary_topic(name), fence)
    return {one.topic for one in await listener.hear(until=fence)}


def _remark(name: str, kind: Kind, verb: str, topics: set[str]) -> list[Remark]:
    if not topics:
        return []
    code = Code.FOREIGN_TOPIC_READ if verb == "read" else Code.FOREIGN_TOPIC_WRITTEN
    text = f"{name} ({kind}) may {verb} {', '.join(sorted(topics))}"
    return [Finding(code, text)]


def _tls(copy: CopiedBroker, name: str) -> ssl.SSLContext:
    folder = copy.certificates
    return tls_context(TlsFiles(folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key"))

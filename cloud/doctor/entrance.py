"""Who gets in: nobody without our certificate, nobody in the clear, nobody by an older TLS.

Each check tries to come in as somebody who must not, right after the doctor itself came in, so a
broker that refuses everybody is not called good.
"""

import asyncio
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cloud.doctor.findings import (
    Broker,
    BrokerCheck,
    Code,
    Finding,
    Note,
    Remark,
    Remarks,
)
from cloud.doctor.probe import Greeting, LineClosedError, NotLetInError, enter
from mosquitto.certificates import create_authority, create_client
from mosquitto.configuration import Identity, Kind
from wire.link import BrokerAddress, TlsFiles
from wire.link_settings import tls_context

PLAIN_ANSWER_MAX_S = 1.0  # seconds for a port that may be silent on purpose
_UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: ZG9jdG9yZG9jdG9yZG9jdA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


async def may_enter(broker: Broker) -> Remarks:
    """The doctor itself; without it nothing else says anything."""
    try:
        async with await enter(broker.address, tls_context(broker.tls), _as(broker)) as probe:
            await probe.leave()
    except (NotLetInError, LineClosedError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        return [Finding(Code.BROKER_UNREACHABLE, f"{broker.place}: {reason}")]
    return []


async def refuses_anonymous(broker: Broker) -> Remarks:
    """No certificate, no name."""
    try:
        async with await enter(broker.address, _without_certificate(broker), _as(broker)):
            return [Finding(Code.ANONYMOUS_LET_IN, f"{broker.place} lets anybody in")]
    except NotLetInError:
        return []


async def demands_certificate(broker: Broker) -> Remarks:
    """A stranger must fail in TLS, before the broker reads a word of MQTT from it."""
    try:
        async with await enter(broker.address, _without_certificate(broker), _as(broker)):
            return [_talks_to_strangers(broker)]
    except NotLetInError as error:
        return [] if error.code is None else [_talks_to_strangers(broker)]


async def refuses_foreign_authority(broker: Broker) -> Remarks:
    """A certificate with our name, by an authority nobody here knows."""
    try:
        async with await enter(broker.address, _forged(broker), _as(broker)):
            text = f"{broker.place} lets in a certificate of an authority made a moment ago"
            return [Finding(Code.FOREIGN_AUTHORITY_BELIEVED, text)]
    except NotLetInError as error:
        if error.code is None:
            return []
        text = f"{broker.place} talked to it ({error}), so it did not verify the certificate"
        return [Finding(Code.FOREIGN_AUTHORITY_BELIEVED, text)]


async def refuses_old_tls(broker: Broker) -> Remarks:
    """A handshake of TLS 1.2 shows every listener on the way who connects."""
    context = tls_context(broker.tls)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        async with await enter(broker.address, context, _as(broker)):
            return [Finding(Code.OLD_TLS_ACCEPTED, f"{broker.place} accepts TLS 1.2")]
    except NotLetInError:
        return []


async def refuses_plaintext(broker: Broker) -> Remarks:
    """Its own port must not speak MQTT in the clear."""
    words = await _speaks_in_the_clear(broker.address)
    return [Finding(Code.PLAINTEXT_LISTENER, f"{broker.place} {words}")] if words else []


async def has_no_plain_listener(broker: Broker) -> Remarks:
    """The ports where brokers without TLS usually stand, on the same host."""
    addresses = [
        BrokerAddress(broker.address.host, port)
        for port in broker.subject.plain_ports
        if port != broker.address.port
    ]
    found = await asyncio.gather(*map(_speaks_in_the_clear, addresses))
    remarks: list[Remark] = []
    for address, words in zip(addresses, found, strict=True):
        text = f"{address.host}:{address.port} {words}"
        if words and broker.subject.is_production:
            remarks.append(Finding(Code.PLAINTEXT_LISTENER, text))
        elif words:  # a developer's machine may have a broker for something else
            remarks.append(Note(f"{text}; in production this is a finding"))
    return remarks


async def _speaks_in_the_clear(address: BrokerAddress) -> str:
    """How it answered without TLS; empty if it is not there or gives no sense."""
    try:
        async with asyncio.timeout(PLAIN_ANSWER_MAX_S):
            async with await enter(address, None, Greeting(client_id="")):
                return "lets anybody in without TLS"
    except NotLetInError as error:
        if error.code is not None:
            return f"speaks MQTT without TLS ({error})"
    except (OSError, TimeoutError):
        return ""
    return await _speaks_websocket(address)


async def _speaks_websocket(address: BrokerAddress) -> str:
    try:
        async with asyncio.timeout(PLAIN_ANSWER_MAX_S):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(_UPGRADE)
                answer = await reader.read(len("HTTP/1.1 101"))
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return ""
    return "speaks MQTT over websockets without TLS" if answer.endswith(b" 101") else ""


def _talks_to_strangers(broker: Broker) -> Finding:
    text = f"{broker.place} reads MQTT of whoever shows no certificate"
    return Finding(Code.CERTIFICATE_NOT_DEMANDED, text)


def _without_certificate(broker: Broker) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(broker.tls.ca))


def _forged(broker: Broker) -> ssl.SSLContext:
    name = broker.subject.name
    with tempfile.TemporaryDirectory(prefix="relight-doctor-") as made:
        folder = Path(made)
        now = datetime.fromtimestamp(broker.subject.now_ms / 1_000, UTC)
        authority = create_authority(folder, now=now)
        create_client(folder, authority, Identity(name=name, kind=Kind.DOCTOR), now=now)
        return tls_context(TlsFiles(broker.tls.ca, folder / f"{name}.crt", folder / f"{name}.key"))


def _as(broker: Broker) -> Greeting:
    return Greeting(client_id=broker.subject.name)


CHECKS = (
    BrokerCheck("anonymous", "nobody comes in without a name", refuses_anonymous),
    BrokerCheck("certificate", "who shows no certificate fails in TLS", demands_certificate),
    BrokerCheck("authority", "another authority's certificate fails", refuses_foreign_authority),
    BrokerCheck("tls-version", "TLS 1.2 and older are refused", refuses_old_tls),
    BrokerCheck("plaintext", "its port speaks no MQTT without TLS", refuses_plaintext),
    BrokerCheck("plain-listener", "no listener without TLS on 1883, 8080, 9001",
                has_no_plain_listener),
)  # fmt: skip

"""Is anybody there: the engine reads payments, the intake answers and is heard."""

import http.client

from cloud.doctor.findings import (
    Broker,
    BrokerCheck,
    Check,
    Code,
    Finding,
    NotProven,
    Remarks,
    Subject,
)
from cloud.doctor.ledger_facts import read_facts
from cloud.doctor.probe import Delivered, Greeting, enter
from cloud.engine_process import SUMMARY_EVERY_MS
from cloud.intake.forwarding import WATERMARK_EVERY_MS
from wire.link_settings import tls_context
from wire.topics import LIVE_SUMMARY

SUMMARY_WITHIN_S = 5 * SUMMARY_EVERY_MS / 1_000
HEALTH_WITHIN_S = 3.0
WATERMARK_OLD_MS = 4 * WATERMARK_EVERY_MS


async def engine_is_alive(broker: Broker) -> Remarks:
    """The engine says a word each second; what is retained may be of any age."""

    def is_fresh(one: Delivered) -> bool:
        return one.topic == LIVE_SUMMARY and not one.is_retained

    greeting = Greeting(client_id=broker.subject.name)
    async with await enter(broker.address, tls_context(broker.tls), greeting) as probe:
        await probe.subscribe(LIVE_SUMMARY)
        is_alive = await probe.hear_for(SUMMARY_WITHIN_S, until=is_fresh)
        await probe.leave()
    if is_alive:
        return []
    text = f"the engine is not running: no {LIVE_SUMMARY} at {broker.place}"
    return [NotProven(text, "relight engine, then the doctor again")]


def intake_is_alive(subject: Subject) -> Remarks:
    """It answers, and what it says of itself reaches the ledger."""
    section = subject.installation.intake
    connection = http.client.HTTPConnection(section.host, section.port, timeout=HEALTH_WITHIN_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        text = f"the intake is not running at {section.host}:{section.port}: {error}"
        return [NotProven(text, "relight intake, then the doctor again")]
    finally:
        connection.close()
    if status != 200:
        text = f"{section.host}:{section.port} answers /health with {status}"
        return [NotProven(text, "see who listens there: it is no intake of this release")]
    return _watermark(subject, section.name)


def _watermark(subject: Subject, intake: str) -> Remarks:
    marks = [one.watermark_at_ms for one in read_facts(subject).spools if one.intake == intake]
    if not marks:
        text = f"{intake} answers, and the ledger has no watermark of it"
        return [NotProven(text, "relight engine, then the doctor again in half a minute")]
    old_ms = subject.now_ms - max(marks)
    if old_ms <= WATERMARK_OLD_MS:
        return []
    text = f"{intake} answers; its newest watermark in the ledger is {old_ms / 1_000:.0f} s old"
    return [Finding(Code.WATERMARK_STUCK, text)]


BROKER_CHECKS = (BrokerCheck("engine", "the engine is there", engine_is_alive),)
CHECKS = (Check("intake", "the intake is there, and the ledger hears it", intake_is_alive),)

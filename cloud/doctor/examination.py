"""Runs every check, each within its time, and gathers what they say.

Rules kept here: one dead part is one finding and never a hang; a check that could not be carried
out is "not proven", with its reason; the doctor's session on the broker is gone when it leaves.
Brokers, the copied broker, and files and stores are examined side by side.
"""

import asyncio
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from cloud.doctor import (
    clocks,
    entrance,
    files,
    limits,
    names,
    persistence,
    registry,
    running,
    stores,
    strangers,
    topics,
)
from cloud.doctor.copied_broker import CopiedBroker, NotCopiedError, copied
from cloud.doctor.findings import (
    Broker,
    BrokerCheck,
    Check,
    Examined,
    NotProven,
    Report,
    Subject,
)
from cloud.doctor.probe import LineClosedError, NotLetInError

CHECK_MAX_S = 20.0  # seconds; the longest honest one takes six
BROKERS_MAX = 8  # an ordered list of addresses has two or three

BROKER_CHECKS: tuple[BrokerCheck, ...] = (
    *limits.CHECKS,
    *entrance.CHECKS,
    *names.CHECKS,
    *topics.CHECKS,
    *running.BROKER_CHECKS,
)
CHECKS: tuple[Check, ...] = (
    *clocks.CHECKS,
    *registry.CHECKS,
    *files.CHECKS,
    *stores.CHECKS,
    *running.CHECKS,
)
# On the copied broker, in this order: the last one kills it.
COPY_CHECKS = (
    ("strangers", "each identity reaches its own topics only", strangers.reach_only_their_own),
    ("persistence", "sessions survive a kill of the broker", persistence.survives_a_kill),
)
_ENTER = BrokerCheck("broker", "the broker is there and lets the doctor in", entrance.may_enter)
# The world failing in a check; a mistake of ours goes through and is seen.
_FAILURES = (NotLetInError, LineClosedError, NotCopiedError, OSError, ValueError, DBAPIError)


async def examine(subject: Subject) -> Report:
    """Everything that can be proven from here."""
    brokers = _brokers(subject)
    parts = await asyncio.gather(
        *(_examine_broker(one) for one in brokers),
        _examine_copy(brokers[0]),
        _examine_rest(subject),
    )
    return Report(tuple(one for part in parts for one in part))


def _brokers(subject: Subject) -> list[Broker]:
    settings = subject.installation.link_settings(subject.name, ())
    if settings.tls is None:  # a link of an installation always has it
        raise ValueError("the doctor needs TLS files")
    return [
        Broker(subject=subject, address=address, tls=settings.tls)
        for address in settings.brokers[:BROKERS_MAX]
    ]


async def _examine_broker(broker: Broker) -> Sequence[Examined]:
    entered = await _run_broker_check(_ENTER, broker)
    if entered.remarks:
        how = "start it, then the doctor again"
        text = f"{len(BROKER_CHECKS)} checks of {broker.place}: there is no way in"
        return [entered, Examined("broker-checks", "", [NotProven(text, how)])]
    return [entered, *[await _run_broker_check(check, broker) for check in BROKER_CHECKS]]


async def _run_broker_check(check: BrokerCheck, broker: Broker) -> Examined:
    try:
        async with asyncio.timeout(CHECK_MAX_S):
            remarks = await check.run(broker)
    except _FAILURES as error:
        remarks = [_not_carried_out(error)]
    return Examined(check.name, check.proves, remarks)


async def _examine_copy(broker: Broker) -> Sequence[Examined]:
    folder = broker.subject.broker_folder
    how = "run the doctor on the broker's host with --broker-folder"
    if folder is None:
        reason = NotProven("the broker's folder is not here", how)
        return [Examined(name, proves, [reason]) for name, proves, _ in COPY_CHECKS]
    try:
        async with copied(broker, folder) as copy:
            return await _run_copy_checks(copy)
    except NotCopiedError as error:
        reason = NotProven(str(error), how)
        return [Examined(name, proves, [reason]) for name, proves, _ in COPY_CHECKS]


async def _run_copy_checks(copy: CopiedBroker) -> Sequence[Examined]:
    examined = []
    for name, proves, run in COPY_CHECKS:
        try:
            async with asyncio.timeout(CHECK_MAX_S):
                remarks = await run(copy)
        except _FAILURES as error:
            remarks = [_not_carried_out(error)]
        examined.append(Examined(name, proves, remarks))
    return examined


async def _examine_rest(subject: Subject) -> Sequence[Examined]:
    return [await asyncio.to_thread(_run_check, check, subject) for check in CHECKS]


def _run_check(check: Check, subject: Subject) -> Examined:
    try:
        remarks = check.run(subject)
    except _FAILURES as error:
        remarks = [_not_carried_out(error)]
    return Examined(check.name, check.proves, remarks)


def _not_carried_out(error: Exception) -> NotProven:
    reason = " ".join(str(error).split()) or type(error).__name__
    return NotProven(reason, "mend that, then the doctor again")

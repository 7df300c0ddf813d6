"""What a killed broker remembers, measured on the copy: kill -9 after its autosave, start again.

Relight does not depend on it (docs/decisions/0001-the-broker-is-a-wire.md): senders send again.
It is a finding only when persistence is on and not even the session came back.
"""

import asyncio

from cloud.doctor.copied_broker import LOOK_S, CopiedBroker
from cloud.doctor.findings import Code, Finding, Measured, Note, NotProven, Remarks
from cloud.doctor.probe import Greeting, enter
from wire.link_settings import tls_context
from wire.topics import canary_topic

MESSAGES = 200
LATE_MESSAGES = 20  # after the save: these a kill loses
AUTOSAVE_MAX_S = 5  # longer is not waited for; the shipped value
SESSION_S = 60
DRAIN_MAX_S = 2.0
_ONE_MORE_S = 3.0  # mosquitto saves in the second after the interval's


async def survives_a_kill(copy: CopiedBroker) -> Remarks:
    """Queue, wait for the save, queue a little more, kill, start, count."""
    if copy.setting("persistence") != "true":
        return [Note("persistence is off: after a kill every session begins anew")]
    autosave_s = int(copy.setting("autosave_interval") or 1_800)
    if not 0 < autosave_s <= AUTOSAVE_MAX_S:
        text = f"autosave_interval {autosave_s}: what a kill loses is not waited for"
        return [NotProven(text, f"set it to {AUTOSAVE_MAX_S} or kill a broker by hand")]
    await _queue(copy, autosave_s)
    await copy.kill()
    await copy.start()
    is_there, came = await _return(copy)
    sent = MESSAGES + LATE_MESSAGES
    text = f"after kill -9: {came} of {sent} waiting messages, session {_word(is_there=is_there)}"
    if is_there:
        return [Measured(text)]
    return [Finding(Code.SESSION_FORGOTTEN, f"{text}, {autosave_s} s after it began")]


async def _queue(copy: CopiedBroker, autosave_s: int) -> None:
    name = copy.broker.subject.name
    topic, tls = canary_topic(name), tls_context(copy.broker.tls)
    # Not clean, as a link asks: mosquitto 2.0.11 saves no session that began with a clean start.
    greeting = Greeting(
        client_id=name, is_clean=False, session_expiry_s=SESSION_S, receive_maximum=1
    )
    async with await enter(copy.broker.address, tls, greeting) as slow:
        slow.is_acknowledging = False
        await slow.subscribe(topic)
        await slow.publish_all((topic, b"%d" % number) for number in range(MESSAGES))
        await _save(copy, within_s=autosave_s + _ONE_MORE_S)
        late = range(MESSAGES, MESSAGES + LATE_MESSAGES)
        await slow.publish_all((topic, b"%d" % number) for number in late)


async def _save(copy: CopiedBroker, *, within_s: float) -> None:
    """Wait for the next save; if there is none, what comes back tells."""
    before = _saved(copy)
    for _ in range(int(within_s / LOOK_S)):
        if _saved(copy) != before:
            return
        await asyncio.sleep(LOOK_S)


async def _return(copy: CopiedBroker) -> tuple[bool, int]:
    """Whether the session was there, and how many messages came."""
    name = copy.broker.subject.name
    greeting = Greeting(client_id=name, is_clean=False)
    tls = tls_context(copy.broker.tls)
    async with await enter(copy.broker.address, tls, greeting) as probe:
        last = b"%d" % (MESSAGES + LATE_MESSAGES - 1)
        if probe.is_session_present:
            await probe.publish(canary_topic(name), b"fence")
            fence_or_last = (b"fence", last)
            await probe.hear_for(DRAIN_MAX_S, until=lambda one: one.payload in fence_or_last)
        came = {one.payload for one in probe.heard} - {b"fence"}
        return probe.is_session_present, len(came)


def _saved(copy: CopiedBroker) -> int:
    """When the sessions were last saved; 0 for never."""
    return copy.sessions.stat().st_mtime_ns if copy.sessions.exists() else 0


def _word(*, is_there: bool) -> str:
    return "kept" if is_there else "gone"

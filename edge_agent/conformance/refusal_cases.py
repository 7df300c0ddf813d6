"""Rows on genuine commands that must not be done: one reason each, final (R6, "Refusals")."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.handout import PROTECTED_METER
from edge_agent.conformance.installation import EPOCH, NEVER, NEXT_EPOCH
from edge_agent.conformance.relay_files import CLOSED
from edge_agent.conformance.stage import Stage, demand
from wire.messages import Counter
from wire.vocabulary import CLOSE_LIFE_MAX_MS, OPEN_LIFE_MAX_MS, Outcome

REFUSALS = Chapter("refusal")
_AHEAD_MS = 60_000
_SLACK_MS = 10_000  # what an agent's latest time may be above the engine's, and more


@REFUSALS.row(
    "open without the guard",
    "R7",
    "an open under the engine's signature alone",
    "refused `missing_guard`, not told to move",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3", reading=CLOSED)
    await stage.refused(stage.send("open", "METER-3", signers=("engine",)), "missing_guard")
    stage.moved("METER-3", before, 0)


@REFUSALS.row(
    "open in a young journal",
    "R2",
    "an open under both signatures, at an agent whose journal is minutes old",
    "refused `cap_meter`: losing a journal gains no opens",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3", reading=CLOSED)
    await stage.refused(stage.send("open", "METER-3"), "cap_meter")
    stage.moved("METER-3", before, 0)


@REFUSALS.row(
    "open of a protected meter",
    "step 18",
    "an open of the meter that agent.json marks protected",
    "refused `protected`",
)
async def _(stage: Stage) -> None:
    before = stage.place(PROTECTED_METER, reading=CLOSED)
    await stage.refused(stage.send("open", PROTECTED_METER), "protected")
    stage.moved(PROTECTED_METER, before, 0)


@REFUSALS.row(
    "open outside every window",
    "step 18",
    "a registry whose policy allows opens at no hour, then an open",
    "refused `window`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    engine.new_registry(
        engine.installation.registry(engine.now_ms, registry_version=2, policy=NEVER)
    )
    engine.send_trust()
    await stage.opens_are("window")


@REFUSALS.row(
    "open under an older registry than there is",
    "R12",
    "a welcome whose trust_version is above the registry held; an open; the registry; it again",
    "refused `trust_old`, and so is the replay; a new open is not",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    engine.send_trust()
    engine.send(engine.welcome(engine.record.hellos[0], trust_version=2))
    old = stage.send("open", "METER-7")
    item = await stage.refused(old, "trust_old")
    engine.new_registry(engine.installation.registry(engine.now_ms, registry_version=2))
    engine.send_trust()
    stage.replay(old)
    await stage.opens_are("cap_meter")
    demand(len(stage.times_heard(item.number)) > 1, "the replay was not answered by its item")


@REFUSALS.row("unknown meter", "step 15", "a close of a meter it does not have", "`unknown_meter`")
async def _(stage: Stage) -> None:
    await stage.refused(stage.send("close", "METER-NOWHERE"), "unknown_meter")


@REFUSALS.row(
    "unknown action", "R25", "the action `blink`", "refused `unknown_action`, not told to move"
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    await stage.refused(stage.send("blink", "METER-3"), "unknown_action")
    stage.moved("METER-3", before, 0)


@REFUSALS.row(
    "arm",
    "R15",
    "an arm of a relay in control mode 4",
    "refused `unknown_action`, or `mode_cannot_arm` by an agent that can arm",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    sent = stage.send("arm", "METER-3")
    await stage.refused(sent, "unknown_action", "mode_cannot_arm")
    stage.moved("METER-3", before, 0)


@REFUSALS.row("expired", "step 14", "a close whose life is over", "refused `expired`, not moved")
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    sent = stage.engine.command("close", "METER-3", life_ms=1)
    await stage.until_ms(sent.command.expires_at_ms)
    stage.engine.send(sent)
    await stage.refused(sent, "expired")
    stage.moved("METER-3", before, 0)


@REFUSALS.row(
    "close that lives too long",
    "step 13",
    "a close that lives 900,001 ms, and one that lives 900,000 ms",
    "refused `life_too_long`; the other is carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    too_long = stage.send("close", "METER-3", life_ms=CLOSE_LIFE_MAX_MS + 1)
    await stage.refused(too_long, "life_too_long")
    longest = stage.send("close", "METER-3", life_ms=CLOSE_LIFE_MAX_MS)
    await stage.outcome(longest, Outcome.CLOSED)
    stage.moved("METER-3", before, 1)


@REFUSALS.row(
    "open that lives too long",
    "step 13",
    "an open that lives 600,001 ms",
    "refused `life_too_long`",
)
async def _(stage: Stage) -> None:
    too_long = stage.send("open", "METER-3", life_ms=OPEN_LIFE_MAX_MS + 1)
    await stage.refused(too_long, "life_too_long")


@REFUSALS.row(
    "from the future",
    "R4",
    "a close whose counter is 70 s ahead; then an ordinary one",
    "refused `from_future`, and the meter's counter is as it was: the other is carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    ahead_ms = stage.engine.now_ms + _AHEAD_MS + _SLACK_MS
    await stage.refused(stage.send("close", "METER-3", sequence_ms=ahead_ms), "from_future")
    await stage.outcome(stage.send("close", "METER-3"), Outcome.CLOSED)
    stage.moved("METER-3", before, 1)


@REFUSALS.row("a little ahead", "R4", "a close whose counter is 50 s ahead", "it is carried out")
async def _(stage: Stage) -> None:
    before = stage.place("METER-6")
    ahead_ms = stage.engine.now_ms + _AHEAD_MS - _SLACK_MS
    await stage.outcome(stage.send("close", "METER-6", sequence_ms=ahead_ms), Outcome.CLOSED)
    stage.moved("METER-6", before, 1)


@REFUSALS.row(
    "low counter",
    "R4",
    "a close with the counter of the last one in other bytes, and one with a lower counter",
    "refused `low_counter`, the item's `highest` says which it is; not told to move again",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    low_ms = stage.engine.next_sequence_ms()
    last = stage.send("close", "METER-3")
    await stage.outcome(last, Outcome.CLOSED)
    stage.place("METER-3")
    highest = Counter(epoch=EPOCH, sequence_ms=last.command.sequence_ms)
    for sequence_ms in (last.command.sequence_ms, low_ms):
        sent = stage.send("close", "METER-3", sequence_ms=sequence_ms, evidence=bytes([7]) * 32)
        item = await stage.refused(sent, "low_counter")
        demand(item.highest == highest, f"`highest` is {item.highest}, not {highest}")
    stage.moved("METER-3", before, 1)


@REFUSALS.row(
    "counters are per meter",
    "R4",
    "a close of one meter, then of another with a lower counter",
    "both are carried out",
)
async def _(stage: Stage) -> None:
    first, second = stage.place("METER-3"), stage.place("METER-4")
    low_ms = stage.engine.next_sequence_ms()
    await stage.outcome(stage.send("close", "METER-3"), Outcome.CLOSED)
    await stage.outcome(stage.send("close", "METER-4", sequence_ms=low_ms), Outcome.CLOSED)
    stage.moved("METER-3", first, 1)
    stage.moved("METER-4", second, 1)


@REFUSALS.row(
    "epoch comes first",
    "R4",
    "a close of the next epoch, then one of this epoch with a higher sequence",
    "carried out; then refused `low_counter`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    later = stage.send("close", "METER-3", epoch=NEXT_EPOCH, signers=("engine-next",))
    await stage.outcome(later, Outcome.CLOSED)
    await stage.refused(stage.send("close", "METER-3"), "low_counter")
    stage.moved("METER-3", before, 1)


@REFUSALS.row(
    "refusal raises the counter",
    "R6",
    "an unknown action, then a close with a lower counter",
    "refused `unknown_action`, then `low_counter`",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    low_ms = stage.engine.next_sequence_ms()
    await stage.refused(stage.send("blink", "METER-3"), "unknown_action")
    await stage.refused(stage.send("close", "METER-3", sequence_ms=low_ms), "low_counter")
    stage.moved("METER-3", before, 0)


@REFUSALS.row(
    "refused read leaves the counter",
    "R6",
    "a read that lives too long, then a close with a lower counter",
    "the read is refused, the close carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3")
    low_ms = stage.engine.next_sequence_ms()
    read = stage.send("read", "METER-3", life_ms=CLOSE_LIFE_MAX_MS + 1)
    await stage.refused(read, "life_too_long")
    await stage.outcome(stage.send("close", "METER-3", sequence_ms=low_ms), Outcome.CLOSED)
    stage.moved("METER-3", before, 1)


@REFUSALS.row(
    "first reason decides",
    "Refusals",
    "an open without the guard, of an unknown meter, whose life is over and too long",
    "refused `life_too_long`, the first row of the table that applies",
)
async def _(stage: Stage) -> None:
    sent = stage.send("open", "METER-NOWHERE", signers=("engine",), life_ms=OPEN_LIFE_MAX_MS + 1)
    await stage.refused(sent, "life_too_long")


@REFUSALS.row(
    "refused, then replayed",
    "R6",
    "an open without the guard; its bytes again, twice, the second time under both signatures",
    "the stored item each time; a signature more does not make it another command",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-3", reading=CLOSED)
    sent = stage.send("open", "METER-3", signers=("engine",))
    item = await stage.refused(sent, "missing_guard")
    both = stage.engine.signed(sent.command, "engine", "guard")
    for again in (sent, both):
        heard = len(stage.times_heard(item.number))
        stage.replay(again)
        await stage.heard_again(item.number, heard)
    await stage.fence("METER-3")
    stage.moved("METER-3", before, 0)

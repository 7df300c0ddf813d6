"""Rows on what a genuine command does: moved once, read back, one outcome (R4, R14, R3)."""

from edge_agent.conformance.case import Chapter
from edge_agent.conformance.relay_files import ARMED, CLOSED, OPEN, WAITS_FOR_BUTTON
from edge_agent.conformance.stage import Stage, demand
from wire.vocabulary import Outcome

COMMANDS = Chapter("command")
_INTERIM_S = (4.0, 9.0)  # the protocol's 5 s, and what a busy machine adds
_SETTLES_MS = 700
_CLOCK_MS = 60_000


@COMMANDS.row(
    "close",
    "command",
    "a close of an open relay",
    "told to move once; `closed` with both readings and times that rise",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    item = await stage.outcome(stage.send("close", "METER-1"), Outcome.CLOSED)
    demand(item.before == OPEN, f"`before` is {item.before}, the relay was {OPEN}")
    demand(item.after == CLOSED, f"`after` is {item.after}, the relay is {CLOSED}")
    times = (item.received_at_ms, item.acted_at_ms, item.read_at_ms)
    demand(None not in times, f"received, acted and read are {times}")
    now_ms = stage.engine.now_ms
    demand(abs(now_ms - item.received_at_ms) < _CLOCK_MS, "received_at_ms is not the engine's time")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "already closed",
    "command",
    "a close of a closed relay",
    "not told to move; `already_closed` with the reading in `after`",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", reading=CLOSED)
    item = await stage.outcome(stage.send("close", "METER-1"), Outcome.ALREADY_CLOSED)
    demand(item.after == CLOSED, f"`after` is {item.after}, the relay is {CLOSED}")
    stage.moved("METER-1", before, 0)


@COMMANDS.row("read", "command", "a read", "not told to move; `read` with the reading in `after`")
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", reading=ARMED)
    item = await stage.outcome(stage.send("read", "METER-1"), Outcome.READ)
    demand(item.after == ARMED, f"`after` is {item.after}, the relay is {ARMED}")
    stage.moved("METER-1", before, 0)


@COMMANDS.row(
    "armed is not closed",
    "R15, I8",
    "a close of a relay in control mode 3",
    "`armed`, with the reading that says so",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", reading=WAITS_FOR_BUTTON)
    item = await stage.outcome(stage.send("close", "METER-1"), Outcome.ARMED)
    demand(item.after == ARMED, f"`after` is {item.after}, the relay is {ARMED}")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "read back",
    "I8",
    "a close of a relay that moves 0.7 s after it is told",
    "no outcome before it has moved; then `closed`",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", after_ms=_SETTLES_MS)
    sent = stage.send("close", "METER-1")
    await stage.until(
        lambda: stage.found(sent) is not None or stage.meters.reading("METER-1") == CLOSED,
        *(5.0, "movement of METER-1"),
    )
    demand(stage.meters.reading("METER-1") == CLOSED, "there is an outcome, and nothing has moved")
    item = await stage.outcome(sent, Outcome.CLOSED)
    demand(item.after == CLOSED, f"`after` is {item.after}, the relay is {CLOSED}")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "repeated bytes",
    "R6, I6",
    "a close; when it is done the relay is opened by hand and the same bytes come again",
    "the stored item again, number and bytes; the relay is not told again",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1")
    item = await stage.outcome(sent, Outcome.CLOSED)
    stage.place("METER-1")
    heard = len(stage.times_heard(item.number))
    stage.replay(sent)
    await stage.heard_again(item.number, heard)
    await stage.fence("METER-1")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "repeated while under way",
    "step 9",
    "the same close three times while its meter does not answer; then it answers",
    "one outcome, told to move once",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.meters.silence("METER-1")
    sent = stage.send("close", "METER-1")
    stage.replay(sent)
    stage.replay(sent)
    await stage.fence("METER-2")
    stage.meters.answer("METER-1")
    await stage.outcome(sent, Outcome.CLOSED)
    await stage.fence("METER-1")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "read is outside the counter",
    "R4",
    "a read, then a close with a lower counter",
    "the close is carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    low_ms = stage.engine.next_sequence_ms()
    await stage.fence("METER-1")
    await stage.outcome(stage.send("close", "METER-1", sequence_ms=low_ms), Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "superseded",
    "R14",
    "two closes while the meter does not answer; then it answers",
    "the lower ends `superseded`, the higher moves the relay, once",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.meters.silence("METER-1")
    lower, higher = stage.send("close", "METER-1"), stage.send("close", "METER-1")
    await stage.outcome(lower, Outcome.SUPERSEDED)
    stage.meters.answer("METER-1")
    await stage.outcome(higher, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "what acts is waited for",
    "R14",
    "a second close while the relay is moving for the first",
    "`closed`, then `already_closed`; told to move once",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", after_ms=_SETTLES_MS)
    first = stage.send("close", "METER-1")
    await stage.is_told("METER-1", before)
    second = stage.send("close", "METER-1")
    await stage.outcome(first, Outcome.CLOSED)
    await stage.outcome(second, Outcome.ALREADY_CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "withdraw with nothing there", "R3", "a withdraw of a quiet meter", "`nothing_pending`"
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    await stage.outcome(stage.send("withdraw", "METER-1"), Outcome.NOTHING_PENDING)
    stage.moved("METER-1", before, 0)


@COMMANDS.row(
    "withdraw before the move",
    "R3",
    "a close whose meter does not answer, then a withdraw; then the meter answers",
    "`withdrawn` and `withdrew`; never told to move",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.meters.silence("METER-1")
    close = stage.send("close", "METER-1")
    await stage.fence("METER-2")
    withdraw = stage.send("withdraw", "METER-1")
    await stage.outcome(close, Outcome.WITHDRAWN)
    await stage.outcome(withdraw, Outcome.WITHDREW)
    stage.meters.answer("METER-1")
    await stage.fence("METER-1")
    stage.moved("METER-1", before, 0)


@COMMANDS.row(
    "withdraw while it moves",
    "R3",
    "a withdraw while the relay is moving",
    "`closed`, and `too_late` with the read-back in `after`",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", after_ms=_SETTLES_MS)
    close = stage.send("close", "METER-1")
    await stage.is_told("METER-1", before)
    withdraw = stage.send("withdraw", "METER-1")
    await stage.outcome(close, Outcome.CLOSED)
    item = await stage.outcome(withdraw, Outcome.TOO_LATE)
    demand(item.after == CLOSED, f"`after` is {item.after}, the relay is {CLOSED}")
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "withdraw after the move", "R3", "a close; when it is done, a withdraw", "`nothing_pending`"
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    await stage.outcome(stage.send("close", "METER-1"), Outcome.CLOSED)
    await stage.outcome(stage.send("withdraw", "METER-1"), Outcome.NOTHING_PENDING)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "what comes behind its withdraw",
    "R3",
    "a withdraw, then a close with a lower counter",
    "the close is refused `low_counter`, not told to move",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    low_ms = stage.engine.next_sequence_ms()
    await stage.outcome(stage.send("withdraw", "METER-1"), Outcome.NOTHING_PENDING)
    await stage.refused(stage.send("close", "METER-1", sequence_ms=low_ms), "low_counter")
    stage.moved("METER-1", before, 0)


@COMMANDS.row(
    "slow meter",
    "received",
    "a close whose meter does not answer for 6 s",
    "the interim item `received` about 5 s after the close, the outcome later",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.meters.silence("METER-1")
    sent_ms = stage.engine.now_ms
    sent = stage.send("close", "METER-1")
    await stage.until(lambda: stage.interim(sent), _INTERIM_S[1], "interim word")
    waited_s = (stage.engine.now_ms - sent_ms) / 1_000
    demand(waited_s >= _INTERIM_S[0], f"the interim word came after {waited_s:.1f} s")
    demand(stage.found(sent) is None, "there is an outcome, and the meter has not answered")
    stage.meters.answer("METER-1")
    await stage.outcome(sent, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "expired while the meter was silent",
    "step 20",
    "a close that lives 1 s, whose meter answers later",
    "refused `expired`, never told to move",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.meters.silence("METER-1")
    sent = stage.send("close", "METER-1", life_ms=1_000)
    await stage.until_ms(sent.command.expires_at_ms)
    stage.meters.answer("METER-1")
    await stage.refused(sent, "expired")
    stage.moved("METER-1", before, 0)


@COMMANDS.row(
    "close that the guard signed too",
    "Signatures",
    "a close under the engine's and the guard's signature",
    "it is carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1", signers=("engine", "guard"))
    await stage.outcome(sent, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "second worker's key",
    "Signatures",
    "a close under another engine key of the same epoch",
    "it is carried out",
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1", signers=("engine-second",))
    await stage.outcome(sent, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@COMMANDS.row(
    "many at once",
    "R14, R8",
    "eight closes of eight meters in one moment",
    "eight times `closed`, each told to move once",
)
async def _(stage: Stage) -> None:
    meters = [f"METER-{number}" for number in range(1, 9)]
    before = [stage.place(one) for one in meters]
    sent = [stage.send("close", one) for one in meters]
    for one in sent:
        await stage.outcome(one, Outcome.CLOSED)
    for meter, moves in zip(meters, before, strict=True):
        stage.moved(meter, moves, 1)

"""Rows on crashes: killed without warning, started again, its state lost or rolled back (I6)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.engine import Sent
from edge_agent.conformance.relay_files import CLOSED, OPEN
from edge_agent.conformance.stage import Stage, demand
from wire.messages import Hello
from wire.vocabulary import JournalVerdict, Outcome

RESTARTS = Chapter("restart")
_SHORT_MS = 3_000
_SLOWEST_S = 45.0


@RESTARTS.row(
    "boot rises",
    "R5",
    "some commands; killed and started again",
    "a hello of the same journal with a higher boot, and made, head and trust as they were",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await stage.fence("METER-1")
    await stage.fence("METER-2")
    first, made = stage.engine.record.hellos[0], stage.book.through
    hello = await stage.restart()
    demand(hello.journal == first.journal, "another journal id")
    demand(hello.boot > first.boot, f"boot {hello.boot} is not above {first.boot}")
    demand(hello.made == made, f"made is {hello.made}, {made} items were sent")
    demand(hello.trust_version == 1, "the registry was forgotten")
    demand(hello.unfinished == (), "finished commands are called unfinished")


@RESTARTS.row(
    "nothing before the new welcome",
    "R5",
    "restarted; a close before the welcome; the welcome; the close again",
    "dropped, then refused or done by its counter; told to move once at most",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    hello = await stage.restart()
    early = stage.send("close", "METER-1")
    await stage.is_dropped(early)
    stage.engine.greet(hello, floor_sequence=early.command.sequence_ms - 1)
    await stage.no_answer(early)
    stage.moved("METER-1", before, 0)
    stage.replay(early)
    await stage.outcome(early, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "recorded command of an earlier boot",
    "I6, R6",
    "a close is done; restarted; the relay is opened by hand; the same bytes again",
    "the stored item again; not told to move",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1")
    item = await stage.outcome(sent, Outcome.CLOSED)
    await stage.is_ready()
    stage.engine.greet(await stage.restart())
    stage.place("METER-1")
    heard = len(stage.times_heard(item.number))
    stage.replay(sent)
    await stage.heard_again(item.number, heard)
    await stage.fence("METER-1")
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "command held back over a restart",
    "R5.2",
    "a close that was signed before the restart and never delivered",
    "refused `before_welcome`, not told to move",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    held = stage.engine.command("close", "METER-1")
    stage.engine.greet(await stage.restart())
    stage.replay(held)
    await stage.refused(held, "before_welcome")
    stage.moved("METER-1", before, 0)


@RESTARTS.row(
    "counters survive",
    "R4",
    "a close with a counter 40 s ahead; restarted; a close with an ordinary counter",
    "refused `low_counter`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    ahead = stage.send("close", "METER-1", sequence_ms=stage.engine.now_ms + 40_000)
    await stage.outcome(ahead, Outcome.CLOSED)
    stage.engine.greet(await stage.restart())
    await stage.refused(stage.send("close", "METER-1"), "low_counter")
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "refusal survives",
    "R6",
    "an open is refused; restarted; the same bytes again",
    "the stored item again, with its reason",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", reading=CLOSED)
    sent = stage.send("open", "METER-1", signers=("engine",))
    item = await stage.refused(sent, "missing_guard")
    await stage.is_ready()
    stage.engine.greet(await stage.restart())
    await stage.is_ready()
    heard = len(stage.times_heard(item.number))
    stage.replay(sent)
    await stage.heard_again(item.number, heard)
    stage.moved("METER-1", before, 0)


@RESTARTS.row(
    "outcome not yet filed",
    "I7",
    "a close is done and not filed; restarted and welcomed",
    "its item comes again with the same bytes, and the hello's head is the chain's",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.engine.files = False
    item = await stage.outcome(stage.send("close", "METER-1"), Outcome.CLOSED)
    hello = await stage.restart()
    heard = len(stage.times_heard(item.number))
    demand(
        hello.made == stage.book.through, f"made is {hello.made}, {stage.book.through} were sent"
    )
    stage.engine.greet(hello)
    await stage.heard_again(item.number, heard)
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "killed after `received`",
    "I5, Restart",
    "a close whose meter does not answer; killed; started; the meter answers; welcomed",
    "unfinished in the hello; carried out once",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent, hello = await _killed_after_received(stage)
    stage.meters.answer("METER-1")
    stage.engine.greet(hello)
    await stage.outcome(sent, Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "killed after `received`, expired since",
    "Restart",
    "as before, but the close lives 3 s and the welcome comes later",
    "refused `expired`; never told to move",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent, hello = await _killed_after_received(stage, life_ms=_SHORT_MS)
    await stage.until_ms(sent.command.expires_at_ms)
    stage.meters.answer("METER-1")
    stage.engine.greet(hello)
    await stage.refused(sent, "expired")
    stage.moved("METER-1", before, 0)


@RESTARTS.row(
    "killed after `actuating`, it moved",
    "I6, Restart",
    "killed when the relay was told to move, and it moved; started and welcomed",
    "read back: `closed`; not told a second time",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1", falls_silent=True)
    sent = stage.send("close", "METER-1")
    await stage.is_told("METER-1", before)
    hello = await _restarted_with(stage, sent)
    stage.meters.answer("METER-1")
    demand(stage.meters.reading("METER-1") == CLOSED, "the runner's relay has not moved")
    stage.engine.greet(hello)
    item = await stage.outcome(sent, Outcome.CLOSED)
    demand(item.after == CLOSED, f"`after` is {item.after}, the relay is {CLOSED}")
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "killed after `actuating`, it did not move",
    "I6, Restart",
    "killed when two relays were told to move, and did not; one close expires before the welcome",
    "read back; the live one is told once more: `closed`; the other is refused `expired`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    live_before = stage.place("METER-1", after_ms=None, falls_silent=True)
    over_before = stage.place("METER-2", after_ms=None, falls_silent=True)
    live = stage.send("close", "METER-1")
    over = stage.send("close", "METER-2", life_ms=_SHORT_MS)
    await stage.is_told("METER-1", live_before)
    await stage.is_told("METER-2", over_before)
    hello = await _restarted_with(stage, live, over)
    await stage.until_ms(over.command.expires_at_ms)
    stage.place("METER-1")
    stage.place("METER-2")
    stage.engine.greet(hello)
    # An agent may wait for as long as its slowest relay takes, before it tells it once more.
    first, second = [await stage.final(one, _SLOWEST_S) for one in (live, over)]
    demand(first.outcome is Outcome.CLOSED, f"outcome {first.outcome}, not closed")
    said = (second.outcome, second.reason)
    demand(said == (Outcome.REFUSED, "expired"), f"outcome {said}, not refused, expired")
    stage.moved("METER-1", live_before, 2)
    stage.moved("METER-2", over_before, 1)


@RESTARTS.row(
    "state lost",
    "Restart",
    "a close is done; killed; its state is emptied; started; welcomed as `new`; the close again",
    "a new journal id; the close is refused `before_welcome`; opens count as used up",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1")
    await stage.outcome(sent, Outcome.CLOSED)
    first = stage.engine.record.hellos[0]
    await stage.process.kill()
    stage.handout.empty_state()
    hello = await stage.restart()
    demand(hello.journal != first.journal, "the new journal has the old one's id")
    stage.place("METER-1", reading=OPEN)
    stage.engine.greet(hello, verdict=JournalVerdict.NEW)
    stage.replay(sent)
    await stage.refused(sent, "before_welcome")
    await stage.opens_are("cap_meter")
    stage.moved("METER-1", before, 1)


@RESTARTS.row(
    "state rolled back",
    "R5.5",
    "killed, its state copied, started; a close is done; killed, the copy brought back, started",
    "told `rolled_back` it begins a new journal; the recorded close is refused",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await stage.fence("METER-2")
    await stage.process.kill()
    stage.handout.copy_state()
    stage.engine.greet(await stage.restart())
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1")
    await stage.outcome(sent, Outcome.CLOSED)
    await stage.process.kill()
    stage.handout.roll_back_state()
    stage.book.last_hello = (0, 0)  # the copy may count from where it was
    old = await stage.restart()
    heard = len(stage.engine.record.hellos)
    stage.place("METER-1")
    stage.engine.greet(old, verdict=JournalVerdict.ROLLED_BACK)
    hello = await stage.next_hello(heard)
    demand(hello.journal != old.journal, "it goes on with the journal that was rolled back")
    stage.engine.greet(hello, verdict=JournalVerdict.NEW)
    stage.replay(sent)
    await stage.refused(sent, "before_welcome")
    stage.moved("METER-1", before, 1)


async def _killed_after_received(stage: Stage, **changes: object) -> tuple[Sent, Hello]:
    stage.meters.silence("METER-1")
    sent = stage.send("close", "METER-1", **changes)
    await stage.fence("METER-2")  # what came before it is journaled
    return sent, await _restarted_with(stage, sent)


async def _restarted_with(stage: Stage, *sent: Sent) -> Hello:
    hello = await stage.restart()
    is_told = {one.command_id for one in sent} <= set(hello.unfinished)
    demand(is_told, "the command is not in the hello's `unfinished`")
    return hello

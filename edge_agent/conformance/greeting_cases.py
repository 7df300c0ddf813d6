"""Rows on hello and welcome: nothing moves before it, and what of it is believed (R5)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.engine import GENERATION_MS
from edge_agent.conformance.handout import METERS
from edge_agent.conformance.stage import Stage, demand
from wire.chain import first_head
from wire.vocabulary import JournalVerdict, Outcome

GREETING = Chapter("greeting")
_RETRY_S = (4.0, 8.0)  # the protocol's 5 s, and what a busy machine adds
_CLOSED = Outcome.CLOSED


@GREETING.row(
    "hello of a new journal",
    "R5",
    "the agent is started with an empty state",
    "a hello within 15 s: number 1, made 0, head(0), nothing unfinished, no trust, no generation",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    hello = stage.engine.record.hellos[0]
    head = first_head(hello.journal, hello.agent)
    demand((hello.made, hello.head) == (0, head), "made and head are not those of a new journal")
    demand(hello.number == 1, f"number {hello.number}: hellos of a boot count from 1")
    demand(hello.boot > 0, "boot 0: it rises with each process start")
    demand(hello.unfinished == (), "commands are unfinished in a new journal")
    demand(hello.trust_version == 0, "a registry is held that was never sent")
    demand(hello.generation_ms == 0, "a generation is known that was never sent")
    demand(hello.protocol == 1, f"protocol {hello.protocol}, not 1")
    demand(hello.meters == len(METERS) + 1, f"{hello.meters} meters, not {len(METERS) + 1}")


@GREETING.row(
    "presence",
    "Session",
    "the agent connects; then it is killed",
    "`online` on presence/{agent}, then the will `offline` from the broker",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    presences = stage.engine.record.presences
    await stage.until(lambda: b"online" in presences, 5.0, "presence `online`")
    del presences[:]
    stage.line.cut()
    await stage.until(lambda: b"offline" in presences, 5.0, "will `offline`")


@GREETING.row(
    "nothing before the welcome",
    "R5, R6",
    "trust and a good close before any welcome; the welcome; the same close again",
    "the first is dropped without a trace, the second is carried out",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    stage.engine.send_trust()
    early = stage.send("close", "METER-1")
    await stage.is_dropped(early)
    hello = stage.engine.record.hellos[0]
    stage.engine.greet(hello, floor_sequence=early.command.sequence_ms - 1)
    await stage.no_answer(early)
    stage.moved("METER-1", before, 0)
    stage.replay(early)
    await stage.outcome(early, _CLOSED)
    stage.moved("METER-1", before, 1)


@GREETING.row(
    "unanswered hello",
    "R5.7",
    "no welcome",
    "another hello after 5 s, with the next number and a new nonce",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    record = stage.engine.record
    second = await stage.next_hello(1)
    waited_s = record.hello_times_s[1] - record.hello_times_s[0]
    demand(_RETRY_S[0] <= waited_s <= _RETRY_S[1], f"after {waited_s:.1f} s")
    demand(second.number == 2, f"number {second.number}, not 2")
    # The welcome of the older of the two counts: one of the last 3 nonces of this boot.
    stage.engine.greet(record.hellos[0])
    await stage.is_ready()


@GREETING.row(
    "welcome of an unknown nonce",
    "R5",
    "a welcome with a nonce that no hello carried, then a close",
    "no answer and no movement until the real welcome",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _is_no_welcome(stage, nonce=bytes(16))


@GREETING.row(
    "welcome signed by the guard",
    "Signatures",
    "a welcome with the right nonce under the guard's signature, then a close",
    "no answer and no movement until the real welcome",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _is_no_welcome(stage, signer="guard")


@GREETING.row(
    "welcome under the time key",
    "Signatures",
    "a welcome signed by the role `time`",
    "it is taken: a read is answered",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    stage.engine.send_trust()
    stage.engine.send(stage.engine.welcome(stage.engine.record.hellos[0], signer="time"))
    await stage.is_ready()


@GREETING.row(
    "two welcomes to one nonce",
    "R5",
    "a second welcome to the nonce that was answered, with a stop in it",
    "it is ignored: opens are refused for another reason than `stop`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    hello = stage.engine.record.hellos[0]
    stage.replay(stage.engine.welcome(hello, stop_ms=stage.engine.now_ms))
    await stage.opens_are("cap_meter")


@GREETING.row(
    "generation below the known one",
    "R13",
    "after a restart, a welcome of an older ledger, then a close",
    "no answer and no movement until the real welcome",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await stage.restart()
    await _is_no_welcome(stage, generation_ms=GENERATION_MS - 1)


@GREETING.row(
    "recorded welcome of an earlier boot",
    "R5",
    "after a restart, the bytes of the last boot's welcome, then a close",
    "no answer and no movement until the real welcome",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    first = stage.engine.record.hellos[0]
    stage.engine.send_trust()
    old = stage.engine.welcome(first)
    stage.replay(old)
    await stage.is_ready()
    hello = await stage.restart()
    before = stage.place("METER-1")
    stage.replay(old)
    early = stage.send("close", "METER-1")
    await stage.is_dropped(early)
    stage.engine.greet(hello)
    await stage.no_answer(early)
    stage.moved("METER-1", before, 0)


@GREETING.row(
    "new connection",
    "R5",
    "the line is cut; then a close",
    "a hello of the same boot with a higher number; after its welcome the close is carried out",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    first = stage.engine.record.hellos[0]
    stage.line.cut()
    second = await stage.next_hello(1)
    demand((second.journal, second.boot) == (first.journal, first.boot), "not of the same boot")
    demand(second.number > first.number, f"number {second.number} is not above {first.number}")
    demand(second.trust_version == 1, "the registry it was sent is not shown")
    demand(second.generation_ms == GENERATION_MS, "the welcome's generation is not shown")
    before = stage.place("METER-1")
    await stage.outcome(stage.send("close", "METER-1"), _CLOSED)
    stage.moved("METER-1", before, 1)


@GREETING.row(
    "unknown key asks",
    "Keys and ids",
    "a command under a key that no registry lists",
    "no answer to it, but a new hello within 5 s: its trust_version shows what it lacks",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1", signers=("stranger",))
    hellos = stage.engine.record.hellos
    await stage.until(lambda: len(hellos) > 1, 5.0, "a hello that asks")
    await stage.no_answer(sent)
    stage.moved("METER-1", before, 0)


@GREETING.row(
    "clock is disputed",
    "R5.6",
    "a second welcome whose `now` is 10 min ahead, then a close and an open",
    "alarm `clock_disputed`; the close goes by the old time, the open is refused `clock_untrusted`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    engine.welcomes = False
    stage.send("read", "METER-1", signers=("stranger",))  # it asks by a hello
    hello = await stage.next_hello(1)
    engine.send(engine.welcome(hello, now_ms=engine.now_ms + 600_000))
    await stage.alarm("clock_disputed")
    await stage.opens_are("clock_untrusted")
    await stage.outcome(stage.send("close", "METER-1"), _CLOSED, Outcome.ALREADY_CLOSED)
    ahead = stage.send("close", "METER-2", sequence_ms=engine.now_ms + 600_000)
    await stage.refused(ahead, "from_future")


@GREETING.row(
    "rolled back",
    "R5.5",
    "a welcome with the verdict `rolled_back`; a close; then the welcome `new` and the close again",
    "a hello of a new journal id; nothing moves before its welcome, and then only above its floor",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _starts_anew(stage, JournalVerdict.ROLLED_BACK)


@GREETING.row(
    "retired",
    "R5.5",
    "a welcome with the verdict `retired`; a close; then the welcome `new` and the close again",
    "a hello of a new journal id; nothing moves before its welcome, and then only above its floor",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _starts_anew(stage, JournalVerdict.RETIRED)


async def _is_no_welcome(stage: Stage, *, signer: str = "engine", **changes: object) -> None:
    hello, engine = stage.engine.record.hellos[-1], stage.engine
    before = stage.place("METER-1")
    engine.send_trust()
    bad = engine.welcome(hello, signer=signer, floor_sequence=0, **changes)
    stage.replay(bad)
    early = stage.send("close", "METER-1")
    await stage.is_dropped(early)
    engine.send(engine.welcome(hello))
    await stage.no_answer(early)
    stage.moved("METER-1", before, 0)


async def _starts_anew(stage: Stage, verdict: JournalVerdict) -> None:
    engine = stage.engine
    before = stage.place("METER-1")
    first = engine.record.hellos[0]
    engine.send_trust()
    engine.send(engine.welcome(first, verdict=verdict))
    early = stage.send("close", "METER-1")
    await stage.is_dropped(early)
    second = await stage.next_hello(1)
    demand(second.journal != first.journal, "the hello is of the same journal")
    demand(second.made == 0, f"the new journal has made {second.made} items")
    engine.greet(second, verdict=JournalVerdict.NEW)
    await stage.no_answer(early)
    stage.replay(early)
    await stage.refused(early, "before_welcome")
    stage.moved("METER-1", before, 0)
    await stage.outcome(stage.send("close", "METER-1"), _CLOSED)
    stage.moved("METER-1", before, 1)

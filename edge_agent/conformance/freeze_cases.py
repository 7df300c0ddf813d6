"""Rows on stop and resume: one person freezes all opens, two lift it (R9)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.stage import Stage, demand
from wire.vocabulary import Outcome

FREEZE = Chapter("freeze")
_HOUR_MS = 3_600_000
_ALLOWED = "cap_meter"  # what an open is refused for when nothing else stands against it


async def _frozen(stage: Stage, signer: str = "stop") -> int:
    number_ms = stage.engine.now_ms
    stage.engine.send(stage.engine.stop(number_ms, signer))
    await stage.opens_are("stop")
    return number_ms


@FREEZE.row(
    "stop",
    "R9",
    "a stop of the role `stop`; an open; a close",
    "the open is refused `stop`; the close is carried out",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await _frozen(stage)
    before = stage.place("METER-1")
    await stage.outcome(stage.send("close", "METER-1"), Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


@FREEZE.row(
    "stop for everybody",
    "R9",
    "a stop on the undirected topic `stop`",
    "the open is refused `stop`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    engine.send(engine.stop(engine.now_ms, is_directed=False))
    await stage.opens_are("stop")


@FREEZE.row(
    "stop of one approver", "R9", "a stop signed by one approver", "the open is refused `stop`",
    begin=Begin.FRESH,
)  # fmt: skip
async def _(stage: Stage) -> None:
    await _frozen(stage, "anna")


@FREEZE.row(
    "stop of an intake",
    "Signatures",
    "a stop signed by an intake",
    "junk: the open is refused for another reason",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.send(stage.engine.stop(stage.engine.now_ms, "intake"))
    await stage.opens_are(_ALLOWED)


@FREEZE.row(
    "stop from the future",
    "R9",
    "a stop numbered an hour ahead",
    "ignored, alarm `stop_from_future`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.send(stage.engine.stop(stage.engine.now_ms + _HOUR_MS))
    await stage.alarm("stop_from_future")
    await stage.opens_are(_ALLOWED)


@FREEZE.row(
    "resume by two",
    "R9",
    "a stop; a resume of two approvers up to it; the stop again",
    "lifted, and it stays lifted",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    number_ms = await _frozen(stage)
    stage.engine.send(stage.engine.resume(number_ms, "anna", "bala"))
    await stage.opens_are(_ALLOWED)
    stage.engine.send(stage.engine.stop(number_ms))
    await stage.opens_are(_ALLOWED)


@FREEZE.row(
    "resume that is too low",
    "R9",
    "a stop; a resume of two approvers up to 1 ms before it",
    "still refused `stop`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    number_ms = await _frozen(stage)
    stage.engine.send(stage.engine.resume(number_ms - 1, "anna", "bala"))
    await stage.opens_are("stop")


@FREEZE.row(
    "resume by one",
    "R9",
    "a stop; a resume of one approver; one of two keys of one person; one of approver and engine",
    "junk: still refused `stop`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    number_ms = await _frozen(stage)
    for signers in (("anna",), ("anna", "anna-second"), ("anna", "engine")):
        stage.engine.send(stage.engine.resume(number_ms, *signers))
        await stage.opens_are("stop")


@FREEZE.row(
    "stop in a welcome",
    "R5, R9",
    "a welcome with `stop_ms` and the same `lifted_ms`",
    "the open is refused `stop`: a welcome lifts nothing",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    engine, now_ms = stage.engine, stage.engine.now_ms
    engine.greet(engine.record.hellos[0], stop_ms=now_ms, lifted_ms=now_ms)
    await stage.opens_are("stop")


@FREEZE.row(
    "stop survives",
    "R9",
    "a stop; killed and started again; welcomed by an engine that knows of none",
    "the hello shows its number; the open is refused `stop`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    number_ms = await _frozen(stage)
    hello = await stage.restart()
    demand(hello.stop_ms == number_ms, f"hello.stop_ms is {hello.stop_ms}, not {number_ms}")
    stage.engine.greet(hello)
    await stage.opens_are("stop")

"""Rows on the floor of a welcome: no counter at or below it is accepted (R5.2, R4)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.installation import NEXT_EPOCH
from edge_agent.conformance.stage import Stage
from wire.vocabulary import Outcome

FLOOR = Chapter("floor")
_HOUR_MS = 3_600_000
_CLOSED = Outcome.CLOSED


@FLOOR.row(
    "of another epoch than the key",
    "R5.2",
    "a welcome whose floor is of an epoch that is not the signing key's",
    "all of it is taken but the floor: a close above the old floor is carried out",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _floor_is_not_believed(stage, floor_epoch=NEXT_EPOCH)


@FLOOR.row(
    "an hour ahead",
    "R5.2",
    "a welcome whose floor is an hour above its `now`",
    "all of it is taken but the floor: a close with an ordinary counter is carried out",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    await _floor_is_not_believed(stage, floor_sequence=stage.engine.now_ms + _HOUR_MS)


@FLOOR.row(
    "at and above it",
    "R5.2, R4",
    "a close whose counter is the welcome's floor, and one just above it",
    "refused `before_welcome`; the other is carried out",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    floor_ms = stage.engine.now_ms
    stage.engine.greet(stage.engine.record.hellos[0], floor_sequence=floor_ms)
    at = stage.send("close", "METER-1", sequence_ms=floor_ms)
    await stage.refused(at, "before_welcome")
    above = stage.send("close", "METER-1", sequence_ms=floor_ms + 1)
    await stage.outcome(above, _CLOSED)
    stage.moved("METER-1", before, 1)


@FLOOR.row(
    "holds for a read",
    "R4",
    "a read whose counter is below the floor",
    "refused `before_welcome`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    low = stage.send("read", "METER-1", sequence_ms=stage.engine.now_ms - _HOUR_MS // 6)
    await stage.refused(low, "before_welcome")


@FLOOR.row(
    "never falls",
    "R5.2",
    "after a restart, a welcome with a lower floor; then a close between the two floors",
    "refused `before_welcome`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    old_ms = stage.engine.next_sequence_ms() - 60_000
    hello = await stage.restart()
    stage.engine.greet(hello, floor_sequence=old_ms - 60_000)
    between = stage.send("close", "METER-1", sequence_ms=old_ms)
    await stage.refused(between, "before_welcome")
    stage.moved("METER-1", before, 0)


@FLOOR.row(
    "of the next epoch",
    "R4",
    "a welcome of the next epoch's engine key with the floor (next epoch, 0)",
    "commands of the old epoch are refused `before_welcome`, of the next carried out",
    begin=Begin.UNWELCOMED,
)
async def _(stage: Stage) -> None:
    before = stage.place("METER-1")
    hello, engine = stage.engine.record.hellos[0], stage.engine
    engine.send_trust()
    floor = {"floor_epoch": NEXT_EPOCH, "floor_sequence": 0}
    engine.send(engine.welcome(hello, signer="engine-next", **floor))
    await stage.refused(stage.send("close", "METER-1"), "before_welcome")
    signers = ("engine-next",)
    await stage.outcome(stage.send("close", "METER-1", epoch=NEXT_EPOCH, signers=signers), _CLOSED)
    stage.moved("METER-1", before, 1)


async def _floor_is_not_believed(stage: Stage, **floor: object) -> None:
    before = stage.place("METER-1")
    stage.engine.greet(stage.engine.record.hellos[0], **floor)
    await stage.outcome(stage.send("close", "METER-1"), _CLOSED)
    stage.moved("METER-1", before, 1)

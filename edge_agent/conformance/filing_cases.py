"""Rows on numbered items: sent until they are filed, and whose word on that counts (R8, R13)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.engine import GENERATION_MS, Message
from edge_agent.conformance.stage import Stage, demand
from wire.messages import CommandItem

FILING = Chapter("filing")
_AGAIN_S = 4.0  # the first re-send comes after 2 s
_FIRST_S = (1.5, 5.0)
_SECOND_S = (7.0, 16.0)  # the second 10 s after the first; 10 s after the item is accepted too
_QUIET_S = 3.0


async def _item(stage: Stage) -> CommandItem:
    return await stage.final(stage.send("read", "METER-2"))


@FILING.row(
    "unfiled items come again",
    "R8",
    "no `filed`",
    "the same bytes again after 2 s and again 10 s later",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.files = False
    number = (await _item(stage)).number
    times = stage.times_heard(number)
    await stage.heard_again(number, 1, within_s=6.0)
    await stage.heard_again(number, 2, within_s=17.0)
    times = stage.times_heard(number)
    first_s, second_s = times[1] - times[0], times[2] - times[1]
    demand(_FIRST_S[0] <= first_s <= _FIRST_S[1], f"first again after {first_s:.1f} s, not 2")
    demand(_SECOND_S[0] <= second_s <= _SECOND_S[1], f"then after {second_s:.1f} s, not 10")


@FILING.row(
    "filed items do not come again",
    "R8",
    "`filed`; then nothing for 3 s; then a restart and a welcome",
    "the item came once",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    number = (await _item(stage)).number
    filed_at_ms = stage.engine.now_ms
    await stage.until_ms(filed_at_ms + int(_QUIET_S * 1_000))
    stage.engine.greet(await stage.restart())
    await stage.is_ready()
    times = len(stage.times_heard(number))
    demand(times == 1, f"item {number} came {times} times")


@FILING.row(
    "unfiled items come again on a welcome",
    "R8",
    "no `filed`; a restart and a welcome",
    "the same bytes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await _comes_again(stage)


@FILING.row(
    "filed in a welcome",
    "welcome",
    "no `filed`; a restart, and a welcome whose `through` and head cover the item",
    "it does not come again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.files = False
    number = (await _item(stage)).number
    hello = await stage.restart()
    heard = len(stage.times_heard(number))
    head = stage.book.heads[number]
    stage.engine.greet(hello, through=number, head=head)
    later = await _item(stage)
    await stage.heard_again(later.number, 1, within_s=_AGAIN_S)
    demand(len(stage.times_heard(number)) == heard, f"item {number} came again")


@FILING.row(
    "filed of another journal",
    "R8",
    "`filed` with another journal id",
    "ignored: the item comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await _comes_again(stage, journal=bytes(8))


@FILING.row(
    "filed of an older ledger",
    "R13",
    "`filed` with a lower generation",
    "ignored: the item comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await _comes_again(stage, generation_ms=GENERATION_MS - 1)


@FILING.row(
    "filed signed by the guard",
    "Signatures",
    "`filed` under the guard's signature",
    "junk: the item comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await _comes_again(stage, signer="guard")


@FILING.row(
    "filed with another head",
    "R8",
    "`filed` whose head is not the chain's",
    "alarm `history_forked`; the item comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.files = False
    number = (await _item(stage)).number
    stage.replay(_filed(stage, head=bytes(32)))
    await stage.alarm("history_forked")
    await _again(stage, number)


@FILING.row(
    "filed beyond what was made",
    "R8",
    "`filed` through a number that the agent never made",
    "alarm `history_forked`; the item comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.files = False
    number = (await _item(stage)).number
    stage.replay(_filed(stage, through=number + 5))
    await stage.alarm("history_forked")
    await _again(stage, number)


@FILING.row(
    "gap in filed",
    "R8",
    "three items; `filed` through the first",
    "the other two come again, the first does not",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.files = False
    numbers = [(await _item(stage)).number for _ in range(3)]
    stage.replay(_filed(stage, through=numbers[0]))
    await stage.fence("METER-2")
    heard = len(stage.times_heard(numbers[0]))
    await _again(stage, *numbers[1:])
    demand(len(stage.times_heard(numbers[0])) == heard, f"item {numbers[0]} came again")


@FILING.row(
    "filed of a restored ledger",
    "R13",
    "items are filed; then `filed` through 0 of a higher generation; then one of the old ledger",
    "everything kept comes again, and again until the new ledger has filed it",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    numbers = [(await _item(stage)).number for _ in range(3)]
    await stage.is_ready()
    stage.engine.files = False
    stage.engine.generation_ms = GENERATION_MS + 1
    heard = [len(stage.times_heard(one)) for one in numbers]
    stage.replay(_filed(stage, through=0))
    await _more(stage, numbers, heard)
    stage.replay(_filed(stage, generation_ms=GENERATION_MS))  # of the old one: ignored
    await _again(stage, *numbers)
    demand(stage.engine.record.hellos[-1].generation_ms == GENERATION_MS + 1, "not adopted")


@FILING.row(
    "welcome of a restored ledger",
    "R13",
    "items are filed; a restart, and a welcome of a higher generation through 0",
    "everything kept comes again",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    numbers = [(await _item(stage)).number for _ in range(3)]
    await stage.is_ready()
    hello = await stage.restart()
    stage.engine.generation_ms = GENERATION_MS + 1
    heard = [len(stage.times_heard(one)) for one in numbers]
    stage.engine.greet(hello, through=0, head=stage.book.heads[0])
    await _more(stage, numbers, heard)


def _filed(stage: Stage, **changes: object) -> Message:
    return stage.engine.filed(stage.book, **changes)  # type: ignore[arg-type]  # named fields


async def _comes_again(stage: Stage, **filed: object) -> None:
    """An item that only this `filed` speaks of, if any, comes again."""
    stage.engine.files = False
    number = (await _item(stage)).number
    if filed:
        stage.replay(_filed(stage, **filed))
    await stage.fence("METER-2")
    await _again(stage, number)


async def _again(stage: Stage, *numbers: int) -> None:
    """A restart and a welcome that files nothing bring these items again."""
    hello = await stage.restart()
    heard = [len(stage.times_heard(one)) for one in numbers]
    stage.engine.greet(hello, through=0, head=stage.book.heads[0])
    await _more(stage, list(numbers), heard)


async def _more(stage: Stage, numbers: list[int], heard: list[int]) -> None:
    for number, times in zip(numbers, heard, strict=True):
        await stage.heard_again(number, times, within_s=_AGAIN_S)

"""The parts of an engine's start, in the order of the process: `bench.startup CONFIG BEGAN_NS`.

One JSON line, each part in ms: the interpreter with the imports of `relight engine`, the opening of
keys and ledger, the first turn, and the link until the broker has it.
"""

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import cloud.cli.__main__  # noqa: F401  # what `relight engine` imports before it does anything
from cloud.cli.processes import clock_ms, make_engine
from cloud.configuration import Installation
from wire.link import Link

_CONNECTED_WITHIN_S = 15


async def _connect(link: Link) -> None:
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.until_ready(), _CONNECTED_WITHIN_S)
    await link.stop()
    await running


def main() -> None:
    """Do each part once; nothing is published."""
    marks = [int(sys.argv[2]), time.time_ns()]
    made = make_engine(Installation(Path(sys.argv[1])))
    marks.append(time.time_ns())
    made.engine.turn((), now_ms=clock_ms())
    marks.append(time.time_ns())
    asyncio.run(_connect(made.link))
    marks.append(time.time_ns())
    names = ("import_ms", "open_ms", "first_turn_ms", "connect_ms")
    parts = [(after - before) // 1_000_000 for before, after in itertools.pairwise(marks)]
    print(json.dumps(dict(zip(names, parts, strict=True))))


if __name__ == "__main__":
    main()

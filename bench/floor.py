"""The floors: C programs that do the least a figure can stand on, compiled here and run beside it.

Rules kept here:

* Same hops, sizes, QoS, TLS listener and kind of certificates as the product; no cryptography of
  ours, no database. A figure of the product is read beside it.
* The names are certificates of their own: a broker that takes the identity as the client id would
  end the session of the product's program of the same name.
* The program is compiled once for each text of its source and kept in the environment's folder.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

SOURCES = Path(__file__).with_name("floor")
# Connecting 2,000 clients takes some 5 s, and the program itself gives up after 15 s of stall.
SPARE_S = 60
# Far below what any machine reached (8,000/s and more), so that a slow one is not cut off.
SLOWEST_CHAINS_PER_S = 50


class FloorError(Exception):
    """The floor could not be measured; the message says what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorPlan:
    """One run: the broker, who takes which part, and the pace; give `rate_per_s` or `window`.

    `directory` is the broker's, with `certificates/ca.crt` and `certificates/NAME.crt` and `.key`
    for every name. `window` is how many chains are under way at any time.
    """

    directory: Path
    host: str
    port: int
    intake: str
    engine: str
    agents: Sequence[str]
    count: int
    rate_per_s: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Refuse a plan without a pace, or with two."""
        if (self.rate_per_s is None) == (self.window is None):
            raise ValueError(
                f"rate_per_s is {self.rate_per_s} and window is {self.window}: give one of them"
            )

    def arguments(self) -> list[str]:
        """Spell the plan as the program's arguments."""
        is_paced = self.rate_per_s is not None
        pace = ["--rate", str(self.rate_per_s)] if is_paced else ["--window", str(self.window)]
        return [
            *("--certificates", str(self.directory / "certificates")),
            *("--host", self.host, "--port", str(self.port)),
            *("--intake", self.intake, "--engine", self.engine),
            *("--agents", ",".join(self.agents)),
            *("--count", str(self.count), *pace),
        ]

    @property
    def time_limit_s(self) -> float:
        """After this many seconds the run is given up."""
        return SPARE_S + self.count / (self.rate_per_s or SLOWEST_CHAINS_PER_S)


def compile_floor(name: str, *libraries: str) -> Path:
    """Compile `floor/NAME.c` unless this text of it was compiled before; give the program's path.

    Raises:
        FloorError: no compiler, no libmosquitto, or the compiler's own words.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise FloorError("no C compiler: install gcc and libmosquitto-dev to measure the floor")
    folder = Path(sys.prefix) / "floor"
    source = SOURCES / f"{name}.c"
    program = folder / f"{name}-{sha256(source.read_bytes()).hexdigest()[:16]}"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-std=c11", "-O2", "-o", unfinished, source, *(f"-l{one}" for one in libraries)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FloorError(
            f"the floor does not compile; is libmosquitto-dev installed?\n{done.stderr.strip()}"
        )
    unfinished.replace(program)  # whole or not at all, also when two benches start at once
    return program


def run_floor(plan: FloorPlan) -> dict[str, float]:
    """Run the floor once: `p50_ms` and `p99_ms` of a chain, `rate_per_s` of complete chains.

    Raises:
        FloorError: the program cannot be made, was refused by the broker, or stalled.
    """
    program = compile_floor("chain", "mosquitto")
    try:
        done = subprocess.run(
            [program, *plan.arguments()],
            capture_output=True,
            text=True,
            check=False,
            timeout=plan.time_limit_s,
        )
    except subprocess.TimeoutExpired as late:
        raise FloorError(f"the floor was given up after {plan.time_limit_s:.0f} s") from late
    if done.returncode:
        raise FloorError(f"the floor failed: {done.stderr.strip()}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures

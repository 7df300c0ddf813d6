"""A broker killed with SIGKILL again and again under payments, its memory lost now and then."""

import json
import random
import threading
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cloud.cli.processes import clock_ms
from tests.reliability.demands import Situation, demand_all, unrest
from tests.reliability.installation import MortalFleet, taken
from tests.reliability.payers import Payers
from tests.reliability.stages import rows
from tests.walk.facts import until_heard
from tests.walk.installation import AgentPlan

SESSION_LOSS_EVERY = 3  # kills: the broker's file is removed too, so that it knows no session
REST_WITHIN_S = 240.0  # a command lost three times is sent again after 5, 15 and 75 s
ANSWER_WITHIN_S = 5.0
LINE = AgentPlan(meters=0, latency_ms=(5, 20), actuation_ms=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """How many payments at which rate, how many kills, over how many agents."""

    payments: int
    kills: int
    rate_per_s: float = 60.0
    agents: int = 10
    seed: int = 1
    is_hurried: bool = False  # behind the last webhook; then the times are not real ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What it came to."""

    payments: int
    kills: int
    sessions_lost: int
    paying_s: float
    items_published: int  # payment lists and watermarks that the intake published
    receipts_repeated: int  # items that the engine was given again and receipted again
    commands: int
    commands_sent_again: int
    rest_s: float  # from the last webhook to rest
    median_ms: int  # from sending the webhook to the filed outcome
    longest_ms: int


def run_chaos(folder: Path, plan: ChaosPlan) -> Figures:
    """Pay, kill, wait for rest, demand everything; the figures."""
    each = -(-plan.payments // plan.agents) + 1  # one consumer of each agent never pays
    line = {
        f"AGENT-{number}": AgentPlan(
            meters=each, latency_ms=LINE.latency_ms, actuation_ms=LINE.actuation_ms
        )
        for number in range(1, plan.agents + 1)
    }
    walk = MortalFleet(folder, line, clock_ms())
    walk.build()
    try:
        walk.start_all()
        until_heard(walk, *line)
        return _under_chaos(walk, plan)
    finally:
        walk.end()


def _under_chaos(walk: MortalFleet, plan: ChaosPlan) -> Figures:
    payers = Payers(walk.provider)
    consumers = taken(walk, list(walk.plan), plan.payments)
    paying = threading.Thread(
        target=payers.pay_at_pace, args=(consumers, 1 / plan.rate_per_s, lambda: False)
    )
    started_s = time.monotonic()
    paying.start()
    sessions_lost = _kill_brokers(walk, payers, plan)
    paying.join()
    paid_s = time.monotonic()
    payers.repeat()
    situation = Situation(walk.files, walk.meters, payers)
    walk.until_rest(lambda: unrest(situation), REST_WITHIN_S, is_hurried=plan.is_hurried)
    rest_s = time.monotonic()
    demand_all(situation)
    assert walk.traces() == [], "an exception stands in a log"
    waits_ms = sorted(_waits_ms(walk, payers))
    counted = _health(walk)
    ((commands, again),) = rows(walk.files.ledger, "SELECT count(*), sum(sends - 1) FROM commands")
    return Figures(
        payments=len(payers.asked),
        kills=plan.kills,
        sessions_lost=sessions_lost,
        paying_s=round(paid_s - started_s, 1),
        items_published=counted["published"],
        receipts_repeated=counted["receipt_repeated"],
        commands=commands,
        commands_sent_again=again,
        rest_s=round(rest_s - paid_s, 1),
        median_ms=waits_ms[len(waits_ms) // 2],
        longest_ms=waits_ms[-1],
    )


def _kill_brokers(walk: MortalFleet, payers: Payers, plan: ChaosPlan) -> int:
    """Kill the broker at seeded moments while consumers pay; how often it lost its sessions."""
    draw = random.Random(plan.seed)
    moments = sorted(draw.randrange(1, plan.payments) for _ in range(plan.kills))
    stored = walk.folder / "broker" / "mosquitto.db"
    lost = 0
    for number, moment in enumerate(moments, 1):
        walk.until(f"payment {moment}", partial(payers.have_asked, moment))
        walk.kill("broker")
        if number % SESSION_LOSS_EVERY == 0:
            stored.unlink(missing_ok=True)
            lost += 1
        walk.start("broker")
    return lost


def _waits_ms(walk: MortalFleet, payers: Payers) -> list[int]:
    """Of each payment: from its webhook to the filed word that its relay is closed."""
    filed = dict(
        rows(
            walk.files.ledger,
            "SELECT meter_id, min(filed_at_ms) FROM filed_items JOIN commands USING (command_id)"
            " WHERE outcome IN ('closed', 'already_closed') AND kind = 'command'"
            " GROUP BY meter_id",
        )
    )
    return [filed[one.meter] - int(at_s * 1_000) for one, at_s in payers.asked_at_s.items()]


def _health(walk: MortalFleet) -> dict[str, int]:
    url = f"http://127.0.0.1:{walk.ports[1]}/health"
    with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
        counters: dict[str, int] = json.load(answer)["counters"]
    return counters

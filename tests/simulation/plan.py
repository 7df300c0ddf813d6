"""What one seed draws before it begins: which faults it has, how bad, and on whom.

Each seed has a random part of the faults, so that some seeds show one fault alone and others all
of them at once.
"""

import random
from dataclasses import dataclass

from meter_sim.faults import Fault
from meter_sim.relay_model import ControlMode

AGENTS = ("AG-1", "AG-2", "AG-3")
METERS = {agent: tuple(f"MET-{agent[3:]}-{place}" for place in range(1, 5)) for agent in AGENTS}
ALL_METERS = tuple(meter for agent in AGENTS for meter in METERS[agent])
AGENT_OF = {meter: agent for agent in AGENTS for meter in METERS[agent]}
# 20 or 40 minutes: longer than a command lives, or twice as long as that and its lapse.
SAFETY_MS = (1_200_000, 1_200_000, 2_400_000)
PARTIES = ("intake", "engine", *AGENTS)

# Faults that a close cannot get past: their episodes stay held, or are tried for ever.
HOPELESS = frozenset({Fault.STUCK, Fault.SILENT, Fault.REFUSES, Fault.LIES_ABOUT_STATE})
_ARM_ONLY = frozenset({ControlMode.ARM_WITH_BUTTON, ControlMode.ARM})
_MODES = (ControlMode.ARM_WITH_BUTTON, ControlMode.CLOSE_WITH_BUTTON, ControlMode.ARM,
          ControlMode.ARM_CLOSES_ITSELF_WITH_BUTTON, ControlMode.ARM_CLOSES_ITSELF)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One seed's share of bad luck; probabilities are per chance, times in ms (0: never)."""

    seed: int
    safety_ms: int
    loses: float
    repeats: float
    delays: float
    delay_max_ms: int
    replay_every_ms: int
    crashes: dict[str, float]
    part_every_ms: int
    loses_sessions: float
    loses_journals: int
    rolls_journals_back: int
    restores: int
    cuts_again: bool
    lock_every_ms: int
    moves: int
    store_fails: float
    clock_step_ms: int
    drift_ppm: dict[str, int]
    provider_offset_ms: int
    has_thief: bool
    latency_ms: tuple[int, int]
    faults: dict[str, Fault]
    modes: dict[str, ControlMode]

    def is_hopeless(self, meter: str) -> bool:
        """Whether no close can be seen to succeed on this meter."""
        fault = self.faults.get(meter)
        # It waits for its button, and denies that it does.
        hides_arming = fault is Fault.DENIES_MOVEMENT and self.modes.get(meter) in _ARM_ONLY
        return fault in HOPELESS or hides_arming


def draw(seed: int, randomness: random.Random) -> Plan:
    """The plan of a seed; every value comes from `randomness`."""

    def some(share: float, low: float, high: float) -> float:
        level = randomness.uniform(low, high)
        return level if randomness.random() < share else 0.0

    restores = int(randomness.random() < 0.35)
    lock_every_ms = 0 if restores else int(some(0.5, 120_000, 900_000))
    crashing = {party: some(0.5, 0.005, 0.05) for party in PARTIES}
    ill = randomness.sample(ALL_METERS, int(some(0.7, 1, 6)))
    odd = randomness.sample(ALL_METERS, int(some(0.5, 1, 6)))
    kinds = sorted(set(Fault) - {Fault.NONE})
    lowest = randomness.choice((0, 20, 400))
    return Plan(
        seed=seed,
        safety_ms=randomness.choice(SAFETY_MS),
        loses=some(0.6, 0.01, 0.4),
        repeats=some(0.6, 0.01, 0.4),
        delays=some(0.6, 0.01, 0.25),
        delay_max_ms=randomness.choice((5_000, 60_000, 1_200_000)),
        replay_every_ms=int(some(0.8, 5_000, 60_000)),
        crashes=crashing,
        part_every_ms=int(some(0.6, 60_000, 400_000)),
        loses_sessions=some(0.5, 0.1, 1.0),
        loses_journals=int(some(0.35, 1, 4)),
        rolls_journals_back=int(some(0.45, 1, 5)),
        restores=restores,
        cuts_again=not restores and randomness.random() < 0.5,
        # A restored ledger has lost what people asked for since: they would have to ask again.
        lock_every_ms=lock_every_ms,
        moves=0 if restores else int(some(0.4, 1, 5)),
        store_fails=some(0.5, 0.01, 0.1),
        clock_step_ms=int(some(0.5, 500, 8_000)),
        drift_ppm={agent: randomness.randint(-500, 500) for agent in AGENTS},
        # Within what signed webhooks allow, with a step of the intake's clock.
        provider_offset_ms=int(some(0.5, -120_000, 120_000)),
        has_thief=randomness.random() < 0.4,
        latency_ms=(lowest, lowest + randomness.choice((0, 300, 9_000))),
        faults={meter: randomness.choice(kinds) for meter in sorted(ill)},
        modes={meter: randomness.choice(_MODES) for meter in sorted(odd)},
    )

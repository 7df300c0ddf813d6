"""What can be wrong with a meter: each fault is a name and one table entry saying what changes.

Rules kept here:

* A fault changes how a meter answers or how its parts obey, never the class 70 table.
* Which meter has which fault follows from the seed and the meter's id alone, so the order in
  which meters are made or asked changes nothing (I14).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b

from meter_sim.relay_model import Mechanics


class Fault(StrEnum):
    """The named faults; options and reports use these spellings."""

    NONE = "none"
    STUCK = "stuck"
    SILENT = "silent"
    ANSWER_LOST = "answer_lost"
    SLOW = "slow"
    LIES_ABOUT_STATE = "lies_about_state"
    DENIES_MOVEMENT = "denies_movement"
    CLOSES_LATE = "closes_late"
    BOUNCES = "bounces"
    REFUSES = "refuses"


class MeterRefusal(StrEnum):
    """Why a meter refuses a method; the text of the PermissionError."""

    LOAD_SIDE_VOLTAGE = "load_side_voltage"
    MODE_FORBIDS = "mode_forbids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one fault changes; the defaults are a meter without fault."""

    answers_reads: bool = True
    answers_methods: bool = True
    obeys: bool = True  # False: control_state and contact stay as they are
    contact_moves: bool = True
    reports_state: bool = True  # False: control_state stays as it was when the meter was fitted
    refuses_close: MeterRefusal | None = None
    answer_lag_ms: int = 0
    closing_lag_ms: int = 0
    opening_lag_ms: int = 0
    bounce_ms: int = 0

    def worsen(self, mechanics: Mechanics) -> Mechanics:
        """Give the mechanics of a relay that has this fault."""
        return replace(
            mechanics,
            contact_moves=self.contact_moves,
            closing_lag_ms=mechanics.closing_lag_ms + self.closing_lag_ms,
            opening_lag_ms=mechanics.opening_lag_ms + self.opening_lag_ms,
            bounce_ms=max(mechanics.bounce_ms, self.bounce_ms),
        )


EFFECTS: Mapping[Fault, Effect] = {
    Fault.NONE: Effect(),
    # A welded or jammed contact: the method answers success and nothing moves.
    Fault.STUCK: Effect(obeys=False),
    # Out of reach: nothing arrives, so nothing moves either.
    Fault.SILENT: Effect(answers_reads=False, answers_methods=False, obeys=False),
    # The method arrives and acts, its answer is lost: the caller can only read.
    Fault.ANSWER_LOST: Effect(answers_methods=False),
    # A crowded mesh: answers after seconds, the contact follows later still.
    Fault.SLOW: Effect(answer_lag_ms=3_000, closing_lag_ms=5_000, opening_lag_ms=5_000),
    # control_state says moved, the contact did not.
    Fault.LIES_ABOUT_STATE: Effect(contact_moves=False),
    # The reverse: the contact moved, control_state says it did not.
    Fault.DENIES_MOVEMENT: Effect(reports_state=False),
    # Longer than a reader waits for modes 5 and 6 (45 s, R15): only a later reading can tell.
    Fault.CLOSES_LATE: Effect(closing_lag_ms=90_000),
    # A worn spring: there, back and there again.
    Fault.BOUNCES: Effect(bounce_ms=400),
    # The consumer's generator feeds the load side: closing would join two sources.
    Fault.REFUSES: Effect(refuses_close=MeterRefusal.LOAD_SIDE_VOLTAGE),
}


def seeded_fraction(seed: int, *parts: object) -> float:
    """Give a fraction in [0, 1) that follows from the seed and the parts alone."""
    text = "/".join(str(part) for part in (seed, *parts))
    digest = blake2b(text.encode(), digest_size=8).digest()
    # 53 bits, so that the quotient is exact and never rounds up to 1.
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def check_shares(shares: Mapping[Fault, float]) -> None:
    """Refuse shares of meters that cannot be.

    Raises:
        ValueError: a share is outside 0..1 or all of them are above 1.
    """
    for fault, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"share of {fault} is {share}: give a fraction from 0 to 1")
    # 1e-9: shares written in decimals (0.1 ten times) may add up to a hair above 1.
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"the shares of faults add up to {sum(shares.values())}: at most 1")


def choose_fault(seed: int, meter: str, shares: Mapping[Fault, float]) -> Fault:
    """Choose the fault of one meter; what the shares leave over has none."""
    left = seeded_fraction(seed, "fault", meter)
    for fault in sorted(shares):
        left -= shares[fault]
        if left < 0:
            return fault
    return Fault.NONE

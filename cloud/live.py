"""Step 14, show: what dashboards see. Unsigned, for outsiders, and it tells no secret.

Rules kept here (R21, R22): a live step carries a zone, a pseudonym that changes each day, a step
and milliseconds: never meter, account or agent. A zone with fewer than 200 meters merges into
OTHER; an installation with fewer than 200 in all shows steps only under a development registry.
"""

import hmac
import json
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, select, text

from cloud.publisher import Outgoing
from cloud.schema import accounts, commands, episodes, meters
from wire.topics import LIVE_SUMMARY, OTHER_ZONE, is_id, live_step_topic

ZONE_LEAST_METERS = 200
DAY_MS = 86_400_000
STEPS_PER_TURN_MAX = 64  # a storm is shown by the summary; single steps above this are not sent
RECENT_MAX = 10_000  # pay-to-power samples the summary's percentiles are taken from


_ZONES = (
    select(meters.c.meter_id, accounts.c.zone)
    .join(accounts, accounts.c.account_id == meters.c.account_id)
    .where(meters.c.meter_id.in_(bindparam("meter_ids", expanding=True)))
)
# Constants in the text, not parameters: each is answered from the partial index of that condition.
_QUEUED = select(func.count()).select_from(commands).where(text("state = 'queued'"))
_PUBLISHED = select(func.count()).select_from(commands).where(text("state = 'published'"))
_PAID_BUT_DARK = (
    select(func.count()).select_from(episodes).where(text("ended_at_ms IS NULL AND state = 'paid'"))
)


@dataclass(frozen=True, slots=True)
class Step:
    """One meter reached one step of the walk."""

    name: str
    meter_id: str
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Live:
    """Turns steps into topics; keeps the counters of the summary."""

    key: bytes  # secret of this engine; the day key is derived from it
    is_development: bool
    zones: frozenset[str] = frozenset()  # large enough to be named
    is_shown: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    paid_to_closed_ms: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    def load_zones(self, transaction: Connection) -> None:
        """Learn which zones are large enough to be named."""
        sizes: dict[str, int] = dict(
            transaction.execute(
                select(accounts.c.zone, func.count())
                .join(meters, meters.c.account_id == accounts.c.account_id)
                .group_by(accounts.c.zone)
            ).all()
        )
        self.is_shown = self.is_development or sum(sizes.values()) >= ZONE_LEAST_METERS
        self.zones = frozenset(
            zone for zone, count in sizes.items() if count >= ZONE_LEAST_METERS and is_id(zone)
        )

    def count(self, steps: Iterable[Step], paid_to_closed_ms: Iterable[int]) -> None:
        """Count a committed turn's steps for the summary."""
        self.counts.update(step.name for step in steps)
        self.paid_to_closed_ms.extend(paid_to_closed_ms)

    def steps(self, transaction: Connection, steps: Sequence[Step]) -> list[Outgoing]:
        """The messages of this turn's steps, at most a bounded number."""
        shown = steps[:STEPS_PER_TURN_MAX] if self.is_shown else ()
        if not shown:
            return []
        meter_ids = list({step.meter_id for step in shown})
        zone_of = dict(transaction.execute(_ZONES, {"meter_ids": meter_ids}).all())
        return [self._message(step, zone_of.get(step.meter_id, OTHER_ZONE)) for step in shown]

    def summary(self, transaction: Connection, *, now_ms: int) -> Outgoing:
        """Counts of now, and of every step since the engine started."""
        body = {
            "at_ms": now_ms,
            "paid_but_dark": transaction.scalar(_PAID_BUT_DARK),
            "queued": transaction.scalar(_QUEUED),
            "published": transaction.scalar(_PUBLISHED),
            "steps": dict(sorted(self.counts.items())),
            "paid_to_closed_ms": _percentiles(self.paid_to_closed_ms),
        }
        payload = json.dumps(body, separators=(",", ":")).encode("ascii")
        return Outgoing(topic=LIVE_SUMMARY, payload=payload, is_retained=True)

    def _message(self, step: Step, zone: str) -> Outgoing:
        body = {"meter": self._pseudonym(step), "step": step.name, "at_ms": step.at_ms}
        return Outgoing(
            topic=live_step_topic(zone if zone in self.zones else OTHER_ZONE),
            payload=json.dumps(body, separators=(",", ":")).encode("ascii"),
        )

    def _pseudonym(self, step: Step) -> str:
        day_key = hmac.digest(self.key, str(step.at_ms // DAY_MS).encode("ascii"), "sha256")
        return hmac.digest(day_key, step.meter_id.encode("ascii"), "sha256")[:8].hex()


def _percentiles(samples: Iterable[int]) -> dict[str, int]:
    ordered = sorted(samples)
    if not ordered:
        return {}
    return {
        f"p{percent}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
        for percent in (50, 95, 99)
    }

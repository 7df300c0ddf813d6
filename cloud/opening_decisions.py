"""What was decided of intended opens, as stored records; the same for opens, skips and recalls.

Rules kept here (I4, R22): a record begins with 16 random bytes, names the policy, the time and
every fact that was weighed; the digest of its canonical msgpack is what a command carries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, insert

from cloud.decisions import DecisionContext
from cloud.opening_rules import OpenSituation
from cloud.schema import decisions
from cloud.vocabulary import Verdict
from wire.decoding import canonical

_INSERT_DECISIONS = insert(decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What was concluded of one proposal."""

    proposal_id: int
    verdict: Verdict
    reasons: Sequence[str]
    facts: OpenSituation | None = None  # None: no rule was asked, as for a read


def store_decisions(
    transaction: Connection, context: DecisionContext, weighed: Sequence[Weighed]
) -> list[bytes]:
    """Store decisions, in the transaction of what they cause; their digests in this order."""
    digests: list[bytes] = []
    rows: list[dict[str, object]] = []
    for one in weighed:
        record = canonical(
            [
                context.random_bytes(16),
                context.policy.digest,
                context.now_ms,
                one.proposal_id,
                one.facts,
                one.verdict.value,
                list(one.reasons),
            ]
        )
        digests.append(sha256(record).digest())
        rows.append(
            {
                "digest": digests[-1],
                "record": record,
                "proposal_id": one.proposal_id,
                "verdict": one.verdict.value,
                "reasons": " ".join(one.reasons),
                "decided_at_ms": context.now_ms,
            }
        )
    if rows:
        transaction.execute(_INSERT_DECISIONS, rows)
    return digests

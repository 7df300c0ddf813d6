"""What the checks need to know of the ledger, read in one short look that holds nobody up."""

from dataclasses import dataclass

from sqlalchemy import func, select

from cloud.doctor.findings import Subject
from cloud.schema import agents, entries, filed_items, ledger, payment_items, spools
from cloud.store import open_store, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """One agent, as the ledger knows it. `heard_at_ms`: its last hello."""

    agent_id: str
    heard_at_ms: int | None
    trust_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFacts:
    """One spool of an intake, and what its newest watermark said about time."""

    intake: str
    watermark_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """The ledger at one moment. `newest_at_ms`: the latest time this host wrote into it."""

    epoch: int
    newest_at_ms: int
    agents: tuple[AgentFacts, ...]
    spools: tuple[SpoolFacts, ...]


_NEWEST = (
    select(func.max(agents.c.heard_at_ms)),
    select(func.max(entries.c.posted_at_ms)),
    select(func.max(filed_items.c.filed_at_ms)),
    select(func.max(payment_items.c.stored_at_ms)),
    select(func.max(ledger.c.generation_ms)),
)
_AGENTS = select(agents.c.agent_id, agents.c.heard_at_ms, agents.c.trust_version)
_SPOOLS = select(spools.c.intake, spools.c.watermark_at_ms)
_EPOCH = select(ledger.c.epoch)


def read_facts(subject: Subject) -> LedgerFacts:
    """Read them.

    Raises:
        ConfigurationError: no [engine] section, or no such file.
        DBAPIError: it is no ledger, or cannot be read.
    """
    store = open_store(subject.installation.ledger_url())
    try:
        with reading(store) as connection:
            times = [connection.scalar(one) or 0 for one in _NEWEST]
            return LedgerFacts(
                epoch=int(connection.scalar(_EPOCH) or 0),
                newest_at_ms=max(times),
                agents=tuple(
                    AgentFacts(
                        agent_id=row.agent_id,
                        heard_at_ms=row.heard_at_ms,
                        trust_version=row.trust_version,
                    )
                    for row in connection.execute(_AGENTS.order_by(agents.c.agent_id))
                ),
                spools=tuple(
                    SpoolFacts(intake=row.intake, watermark_at_ms=row.watermark_at_ms)
                    for row in connection.execute(_SPOOLS)
                ),
            )
    finally:
        store.dispose()

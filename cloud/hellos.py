"""An agent says hello: which journal speaks, what it is told, what of its commands is void.

Rules kept here (R5): hellos are ordered by (boot, number) within a journal; a journal is current,
or retired for ever; a rolled-back or retired journal changes nothing and must start anew; a new
boot or journal raises the floor above every counter ever given, so nothing recorded earlier can
act.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from cloud import moves, outbox
from cloud.freezes import Freeze, lacking
from cloud.publisher import Outgoing, Signer
from cloud.schema import agents, journals, meters
from cloud.store import Found
from cloud.vocabulary import JournalStanding
from wire import envelope
from wire.chain import first_head
from wire.decoding import encode
from wire.messages import Hello, Welcome
from wire.topics import MessageType, command_topic, directed_topic
from wire.trust import Authorities
from wire.vocabulary import JournalVerdict

TURNED_AWAY_EVERY_MS = 60_000  # how often a retired or rolled-back journal is answered
BURST_EVERY_MS = 5_000  # R19: how often all live commands of an agent go out at its hello
BURST_MAX = 64  # the largest window an agent can name

_AGENT = select(agents).where(agents.c.agent_id == bindparam("of_agent"))
_JOURNAL = (
    select(journals)
    .where(journals.c.agent_id == bindparam("of_agent"))
    .where(journals.c.journal == bindparam("of_journal"))
)
_HIGHEST_GIVEN = (
    select(func.max(meters.c.last_sequence))
    .where(meters.c.agent_id == bindparam("of_agent"))
    .where(meters.c.last_epoch == bindparam("of_epoch"))
)
_FOLLOW_HELLO = (
    update(journals)
    .where(journals.c.id == bindparam("row_id"))
    .values(
        boot=bindparam("new_boot"),
        hello_number=bindparam("new_number"),
        hello_nonce=bindparam("new_nonce"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What every answer to an agent carries."""

    freeze: Freeze
    generation_ms: int
    signer: Signer
    authorities: Authorities


@dataclass(slots=True, kw_only=True)
class Greeted:
    """What the hellos of one turn did."""

    outgoing: list[Outgoing] = field(default_factory=list)
    voided_episodes: set[int] = field(default_factory=set)


def greet(
    transaction: Connection, hello: Hello, facts: LedgerFacts, greeted: Greeted, *, now_ms: int
) -> None:
    """Handle one hello in the caller's transaction; answers go into `greeted`."""
    agent = _agent_row(transaction, hello.agent)
    given = {"of_agent": hello.agent, "of_journal": hello.journal}
    journal = transaction.execute(_JOURNAL, given).one_or_none()
    verdict = _verdict(hello, journal)
    if verdict is None:
        return  # an older hello of this boot: answered already
    if verdict in (JournalVerdict.RETIRED, JournalVerdict.ROLLED_BACK):
        if now_ms - agent.turned_away_at_ms >= TURNED_AWAY_EVERY_MS:
            _note(transaction, hello.agent, turned_away_at_ms=now_ms)
            # A disk of before the first registry would never understand why it is turned away.
            greeted.outgoing += _newer_trust(hello, facts)
            greeted.outgoing.append(_welcome(hello, agent, journal, (verdict, now_ms), facts))
        return
    is_fresh = journal is None or hello.boot > journal.boot
    _store(transaction, hello, journal)
    floor = _floor(transaction, agent, facts.signer.epoch, is_fresh=is_fresh, now_ms=now_ms)
    if is_fresh:
        greeted.voided_episodes |= outbox.void(
            transaction, hello.agent, hello.unfinished, now_ms=now_ms
        )
    is_burst = now_ms - agent.burst_at_ms >= BURST_EVERY_MS
    noted = _note(
        transaction,
        hello.agent,
        burst_at_ms=now_ms if is_burst else agent.burst_at_ms,
        floor_epoch=floor[0],
        floor_sequence=floor[1],
        window=hello.window,
        heard_at_ms=now_ms,
        meters=hello.meters,
        software=hello.software,
        trust_version=hello.trust_version,
        roster_version=hello.roster_version,
        stop_ms=hello.stop_ms,
        lifted_ms=hello.lifted_ms,
        generation_ms=hello.generation_ms,
    )
    if hello.roster_version > agent.roster_version:  # perhaps without a meter that moved (R16)
        moves.settle(transaction, now_ms=now_ms)
    greeted.outgoing += _newer_trust(hello, facts)
    greeted.outgoing.append(_welcome(hello, noted, journal, (verdict, now_ms), facts))
    greeted.outgoing += lacking(facts.freeze, hello.agent, hello.stop_ms, hello.lifted_ms)
    if is_burst:
        greeted.outgoing += [
            Outgoing(topic=command_topic(row.agent_id, row.meter_id), payload=row.envelope)
            for row in outbox.due_for_resend(
                transaction, now_ms=now_ms, agent_id=hello.agent, limit=BURST_MAX
            )
        ]


def _newer_trust(hello: Hello, facts: LedgerFacts) -> list[Outgoing]:
    """Trust goes first: a welcome under a key the agent does not know yet is junk to it."""
    if hello.trust_version >= facts.authorities.registry_version:
        return []
    topic = directed_topic(MessageType.TRUST, hello.agent)
    return [Outgoing(topic=topic, payload=encode(facts.authorities.documents()))]


def _agent_row(transaction: Connection, agent_id: str) -> Found:
    row = transaction.execute(_AGENT, {"of_agent": agent_id}).one_or_none()
    if row is None:  # enrolled, but no meter was imported for it yet
        transaction.execute(insert(agents), {"agent_id": agent_id})
        row = transaction.execute(_AGENT, {"of_agent": agent_id}).one()
    return row


def _verdict(hello: Hello, journal: Found | None) -> JournalVerdict | None:
    if journal is None:
        return JournalVerdict.NEW
    if journal.standing == JournalStanding.RETIRED.value:
        return JournalVerdict.RETIRED
    went_back = (
        # Two histories: nothing more of this journal is filed, so its agent must begin another.
        journal.forked_at_ms is not None
        or hello.boot < journal.boot
        or hello.made < journal.through
        or (hello.made == journal.through and hello.head != journal.head)
    )
    place = (hello.boot, hello.number)
    if place == (journal.boot, journal.hello_number) and hello.nonce != journal.hello_nonce:
        # A restored disk counts its hellos again: it lost no filed item, but perhaps what it
        # journaled before it moved.
        went_back = True
    if went_back:
        return JournalVerdict.ROLLED_BACK
    if hello.boot == journal.boot and hello.number <= journal.hello_number:
        return None
    return JournalVerdict.KNOWN


def _store(transaction: Connection, hello: Hello, journal: Found | None) -> None:
    if journal is not None:
        transaction.execute(
            _FOLLOW_HELLO,
            {
                "row_id": journal.id,
                "new_boot": hello.boot,
                "new_number": hello.number,
                "new_nonce": hello.nonce,
            },
        )
        return
    transaction.execute(
        update(journals)
        .where(journals.c.agent_id == hello.agent)
        .values(standing=JournalStanding.RETIRED.value)
    )
    transaction.execute(
        insert(journals),
        {
            "agent_id": hello.agent,
            "journal": hello.journal,
            "standing": JournalStanding.CURRENT.value,
            "boot": hello.boot,
            "hello_number": hello.number,
            "hello_nonce": hello.nonce,
            "head": first_head(hello.journal, hello.agent),
        },
    )


def _floor(
    transaction: Connection, agent: Found, epoch: int, *, is_fresh: bool, now_ms: int
) -> tuple[int, int]:
    """R5.2: above everything ever given to this agent's meters, when it comes anew."""
    if is_fresh:
        given = {"of_agent": agent.agent_id, "of_epoch": epoch}
        highest = transaction.scalar(_HIGHEST_GIVEN, given)
        return epoch, max(now_ms, highest or 0)
    if agent.floor_epoch < epoch:  # the key was rotated: the old epoch ends here
        return epoch, 0
    return agent.floor_epoch, agent.floor_sequence


def _note(transaction: Connection, agent_id: str, **values: object) -> Found:
    """Set columns of an agent's row; the row as it is now."""
    given = {f"new_{name}": value for name, value in values.items()}
    return transaction.execute(_noting(tuple(values)), given | {"of_agent": agent_id}).one()


@cache
def _noting(columns: tuple[str, ...]) -> ReturningUpdate[Any]:
    return (
        update(agents)
        .where(agents.c.agent_id == bindparam("of_agent"))
        .values({name: bindparam(f"new_{name}") for name in columns})
        .returning(agents)
    )


def _welcome(
    hello: Hello,
    agent: Found,
    journal: Found | None,
    answer: tuple[JournalVerdict, int],
    facts: LedgerFacts,
) -> Outgoing:
    verdict, now_ms = answer
    stop_ms, lifted_ms = facts.freeze.marks
    body = encode(
        Welcome(
            agent=hello.agent,
            nonce=hello.nonce,
            generation_ms=facts.generation_ms,
            now_ms=now_ms,
            floor_epoch=agent.floor_epoch,
            floor_sequence=agent.floor_sequence,
            verdict=verdict,
            trust_version=facts.authorities.registry_version,
            stop_ms=stop_ms,
            lifted_ms=lifted_ms,
            through=journal.through if journal else 0,
            head=journal.head if journal else first_head(hello.journal, hello.agent),
        )
    )
    signer = facts.signer
    name = MessageType.WELCOME.value
    return Outgoing(
        topic=directed_topic(MessageType.WELCOME, hello.agent),
        payload=envelope.seal(signer.installation, name, body, [signer.key]),
    )

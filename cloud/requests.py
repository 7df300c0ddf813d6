"""What a person asks for: a row the engine weighs by its own rules, and answers in a sentence.

Rules kept here (design section 4):
 * Whoever asks only writes a row; the engine's sweep acts on it in its own transaction, and the
   answer is stored with the act. A refusal begins with `refused:` and changes nothing.
 * Only money places and clears non_payment (I10). A lock placed by hand withdraws a live close in
   the same transaction and is pending until none can act (R3, I15).
 * A crew's word ends only an episode that is paid and has no other lock.
 * A request the database refuses is answered like any other: it must not hold up the engine.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloud import moves, outbox
from cloud.decisions import Decided, DecisionContext, decide_accounts, decide_anew
from cloud.locks import (
    NewLock,
    clear_lock,
    other_locks,
    place_lock,
    settle_pending,
    standing_lock,
)
from cloud.outcomes import end_by_crew
from cloud.schema import accounts, crew_tickets, episodes, requests
from cloud.spelling import ist
from cloud.store import Found
from cloud.tickets import TicketEnd
from cloud.trace_steps import tell_decision
from cloud.vocabulary import EpisodeState, LockKind, RequestKind

REQUESTS_PER_SWEEP_MAX = 32  # people's acts: each costs some statements, all of them some 30 ms
LONGEST_WORD = 512  # characters of a name, a note, a document: what fits on a ticket
REFUSED = "refused: "

_NUMBER = re.compile(r"[0-9]{1,15}")
_WAITING = (
    select(requests)
    .where(requests.c.handled_at_ms.is_(None))
    .order_by(requests.c.id)
    .limit(REQUESTS_PER_SWEEP_MAX)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One act that a person asks for.

    `subject` is a ticket's number, an account or an agent; `detail` the note of a ticket, the
    kind and the document of a lock, separated by a space.
    """

    kind: RequestKind
    subject: str
    detail: str
    asked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request: the sentence, and what was decided for it."""

    result: str
    decided: Decided = field(default_factory=Decided)


def ask(transaction: Connection, request: Request, *, now_ms: int) -> int:
    """Store what a person asks for; its number.

    Raises:
        ValueError: nobody asks, or a text is longer than a ticket shows.
    """
    for name, told in (("name", request.asked_by), ("subject", request.subject)):
        if not told.strip():
            raise ValueError(f"the {name} is empty: say who or what it is")
    for name, told in (("name", request.asked_by), ("text", request.detail)):
        if len(told) > LONGEST_WORD:
            raise ValueError(f"the {name} has {len(told)} characters: {LONGEST_WORD} are the most")
    row = {
        "kind": request.kind.value,
        "subject": request.subject,
        "detail": request.detail,
        "asked_by": request.asked_by.strip(),
        "asked_at_ms": now_ms,
    }
    made = transaction.execute(insert(requests), row)
    return int((made.inserted_primary_key or (0,))[0])


def result_of(connection: Connection, request_id: int) -> str | None:
    """The engine's answer; None while it has not answered."""
    return connection.scalar(select(requests.c.result).where(requests.c.id == request_id))


def handle_waiting(transaction: Connection, context: DecisionContext) -> Decided:
    """Act on what people asked for since the last sweep, in the order they asked."""
    done = Decided()
    for request in transaction.execute(_WAITING).all():
        answer = _handle(transaction, request, context)
        transaction.execute(
            update(requests)
            .where(requests.c.id == request.id)
            .values(handled_at_ms=context.now_ms, result=answer.result)
        )
        done.agents_with_work |= answer.decided.agents_with_work
        done.decided_meters += answer.decided.decided_meters
    return done


def _handle(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    act = ACTS.get(RequestKind(request.kind))
    if act is None:
        return _refuse(f"this engine does not know how to do {request.kind}: update it")
    try:
        with transaction.begin_nested():
            return act(transaction, request, context)
    except IntegrityError as error:
        return _refuse(f"the ledger does not take it ({error.orig})")


def _refuse(why: str) -> Answer:
    return Answer(result=f"{REFUSED}{why}")


def _ticket(transaction: Connection, name: str) -> Found | str:
    """The open ticket of that number with its episode, paid and without other locks; or why not."""
    row = None
    if _NUMBER.fullmatch(name):
        row = transaction.execute(
            select(
                crew_tickets.c.id, crew_tickets.c.closed_at_ms, crew_tickets.c.closed_because,
                crew_tickets.c.episode_id, episodes.c.state, episodes.c.account_id,
                episodes.c.meter_id,
            )
            .join(episodes, episodes.c.id == crew_tickets.c.episode_id)
            .where(crew_tickets.c.id == int(name))
        ).one_or_none()  # fmt: skip
    if row is None:
        return f"there is no ticket {name}: relight tickets lists the open ones"
    if row.closed_at_ms is not None:
        return f"ticket {name} was closed at {ist(row.closed_at_ms)[:19]}: {row.closed_because}"
    if row.state != EpisodeState.PAID.value:
        return f"episode {row.episode_id} of account {row.account_id} is {row.state}, not paid"
    others = other_locks(transaction, row.account_id)
    if others:
        told = ", ".join(kind.replace("_", " ") for kind in others)
        return f"other locks stand on account {row.account_id}: {told}; their owners decide"
    return row


def _ticket_done(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    ticket = _ticket(transaction, request.subject)
    if isinstance(ticket, str):
        return _refuse(ticket)
    because = f"{TicketEnd.CREW.value}: {request.detail}, says {request.asked_by}"
    now_ms = context.now_ms
    # Covered cleared it long ago; a ledger that says otherwise must not keep the supply locked.
    paid = "paid, supply restored by a crew"
    clear_lock(transaction, ticket.account_id, LockKind.NON_PAYMENT, paid, now_ms=now_ms)
    end_by_crew(transaction, ticket.episode_id, because, now_ms=now_ms)
    return Answer(
        result=f"ticket {ticket.id} is closed: episode {ticket.episode_id} of account"
        f" {ticket.account_id} ended, the crew restored supply at {ticket.meter_id}"
    )


def _ticket_retry(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    ticket = _ticket(transaction, request.subject)
    if isinstance(ticket, str):
        return _refuse(ticket)
    transaction.execute(
        update(episodes)
        .where(episodes.c.id == ticket.episode_id)
        .values(held_because=None, attempts=0)
    )
    # What waits for its hour waits no longer: the ladder begins anew, under a fresh decision.
    outbox.drop_waiting(transaction, [ticket.episode_id], now_ms=context.now_ms)
    decided = decide_anew(transaction, [ticket.episode_id], context)
    told = tell_decision(decided.words[ticket.episode_id])
    return Answer(result=f"{ticket.meter_id} was decided anew, {told}", decided=decided)


def _lock_named(transaction: Connection, request: Found) -> tuple[LockKind, str] | str:
    """The lock a request names, and its document; or why a person cannot touch it."""
    name, _, document = request.detail.partition(" ")
    if name not in set(LockKind):
        known = ", ".join(kind.value for kind in LockKind)
        return f"{name!r} is no kind of lock: {known}"
    if name == LockKind.NON_PAYMENT.value:
        return (
            "non_payment follows money alone: a payment clears it, money that went back places it"
        )
    account = select(accounts.c.account_id).where(accounts.c.account_id == request.subject)
    if transaction.scalar(account) is None:
        return f"there is no account {request.subject!r}"
    return LockKind(name), document


def _lock_place(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    named = _lock_named(transaction, request)
    if isinstance(named, str):
        return _refuse(named)
    kind, document = named
    account_id, told = request.subject, kind.value.replace("_", " ")
    standing = standing_lock(transaction, account_id, kind)
    if standing is not None:
        since = f"since {ist(standing.placed_at_ms)[:19]} by {standing.owner}: {standing.document}"
        return _refuse(f"a {told} lock stands on account {account_id} {since}")
    lock = NewLock(account_id=account_id, kind=kind, document=document, owner=request.asked_by)
    place_lock(transaction, lock, now_ms=context.now_ms)
    decided = decide_accounts(transaction, [account_id], context)
    settle_pending(transaction, now_ms=context.now_ms)
    placed = standing_lock(transaction, account_id, kind)
    is_effective = placed is not None and placed.effective_at_ms is not None
    holds = "effective" if is_effective else "pending: a close given before it may still act"
    armed = _armed_meters(transaction, account_id)
    button = f"; {', '.join(armed)} is armed: its button still restores supply" if armed else ""
    return Answer(
        result=f"{told} lock on account {account_id} is placed and {holds}{button}",
        decided=decided,
    )


def _armed_meters(transaction: Connection, account_id: str) -> list[str]:
    """No withdrawal disarms a relay: whoever places a lock must know."""
    return list(
        transaction.scalars(
            select(episodes.c.meter_id)
            .where(episodes.c.account_id == account_id)
            .where(episodes.c.ended_at_ms.is_(None))
            .where(episodes.c.state == EpisodeState.ARMED.value)
        )
    )


def _lock_clear(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    named = _lock_named(transaction, request)
    if isinstance(named, str):
        return _refuse(named)
    kind, document = named
    account_id, told = request.subject, kind.value.replace("_", " ")
    if standing_lock(transaction, account_id, kind) is None:
        return _refuse(f"no {told} lock stands on account {account_id}")
    because = f"{document}, by {request.asked_by}"
    clear_lock(transaction, account_id, kind, because, now_ms=context.now_ms)
    decided = decide_accounts(transaction, [account_id], context)
    after = "; ".join(tell_decision(words) for words in decided.words.values())
    return Answer(
        result=f"{told} lock on account {account_id} is cleared; {after or 'no episode is open'}",
        decided=decided,
    )


def _agent_gone(transaction: Connection, request: Found, context: DecisionContext) -> Answer:
    because = f"out of service, says {request.asked_by}: {request.detail}"
    count = moves.release_of_agent(transaction, request.subject, because, now_ms=context.now_ms)
    if not count:
        return _refuse(
            f"no meter waits for agent {request.subject!r}: import its meters behind another first"
        )
    return Answer(
        result=f"{count} meters that left {request.subject} wait for its roster no longer, only"
        " for its commands that may still act"
    )


Act = Callable[[Connection, Found, DecisionContext], Answer]

ACTS: dict[RequestKind, Act] = {
    RequestKind.TICKET_DONE: _ticket_done,
    RequestKind.TICKET_RETRY: _ticket_retry,
    RequestKind.LOCK_PLACE: _lock_place,
    RequestKind.LOCK_CLEAR: _lock_clear,
    RequestKind.AGENT_GONE: _agent_gone,
}

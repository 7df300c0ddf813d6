"""Each invariant's check can fail: a bug is planted in the product, and some seed names it.

What a bug breaks first may be another invariant, or the schema may refuse it; among a few seeds one
must end with the number of the invariant the bug is about.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest
from sqlalchemy import bindparam, update
from sqlalchemy.exc import OperationalError

from cloud import decisions, ledger, locks, moves, outbox, payments, schema
from cloud.engine import Engine
from cloud.intake.spool import Spool, StoreUnavailableError, Taken
from edge_agent import relay
from edge_agent.command_rows import CommandRows
from edge_agent.commands import Commands
from edge_agent.greeting import Greeting, _Nonce
from edge_agent.unfinished import Pending
from tests.simulation.seeds import outcome
from wire.vocabulary import Outcome

SEEDS_MAX = 60  # ten seconds at most: a check that needs more is too weak to trust
Plant = Callable[[pytest.MonkeyPatch], None]


def answers_before_storing(patch: pytest.MonkeyPatch) -> None:
    """I1: the intake answers 200 although its disk refused the report."""
    take_in = Spool.take_in

    def careless(spool, reports):
        try:
            return take_in(spool, reports)
        except StoreUnavailableError:
            return [Taken(is_duplicate=False) for _ in reports]

    patch.setattr(Spool, "take_in", careless)


def receipts_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """I1: what the engine says leaves although its transaction failed."""
    turn, handle = Engine.turn, Engine._handle

    def careless(engine, deliveries, **when):
        said = []

        def remembered(*given):
            said.extend(handle(engine, *given))
            return said

        patch.setattr(engine, "_handle", remembered, raising=False)
        try:
            return turn(engine, deliveries, **when)
        except OperationalError:
            return said

    patch.setattr(Engine, "turn", careless)


def posts_what_a_person_must_see(patch: pytest.MonkeyPatch) -> None:
    """I2: dollars and recordings are posted like any capture."""
    patch.setattr(payments, "_judge_contents", lambda *_: None)


def posts_one_side(patch: pytest.MonkeyPatch) -> None:
    """I3: a posting writes its debit alone."""
    entries = ledger._entries
    patch.setattr(ledger, "_entries", lambda *given: entries(*given)[:1])


def names_another_decision(patch: pytest.MonkeyPatch) -> None:
    """I4: the digest that goes out is not that of the decision's record."""
    record = decisions._record

    def other(*given):
        made = record(*given)
        return made | {"digest": sha256(b"another" + made["record"]).digest()}

    patch.setattr(decisions, "_record", other)


def closes_unpaid(patch: pytest.MonkeyPatch) -> None:
    """I4: half of the quote is enough."""
    credited = ledger.credited_to

    def doubled(*given):
        return {one: (2 * paise, at_ms) for one, (paise, at_ms) in credited(*given).items()}

    patch.setattr(ledger, "credited_to", doubled)


def believes_old_welcomes(patch: pytest.MonkeyPatch) -> None:
    """I5: a welcome for a nonce of another boot counts."""

    def careless(greeting, checked):
        asked = _Nonce(nonce=checked.message.nonce, left_ms=greeting.elapsed_ms())
        greeting._nonces = (*greeting._nonces, asked)
        return True

    patch.setattr(Greeting, "answered", careless)


def acts_unjournaled(patch: pytest.MonkeyPatch) -> None:
    """I5: the relay is told to move and the journal does not say `actuating`."""
    write = Commands._write

    def careless(commands, row):
        if row.step != "actuating":
            write(commands, row)

    patch.setattr(Commands, "_write", careless)


def forgets_that_it_acts(patch: pytest.MonkeyPatch) -> None:
    """I6: what was told to move is superseded or withdrawn as if it had not."""
    patch.setattr(Pending, "is_acting", property(lambda _: False))


def forgets_counters(patch: pytest.MonkeyPatch) -> None:
    """I7: an accepted counter is not remembered."""
    patch.setattr(CommandRows, "raise_highest", lambda *_: None)


def forgets_moves(patch: pytest.MonkeyPatch) -> None:
    """I7: a meter is its new agent's at once, while the old one still works by its old roster."""
    patch.setattr(moves, "begin", lambda *_, **__: None)


def says_closed_unread(patch: pytest.MonkeyPatch) -> None:
    """I8: an ACTION that was answered is called closed, whatever the contact did."""
    patch.setattr(relay, "moved_to", lambda *_: Outcome.CLOSED)


def invents_readings(patch: pytest.MonkeyPatch) -> None:
    """I8: the acknowledgement shows a closed contact that nobody read."""
    finish = Commands._finish

    def careless(commands, pending, result, running_ms):
        after = result.after and msgspec.structs.replace(result.after, output=True)
        finish(commands, pending, replace(result, after=after), running_ms)

    patch.setattr(Commands, "_finish", careless)


def forgets_the_lapsed(patch: pytest.MonkeyPatch) -> None:
    """I9: a close that nobody answered is ended, and its episode not decided again."""
    end_lapsed = outbox.end_lapsed

    def careless(*given, **when):
        end_lapsed(*given, **when)
        return set()

    patch.setattr(outbox, "end_lapsed", careless)


def sends_no_crew(patch: pytest.MonkeyPatch) -> None:
    """I9: no ticket is ever opened."""
    patch.setattr("cloud.tickets.open_tickets", lambda *_, **__: None)


def clears_every_lock(patch: pytest.MonkeyPatch) -> None:
    """I10: a payment clears whatever stands."""
    every = (
        update(schema.locks)
        .where(schema.locks.c.account_id.in_(bindparam("account_ids", expanding=True)))
        .where(schema.locks.c.cleared_at_ms.is_(None))
        .where(bindparam("of_kind") != "")
        .values(cleared_at_ms=bindparam("at_ms"), cleared_because=bindparam("why"))
    )
    patch.setattr(locks, "_CLEAR", every)


PLANTED: dict[str, tuple[Plant, ...]] = {
    "I1": (answers_before_storing, receipts_before_the_commit),
    "I2": (posts_what_a_person_must_see,),
    "I3": (posts_one_side,),
    "I4": (names_another_decision, closes_unpaid),
    "I5": (believes_old_welcomes, acts_unjournaled),
    "I6": (forgets_that_it_acts,),
    "I7": (forgets_counters, forgets_moves),
    "I8": (says_closed_unread, invents_readings),
    "I9": (forgets_the_lapsed, sends_no_crew),
    "I10": (clears_every_lock,),
}


@pytest.mark.parametrize(
    ("invariant", "plant"),
    [
        pytest.param(invariant, plant, id=f"{invariant}-{plant.__name__}")
        for invariant, plants in PLANTED.items()
        for plant in plants
    ],
)
def test_planted_bug_is_named(
    invariant: str, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    told = []
    for seed in range(SEEDS_MAX):
        told.append(outcome(seed).failure)
        if invariant in re.findall(r"\bI[0-9]+(?=:)", told[-1]):
            return
    pytest.fail(f"{plant.__name__} was not called {invariant}: {told}")


def test_every_invariant_of_the_walk_has_a_planted_bug() -> None:
    assert list(PLANTED) == [f"I{number}" for number in range(1, 11)]

"""One look says what the clock has made due; a second with nothing due costs one statement."""

from collections.abc import Callable
from dataclasses import fields

import pytest
from sqlalchemy import event, insert

from cloud import timers
from cloud.outbox import LADDER_MS, LAPSE_MS, LIFE_MS, RESEND_AFTER_MS
from cloud.schema import batches, freezes, locks, moves, requests
from cloud.tickets import TICKET_AFTER_MS
from tests.cloud.engine_world import SECOND_MS, World, sent
from wire.vocabulary import Outcome

# Until when the thing is not due, counted from the act before it.
WAITS_MS = {
    "commands_wait": LADDER_MS[1],
    "resends": RESEND_AFTER_MS[0],
    "lapsed": 1 + LIFE_MS + LAPSE_MS + 1,  # its counter is above the floor, and lives from there
    "dark_too_long": TICKET_AFTER_MS,
    "pending_locks": 0,
    "moves": 0,
    "requests": 0,
    "freezes": 0,
    "opens": 0,
}


def fail_a_close(world: World) -> None:
    (close,) = sent(world.pay())
    agent = world.agents["AG-1"]
    world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))


def pay_now(world: World) -> None:
    world.pay(world.item(happened_at_ms=world.now_ms))


def place(world: World) -> None:
    row = {"account_id": "A-1", "kind": "theft", "owner": "vigilance", "document": "FIR 1"}
    world.execute(insert(locks), row | {"placed_at_ms": world.now_ms})


def move(world: World) -> None:
    world.add_agent("AG-2")
    row = {"meter_id": "M-1", "from_agent_id": "AG-1", "to_agent_id": "AG-2"}
    world.execute(insert(moves), row | {"moved_at_ms": world.now_ms})


def ask(world: World) -> None:
    row = {"kind": "ticket_done", "subject": "1", "detail": "lit", "asked_by": "crew 4"}
    world.execute(insert(requests), row | {"asked_at_ms": world.now_ms})


def stop(world: World) -> None:
    row = {"kind": "stop", "number_ms": world.now_ms, "note": "", "envelope": b"stop"}
    world.execute(insert(freezes), row | {"taken_at_ms": world.now_ms})


def propose(world: World) -> None:
    row = {"batch": b"b" * 16, "requester": "V. Rao", "reason": "arrears", "total": 1}
    row |= {"digest": b"", "proposed_at_ms": world.now_ms, "expires_at_ms": world.now_ms + 1}
    world.execute(insert(batches), row | {"state": "canary", "state_at_ms": world.now_ms})


ACTS: dict[str, Callable[[World], object]] = {
    "commands_wait": fail_a_close,
    "resends": World.pay,
    "lapsed": World.pay,
    "dark_too_long": pay_now,
    "pending_locks": place,
    "moves": move,
    "requests": ask,
    "freezes": stop,
    "opens": propose,
}


def due(world: World, name: str, *, at_ms: int) -> bool:
    with world.transaction() as transaction:
        return bool(getattr(timers.look(transaction, now_ms=at_ms), name))


@pytest.mark.parametrize("name", [one.name for one in fields(timers.Due)[1:]])
def test_look_sees_each_timer_when_its_time_has_come_and_not_before(world: World, name: str):
    assert not due(world, name, at_ms=world.now_ms + LIFE_MS)
    ACTS[name](world)
    ripe_ms = world.now_ms + WAITS_MS[name]
    if WAITS_MS[name]:
        assert not due(world, name, at_ms=ripe_ms - 1)
    assert due(world, name, at_ms=ripe_ms)


def test_second_with_nothing_due_costs_one_look(world: World):
    world.later(SECOND_MS)
    statements: list[str] = []
    event.listen(world.store, "before_cursor_execute", lambda *given: statements.append(given[2]))
    world.later(SECOND_MS)
    assert [one.split()[0] for one in statements] == ["BEGIN", "SELECT"]

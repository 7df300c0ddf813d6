"""Stop and resume in the engine: kept once, the maxima decide, everybody is told (R9, R13)."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, event, insert, select
from sqlalchemy.exc import OperationalError

from cloud import freezes
from cloud.engine import SWEEP_EVERY_MS
from cloud.freezes import FUTURE_MAX_MS, PAGE_MAX, Answer, Brought
from cloud.publisher import Outgoing
from cloud.schema import acts, agents, alarms, ledger, spools
from cloud.schema import freezes as rows_of_freezes
from tests.cloud.agent_by_hand import Message
from tests.cloud.engine_world import MINUTE_MS, World, welcome
from tests.wire.installation import INTAKE, keyring, sealed
from wire.checking import Checked, check
from wire.decoding import encode
from wire.documents import Resume, Stop

BOTH = ("approver-1", "approver-2")


def stop(number_ms: int, *names: str, topic: str = "stop") -> Message:
    body = encode(Stop(number_ms=number_ms, note="a fault in the network"))
    return Message(topic, sealed("stop", body, *(names or ("stop",))), is_retained=True)


def resume(lifts_ms: int, *names: str) -> Message:
    body = encode(Resume(lifts_ms=lifts_ms, note="mended"))
    return Message("resume", sealed("resume", body, *(names or BOTH)))


def is_frozen(world: World) -> bool:
    with world.transaction() as transaction:
        return freezes.frozen(transaction)


def marks(world: World) -> tuple[int, int]:
    with world.transaction() as transaction:
        return freezes.marks(transaction)


def about(outgoing: Sequence[Outgoing]) -> list[tuple[str, bytes, bool]]:
    return [
        (one.topic, one.payload, one.is_retained)
        for one in outgoing
        if one.topic.partition("/")[0] in ("stop", "resume")
    ]


def restore(world: World) -> int:
    """As `relight restore` leaves the ledger's row."""
    world.put(
        ledger, generation_ms=world.now_ms, restored_at_ms=world.now_ms,
        opens_frozen_since_ms=world.now_ms,
    )  # fmt: skip
    world.start()
    return world.now_ms


def take(world: World, message: Message) -> Answer:
    """As a command of `relight` does, beside the engine."""
    checked = check(message, keyring(), at_ms=world.now_ms)
    assert isinstance(checked, Checked)
    with world.transaction() as transaction:
        brought = Brought(checked=checked, envelope=message.payload)
        return freezes.take(transaction, brought, now_ms=world.now_ms)


def test_nothing_is_frozen_before_anybody_stops(world: World):
    assert not is_frozen(world)
    assert marks(world) == (0, 0)
    assert about(world.later(SWEEP_EVERY_MS)) == []


@pytest.mark.parametrize("signer", ["stop", "approver-1", "guard", "engine"])
def test_stop_of_one_key_freezes_and_is_told_to_everybody_at_once(world: World, signer: str):
    message = stop(world.now_ms, signer)
    outgoing = world.turn(message)
    assert is_frozen(world)
    assert about(outgoing) == [
        ("stop", message.payload, True),
        ("stop/AG-1", message.payload, False),
    ]


def test_resume_of_two_approvers_lifts_and_is_told_to_everybody(world: World):
    world.turn(stop(world.now_ms))
    message = resume(world.now_ms)
    outgoing = about(world.turn(message))
    assert not is_frozen(world)
    assert ("resume", message.payload, True) in outgoing
    assert ("resume/AG-1", message.payload, False) in outgoing


@pytest.mark.parametrize(
    "signers",
    [("approver-1",), ("approver-1", "approver-1-second-key"), ("stop",), ("engine", "guard")],
)
def test_resume_without_two_approvers_lifts_nothing(world: World, signers: tuple[str, ...]):
    world.turn(stop(world.now_ms))
    world.turn(resume(world.now_ms, *signers))
    assert is_frozen(world)


def test_stop_of_a_key_with_another_role_freezes_nothing(world: World):
    world.turn(stop(world.now_ms, "intake"))
    assert not is_frozen(world)


def test_replayed_resume_that_is_older_than_the_stop_changes_nothing(world: World):
    world.turn(stop(world.now_ms))
    lifted = resume(world.now_ms)
    world.turn(lifted)
    world.now_ms += MINUTE_MS
    world.turn(stop(world.now_ms))
    before = world.everything()
    assert about(world.turn(lifted, resume(world.now_ms - MINUTE_MS))) == []
    assert is_frozen(world)
    assert world.everything() == before


def test_order_does_not_matter(world: World):
    first = world.now_ms
    world.now_ms += MINUTE_MS
    world.turn(resume(world.now_ms))
    world.turn(stop(first))
    assert not is_frozen(world)
    world.turn(stop(world.now_ms + 1))
    assert is_frozen(world)


@pytest.mark.parametrize("document", [stop, resume])
def test_number_of_later_than_a_minute_ahead_is_ignored_with_one_alarm(world: World, document):
    world.turn(document(world.now_ms + FUTURE_MAX_MS))
    kept = marks(world)
    ahead = document(world.now_ms + FUTURE_MAX_MS + 1)
    world.turn(ahead, ahead)
    world.turn(ahead)
    assert marks(world) == kept
    assert world.alarm_codes() == [f"{document.__name__}_from_future"]
    assert len(world.rows(select(rows_of_freezes))) == 1


def test_each_is_an_act_of_whoever_signed_it(world: World):
    number = world.now_ms
    world.turn(stop(number), stop(number), resume(number))
    found = [(row.who, row.act, row.subject, row.detail) for row in world.rows(select(acts))]
    assert found == [
        ("control-room-1", "stop", str(number), "a fault in the network"),
        ("A. Verma, S. Khan", "resume", str(number), "mended"),
    ]


def test_welcome_carries_the_marks_and_the_documents_come_behind_it(world: World):
    """An agent that was away learns it before anything else is sent to it."""
    number = world.now_ms
    frozen, lifted = stop(number), resume(number - 1)
    world.turn(frozen, lifted)
    outgoing = world.turn(world.agents["AG-1"].hello())
    told = welcome(outgoing)
    assert (told.stop_ms, told.lifted_ms) == (number, number - 1)
    assert [one.topic for one in outgoing][:3] == ["welcome/AG-1", "stop/AG-1", "resume/AG-1"]
    assert [one.payload for one in outgoing][1:3] == [frozen.payload, lifted.payload]


def test_agent_whose_hello_shows_the_numbers_is_not_told_again(world: World):
    world.turn(stop(world.now_ms), resume(world.now_ms))
    hello = world.agents["AG-1"].hello(stop_ms=world.now_ms, lifted_ms=world.now_ms)
    assert about(world.turn(hello)) == []
    row = world.one(select(agents))
    assert (row.stop_ms, row.lifted_ms) == (world.now_ms, world.now_ms)
    world.engine.connected()
    assert [topic for topic, *_ in about(world.later(SWEEP_EVERY_MS))] == ["stop", "resume"]


def crowd(world: World, count: int) -> set[str]:
    names = {f"AG-{number:04}" for number in range(count)}
    world.execute(insert(agents), [{"agent_id": name} for name in sorted(names)])
    return names


def told_agents(outgoing: Sequence[Outgoing]) -> list[str]:
    return [topic.partition("/")[2] for topic, *_ in about(outgoing) if "/" in topic]


def test_a_fleet_is_told_in_pages_and_nobody_is_left_out_or_told_twice(empty: World):
    names = crowd(empty, 2 * PAGE_MAX + 1)
    pages = [told_agents(empty.turn(stop(empty.now_ms)))]
    pages += [told_agents(empty.later(SWEEP_EVERY_MS)) for _ in range(4)]
    assert [len(page) for page in pages] == [PAGE_MAX, PAGE_MAX, 1, 0, 0]
    assert set().union(*pages) == names


def test_stop_that_comes_while_a_page_waits_is_told_to_all(empty: World):
    names = crowd(empty, PAGE_MAX + 1)
    empty.turn(stop(empty.now_ms))
    second = stop(empty.now_ms + 1)
    told = empty.turn(second) + empty.later(SWEEP_EVERY_MS)
    assert sorted(told_agents(told)) == sorted(names)
    assert {payload for _, payload, _ in about(told)} == {second.payload}


def test_page_of_a_turn_that_failed_is_told_by_the_next(empty: World):
    names = crowd(empty, PAGE_MAX + 1)
    first = told_agents(empty.turn(stop(empty.now_ms)))

    def fail(_: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("disk full"))

    event.listen(empty.store, "commit", fail)
    with pytest.raises(OperationalError):
        empty.later(SWEEP_EVERY_MS)
    event.remove(empty.store, "commit", fail)
    rest = told_agents(empty.later(SWEEP_EVERY_MS))
    assert (len(rest), {*first, *rest}) == (1, names)


def test_what_a_person_put_into_the_ledger_is_told_at_the_next_sweep(world: World):
    message = stop(world.now_ms)
    assert take(world, message).is_new
    assert [topic for topic, *_ in about(world.later(SWEEP_EVERY_MS))] == ["stop", "stop/AG-1"]
    assert about(world.later(SWEEP_EVERY_MS)) == []


@pytest.mark.parametrize("new", ["process", "connection"])
def test_everybody_is_told_again_by_a_new(world: World, new: str):
    """What was published on a connection that broke may have reached nobody."""
    world.turn(stop(world.now_ms))
    if new == "process":
        world.start()
    else:
        world.engine.connected()
    assert [topic for topic, *_ in about(world.later(SWEEP_EVERY_MS))] == ["stop", "stop/AG-1"]


def test_stop_after_a_resume_from_a_clock_ahead_is_above_what_was_lifted(world: World):
    world.turn(resume(world.now_ms + FUTURE_MAX_MS - 1))
    with world.transaction() as transaction:
        number = freezes.next_stop_ms(transaction, now_ms=world.now_ms)
    world.turn(stop(number))
    assert is_frozen(world)


# After a restore


def test_restored_ledger_is_frozen_and_says_so_in_welcomes(world: World):
    frozen_ms = restore(world)
    assert is_frozen(world)
    assert welcome(world.turn(world.agents["AG-1"].hello())).stop_ms == frozen_ms


def test_freeze_of_a_restore_is_lifted_by_two_approvers_once_everybody_knows_the_ledger(
    world: World,
):
    frozen_ms = restore(world)
    message = resume(frozen_ms)
    world.turn(message)
    assert is_frozen(world)
    assert marks(world) == (frozen_ms, 0)
    assert world.alarm_codes()[-1] == "resume_too_early"
    detail = world.rows(select(alarms))[-1].detail
    assert "0 of 1 agents have said hello to the restored ledger" in detail
    assert f"intake {INTAKE} has not spoken to the restored ledger yet" in detail
    world.now_ms += MINUTE_MS
    world.turn(world.agents["AG-1"].hello(generation_ms=frozen_ms))
    world.turn(world.watermark(generation_ms=frozen_ms))
    world.turn(message)  # the same document: nothing of it was kept
    assert not is_frozen(world)
    assert marks(world) == (0, frozen_ms)


def test_resume_below_the_restore_lifts_what_it_names_and_not_the_restore(world: World):
    world.turn(stop(world.now_ms))
    world.now_ms += MINUTE_MS
    frozen_ms = restore(world)
    world.turn(resume(frozen_ms - 1))
    assert is_frozen(world)
    assert marks(world) == (frozen_ms, frozen_ms - 1)


def test_ledger_that_was_never_restored_lifts_its_freeze_without_asking(world: World):
    world.put(ledger, opens_frozen_since_ms=world.now_ms)
    assert world.rows(select(spools)) == []
    with world.transaction() as transaction:
        assert freezes.lift_restored(transaction, world.now_ms - 1) == ()
        assert freezes.frozen(transaction)
        assert freezes.lift_restored(transaction, world.now_ms) == ()
        assert not freezes.frozen(transaction)

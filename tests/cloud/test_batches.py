"""Files of intended opens, and the lifecycles of batches and proposals."""

from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from cloud import batches
from cloud.batches import (
    BATCH_TRANSITIONS,
    PROPOSAL_TRANSITIONS,
    BatchEvent,
    ProposalEvent,
    apply_to_batch,
)
from cloud.import_proposals import ProposalFile, Proposed, propose
from cloud.schema import acts, commands, decisions, proposals
from cloud.schema import batches as batch_rows
from cloud.vocabulary import BatchState, ProposalState
from tests.cloud.engine_world import World

HEADER = "account_id,meter_id,sum,notice_served_on,notice_proof"


@pytest.fixture
def homes(empty: World) -> World:
    """Agent AG-1 with twelve homes that have supply."""
    empty.add_agent("AG-1")
    for number in range(1, 13):
        empty.add_home(number)
    return empty


def line(number: int, **cells: str) -> str:
    told = {
        "account": f"A-{number}",
        "meter": f"M-{number}",
        "sum": "2000.00",
        "served": "2026-09-01",
        "proof": "speed post EM123",
    }
    return ",".join((told | cells).values())


def given(world: World, *lines: str, header: str = HEADER, **asked: object) -> Proposed:
    path = world.path.parent / "opens.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    told: dict[str, object] = {"path": path, "requester": "V. Rao", "reason": "arrears of August"}
    file = ProposalFile(**(told | asked))  # type: ignore[arg-type]  # as each test says it
    return propose(world.store, file, now_ms=world.now_ms, random_bytes=world.random_bytes)


def states(world: World) -> list[str]:
    return [row.state for row in world.rows(select(proposals).order_by(proposals.c.id))]


def batch_state(world: World) -> str:
    return str(world.value(select(batch_rows.c.state)))


def test_file_within_the_caps_becomes_a_batch_that_begins_with_its_canary(homes: World):
    made = given(homes, *(line(number) for number in range(1, 4)))
    assert (made.is_good, made.opens, made.sum_paise) == (True, 3, 600_000)
    assert (made.state, batch_state(homes)) == (BatchState.CANARY, "canary")
    assert states(homes) == ["proposed"] * 3
    row = homes.one(select(proposals).where(proposals.c.meter_id == "M-2"))
    assert (row.account_id, row.sum_paise, row.notice_proof) == (
        "A-2",
        200_000,
        "speed post EM123",
    )


def test_batch_beyond_the_caps_of_the_day_awaits_two_approvers(homes: World):
    """Twelve of twelve meters: the day of a small company has ten."""
    assert given(homes, *(line(n) for n in range(1, 13))).state is BatchState.AWAITING


def test_two_halves_of_what_is_too_much_are_no_two_small_batches(homes: World):
    assert given(homes, *(line(n) for n in range(1, 7))).state is BatchState.CANARY
    assert given(homes, *(line(n) for n in range(7, 13))).state is BatchState.AWAITING


def test_first_ten_by_meter_are_the_canary(homes: World):
    given(homes, *(line(n) for n in reversed(range(1, 13))))
    rest = select(proposals.c.meter_id).where(proposals.c.is_canary == 0)
    assert [row.meter_id for row in homes.rows(rest)] == ["M-8", "M-9"]


BAD = {
    "A-99,M-1,2000.00,2026-09-01,post": "account_id 'A-99' is no known account",
    "A-1,M-99,2000.00,2026-09-01,post": "meter_id 'M-99' is no known meter",
    "A-1,M-2,2000.00,2026-09-01,post": "meter_id 'M-2' measures account A-2, not A-1",
    "A-1,M-1,0.00,2026-09-01,post": "must be more than nothing",
    "A-1,M-1,2000.00,2026-12-01,post": "was served in the future",
    "A-1,M-1,2000.00,2026-09-01,": "is no proof",
}


@pytest.mark.parametrize("wrong", BAD)
def test_one_bad_row_and_nothing_of_the_file_is_proposed(homes: World, wrong: str):
    made = given(homes, line(3), wrong)
    assert not made.is_good
    assert any(BAD[wrong] in told and ":3:" in told for told in made.lines())
    assert states(homes) == []
    assert homes.rows(select(acts)) == []


def test_meter_named_twice_is_refused_with_both_lines(homes: World):
    made = given(homes, line(1), line(1))
    assert any("M-1' stands in line 2 already" in told for told in made.lines())


def test_meter_of_a_standing_proposal_is_not_proposed_again(homes: World):
    given(homes, line(1))
    again = given(homes, line(1))
    assert any("is proposed in batch 1 already" in told for told in again.lines())
    batches_made = homes.value(select(func.count()).select_from(batch_rows))
    assert batches_made == 1


def test_dry_run_writes_nothing(homes: World):
    made = given(homes, line(1), is_dry_run=True)
    assert "dry run" in made.lines()[0]
    assert (states(homes), homes.rows(select(acts))) == ([], [])


@pytest.mark.parametrize("wrong", [{"requester": " "}, {"reason": "x" * 65}, {"reason": "क"}])
def test_nobody_or_no_reason_that_an_approver_could_sign_is_refused(homes: World, wrong):
    with pytest.raises(ValueError, match="printable ASCII"):
        given(homes, line(1), **wrong)


def test_who_proposes_and_who_cancels_is_an_act(homes: World):
    given(homes, line(1), line(2))
    with homes.transaction() as transaction:
        told = batches.cancel(transaction, 1, "S. Khan", now_ms=homes.now_ms)
    assert told == "2 opens cancelled"
    assert (batch_state(homes), states(homes)) == ("cancelled", ["cancelled"] * 2)
    noted = [(row.who, row.act, row.subject) for row in homes.rows(select(acts))]
    assert noted == [("V. Rao", "propose", "batch 1"), ("S. Khan", "cancel", "batch 1")]
    again = given(homes, line(1))
    assert again.is_good  # a cancelled proposal stands in nobody's way


def test_what_ended_is_not_cancelled_again(homes: World):
    given(homes, line(1))
    with homes.transaction() as transaction:
        batches.cancel(transaction, 1, "S. Khan", now_ms=homes.now_ms)
    with homes.transaction() as transaction, pytest.raises(ValueError, match="cancelled already"):
        batches.cancel(transaction, 1, "S. Khan", now_ms=homes.now_ms)
    with homes.transaction() as transaction, pytest.raises(ValueError, match="no batch 7"):
        batches.cancel(transaction, 7, "S. Khan", now_ms=homes.now_ms)


def sent(world: World, state: str) -> None:
    """The proposal 1 is sent; its open is in this state."""
    digest = b"d" * 32
    decision = {"digest": digest, "record": b"r", "proposal_id": 1, "verdict": "open"}
    world.execute(insert(decisions), decision | {"reasons": "", "decided_at_ms": 0})
    world.execute(update(proposals).where(proposals.c.id == 1).values(state="sent"))
    row = {"action": "open", "meter_id": "M-1", "agent_id": "AG-1", "proposal_id": 1}
    row |= {"decision": digest, "state": state, "queued_at_ms": 0, "due_at_ms": 0}
    world.execute(insert(commands), row)


@pytest.mark.parametrize(
    ("command", "then", "proposal"),
    [
        ("queued", "dropped", "cancelled"),
        ("half_signed", "dropped", "cancelled"),
        ("published", "published", "sent"),
    ],
)
def test_cancelling_drops_what_nobody_was_sent_yet(homes: World, command, then, proposal):
    given(homes, line(1))
    sent(homes, command)
    with homes.transaction() as transaction:
        told = batches.cancel(transaction, 1, "S. Khan", now_ms=homes.now_ms)
    assert (homes.command().state, states(homes)) == (then, [proposal])
    assert ("1 were sent already" in told) == (command == "published")


@pytest.mark.parametrize("event", ProposalEvent)
@pytest.mark.parametrize("state", ProposalState)
def test_proposal_moves_as_its_table_says_and_no_other_way(homes: World, state, event):
    given(homes, line(1))
    homes.put(proposals, state=state.value)
    with homes.transaction() as transaction:
        batches.apply(transaction, event, {1: "why"}, now_ms=homes.now_ms)
    assert states(homes) == [PROPOSAL_TRANSITIONS.get((state, event), state).value]


@pytest.mark.parametrize("event", BatchEvent)
@pytest.mark.parametrize("state", BatchState)
def test_batch_moves_as_its_table_says_and_no_other_way(homes: World, state, event):
    given(homes, line(1))
    homes.put(batch_rows, state=state.value)
    with homes.transaction() as transaction:
        row = batches.find(transaction, 1)
        target = apply_to_batch(transaction, event, row, "why", now_ms=homes.now_ms)
    assert target is BATCH_TRANSITIONS.get((state, event))
    assert batch_state(homes) == (target or state).value


def test_file_that_is_not_there_is_the_callers_error(homes: World):
    with pytest.raises(OSError, match="nowhere"):
        given(homes, path=Path("nowhere.csv"))

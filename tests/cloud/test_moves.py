"""A meter goes to another agent; nothing is signed for it until the old one is over (R16)."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from cloud.import_job import ImportReport
from cloud.imports import import_file
from cloud.moves import BY_ROSTER, BY_TIME, CAME_BACK, ROSTER_WAIT_MS
from cloud.outbox import LAPSE_MS, LIFE_MS
from cloud.requests import Request, ask
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import agents, commands, meters, moves, requests
from cloud.store import Found
from cloud.vocabulary import CommandState, RequestKind
from tests.cloud.agent_by_hand import AgentByHand, Sent
from tests.cloud.engine_world import QUOTE_PAISE, SECOND_MS, World, sent
from wire.vocabulary import Action, Outcome, PaymentKind, RefusalReason

COLUMNS = "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer"
SOON_MS = 2 * SECOND_MS  # two sweeps


class Field:
    """Home 1 behind AG-1, and other agents that its meter can go to."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.old = world.agents["AG-1"]
        self.new = world.add_agent("AG-2")
        self.third = world.add_agent("AG-3")
        world.start()  # it knows their keys from its start
        for agent in (self.old, self.new, self.third):
            world.turn(agent.hello())

    def bring(self, agent: str, version: int | str = "") -> ImportReport:
        path = self.folder / "meters.csv"
        row = f"M-1,A-1,{agent},2022-05-10,2022-05-11,F-1,T-1,{version}"
        path.write_text(f"{COLUMNS},old_roster_version\n{row}\n")
        return import_file(
            self.world.store, "meters", path, now_ms=self.world.now_ms, is_dry_run=False,
            policy=MP_WEST_FIRST_PHASE,
        )  # fmt: skip

    def move(self, agent: str, version: int | str = "") -> None:
        assert self.bring(agent, version).changed == 1

    def the_move(self) -> Found:
        return self.world.one(select(moves))

    def close(self) -> Sent:
        """The payment's close, on its way to the agent the meter has."""
        (one,) = sent(self.world.pay())
        return one

    def hears(self, agent: AgentByHand, version: int) -> list[Sent]:
        return sent(self.world.turn(agent.hello(roster_version=version)))


@pytest.fixture
def field(world: World, tmp_path: Path) -> Field:
    return Field(world, tmp_path)


def test_import_with_another_agent_moves_the_meter(field: Field):
    field.move("AG-2", 7)
    row = field.the_move()
    assert (row.from_agent_id, row.to_agent_id) == ("AG-1", "AG-2")
    assert (row.without_from_version, row.released_at_ms) == (7, None)
    assert field.world.one(select(meters)).agent_id == "AG-2"


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "seven"])
def test_roster_version_that_is_no_number_is_refused(field: Field, version: str):
    assert not field.bring("AG-2", version).is_good
    assert field.world.rows(select(moves)) == []


def test_nothing_is_signed_for_the_new_agent_while_the_move_is_open(field: Field):
    field.move("AG-2", 7)
    assert sent(field.world.pay()) == []
    assert field.hears(field.new, 1) == []
    assert sent(field.world.later(SOON_MS)) == []
    assert field.world.command().agent_id == "AG-2"


def test_roster_of_the_old_agent_without_the_meter_releases_it(field: Field):
    field.move("AG-2", 7)
    field.world.pay()
    field.hears(field.old, 6)
    assert sent(field.world.later(SOON_MS)) == []
    field.hears(field.old, 7)
    assert field.the_move().released_because == BY_ROSTER
    (close,) = sent(field.world.later(SOON_MS))
    assert close.body.agent == "AG-2"


def test_roster_that_the_old_agent_showed_before_the_import_counts(field: Field):
    field.hears(field.old, 7)
    field.move("AG-2", 7)
    field.world.pay()
    assert len(sent(field.world.later(SOON_MS))) == 1


def test_without_a_word_of_the_old_agent_the_meter_waits_a_day(field: Field):
    field.move("AG-2")
    field.world.pay()
    field.hears(field.old, 99)
    assert sent(field.world.later(ROSTER_WAIT_MS - 1)) == []
    assert len(sent(field.world.later(SOON_MS))) == 1
    assert field.the_move().released_because == BY_TIME


def gone(world: World, agent: str) -> str:
    with world.transaction() as transaction:
        request = Request(
            kind=RequestKind.AGENT_GONE, subject=agent, detail="stolen", asked_by="S. Khan"
        )
        ask(transaction, request, now_ms=world.now_ms)
    world.later(SOON_MS)
    return str(world.rows(select(requests.c.result))[-1].result)


def test_person_who_says_the_old_agent_is_gone_releases_its_meters(field: Field):
    field.move("AG-2")
    field.world.pay()
    assert gone(field.world, "AG-1").startswith("1 meters")
    assert field.the_move().released_because == "out of service, says S. Khan: stolen"
    assert field.world.command().state == "published"


def test_agent_that_nothing_waits_for_cannot_be_said_gone(field: Field):
    assert gone(field.world, "AG-1").startswith("refused: no meter waits for agent 'AG-1'")


@pytest.mark.parametrize("how", ["roster", "gone"])
def test_command_that_the_old_agent_may_still_carry_out_is_waited_for(field: Field, how: str):
    """Its answer ends the wait, else 120 s behind its expiry."""
    field.close()
    field.move("AG-2", 7)
    if how == "roster":
        field.hears(field.old, 7)
    else:
        gone(field.world, "AG-1")
    assert field.the_move().released_at_ms is None
    expires_at_ms = field.world.command().expires_at_ms
    field.world.later(expires_at_ms + LAPSE_MS - field.world.now_ms)
    assert field.the_move().released_at_ms is None
    field.world.later(SOON_MS)
    assert field.the_move().released_at_ms is not None


def test_void_command_of_a_restarted_old_agent_is_waited_for_too(field: Field):
    field.close()
    field.move("AG-2", 7)
    field.old.restart()
    field.hears(field.old, 7)
    assert [one.state for one in field.world.commands()] == ["void", "queued"]
    assert sent(field.world.later(LIFE_MS)) == []
    (close,) = sent(field.world.later(LAPSE_MS + SOON_MS))
    assert close.body.agent == "AG-2"


def test_close_answered_at_the_old_agent_is_filed_and_ends_the_episode(field: Field):
    close = field.close()
    field.move("AG-2", 7)
    field.world.turn(field.old.says(field.old.final(close, Outcome.CLOSED)))
    assert field.world.episode().ended_at_ms is not None
    assert field.world.alarm_codes() == []
    field.hears(field.old, 7)
    field.world.later(SOON_MS)
    assert field.the_move().released_at_ms is not None
    assert len(field.world.commands()) == 1


def test_refusal_of_the_old_agent_is_decided_again_for_the_new_one(field: Field):
    """Its roster lost the meter before our close came."""
    close = field.close()
    field.move("AG-2", 7)
    refusal = field.old.final(close, Outcome.REFUSED, reason=RefusalReason.UNKNOWN_METER)
    field.world.turn(field.old.says(refusal))
    assert field.hears(field.old, 7) == []
    (again,) = sent(field.world.later(60 * SECOND_MS))
    assert again.body.agent == "AG-2"
    assert again.body.sequence_ms > close.body.sequence_ms


def test_queued_close_follows_the_meter_under_its_own_decision(field: Field):
    """I4, R14."""
    field.world.execute(update(agents).values(window=0))
    field.world.pay()
    before = field.world.command()
    field.move("AG-2", 7)
    after = field.world.command()
    assert (before.agent_id, after.agent_id) == ("AG-1", "AG-2")
    assert (after.id, after.decision) == (before.id, before.decision)
    (close,) = field.hears(field.new, 1) or [None]  # room is there, but the move is open
    assert close is None


def test_withdrawal_goes_to_the_agent_that_holds_the_close(field: Field):
    """R3: money went back while the meter was between two agents."""
    close = field.close()
    field.move("AG-2", 7)
    refund = field.world.item(
        kind=PaymentKind.REFUNDED, object_id="rfnd_1", amount_paise=QUOTE_PAISE
    )
    (withdrawal,) = sent(field.world.pay(refund))
    assert (withdrawal.body.action, withdrawal.body.agent) == (Action.WITHDRAW.value, "AG-1")
    field.hears(field.old, 7)
    field.world.turn(
        field.old.says(
            field.old.final(close, Outcome.WITHDRAWN),
            field.old.final(withdrawal, Outcome.WITHDREW),
        )
    )
    field.world.later(SOON_MS)
    assert field.the_move().released_at_ms is not None


def test_withdrawal_that_waits_at_the_move_stays_with_the_close(field: Field):
    field.close()
    refund = field.world.item(
        kind=PaymentKind.REFUNDED, object_id="rfnd_1", amount_paise=QUOTE_PAISE
    )
    field.world.pay(refund)
    waiting = update(commands).where(commands.c.action == Action.WITHDRAW.value)
    field.world.execute(waiting.values(state=CommandState.QUEUED.value))
    field.move("AG-2", 7)
    assert field.world.command(action=Action.WITHDRAW.value).agent_id == "AG-1"


def test_meter_that_comes_back_while_its_move_is_open_was_never_away(field: Field):
    """A -> B -> A: A's counters and floor hold (I7)."""
    first = field.close()
    field.move("AG-2", 7)
    field.world.turn(field.old.says(field.old.final(first, Outcome.UNREACHABLE)))
    field.move("AG-1")
    assert field.the_move().released_because == CAME_BACK
    (again,) = sent(field.world.later(60 * SECOND_MS))
    assert again.body.agent == "AG-1"
    assert again.body.sequence_ms > first.body.sequence_ms


def test_meter_that_goes_there_and_back_keeps_its_counters(field: Field):
    """I7: A -> B -> A with a close at each; counters per meter only rise."""
    counters = []
    for place, (agent, other) in enumerate(
        [(field.old, field.new), (field.new, field.old), (field.old, field.new)], 1
    ):
        close = field.close() if place == 1 else sent(field.world.later(400 * SECOND_MS))[0]
        assert close.body.agent == agent.agent_id
        counters.append(close.body.sequence_ms)
        field.world.turn(agent.says(agent.final(close, Outcome.UNREACHABLE)))
        field.move(other.agent_id, place)
        field.hears(agent, place)
    assert counters == sorted(set(counters))
    assert [row.released_because for row in field.world.rows(select(moves))] == 3 * [BY_ROSTER]


def test_meter_that_goes_on_to_a_third_agent_waits_for_the_first_alone(field: Field):
    field.close()
    field.move("AG-2", 7)
    field.move("AG-3")
    row = field.the_move()
    assert (row.from_agent_id, row.to_agent_id) == ("AG-1", "AG-3")
    field.hears(field.old, 7)
    assert sent(field.world.later(LIFE_MS + LAPSE_MS + SOON_MS)) == []  # a retry waits its time
    (close,) = sent(field.world.later(60 * SECOND_MS))
    assert close.body.agent == "AG-3"


def test_other_meters_of_both_agents_are_not_held_up(field: Field):
    field.world.add_home(2, "AG-1")
    field.world.add_home(3, "AG-2")
    for number in (2, 3):
        field.world.cut(number)
    field.move("AG-2", 7)
    items = [field.world.item(f"pay_{number}", account_hint=f"A-{number}") for number in (1, 2, 3)]
    assert {one.body.meter for one in sent(field.world.pay(*items))} == {"M-2", "M-3"}

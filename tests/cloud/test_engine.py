"""One turn is one transaction: it happens wholly, or it never happened (I1, I2, I3)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from cloud.engine import EngineSettings
from cloud.live import STEPS_PER_TURN_MAX, Live
from cloud.publisher import Signer
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import filed_items, payments
from tests.cloud.agent_by_hand import AgentByHand, Message
from tests.cloud.engine_world import SECOND_MS, World, filed, receipts, sent
from tests.wire.installation import EPOCH, INSTALLATION, authorities, key
from wire.vocabulary import Outcome


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """The database can grow by no page while this lasts."""

    def limit(dbapi_connection: object, *_: object) -> None:
        cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages}")

    world.store.dispose()
    event.listen(world.store, "connect", limit)
    yield
    event.remove(world.store, "connect", limit)
    world.store.dispose()


def many_payments(world: World, count: int) -> list[Message]:
    return world.report(*(world.item(f"pay_{n}", method="m" * 16) for n in range(count)))


def many_alarms(agent: AgentByHand) -> list[Message]:
    items = [agent.alarm("d" * 32, at) for at in range(256)]
    return [agent.says(*items[start : start + 64]) for start in range(0, 256, 64)]


def test_turn_on_a_full_disk_changes_nothing_and_sends_nothing(world: World):
    """I1, I2: the rim keeps the deliveries and offers them again."""
    messages = many_payments(world, 64)
    before = world.everything()
    with full_disk(world), pytest.raises(OperationalError, match="full"):
        world.turn(*messages)
    assert world.everything() == before
    assert world.engine._live.counts["decided"] == 0
    outgoing = world.turn(*messages)
    assert len(receipts(outgoing)) == 64
    assert len(world.rows(select(payments))) == 64
    assert len(sent(outgoing)) == 1


def test_failed_turn_leaves_no_word_that_its_items_are_filed(world: World):
    """R8, I3: an agent that heard `filed` may forget; what is not stored must never be named."""
    agent = world.agents["AG-1"]
    messages = many_alarms(agent)
    with full_disk(world), pytest.raises(OperationalError, match="full"):
        world.turn(*messages)
    assert filed(world.turn()) == []
    assert world.rows(select(filed_items)) == []
    (answer,) = filed(world.turn(*messages))
    assert answer.through == 256


def test_turn_that_fails_late_takes_its_early_steps_back(world: World):
    """A payment posted and decided, then the filing fails: neither happened."""
    agent = world.agents["AG-1"]
    messages = many_alarms(agent)
    before = world.everything()
    with full_disk(world), pytest.raises(OperationalError, match="full"):
        world.turn(*world.report(world.item()), *messages)
    assert world.everything() == before
    assert world.commands() == []


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("nonsense", b"x"),
        ("payment/00/RAZORPAY", b""),
        ("payment/00/RAZORPAY", b"\x00" * 20_000),
        ("hello/04/AG-1", b"\x93\x01\xc4\x00\x90"),
    ],
)
def test_junk_is_counted_and_changes_nothing(world: World, topic: str, payload: bytes):
    before = world.everything()
    assert world.turn(Message(topic, payload)) == []
    assert world.everything() == before
    assert sum(world.engine.junk.values()) == 1


def test_payment_on_anothers_shard_is_junk(world: World):
    """R18: the same payment must always meet the same worker."""
    (message,) = world.report(world.item())
    shard = int(message.topic.split("/")[1])
    moved = Message(f"payment/{(shard + 1) % 16:02d}/RAZORPAY", message.payload)
    assert world.turn(moved) == []
    assert world.rows(select(payments)) == []


def test_payment_retained_by_the_broker_is_junk(world: World):
    (message,) = world.report(world.item())
    assert world.turn(Message(message.topic, message.payload, is_retained=True)) == []
    assert world.rows(select(payments)) == []


def test_message_that_is_not_for_an_engine_is_junk(world: World):
    (close,) = sent(world.pay())
    assert world.turn(Message("command/AG-1/M-1", close.payload)) == []
    assert world.engine.junk["7 not for an engine"] == 1


def test_whole_walk_can_pass_in_one_turn_each_and_a_restart_between(world: World):
    """Nothing that matters lives in the engine's memory."""
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    world.start()
    (answer,) = filed(world.turn(agent.says(agent.final(close, Outcome.CLOSED))))
    assert answer.through == 1
    assert world.episode().state == "ended"
    world.start()
    assert world.turn() == []


def test_engine_with_a_key_of_another_epoch_does_not_start(world: World):
    signer = Signer(installation=INSTALLATION, key=key("engine"), epoch=EPOCH + 1)
    settings = EngineSettings(
        signer=signer,
        authorities=authorities(),
        identities={},
        policy=MP_WEST_FIRST_PHASE,
    )
    live = Live(key=b"live", is_development=True)
    with pytest.raises(ValueError, match="epoch 4, the ledger 3"):
        type(world.engine)(settings, world.store, live, world.random_bytes)


def test_live_topics_never_carry_meter_account_or_agent(world: World):
    """R21, R22: what anyone may watch tells no secret."""
    agent = world.agents["AG-1"]
    outgoing = world.pay()
    (close,) = sent(outgoing)
    outgoing += world.turn(agent.says(agent.received(close)))
    outgoing += world.turn(agent.says(agent.final(close, Outcome.CLOSED)))
    outgoing.append(world.engine.summary(now_ms=world.now_ms))
    live = [one for one in outgoing if one.topic.startswith("live/")]
    told = {name for one in live for name in STEPS if name.encode() in one.payload}
    assert told == set(STEPS)
    for one in live:
        for secret in ("M-1", "A-1", "AG-1", "pay_1"):
            assert secret not in one.topic
            assert secret.encode() not in one.payload


STEPS = ("decided", "published", "received", "closed")


def test_small_zone_is_not_named(world: World):
    steps = [one.topic for one in world.pay() if one.topic.startswith("live/step/")]
    assert set(steps) == {"live/step/OTHER"}


def test_pseudonym_changes_each_day(world: World):
    first = pseudonyms(world.pay(world.item(amount_paise=1)))
    same_day = pseudonyms(world.pay(world.item("pay_2", amount_paise=1)))
    world.now_ms += 86_400_000
    next_day = pseudonyms(world.pay(world.item("pay_3", amount_paise=1)))
    assert first == same_day
    assert first != next_day


def pseudonyms(outgoing) -> set[bytes]:
    return {one.payload.split(b'"')[3] for one in outgoing if one.topic.startswith("live/step/")}


def test_summary_counts_the_paid_but_dark_and_how_long_light_took(world: World):
    agent = world.agents["AG-1"]
    (close,) = sent(world.pay())
    assert b'"paid_but_dark":1' in world.engine.summary(now_ms=world.now_ms).payload
    world.now_ms += SECOND_MS
    world.turn(agent.says(agent.final(close, Outcome.CLOSED)))
    summary = world.engine.summary(now_ms=world.now_ms)
    assert summary.is_retained
    assert b'"paid_but_dark":0' in summary.payload
    assert b'"paid_to_closed_ms":{"p50":3000' in summary.payload


def test_storm_shows_a_bounded_number_of_steps(world: World):
    for number in range(2, STEPS_PER_TURN_MAX + 2):
        world.add_home(number)
        world.cut(number)
    numbers = range(1, STEPS_PER_TURN_MAX + 2)
    items = [world.item(f"pay_{n}", account_hint=f"A-{n}") for n in numbers]
    outgoing = world.pay(*items)
    assert sum(one.topic.startswith("live/step/") for one in outgoing) == STEPS_PER_TURN_MAX

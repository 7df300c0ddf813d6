"""Money as entries: double, append-only, folded; nothing posted twice (I2, I3)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from cloud import ledger
from cloud.acts import Act, note
from cloud.schema import APPEND_ONLY, entries, metadata
from cloud.vocabulary import EntryHead
from tests.cloud.engine_world import World, new_ledger

POSTINGS = [
    ledger.bill_posting, ledger.payment_posting, ledger.return_posting,
]  # fmt: skip
POSTED = st.lists(
    st.tuples(
        st.sampled_from(POSTINGS),
        st.sampled_from(["A-1", "A-2", "A-3"]),
        st.integers(min_value=1, max_value=2**40),
    ),
    max_size=30,
)
SIGN = {ledger.bill_posting: 1, ledger.payment_posting: -1, ledger.return_posting: 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlalchemy.Engine]:
    made = new_ledger(Path(tmp_path_factory.mktemp("ledger")) / "ledger.db")
    yield made
    made.dispose()


@settings(deadline=None, max_examples=60)
@given(posted=POSTED)
def test_debits_equal_credits_at_every_prefix_and_balances_are_folds(store, posted):
    """I3."""
    expected: Counter[str] = Counter()
    with store.connect() as connection, connection.begin() as transaction:
        for number, (make, account_id, paise) in enumerate(posted):
            ledger.post(connection, [make(f"fact {number}", account_id, paise)], now_ms=number)
            expected[account_id] += SIGN[make] * paise
            assert connection.scalar(select(func.sum(entries.c.amount_paise))) == 0
        folded = ledger.balances(connection, ["A-1", "A-2", "A-3"])
        assert folded == {account: expected[account] for account in expected}
        transaction.rollback()


def test_same_posting_twice_is_refused_by_the_database(store):
    """I2."""
    posting = ledger.payment_posting("captured RAZORPAY pay_1", "A-1", 100)
    with store.connect() as connection, connection.begin():
        ledger.post(connection, [posting], now_ms=1)
        with pytest.raises(IntegrityError, match="UNIQUE"):
            ledger.post(connection, [posting], now_ms=2)


def test_entries_decisions_filed_items_and_acts_are_never_changed_or_removed(world: World):
    """I3: the schema itself refuses, whoever holds the connection."""
    agent = world.agents["AG-1"]
    world.pay()
    world.turn(agent.says(agent.alarm("door_open", world.now_ms)))
    with world.store.begin() as transaction:
        note(transaction, Act(who="Anna", act="lock", subject="A-1", detail=""), now_ms=1)
    for name in APPEND_ONLY:
        table = metadata.tables[name]
        column = next(iter(table.columns))
        for act in (update(table).values({column.name: column}), delete(table)):
            with pytest.raises(IntegrityError, match=f"I3: {name} is append-only"):
                world.execute(act)
        assert world.rows(select(table))


def test_balance_counts_the_consumers_side_alone(store):
    with store.connect() as connection, connection.begin() as transaction:
        ledger.post(connection, [ledger.bill_posting("B-1", "A-9", 700)], now_ms=1)
        own = select(entries.c.head).where(entries.c.account_id == "A-9")
        heads = set(connection.scalars(own))
        assert heads == {EntryHead.RECEIVABLE, EntryHead.REVENUE}
        assert ledger.balances(connection, ["A-9", "A-404"]) == {"A-9": 700}
        transaction.rollback()


def test_a_day_of_payments_and_refunds_leaves_the_books_even(world: World):
    """I3: through the engine, not beside it."""
    for number in range(1, 6):
        world.pay(world.item(f"pay_{number}", amount_paise=1_000 * number))
    world.pay(world.item("pay_2", kind="refunded", amount_paise=500))
    assert world.value(select(func.sum(entries.c.amount_paise))) == 0
    assert world.owed() == 214_250 - 15_000 + 500

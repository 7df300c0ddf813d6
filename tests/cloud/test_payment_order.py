"""Whatever order a provider's reports come in, and however often, the ledger ends the same (I2)."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from cloud.schema import entries, payments
from cloud.vocabulary import LockKind
from tests.cloud.engine_world import QUOTE_PAISE, World
from wire.vocabulary import PaymentKind

FACTS: dict[str, dict[str, object]] = {
    "capture": {"kind": PaymentKind.CAPTURED},
    "first refund": {"kind": PaymentKind.REFUNDED, "amount_paise": 300},
    "second refund": {"kind": PaymentKind.REFUNDED, "amount_paise": 200},
    "dispute": {"kind": PaymentKind.DISPUTED},
    "dispute won": {"kind": PaymentKind.DISPUTE_WON},
}
OBJECTS = {"dispute": "d", "dispute won": "d"}  # one dispute has one id, whatever is said of it
REPORTS = st.permutations([*FACTS, *FACTS]).flatmap(
    lambda all_twice: st.integers(min_value=0, max_value=len(FACTS)).map(
        lambda extra: whole(all_twice, extra)
    )
)


def whole(all_twice: list[str], extra: int) -> list[str]:
    """Every fact at least once, in the drawn order, with some of the repeats."""
    left = itertools.count()
    told: list[str] = []
    for name in all_twice:
        if name not in told or next(left) < extra:
            told.append(name)
    return told


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Iterator[int]]]:
    made = World(Path(tmp_path_factory.mktemp("order")) / "ledger.db")
    made.add_agent("AG-1")
    made.start()
    made.turn(made.agents["AG-1"].hello())
    yield made, itertools.count(1)
    made.store.dispose()


@settings(deadline=None, max_examples=40)
@given(told=REPORTS, turns=st.integers(min_value=1, max_value=10))
def test_any_order_with_any_repeats_ends_the_same(books, told: list[str], turns: int):
    world, homes = books
    home = next(homes)
    world.add_home(home)
    world.cut(home)
    items = [
        world.item(
            f"pay_{home}",
            account_hint=f"A-{home}",
            object_id=f"{OBJECTS.get(name, name)} {home}",
            **FACTS[name],
        )
        for name in told
    ]
    size = -(-len(items) // turns)
    for start in range(0, len(items), size):
        world.pay(*items[start : start + size])
    paid = world.one(select(payments).where(payments.c.payment_id == f"pay_{home}"))
    assert (paid.amount_paise, paid.returned_paise) == (QUOTE_PAISE, 500)
    assert world.owed(home) == 500
    assert world.standing_locks(home) == {LockKind.NON_PAYMENT}
    assert world.episode(home).state == "open"
    assert world.value(select(func.sum(entries.c.amount_paise))) == 0

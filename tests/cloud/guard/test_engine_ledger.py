"""One look at a real ledger, made by the engine's own schema: read, and never written."""

import pytest
from sqlalchemy import insert, select, update

from cloud import ledger as ledger_entries
from cloud.guard.asked import OrderAccount
from cloud.guard.engine_ledger import ROWS_MAX, LedgerUnreadableError, look
from cloud.schema import approvals, batches, commands, decisions, ledger, manifests, proposals
from tests.cloud.engine_world import QUOTE_PAISE, World
from tests.cloud.guard.guarded import OWED_PAISE, Guarded
from tests.cloud.guard.test_manifests import manifest
from tests.wire.installation import EPOCH, GENERATION_MS, PROVIDER
from wire.envelope import unpack


@pytest.fixture
def engine(tmp_path):
    made = World(tmp_path / "ledger.db")
    made.add_agent("AG-1")
    yield made
    made.store.dispose()


def half_signed(engine, row, home, place=0):
    """The row as the publisher leaves it, of a decision that stands there already."""
    digest = bytes([place % 256, place // 256]) * 16
    engine.execute(
        insert(decisions),
        {
            "digest": digest,
            "record": b"r",
            "episode_id": engine.cut(home) if place == 0 else 1,
            "verdict": "open",
            "reasons": "",
            "decided_at_ms": engine.now_ms,
        },
    )
    engine.execute(
        insert(commands),
        {
            "action": "open",
            "meter_id": f"M-{home}",
            "agent_id": "AG-1",
            "decision": digest,
            "state": "half_signed",
            "queued_at_ms": engine.now_ms,
            "due_at_ms": engine.now_ms,
            "epoch": EPOCH,
            "sequence_ms": engine.now_ms + place,
            "envelope": row.envelope,
        },
    )


def test_half_signed_command_is_read_with_what_the_ledger_says_of_its_account(engine, world):
    engine.add_home(1)
    half_signed(engine, world.row(), 1)
    (row,) = look(engine.path, ()).rows
    assert row == world.row(owed_paise=QUOTE_PAISE, charges_paise=QUOTE_PAISE)
    assert look(engine.path, ()).generation_ms == GENERATION_MS


def test_other_commands_are_not_looked_at(engine, world):
    engine.add_home(1)
    half_signed(engine, world.row(), 1)
    engine.put(commands, state="published")
    assert look(engine.path, ()).rows == ()


def test_look_is_bounded(engine, world):
    for home in range(1, ROWS_MAX + 3):
        engine.add_home(home)
        half_signed(engine, world.row(home), home, place=home - 1)
    assert len(look(engine.path, ()).rows) == ROWS_MAX


def test_orders_are_named_with_their_accounts(engine):
    engine.add_home(1)
    engine.order("order_1", engine.cut(1))
    assert set(look(engine.path, [(PROVIDER, "order_1"), (PROVIDER, "order_2")]).orders) == {
        OrderAccount(provider=PROVIDER, order_id="order_1", account_id="A-1"),
        OrderAccount(provider=PROVIDER, order_id="order_2", account_id=None),
    }


def test_manifest_of_the_rows_batch_is_shown_with_its_approvals(engine, world):
    engine.add_home(1)
    half_signed(engine, world.row(), 1)
    shown, named = manifest(world, agent="AG-1", homes=range(1, 2))
    opened = unpack(shown.envelope)
    batch = {
        "id": 1, "batch": b"b" * 16, "requester": "R", "reason": "", "total": 1, "digest": b"d",
        "proposed_at_ms": 1, "expires_at_ms": 2, "state": "flowing", "state_at_ms": 1,
    }  # fmt: skip
    proposal = {
        "id": 1, "batch_id": 1, "account_id": "A-1", "meter_id": "M-1", "sum_paise": 1,
        "notice_served_at_ms": 1, "notice_proof": "", "state": "sent", "reasons": "",
        "changed_at_ms": 1,
    }  # fmt: skip
    held = {"id": 1, "batch_id": 1, "agent_id": "AG-1", "manifest": named, "body": opened.body}
    for table, row in ((batches, batch), (proposals, proposal), (manifests, held)):
        engine.execute(insert(table), row)
    for place, one in enumerate(opened.signatures):
        row = {"key_id": one.key_id, "signature": one.signature, "signed_at_ms": 1}
        engine.execute(
            insert(approvals), row | {"manifest_row_id": 1, "subject": f"approver {place}"}
        )
    assert look(engine.path, ()).manifests == ()
    engine.put(commands, proposal_id=1)
    assert look(engine.path, ()).manifests == (shown,)


def test_ledger_that_is_not_there_is_unreadable_and_not_made(tmp_path):
    with pytest.raises(LedgerUnreadableError, match=r"none\.db"):
        look(tmp_path / "none.db", ())
    assert not (tmp_path / "none.db").exists()


def test_ledger_without_its_row_is_unreadable(engine):
    engine.execute(ledger.delete())
    with pytest.raises(LedgerUnreadableError, match="never begun"):
        look(engine.path, ())


def test_look_changes_nothing(engine):
    before = engine.everything()
    look(engine.path, ())
    assert engine.everything() == before
    engine.execute(update(ledger).values(epoch=9))  # nor does it keep the writer out
    assert engine.value(select(ledger.c.epoch)) == 9


def test_true_open_of_a_real_ledger_is_signed(engine, tmp_path):
    folder = tmp_path / "guard"
    folder.mkdir()
    guarded = Guarded(folder)
    engine.add_home(1)
    half_signed(engine, guarded.row(), 1)
    with engine.transaction() as transaction:
        bill = ledger_entries.bill_posting("B-1", "A-1", OWED_PAISE)
        ledger_entries.post(transaction, [bill], now_ms=engine.now_ms)
    asked = look(engine.path, guarded.guard.orders_to_ask(now_ms=guarded.now_ms))
    turned = guarded.guard.turn((), asked, now_ms=guarded.now_ms)
    assert [one.verdict for one in turned.answers] == ["signed"]
    guarded.store.close()

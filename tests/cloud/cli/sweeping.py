"""An installation with one paid and dark home, and an engine's sweep that answers requests."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, insert, update

from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.decisions import DecisionContext
from cloud.requests import handle_waiting
from cloud.rules import MP_WEST_FIRST_PHASE
from cloud.schema import crew_tickets, episodes
from cloud.store import open_store
from tests.cloud.cli.commands import done

SWEEP_EVERY_S = 0.02


def write(folder: Path, kind: str, text: str, config: Path) -> None:
    path = folder / f"{kind}.csv"
    path.write_text(text)
    done("import", kind, path, "--config", config)


def paid_and_dark(folder: Path, config: Path) -> None:
    """Home N-1 was cut, is paid, and has crew ticket 1."""
    write(folder, "accounts", "account_id,zone,language\nN-1,INDORE-EAST,hi\n", config)
    meter = "M-1,N-1,AGENT-1,2022-05-10,2022-05-11,F-1,T-1"
    heads = "meter_id,account_id,agent_id,installed_on,mapped_on,feeder,transformer"
    write(folder, "meters", f"{heads}\n{meter}\n", config)
    heads = "bill_id,account_id,amount,issued_on,due_on"
    write(folder, "bills", f"{heads}\nB-1,N-1,1842.50,2026-01-01,2026-01-15\n", config)
    heads = "account_id,meter_id,cut_at,cut_by,disconnection_charge,reconnection_charge,order"
    cut = "N-1,M-1,2026-11-01T10:00:00,remote,150.00,150.00,"
    write(folder, "cuts", f"{heads}\n{cut}\n", config)
    now_ms = clock_ms()
    with opened(config) as store, store.begin() as transaction:
        transaction.execute(update(episodes).values(state="paid", paid_at_ms=now_ms - 7_200_000))
        row = {"episode_id": 1, "reasons": "dark_too_long", "opened_at_ms": now_ms - 3_600_000}
        transaction.execute(insert(crew_tickets), row)


@contextmanager
def opened(config: Path) -> Iterator[Engine]:
    store = open_store(Installation(config).ledger_url())
    try:
        yield store
    finally:
        store.dispose()


@contextmanager
def answering(config: Path) -> Iterator[None]:
    """The engine's own code answers requests while this lasts."""
    is_over = threading.Event()

    def sweep() -> None:
        with opened(config) as store:
            while not is_over.wait(SWEEP_EVERY_S):
                context = DecisionContext(
                    policy=MP_WEST_FIRST_PHASE, now_ms=clock_ms(), random_bytes=secrets.token_bytes
                )
                with store.begin() as transaction:
                    handle_waiting(transaction, context)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()

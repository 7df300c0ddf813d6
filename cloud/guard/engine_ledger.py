"""One look at the engine's ledger: what waits for a signature, and what it says of the accounts.

Rules kept here (R7): the file is opened for reading only, anew for each look, so that a ledger that
was put in place of another is the one that is read; a look is bounded, and is one snapshot. What is
read here is what another says: `rules` and `facts` decide what it is worth.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cloud.guard.asked import Asked, AskedRow, OrderAccount, ShownManifest
from cloud.vocabulary import CommandState, EntryHead
from wire.envelope import SIGNATURES_MAX, Signature, pack

ROWS_MAX = 64  # half-signed rows in one look: eight minutes of opens at the engine's own pace
MANIFEST_ROWS_MAX = 512  # two approvals of each; more than two manifests of every row's agent
_BUSY_S = 0.2  # a look comes four times a second: the next one tries again

_ROWS = f"""
    SELECT commands.envelope, commands.agent_id, commands.meter_id, meters.account_id
    FROM commands LEFT JOIN meters ON meters.meter_id = commands.meter_id
    WHERE commands.state = '{CommandState.HALF_SIGNED.value}'
    ORDER BY commands.id LIMIT {ROWS_MAX}"""
_OWED = f"""
    SELECT account_id,
        sum(CASE head WHEN '{EntryHead.RECEIVABLE.value}' THEN amount_paise ELSE 0 END),
        -sum(CASE head WHEN '{EntryHead.CHARGES.value}' THEN amount_paise ELSE 0 END)
    FROM entries WHERE account_id IN (SELECT value FROM json_each(?))
    GROUP BY account_id"""
_ORDER = """
    SELECT asked.provider, asked.order_id, episodes.account_id
    FROM (SELECT json_extract(value, '$[0]') AS provider, json_extract(value, '$[1]') AS order_id
        FROM json_each(?)) AS asked
    LEFT JOIN orders ON orders.provider = asked.provider AND orders.order_id = asked.order_id
    LEFT JOIN quotes ON quotes.id = orders.quote_id
    LEFT JOIN episodes ON episodes.id = quotes.episode_id"""

_MANIFESTS = f"""
    SELECT manifests.agent_id, manifests.body, approvals.key_id, approvals.signature
    FROM (SELECT DISTINCT proposals.batch_id, commands.agent_id
        FROM commands JOIN proposals ON proposals.id = commands.proposal_id
        WHERE commands.state = '{CommandState.HALF_SIGNED.value}') AS asked
    JOIN manifests ON manifests.batch_id = asked.batch_id AND manifests.agent_id = asked.agent_id
    JOIN approvals ON approvals.manifest_row_id = manifests.id
    ORDER BY manifests.id, approvals.signed_at_ms LIMIT {MANIFEST_ROWS_MAX}"""


class LedgerUnreadableError(Exception):
    """The engine's ledger cannot be read now: nothing is signed, and nothing else happens."""


def look(path: Path, orders: Sequence[tuple[str, str]]) -> Asked:
    """What the engine asks now, and whose these orders (provider, order id) are.

    Raises:
        LedgerUnreadableError: there is no ledger, or it cannot be read.
    """
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(
            sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_S)
        ) as connection:
            connection.execute("BEGIN")
            return _read(connection, orders)
    except sqlite3.Error as error:
        raise LedgerUnreadableError(f"{path}: {error}") from None


def _read(connection: sqlite3.Connection, orders: Sequence[tuple[str, str]]) -> Asked:
    found = connection.execute("SELECT generation_ms FROM ledger").fetchone()
    if found is None:
        raise LedgerUnreadableError("the ledger has no generation: it was never begun")
    rows = connection.execute(_ROWS).fetchall()
    accounts = sorted({row[3] for row in rows if row[3] is not None})
    owed = {
        account: (owed_paise, charges_paise)
        for account, owed_paise, charges_paise in connection.execute(_OWED, (json.dumps(accounts),))
    }
    answered = connection.execute(_ORDER, (json.dumps(orders),)) if orders else ()
    return Asked(
        generation_ms=found[0],
        rows=tuple(_row(row, owed.get(row[3], (0, 0))) for row in rows),
        manifests=_manifests(connection),
        orders=tuple(
            OrderAccount(provider=provider, order_id=order_id, account_id=account)
            for provider, order_id, account in answered
        ),
    )


def _manifests(connection: sqlite3.Connection) -> tuple[ShownManifest, ...]:
    """Each manifest with its approvals, as the agent is shown it."""
    signed: dict[tuple[str, bytes], list[Signature]] = {}
    for agent, body, key_id, signature in connection.execute(_MANIFESTS):
        signed.setdefault((agent, body), []).append(Signature(key_id, signature))
    return tuple(
        ShownManifest(agent_id=agent, envelope=pack(body, signatures[:SIGNATURES_MAX]))
        for (agent, body), signatures in signed.items()
    )


def _row(row: Sequence[object], money: tuple[int, int]) -> AskedRow:
    envelope, agent, meter, account = row
    return AskedRow(
        envelope=bytes(envelope) if isinstance(envelope, bytes) else b"",
        agent_id=str(agent),
        meter_id=str(meter),
        account_id=None if account is None else str(account),
        owed_paise=money[0],
        charges_paise=money[1],
    )

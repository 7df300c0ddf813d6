"""A ledger with many commands outstanding, written straight into its tables.

Rules kept here: what stands there could have come about: each command has its episode, its decision
and its exact bytes, signed with the engine's key, so that an agent would take it; each agent holds
a full window; the times of the next re-sends are spread over the minute between two of them.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import insert

from cloud.cli.installation import ENGINE
from cloud.configuration import Installation
from cloud.outbox import LIFE_MS, RESEND_EVERY_MS
from cloud.schema import accounts, agents, commands, decisions, episodes, journals, meters
from cloud.store import open_store
from wire import envelope
from wire.decoding import encode
from wire.fields import AgentId, InstallationId, MeterId
from wire.keys import SigningKey
from wire.messages import Command
from wire.vocabulary import Action

WINDOW = 64  # the largest an agent can name
_SENDS = 3  # from the fourth on a command is re-sent once a minute
_ROWS_AT_ONCE = 4_096  # per table and statement, so that memory stays small

_Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    installation: InstallationId
    key: SigningKey
    epoch: int


def fill_ledger(installation: Installation, agent_ids: Sequence[str], *, now_ms: int) -> int:
    """Give every agent a window full of live closes; how many there are."""
    authorities = installation.authorities(latest_ms=now_ms)
    key = installation.signing_key(f"trust/keys/{ENGINE}.key")
    signer = _Signer(
        installation=authorities.root.installation,
        key=key,
        epoch=authorities.keyring().keys[key.key_id].epoch,
    )
    store = open_store(installation.ledger_url())
    with store.begin() as transaction:
        transaction.execute(insert(agents), [_agent(one, now_ms) for one in agent_ids])
        transaction.execute(insert(journals), [_journal(one) for one in agent_ids])
        for homes in _homes(agent_ids):
            transaction.execute(insert(accounts), [_account(home) for home in homes])
            transaction.execute(insert(meters), [_meter(home, signer, now_ms) for home in homes])
            transaction.execute(insert(episodes), [_episode(home, now_ms) for home in homes])
            transaction.execute(insert(decisions), [_decision(home, now_ms) for home in homes])
            transaction.execute(
                insert(commands), [_command(home, signer, now_ms) for home in homes]
            )
    store.dispose()
    return len(agent_ids) * WINDOW


@dataclass(frozen=True, slots=True)
class _Home:
    number: int
    agent_id: str

    @property
    def meter_id(self) -> str:
        return f"M-{self.number:07d}"

    @property
    def account_id(self) -> str:
        return f"N{self.number:07d}"

    @property
    def record(self) -> bytes:
        return f"decision {self.number}".encode("ascii")

    @property
    def decision(self) -> bytes:
        return hashlib.sha256(self.record).digest()


def _homes(agent_ids: Sequence[str]) -> Iterator[list[_Home]]:
    homes: list[_Home] = []
    for number in range(len(agent_ids) * WINDOW):
        homes.append(_Home(number + 1, agent_ids[number % len(agent_ids)]))
        if len(homes) == _ROWS_AT_ONCE:
            yield homes
            homes = []
    yield homes


def _agent(agent_id: str, now_ms: int) -> _Row:
    return {"agent_id": agent_id, "window": WINDOW, "heard_at_ms": now_ms, "meters": WINDOW}


def _journal(agent_id: str) -> _Row:
    return {
        "agent_id": agent_id,
        "journal": hashlib.sha256(agent_id.encode("ascii")).digest()[:8],
        "standing": "current",
        "boot": 1,
        "hello_number": 1,
        "hello_nonce": bytes(16),
        "head": bytes(32),
    }


def _account(home: _Home) -> _Row:
    return {"account_id": home.account_id, "zone": f"ZONE-{home.number % 20}", "language": "hi"}


def _meter(home: _Home, signer: _Signer, now_ms: int) -> _Row:
    return {
        "meter_id": home.meter_id,
        "account_id": home.account_id,
        "agent_id": home.agent_id,
        "installed_at_ms": 0,
        "mapped_at_ms": 0,
        "feeder": f"F-{home.number % 500}",
        "transformer": f"T-{home.number % 5_000}",
        "last_epoch": signer.epoch,
        "last_sequence": now_ms,
    }


def _episode(home: _Home, now_ms: int) -> _Row:
    return {
        "id": home.number,
        "account_id": home.account_id,
        "meter_id": home.meter_id,
        "cut_at_ms": now_ms - 3_600_000,
        "created_at_ms": now_ms - 3_600_000,
        "cut_by": "remote",
        "state": "paid",
        "paid_at_ms": now_ms,
        "attempts": 1,
    }


def _decision(home: _Home, now_ms: int) -> _Row:
    return {
        "digest": home.decision,
        "record": home.record,
        "episode_id": home.number,
        "verdict": "close",
        "reasons": "quote_covered",
        "decided_at_ms": now_ms,
    }


def _command(home: _Home, signer: _Signer, now_ms: int) -> _Row:
    body = encode(
        Command(
            action=Action.CLOSE.value,
            agent=AgentId(home.agent_id),
            meter=MeterId(home.meter_id),
            epoch=signer.epoch,
            sequence_ms=now_ms,
            expires_at_ms=now_ms + LIFE_MS,
            evidence=home.decision,
            manifest=None,
        )
    )
    spread_ms = random.Random(home.number).randrange(RESEND_EVERY_MS)
    return {
        "action": Action.CLOSE.value,
        "meter_id": home.meter_id,
        "agent_id": home.agent_id,
        "episode_id": home.number,
        "decision": home.decision,
        "state": "published",
        "queued_at_ms": now_ms,
        "due_at_ms": now_ms,
        "command_id": envelope.digest(signer.installation, "command", body)[:16],
        "epoch": signer.epoch,
        "sequence_ms": now_ms,
        "expires_at_ms": now_ms + LIFE_MS,
        "envelope": envelope.seal(signer.installation, "command", body, [signer.key]),
        "resend_at_ms": now_ms + spread_ms,
        "sends": _SENDS,
    }

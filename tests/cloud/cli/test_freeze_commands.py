"""`relight stop` and `relight resume`: what a person reads, and what is stored."""

import json
import secrets
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from cloud import freezes
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.freezes import Freeze
from cloud.schema import acts, agents, ledger
from cloud.store import open_store, reading
from tests.cloud.cli.commands import change, done, refused
from wire.checking import Checked, check
from wire.key_files import read_signing_key, write_whole
from wire.sealed_keys import seal_key
from wire.topics import MessageType


@pytest.fixture(autouse=True)
def is_impatient(monkeypatch):
    """No broker runs here."""
    monkeypatch.setattr("cloud.cli.freezes.PUBLISH_WITHIN_S", 0.1)


def key(config: Path, name: str) -> Path:
    return config.parent / "trust" / "keys" / f"{name}.key"


def stop(config: Path, *more: str, name: str = "DESK-1") -> str:
    return done(
        "stop",
        "--note",
        "storm",
        "--key",
        key(config, name),
        "--config",
        config,
        "--wait",
        "0",
        *more,
    )


def freeze_of(config: Path) -> Freeze:
    store = open_store(Installation(config).ledger_url())
    try:
        with reading(store) as connection:
            return freezes.read(connection)
    finally:
        store.dispose()


def rows(config: Path, query):
    store = open_store(Installation(config).ledger_url())
    try:
        with reading(store) as connection:
            return connection.execute(query).all()
    finally:
        store.dispose()


def write(config: Path, statement) -> None:
    store = open_store(Installation(config).ledger_url())
    try:
        with store.begin() as transaction:
            transaction.execute(statement)
    finally:
        store.dispose()


def signed_resume(config: Path, *names: str, lifts: int | None = None) -> Path:
    file = config.parent / f"resume-{'-'.join(names)}"
    more = () if lifts is None else ("--lifts", str(lifts))
    done("resume", "draft", file, "--note", "storm is over", "--config", config, *more)
    for name in names:
        done("resume", "sign", file, "--key", key(config, name), "--yes")
    return file


@pytest.mark.parametrize("name", ["DESK-1", "APPROVER-A", "GUARD-1"])
def test_one_person_freezes_every_open_while_the_broker_is_away(config, name):
    write(config, insert(agents).values(agent_id="AGENT-1"))
    before_ms = clock_ms()
    said = stop(config, "--by", "Asha", name=name)
    freeze = freeze_of(config)
    assert freeze.is_frozen
    assert before_ms <= freeze.stop.number_ms <= clock_ms()
    assert f"stop {freeze.stop.number_ms} of " in said
    assert "NOT published (no broker took it within" in said
    assert "agents: 1 known, 0 have said in a hello that they hold it" in said
    (act,) = rows(config, select(acts))
    assert (act.who, act.act, act.detail) == (f"Asha, signed by {name}", "stop", "storm")


def test_stored_stop_is_what_every_receiver_believes(config):
    stop(config)
    ring = Installation(config).authorities(latest_ms=clock_ms()).keyring()

    class Delivered:
        topic, is_retained = MessageType.STOP.value, False
        payload = freeze_of(config).stop.envelope

    assert isinstance(check(Delivered(), ring, at_ms=clock_ms()), Checked)


@pytest.mark.parametrize(("name", "why"), [("INTAKE-1", "signers"), ("ROOT", "signers")])
def test_key_that_may_not_stop_is_told_so_and_nothing_is_stored(config, name, why):
    said = refused("stop", "--note", "", "--key", key(config, name), "--config", config)
    assert f"may not stop ({why})" in said
    assert not freeze_of(config).is_frozen


def test_note_that_the_wire_does_not_take_is_refused(config):
    for note in ("x" * 65, "तूफ़ान"):
        said = refused("stop", "--note", note, "--key", key(config, "DESK-1"), "--config", config)
        assert "at most 64 plain ASCII characters" in said


def test_stop_that_nobody_heard_is_an_error(config):
    (config.parent / "ledger.db").unlink()
    said = refused("stop", "--note", "", "--key", key(config, "DESK-1"), "--config", config)
    assert said.startswith("NOBODY heard the stop: the ledger: no ledger ")


def test_two_approvers_lift_it(config):
    stop(config)
    file = signed_resume(config, "APPROVER-A", "APPROVER-B")
    assert "opens may go on" in done("resume", "send", file, "--config", config)
    assert not freeze_of(config).is_frozen
    assert "known already" in done("resume", "send", file, "--config", config)
    stop(config)
    assert "opens stay frozen" in done("resume", "send", file, "--config", config)
    assert freeze_of(config).is_frozen


@pytest.mark.parametrize(
    "names", [("APPROVER-A",), ("APPROVER-A", "DESK-1"), ("APPROVER-A", "ROOT")]
)
def test_resume_without_two_approvers_is_not_sent(config, names):
    stop(config)
    file = signed_resume(config, *names)
    said = refused("resume", "send", file, "--config", config)
    assert "is not signed by exactly two different approvers of registry 1" in said
    assert freeze_of(config).is_frozen


def test_unsigned_resume_is_not_sent(config):
    stop(config)
    assert "nobody has signed" in refused(
        "resume", "send", signed_resume(config), "--config", config
    )


def test_nobody_drafts_a_resume_of_nothing(config):
    said = refused("resume", "draft", config.parent / "r", "--note", "", "--config", config)
    assert said == "opens are not frozen: there is nothing to lift"


def test_draft_is_not_written_over_and_a_registrys_draft_is_no_resume(config):
    file = signed_resume(config, lifts=7)
    assert "exists" in refused(
        "resume", "draft", file, "--lifts", "8", "--note", "", "--config", config
    )
    change(file, '"kind": "resume"', '"kind": "registry"')
    assert "no draft of a root, registry or resume" in refused(
        "resume", "sign", file, "--key", key(config, "APPROVER-A")
    )


def test_signer_reads_what_is_lifted_before_signing(config):
    file = signed_resume(config, lifts=1_800_000_000_000)
    said = done("resume", "sign", file, "--key", key(config, "APPROVER-A"), "--yes")
    assert "resume: lifts every stop up to 1800000000000 of 2027-01-15" in said
    assert "note: storm is over" in said


def test_resume_from_the_future_is_refused_with_both_times(config):
    ahead = clock_ms() + 3_600_000
    file = signed_resume(config, "APPROVER-A", "APPROVER-B", lifts=ahead)
    statement = config.parent / "statement"
    said = refused("resume", "send", file, "--statement", statement, "--config", config)
    assert f"its number {ahead} is over 60 s ahead of this clock" in said
    assert not statement.exists()


def test_restored_ledger_is_not_resumed_before_everybody_knows_it(config):
    at_ms = clock_ms()
    frozen = update(ledger).values(restored_at_ms=at_ms, opens_frozen_since_ms=at_ms)
    write(config, frozen.values(generation_ms=at_ms))
    file = signed_resume(config, "APPROVER-A", "APPROVER-B")
    said = refused("resume", "send", file, "--config", config)
    assert said.startswith("not resumed: intake INTAKE-1 has not spoken to the restored ledger")
    assert freeze_of(config).marks == (at_ms, 0)


def test_statement_is_the_signed_document_for_the_guard(config):
    stop(config)
    file = signed_resume(config, "APPROVER-B", "APPROVER-A")
    statement = config.parent / "statement"
    done("resume", "send", file, "--statement", statement, "--config", config)
    assert statement.read_bytes() == freeze_of(config).resume.envelope


def test_status_says_since_when_and_by_which_stop(config):
    stop(config)
    number_ms = freeze_of(config).stop.number_ms
    assert f"by stop {number_ms} (storm)" in done("status", "--config", config)
    found = json.loads(done("status", "--json", "--config", config))["ledger"]
    assert (found["standing_stop_ms"], found["standing_stop_note"]) == (number_ms, "storm")
    done("resume", "send", signed_resume(config, "APPROVER-A", "APPROVER-B"), "--config", config)
    found = json.loads(done("status", "--json", "--config", config))["ledger"]
    assert (found["standing_stop_ms"], found["standing_stop_note"]) == (None, None)


def test_sealed_key_is_opened_by_its_passphrase_file(config):
    bare = read_signing_key(key(config, "DESK-1"))
    passphrase = config.parent / "passphrase"
    write_whole(passphrase, b"a long enough passphrase\n", mode=0o600)
    sealed = seal_key(bare, "a long enough passphrase", secrets.token_bytes)
    write_whole(key(config, "DESK-1"), f"{sealed}\n".encode("ascii"), mode=0o600)
    stop(config, "--passphrase-file", str(passphrase))
    assert freeze_of(config).is_frozen

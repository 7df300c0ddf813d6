import shutil

import pytest
from sqlalchemy import insert, update

from cloud.cli.keys import KEY_LIFE_MS, REGISTRY_LIFE_MS
from cloud.doctor import registry
from cloud.doctor.findings import DAY_MS, Code
from cloud.schema import agents, ledger
from cloud.store import open_store, sqlite_url
from tests.cloud.doctor.conftest import MADE_AT_MS

HOUR_MS = 3_600_000


def codes(remarks) -> list[Code]:
    return [one.code for one in remarks]


def write(folder, statement) -> None:
    store = open_store(sqlite_url(folder / "ledger.db"))
    with store.begin() as transaction:
        transaction.execute(statement)
    store.dispose()


def agent(name: str, **others: object):
    return insert(agents).values(agent_id=name, **others)


def change(folder, old: str, new: str) -> None:
    path = folder / "relight.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_document_with_one_bit_changed_is_found(folder, subject):
    path = folder / "trust" / "documents"
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)
    assert codes(registry.documents_verify(subject())) == [Code.TRUST_REFUSED]


def test_root_of_another_pin_is_found(folder, subject):
    change(folder, 'pin = "', 'pin = "00')
    assert codes(registry.documents_verify(subject())) == [Code.TRUST_REFUSED]


@pytest.mark.parametrize("name", ["trust/root-1", "trust/documents"])
def test_missing_document_is_found(folder, subject, name):
    (folder / name).unlink()
    assert codes(registry.documents_verify(subject())) == [Code.TRUST_REFUSED]


def test_other_checks_of_trust_call_nothing_good_without_documents(folder, subject):
    (folder / "trust" / "documents").unlink()
    for check in registry.CHECKS[1:]:
        if check.name == "marks":  # asks for no document outside production
            continue
        with pytest.raises(registry.NoTrustError, match="documents"):
            check.run(subject())


def test_registry_is_told_of_two_weeks_before_its_end_and_after_it(subject):
    for days, expected in (
        (-15, []),
        (-13, [Code.REGISTRY_ENDS_SOON]),
        (1, [Code.REGISTRY_EXPIRED]),
    ):
        later_ms = REGISTRY_LIFE_MS + days * DAY_MS
        assert codes(registry.registry_is_in_force(subject(later_ms=later_ms))) == expected


def test_development_keys_in_production_are_found(subject):
    found = registry.production_has_no_development_key(subject(is_production=True))
    assert codes(found) == [Code.DEVELOPMENT_KEY]


@pytest.mark.parametrize("own", ["ENGINE-1", "INTAKE-1"])
def test_key_that_is_not_in_the_registry_is_found(folder, subject, own):
    change(folder, f"trust/keys/{own}.key", "trust/keys/AGENT-1.key")
    assert codes(registry.own_keys_are_registered(subject())) == [Code.KEY_NOT_REGISTERED]


def test_key_of_another_role_is_found(folder, subject):
    change(folder, "trust/keys/ENGINE-1.key", "trust/keys/GUARD-1.key")
    assert codes(registry.own_keys_are_registered(subject())) == [Code.KEY_NOT_REGISTERED]


def test_key_under_the_name_of_another_is_found(folder, subject):
    change(folder, 'name = "ENGINE-1"', 'name = "ENGINE-2"')
    assert codes(registry.own_keys_are_registered(subject())) == [Code.KEY_NOT_REGISTERED]


def test_keys_that_end_within_two_weeks_are_found(subject):
    late = subject(later_ms=KEY_LIFE_MS - 13 * DAY_MS)
    assert codes(registry.own_keys_are_registered(late)) == 2 * [Code.KEY_ENDS_SOON]
    assert codes(registry.enrol_key_is_in_force(late)) == [Code.KEY_ENDS_SOON]


def test_enrol_key_that_has_ended_is_found(subject):
    late = subject(later_ms=KEY_LIFE_MS)
    assert codes(registry.enrol_key_is_in_force(late)) == [Code.ENROL_KEY_ENDED]


def test_engine_key_of_an_older_epoch_than_the_ledger_is_found(folder, subject):
    write(folder, update(ledger).values(epoch=2))
    assert codes(registry.engine_key_is_of_this_epoch(subject())) == [Code.KEY_EPOCH_OLD]


def test_agent_of_the_ledger_without_identity_is_found(folder, subject):
    write(folder, agent("AGENT-1"))
    assert registry.agents_have_identities(subject()) == []
    write(folder, agent("AGENT-2"))
    (remark,) = registry.agents_have_identities(subject())
    assert remark.code is Code.IDENTITY_MISSING
    assert remark.text.endswith("AGENT-2")


def test_identity_that_ended_is_missing_and_one_near_its_end_is_found(folder, subject):
    write(folder, agent("AGENT-1"))
    soon, ended = (subject(later_ms=KEY_LIFE_MS + days * DAY_MS) for days in (-13, 0))
    assert codes(registry.agents_have_identities(soon)) == [Code.IDENTITY_ENDS_SOON]
    assert codes(registry.agents_have_identities(ended)) == [Code.IDENTITY_MISSING]


def test_statement_that_enrol_did_not_sign_is_found(folder, subject):
    identities = folder / "trust" / "identities"
    shutil.copy(folder / "trust" / "root-1", identities / "AGENT-9.identity")
    (remark,) = registry.agents_have_identities(subject())
    assert remark.code is Code.IDENTITY_REFUSED
    assert remark.text.startswith("AGENT-9.identity: ")


def test_agent_that_is_there_and_does_not_take_the_registry_is_found(folder, subject):
    heard_at_ms = MADE_AT_MS + HOUR_MS
    write(folder, agent("GONE", heard_at_ms=heard_at_ms, trust_version=0))
    write(folder, agent("GOOD", heard_at_ms=heard_at_ms + 1, trust_version=1))
    assert registry.agents_took_the_registry(subject()) == []
    write(folder, agent("BEHIND", heard_at_ms=heard_at_ms + 1, trust_version=0))
    (remark,) = registry.agents_took_the_registry(subject())
    assert remark.code is Code.TRUST_NOT_TAKEN
    assert remark.text.endswith("BEHIND")

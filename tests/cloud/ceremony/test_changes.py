"""The next registry, and the changes that may not be made."""

import pytest
from msgspec.structs import replace

from cloud.ceremony.changes import ChangeError, Issue, added, renewed, revoked, rotated
from cloud.ceremony.plan import DAY_MS
from cloud.cli.keys import DEVELOPMENT_POLICY
from wire.documents import Registry, RegistryKey
from wire.keys import SigningKey, key_id
from wire.vocabulary import Role

NOW = 1_800_000_000_000
ISSUE = Issue(root_version=1, now_ms=NOW)


def public(number: int) -> bytes:
    return SigningKey(bytes([number]) * 32).public


def entry(number: int, role: Role, subject: str, *, epoch: int = 0) -> RegistryKey:
    return RegistryKey(
        public=public(number),
        role=role,
        subject=subject,
        scope=("RAZORPAY",) if role is Role.INTAKE else (),
        epoch=epoch,
        not_before_ms=NOW - 100 * DAY_MS,
        not_after_ms=NOW + 200 * DAY_MS,
        mark="",
    )


ENGINE_A, ENGINE_B, SPARE, GUARD, INTAKE, ENROL = range(1, 7)
BEFORE = Registry(
    registry_version=7,
    root_version=1,
    issued_at_ms=NOW - 30 * DAY_MS,
    expires_at_ms=NOW + 30 * DAY_MS,
    epoch_floor=3,
    keys=(
        entry(ENGINE_A, Role.ENGINE, "ENGINE-A", epoch=3),
        entry(ENGINE_B, Role.ENGINE, "ENGINE-B", epoch=3),
        entry(SPARE, Role.ENGINE, "ENGINE-A", epoch=4),
        entry(GUARD, Role.GUARD, "GUARD-1"),
        entry(INTAKE, Role.INTAKE, "INTAKE-1"),
        entry(ENROL, Role.ENROL, "ENROL"),
    ),
    policy=DEVELOPMENT_POLICY,
)


def named(number: int) -> bytes:
    return key_id(public(number))


def by_public(registry: Registry) -> dict[bytes, RegistryKey]:
    return {one.public: one for one in registry.keys}


def test_renewed_registry_has_the_same_keys_and_another_life():
    after = renewed(BEFORE, ISSUE)
    assert (after.registry_version, after.keys) == (8, BEFORE.keys)
    assert (after.issued_at_ms, after.expires_at_ms) == (NOW, NOW + 60 * DAY_MS)


def test_rotated_key_stands_beside_the_old_one_for_the_overlap():
    after = by_public(rotated(BEFORE, {named(INTAKE): public(20)}, ISSUE, overlap_ms=1_000))
    assert after[public(INTAKE)].not_after_ms == NOW + 1_000
    fresh = after[public(20)]
    assert (fresh.role, fresh.subject, fresh.scope) == (Role.INTAKE, "INTAKE-1", ("RAZORPAY",))
    assert (fresh.not_before_ms, fresh.not_after_ms) == (NOW, NOW + 300 * DAY_MS)


def test_engine_keys_rotate_together_into_the_next_epoch():
    both = {named(ENGINE_A): public(20), named(ENGINE_B): public(21)}
    after = by_public(rotated(BEFORE, both, ISSUE))
    assert {after[public(20)].epoch, after[public(21)].epoch} == {5}  # above the spare's 4
    with pytest.raises(ChangeError, match=named(ENGINE_B).hex()):
        rotated(BEFORE, {named(ENGINE_A): public(20)}, ISSUE)


def test_overlap_of_more_than_a_day_is_refused():
    with pytest.raises(ChangeError, match="at most 86400000"):
        rotated(BEFORE, {named(GUARD): public(20)}, ISSUE, overlap_ms=DAY_MS + 1)


def test_revoked_key_is_gone_at_once():
    after = revoked(BEFORE, [named(GUARD)], ISSUE)
    assert public(GUARD) not in by_public(after)
    assert after.epoch_floor == 3


def test_revoked_engine_key_takes_its_epoch_with_it_and_the_spare_goes_on():
    after = revoked(BEFORE, [named(ENGINE_A)], ISSUE)
    assert after.epoch_floor == 4
    assert [one.public for one in after.keys if one.role is Role.ENGINE] == [public(SPARE)]


def test_revocation_that_leaves_nothing_to_run_is_refused():
    with pytest.raises(ChangeError, match="no key of role engine would be left"):
        revoked(BEFORE, [named(ENGINE_A), named(SPARE)], ISSUE)
    fresh = [entry(20, Role.ENGINE, "ENGINE-A", epoch=5)]
    after = revoked(BEFORE, [named(ENGINE_A), named(SPARE)], ISSUE, fresh=fresh)
    assert after.epoch_floor == 5


def test_key_that_is_not_in_the_registry_is_named():
    with pytest.raises(ChangeError, match="lists no key ffff"):
        rotated(BEFORE, {b"\xff" * 8: public(20)}, ISSUE)
    with pytest.raises(ChangeError, match="lists no key ffff"):
        revoked(BEFORE, [b"\xff" * 8], ISSUE)


def test_one_key_in_two_roles_is_refused():
    with pytest.raises(ChangeError, match="one key would stand twice"):
        added(BEFORE, [replace(entry(20, Role.STOP, "DESK-1"), public=public(GUARD))], ISSUE)


def test_keys_whose_life_ended_are_left_out():
    old = replace(entry(20, Role.APPROVER, "Somebody"), not_after_ms=NOW)
    before = replace(BEFORE, keys=(*BEFORE.keys, old))
    assert public(20) not in by_public(renewed(before, ISSUE))

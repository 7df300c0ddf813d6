"""Whose signatures count: the newest registry, however it came, and across a restart (R12)."""

from dataclasses import replace

import pytest

from tests.cloud.agent_by_hand import Message
from tests.wire.installation import (
    NOW_MS,
    REGISTRY,
    ROOT_2_ENVELOPE,
    TRUST,
    authorities,
    key,
    sealed,
)
from wire.decoding import encode
from wire.documents import Trust
from wire.trust import accept


def newer(version=8, **changes):
    """A registry signed by the root, in which something is different."""
    told = {"registry_version": version} | changes
    fields = {name: getattr(REGISTRY, name) for name in REGISTRY.__struct_fields__}
    body = encode(type(REGISTRY)(**(fields | told)))
    return Trust(
        roots=(ROOT_2_ENVELOPE,), registry=sealed("registry", body, "root-2-a", "root-2-b")
    )


def without(*names):
    gone = {key(name).public for name in names}
    return newer(keys=tuple(one for one in REGISTRY.keys if one.public not in gone))


def hear(world, documents):
    world.hear(Message("trust", encode(documents), is_retained=True))


def test_revoked_engine_key_collects_nothing_once_the_newer_registry_arrived(world):
    hear(world, without("engine"))
    assert world.ask(world.row()).answers == ()
    assert world.answers() == []


def test_registry_that_arrived_is_remembered_across_a_restart(world):
    hear(world, without("engine"))
    world.store.close()
    world.start()
    assert world.ask(world.row()).answers == ()


def test_older_registry_is_refused_with_an_alarm(world):
    hear(world, newer(9))
    hear(world, TRUST)
    assert world.alarm_codes() == ["trust_refused"]
    world.guard.believe(authorities())  # nor does an older file bring it back
    hear(world, newer(8))
    assert world.rows("SELECT count(*) FROM alarms") == [(2,)]


def test_newer_registry_file_counts(world):
    world.guard.believe(
        accept(authorities(), without("engine"), latest_ms=NOW_MS, is_production=False)
    )
    assert world.ask(world.row()).answers == ()


@pytest.mark.parametrize("documents", [b"", b"\x93\x01\x90\xc0", b"x" * 40_000])
def test_documents_that_are_none_change_nothing(world, documents):
    world.hear(Message("trust", documents))
    assert world.verdict(world.row()) == "signed"


def test_expired_registry_signs_nothing(world):
    hear(world, newer(expires_at_ms=world.now_ms + 1_000))
    assert world.verdict(world.row(1)) == "signed"
    world.now_ms += 1_000
    assert world.verdict(world.row(2)) == "registry_expired"


def test_guard_whose_key_was_revoked_signs_nothing(world):
    hear(world, without("guard"))
    assert world.verdict(world.row()) == "guard_key"


def test_key_of_another_role_is_no_guards(world):
    world.settings = replace(world.settings, signer=key("approver-1"))
    world.guard = type(world.guard)(world.settings, world.store)
    world.hear()
    turned = world.ask(world.row())
    assert [str(one) for one in turned.waits] == ["guard_key"]


def test_registry_without_an_intake_signs_nothing(world):
    hear(world, without("intake"))
    assert world.verdict(world.row()) == "watermarks"

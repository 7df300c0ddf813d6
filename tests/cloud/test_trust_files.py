"""A running process takes newer trust and no older one, over restarts too (R12, R16)."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cloud import trust_files
from cloud.alarms import tell_ledger
from cloud.schema import alarms
from cloud.trust_files import Believed, Complaint, TrustFiles, TrustPlaces, watch_trust
from tests.cloud.engine_world import World
from tests.wire.installation import (
    DAY_MS,
    NOW_MS,
    REGISTRY,
    REGISTRY_ENVELOPE,
    ROOT_1_ENVELOPE,
    ROOT_2_ENVELOPE,
    ROOT_PIN,
    key,
    sealed,
)
from wire.decoding import encode
from wire.documents import Identity, Registry, Trust
from wire.fields import AgentId
from wire.keys import SigningKey
from wire.trust import TrustRefusedError

VERSION = REGISTRY.registry_version
SIGNERS = ("root-2-a", "root-2-b")


def registry(version: int, **changes: Any) -> Registry:
    held = {name: getattr(REGISTRY, name) for name in REGISTRY.__struct_fields__}
    return Registry(**(held | {"registry_version": version} | changes))


def documents(of: Registry, *signers: str) -> bytes:
    envelope = sealed("registry", encode(of), *(signers or SIGNERS))
    return encode(Trust(roots=(ROOT_2_ENVELOPE,), registry=envelope))


def statement(agent: str, signing: SigningKey, serial: int, signer: str = "enrol") -> bytes:
    body = Identity(
        agent=AgentId(agent),
        public=signing.public,
        issued_at_ms=NOW_MS - DAY_MS,
        not_after_ms=NOW_MS + 400 * DAY_MS,
        serial=serial,
    )
    return sealed("identity", encode(body), signer)


@dataclass
class Folder:
    """The trust files of an installation, and a process that reads them."""

    path: Path
    complaints: list[Complaint] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.path / "identities").mkdir()
        (self.path / "root-1").write_bytes(ROOT_1_ENVELOPE)
        held = Trust(roots=(ROOT_2_ENVELOPE,), registry=REGISTRY_ENVELOPE)
        self.bring(encode(held))
        self.trust = self.process()

    def bring(self, content: bytes) -> None:
        (self.path / "documents").write_bytes(content)

    def enrol(self, name: str, content: bytes) -> Path:
        path = self.path / "identities" / f"{name}.identity"
        path.write_bytes(content)
        return path

    def process(self) -> TrustFiles:
        """A new process over the same files."""
        places = TrustPlaces(
            root=self.path / "root-1",
            pin=ROOT_PIN,
            documents=self.path / "documents",
            is_production=False,
        )
        self.complaints.clear()
        return TrustFiles(
            places,
            beside=self.path / "store" / "ledger.db",
            identities=self.path / "identities",
            complain=self.complaints.extend,
        )

    def begin(self) -> Believed:
        return self.trust.begin(now_ms=NOW_MS)

    def restart(self) -> Believed:
        self.trust = self.process()
        return self.begin()

    def look(self) -> Believed | None:
        return self.trust.look_again(lambda: NOW_MS)

    def newer(self) -> Believed:
        believed = self.look()
        assert believed is not None
        return believed

    def codes(self) -> list[str]:
        return [one.code for one in self.complaints]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "trust"
    path.mkdir()
    return Folder(path)


def version_of(believed: Believed) -> int:
    return believed.authorities.registry_version


def agents_of(believed: Believed) -> dict[str, bytes]:
    return {one.subject: one.key_id for one in believed.identities.values()}


A_KEY, B_KEY = SigningKey(b"a" * 32), SigningKey(b"b" * 32)


# The registry


def test_nothing_is_read_again_while_no_file_changes(folder: Folder):
    assert version_of(folder.begin()) == VERSION
    assert folder.look() is None
    assert folder.complaints == []


def test_newer_registry_is_believed_without_a_restart(folder: Folder):
    folder.begin()
    folder.bring(documents(registry(VERSION + 1)))
    assert version_of(folder.newer()) == VERSION + 1
    assert folder.look() is None
    assert version_of(folder.restart()) == VERSION + 1


@pytest.mark.parametrize(
    "refused",
    [
        documents(registry(VERSION)),
        documents(registry(VERSION + 2), "root-2-a"),
        documents(registry(VERSION + 2), "root-3"),
        documents(registry(VERSION + 2, expires_at_ms=NOW_MS)),
        documents(registry(VERSION + 1, policy=REGISTRY.policy, epoch_floor=2)),
        b"",
        b"nothing of the kind",
    ],
    ids=["older", "under-signed", "other root", "expired", "same version", "empty", "no document"],
)
def test_registry_that_may_not_be_believed_changes_nothing_over_restarts_too(
    folder: Folder, refused: bytes
):
    """R12: also when somebody puts back the older file that every key of it once signed."""
    folder.begin()
    folder.bring(documents(registry(VERSION + 1)))
    folder.newer()
    folder.bring(refused)
    assert version_of(folder.newer()) == VERSION + 1
    assert folder.codes() == ["trust_refused"]
    assert folder.look() is None
    assert version_of(folder.restart()) == VERSION + 1
    assert folder.codes() == ["trust_refused"]
    assert str(folder.path / "documents") == folder.complaints[0].subject


def test_held_registry_that_expired_meanwhile_is_no_complaint(folder: Folder):
    """R12: payments and closes go on under it."""
    folder.begin()
    folder.trust = folder.process()
    later_ms = REGISTRY.expires_at_ms + DAY_MS
    assert version_of(folder.trust.begin(now_ms=later_ms)) == VERSION
    assert folder.complaints == []


def test_process_without_any_belief_does_not_start(folder: Folder):
    folder.bring(documents(registry(VERSION), "root-2-a"))
    with pytest.raises(TrustRefusedError):
        folder.begin()


@pytest.mark.parametrize("content", ["", "{}", '{"documents": "00", "serials": {}}'])
def test_process_whose_memory_is_spoilt_says_so_and_does_not_start(folder: Folder, content: str):
    folder.begin()
    remembered = folder.path / "store" / "ledger.db.trust"
    assert remembered.stat().st_mode & 0o777 == 0o600
    remembered.write_text(content)
    with pytest.raises(TrustRefusedError, match=str(remembered)):
        folder.restart()


def test_registry_that_cannot_be_remembered_is_not_believed_yet(folder: Folder):
    """R12: stored and fsynced before use."""
    folder.begin()
    store = folder.path / "store"
    shutil.rmtree(store)
    store.write_bytes(b"")
    folder.bring(documents(registry(VERSION + 1)))
    for _ in range(2):
        with pytest.raises(OSError, match="store"):
            folder.look()
    store.unlink()
    assert version_of(folder.newer()) == VERSION + 1


# Identities


def test_new_identity_is_believed_without_a_restart(folder: Folder):
    assert agents_of(folder.begin()) == {}
    folder.enrol("AG-1", statement("AG-1", A_KEY, 1))
    assert agents_of(folder.newer()) == {"AG-1": A_KEY.key_id}


def test_bad_identity_is_left_out_and_takes_no_other_away(folder: Folder):
    folder.enrol("AG-1", statement("AG-1", A_KEY, 1))
    bad = folder.enrol("AG-2", statement("AG-2", B_KEY, 1, signer="engine"))
    cut = folder.enrol("AG-3", statement("AG-3", B_KEY, 1)[:-1])
    huge = folder.enrol("AG-4", bytes(1_000_000))
    believed = folder.begin()
    assert agents_of(believed) == {"AG-1": A_KEY.key_id}
    assert [one.subject for one in folder.complaints] == [str(bad), str(cut), str(huge)]
    assert folder.codes() == 3 * ["identity_refused"]


def test_complaint_is_told_once_until_it_is_mended_and_comes_back(folder: Folder):
    bad, good = b"nothing", statement("AG-1", A_KEY, 1)
    folder.enrol("AG-1", bad)
    folder.begin()
    folder.enrol("AG-2", statement("AG-2", B_KEY, 1))
    folder.newer()
    assert folder.codes() == ["identity_refused"]
    folder.enrol("AG-1", good)
    folder.newer()
    folder.enrol("AG-1", bad)
    folder.newer()
    assert folder.codes() == 2 * ["identity_refused"]


def test_highest_serial_is_the_only_key_also_when_its_file_is_taken_away(folder: Folder):
    """R16: whoever removes the newer statement must not bring the old hardware back."""
    folder.enrol("AG-1-old", statement("AG-1", A_KEY, 1))
    assert agents_of(folder.begin()) == {"AG-1": A_KEY.key_id}
    new = folder.enrol("AG-1-new", statement("AG-1", B_KEY, 2))
    assert agents_of(folder.newer()) == {"AG-1": B_KEY.key_id}
    new.unlink()
    assert agents_of(folder.newer()) == {}
    assert agents_of(folder.restart()) == {}


def test_two_keys_of_one_serial_are_told_of(folder: Folder):
    folder.enrol("AG-1-a", statement("AG-1", A_KEY, 1))
    second = folder.enrol("AG-1-b", statement("AG-1", B_KEY, 1))
    assert agents_of(folder.begin()) == {"AG-1": A_KEY.key_id}
    assert [one.subject for one in folder.complaints] == [str(second)]


def without_enrol() -> Sequence[Any]:
    public = key("enrol").public
    return tuple(one for one in REGISTRY.keys if one.public != public)


def with_enrol_until(end_ms: int) -> Registry:
    public = key("enrol").public
    keys = []
    for one in REGISTRY.keys:
        values = {name: getattr(one, name) for name in one.__struct_fields__}
        if one.public == public:
            values["not_after_ms"] = end_ms
        keys.append(type(one)(**values))
    return registry(VERSION + 1, keys=tuple(keys))


@pytest.mark.parametrize(
    ("newer", "is_valid"),
    [
        (with_enrol_until(NOW_MS - DAY_MS + 1), True),
        (with_enrol_until(NOW_MS - DAY_MS), False),
        (registry(VERSION + 1, keys=without_enrol()), False),
    ],
    ids=["signed in its life", "signed at its end", "revoked"],
)
def test_identity_lives_on_after_the_key_that_signed_it_unless_that_is_revoked(
    folder: Folder, newer: Registry, *, is_valid: bool
):
    folder.enrol("AG-1", statement("AG-1", A_KEY, 1))
    folder.begin()
    folder.bring(documents(newer))
    assert agents_of(folder.newer()) == ({"AG-1": A_KEY.key_id} if is_valid else {})


# Who is told


def test_complaints_are_left_in_the_ledger_for_the_desk(empty: World):
    one = Complaint(code="identity_refused", subject="a file", detail="why")
    tell_ledger([one], empty.store, lambda: NOW_MS)
    (row,) = empty.rows(select(alarms))
    assert (row.code, row.subject, row.detail) == ("identity_refused", "a file", "why")
    assert row.raised_at_ms == NOW_MS


def test_serials_are_remembered_beside_the_documents(folder: Folder):
    folder.enrol("AG-1", statement("AG-1", A_KEY, 5))
    folder.begin()
    told = json.loads((folder.path / "store" / "ledger.db.trust").read_bytes())
    assert told["serials"] == {"AG-1": 5}


async def test_watch_hands_on_what_is_newer_and_survives_a_full_disk(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trust_files, "LOOK_EVERY_MS", 1)
    believed = folder.begin()
    answers: list[Believed | OSError | None] = [None, OSError("full"), believed]
    handed: asyncio.Future[Believed] = asyncio.get_running_loop().create_future()

    def look() -> Believed | None:
        answer = answers.pop(0) if answers else None
        if isinstance(answer, OSError):
            raise answer
        return answer

    watching = asyncio.create_task(watch_trust(look, handed.set_result))
    assert await asyncio.wait_for(handed, 10) is believed
    watching.cancel()

"""What the doctor finds on a copy of the broker, where it may break things."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cloud.doctor import persistence
from cloud.doctor.copied_broker import CopiedBroker, NotCopiedError, copied
from cloud.doctor.examination import COPY_CHECKS, examine
from cloud.doctor.findings import Code, Measured, Note, NotProven
from cloud.doctor.strangers import reach_only_their_own
from tests.broker.examined_broker import ExaminedBroker, codes

# Lines for the access list, and what each lets somebody do.
WRONG_GRANTS = [
    ("pattern read command/#", Code.FOREIGN_TOPIC_READ, "A1 (agent) may read command/"),
    ("pattern write hello/#", Code.FOREIGN_TOPIC_WRITTEN, "A1 (agent) may write hello/"),
    ("user INTAKE-1\ntopic write payment/#", Code.FOREIGN_TOPIC_WRITTEN, "INTAKE-1 (intake)"),
    ("user VIEW-1\ntopic read payment/#", Code.FOREIGN_TOPIC_READ, "VIEW-1 (dashboard)"),
    ("user GUARD-1\ntopic write resume", Code.FOREIGN_TOPIC_WRITTEN, "GUARD-1 (guard)"),
    ("user DESK-1\ntopic read $SYS/#", Code.FOREIGN_TOPIC_READ, "DESK-1 (desk) may read $SYS"),
    ("user A2\ntopic write stop", Code.FOREIGN_TOPIC_WRITTEN, "A2 (agent) may write stop"),
]


@pytest.fixture
def examined(tmp_path) -> Iterator[ExaminedBroker]:
    broker = ExaminedBroker(tmp_path)
    yield broker
    broker.running.kill()


@asynccontextmanager
async def copy_of(examined: ExaminedBroker) -> AsyncIterator[CopiedBroker]:
    async with copied(examined.broker(), examined.running.directory) as copy:
        yield copy


async def test_everybody_reaches_only_their_own_by_the_access_list_as_shipped(examined):
    async with copy_of(examined) as copy:
        (remark,) = await reach_only_their_own(copy)
    assert isinstance(remark, Measured)
    everybody = {"A1", "A2", "ENGINE-1", "GUARD-1", "INTAKE-1", "DESK-1", "VIEW-1"}
    assert set(remark.text.split(", ")) == everybody


@pytest.mark.parametrize(("grant", "code", "text"), WRONG_GRANTS)
async def test_grant_that_reaches_others_topics_is_found(examined, grant, code, text):
    examined.add(examined.acl, grant)
    async with copy_of(examined) as copy:
        remarks = await reach_only_their_own(copy)
    assert codes(remarks) == {code}
    assert any(text in one.text for one in remarks)


async def test_missing_access_list_is_found_for_everybody(examined):
    examined.set(acl_file=None)
    async with copy_of(examined) as copy:
        remarks = await reach_only_their_own(copy)
    assert codes(remarks) == {Code.FOREIGN_TOPIC_READ, Code.FOREIGN_TOPIC_WRITTEN}


async def test_installation_without_an_agents_certificate_is_not_called_good(examined):
    for path in (examined.running.directory / "certificates").glob("A[12].*"):
        path.unlink()
    async with copy_of(examined) as copy:
        (remark,) = await reach_only_their_own(copy)
    assert isinstance(remark, NotProven)


async def test_what_a_kill_leaves_is_measured(examined):
    examined.set(autosave_interval=1)
    async with copy_of(examined) as copy:
        (remark,) = await persistence.survives_a_kill(copy)
    assert isinstance(remark, Measured)
    assert remark.text == "after kill -9: 200 of 220 waiting messages, session kept"


async def test_sessions_that_cannot_be_saved_are_found(examined, monkeypatch):
    monkeypatch.setattr(persistence, "_ONE_MORE_S", 0.1)
    examined.set(autosave_interval=1)
    examined.add(examined.configuration, "persistence_file nowhere/sessions.db")
    async with copy_of(examined) as copy:
        assert codes(await persistence.survives_a_kill(copy)) == {Code.SESSION_FORGOTTEN}


async def test_persistence_that_is_off_is_noted(examined):
    examined.set(persistence="false")
    async with copy_of(examined) as copy:
        (remark,) = await persistence.survives_a_kill(copy)
    assert isinstance(remark, Note)


async def test_autosave_that_is_too_rare_to_wait_for_is_not_called_good(examined):
    examined.set(autosave_interval=None)
    async with copy_of(examined) as copy:
        (remark,) = await persistence.survives_a_kill(copy)
    assert isinstance(remark, NotProven)
    assert "autosave_interval 1800" in remark.text


@pytest.mark.parametrize("line", ["connection other", "include_dir /etc/mosquitto/conf.d"])
async def test_configuration_that_reaches_out_is_not_copied(examined, line):
    examined.add(examined.configuration, line)
    with pytest.raises(NotCopiedError, match="would reach out"):
        async with copy_of(examined):
            pass


async def test_configuration_that_mosquitto_refuses_is_told(examined):
    examined.add(examined.configuration, "no_such_setting true")
    with pytest.raises(NotCopiedError, match=r"did not start: .*Error found at"):
        async with copy_of(examined):
            pass


async def test_broker_and_its_folder_are_left_as_they_were(examined):
    examined.start()
    before = {one.name: one.read_bytes() for one in (examined.configuration, examined.acl)}
    async with copy_of(examined) as copy:
        folder = copy.folder
        await copy.kill()
    assert not folder.exists()
    assert {one.name: one.read_bytes() for one in (examined.configuration, examined.acl)} == before
    assert examined.running.process.poll() is None


async def test_without_the_folder_what_needs_a_copy_is_not_proven(examined):
    report = await examine(examined.subject())
    needing = [one for one in report.examined if one.name in {name for name, *_ in COPY_CHECKS}]
    assert len(needing) == 2
    assert all(isinstance(one.remarks[0], NotProven) for one in needing)

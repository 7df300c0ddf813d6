"""An installation as it is made is good by every check that needs nothing running."""

import pytest

from cloud.doctor.examination import CHECKS, COPY_CHECKS, examine
from cloud.doctor.findings import Check, Code, Measured, NotProven
from cloud.doctor.running import intake_is_alive
from tests.broker.running_broker import free_port

# The others are this machine's affair, or a process's.
OF_FILES = [one for one in CHECKS if one.name not in ("clock", "intake", "disk")]


@pytest.mark.parametrize("check", OF_FILES, ids=lambda one: one.name)
def test_installation_as_it_is_made_is_good_by_every_check(subject, check: Check):
    assert [one for one in check.run(subject()) if not isinstance(one, Measured)] == []


def test_intake_that_does_not_run_is_not_proven(subject):
    (remark,) = intake_is_alive(subject())
    assert isinstance(remark, NotProven)


async def test_installation_that_does_not_run_is_examined_without_a_hang(folder, subject):
    path = folder / "relight.toml"
    path.write_text(path.read_text().replace(":18883", f":{free_port()}"))
    report = await examine(subject())
    assert [one.code for one in report.findings] == [Code.BROKER_UNREACHABLE]
    names = {name for name, *_ in COPY_CHECKS}
    copied = [one for one in report.examined if one.name in names]
    assert all(isinstance(remark, Measured) for one in copied for remark in one.remarks)

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.cli.installation import DOCTOR, DevelopmentPlan, make_development_installation
from cloud.configuration import Installation
from cloud.doctor.findings import Subject
from cloud.intake.spool import Spool

MADE_AT_MS = 1_767_225_600_000
Examine = Callable[..., Subject]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Path:
    """Keys and certificates take half a second to make, so every test gets a copy."""
    folder = tmp_path_factory.mktemp("installation") / "made"
    plan = DevelopmentPlan(folder=folder, agents=("AGENT-1",), broker_port=18883, intake_port=18080)
    make_development_installation(plan, now_ms=MADE_AT_MS)
    Spool.create_or_open(
        folder / "spool.db", now_ms=MADE_AT_MS, make_bytes=random.Random(1).randbytes
    ).close()
    return folder


@pytest.fixture
def folder(made_once, tmp_path) -> Path:
    copy = tmp_path / "installation"
    shutil.copytree(made_once, copy)
    return copy


@pytest.fixture
def subject(folder) -> Examine:
    """The installation, looked at a minute after it was made, or `later_ms` after that."""

    def made(*, later_ms: int = 60_000, is_production: bool = False) -> Subject:
        path = folder / "relight.toml"
        if is_production:
            text = path.read_text()
            path.write_text(text.replace("is_production = false", "is_production = true"))
        return Subject(
            installation=Installation(path),
            name=DOCTOR,
            now_ms=MADE_AT_MS + later_ms,
            random_bytes=random.Random(1).randbytes,
            broker_folder=folder / "broker",
        )

    return made

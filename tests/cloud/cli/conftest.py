import shutil
from pathlib import Path

import pytest

from cloud.cli.installation import DevelopmentPlan, make_development_installation
from cloud.cli.processes import clock_ms


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Path:
    """Keys and certificates take half a second to make, so every test gets a copy."""
    folder = tmp_path_factory.mktemp("installation") / "made"
    plan = DevelopmentPlan(folder=folder, agents=("AGENT-1",), broker_port=18883, intake_port=18080)
    make_development_installation(plan, now_ms=clock_ms())
    return folder


@pytest.fixture
def folder(made_once, tmp_path) -> Path:
    copy = tmp_path / "installation"
    shutil.copytree(made_once, copy)
    return copy


@pytest.fixture
def config(folder) -> Path:
    return folder / "relight.toml"

from collections.abc import Iterator

import pytest

from tests.reliability.matrix import Matrices

METERS = 250  # of each agent: a kill takes up to 30 consumers, most take 4


@pytest.fixture(scope="package")
def matrices(tmp_path_factory) -> Iterator[Matrices]:
    """One installation for all kills, and another one after a kill that did not end well."""
    made = Matrices(tmp_path_factory.mktemp("reliability"), meters=METERS)
    yield made
    made.end()

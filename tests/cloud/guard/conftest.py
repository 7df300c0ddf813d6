import pytest

from tests.cloud.guard.guarded import Guarded


@pytest.fixture
def world(tmp_path):
    made = Guarded(tmp_path)
    yield made
    made.store.close()

"""What a whole run cannot press on in the stranger's agent: a torn journal, odd signatures."""

import importlib

import pytest

from tests.conformance.conformance_run import EXAMPLES
from tests.wire import vectors


@pytest.fixture
def plain(monkeypatch):
    """The example's modules, by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_torn_end_of_the_journal_is_cut_off_and_written_over(plain, tmp_path):
    journal = plain("plain_journal").Journal(tmp_path, "A1", [])
    journal.add("alarm", "first", None, 0)
    journal.file.close()
    with (tmp_path / "journal").open("ab") as file:
        file.write(b"\x00\x00\x00\x40torn")
    for name in ("second", "third"):
        again = plain("plain_journal").Journal(tmp_path, "A1", [])
        again.add("alarm", name, None, 0)
        again.file.close()
    last = plain("plain_journal").Journal(tmp_path, "A1", [])
    last.file.close()
    assert last.id == journal.id
    assert last.boot > journal.boot
    codes = [plain("plain_wire").unpack(raw)[2] for raw, _ in last.items]
    assert codes == ["first", "second", "third"]


def test_signatures_of_the_vectors_are_judged_as_they_say(plain):
    for row in vectors.signatures():
        if not row.get("is_small_order"):
            judged = plain("plain_wire").verifies(row["public"], row["signature"], row["message"])
            assert judged == row["is_valid"], row["name"]


def test_small_order_keys_of_the_vectors_are_refused(plain):
    publics = [one["public"] for one in vectors.signatures() if one.get("is_small_order")]
    assert publics
    assert not any(map(plain("plain_wire").is_usable, publics))

"""The pages that describe the cloud's tables say what the tables say."""

import re
from pathlib import Path

from cloud.outbox import TRANSITIONS
from cloud.rules import Reason

DOCS = Path(__file__).parents[2] / "docs"


def test_diagram_of_a_command_shows_the_table_and_nothing_else():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (\w+)$", page, flags=re.MULTILINE))
    table = {
        (source.value, target.value, event.value) for (source, event), target in TRANSITIONS.items()
    }
    assert drawn == table


def test_every_reason_of_a_decision_is_explained_to_the_operator():
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)`", page, flags=re.MULTILINE))
    assert {reason.value for reason in Reason} - explained == set()


def test_every_file_the_architecture_page_names_exists():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#]+)\)", page)
    missing = [target for target in linked if not (DOCS / target).exists() and "/" in target]
    assert missing == []

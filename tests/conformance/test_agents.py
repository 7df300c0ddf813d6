"""Our agent and a stranger's, which shares no line with it, pass every row of the table."""

import ast
import sys

import pytest

from edge_agent.conformance.runner import CHAPTERS, wanted_cases
from tests.conformance.conformance_run import EXAMPLES, Run, broker_in, plain_agent

STRANGER = {"plain_wire", "plain_trust", "plain_journal", "paho"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both at the same time: most of a run is waiting."""
    folder = tmp_path_factory.mktemp("agents")
    with broker_in(folder / "broker-1") as one, broker_in(folder / "broker-2") as two:
        yield {
            "ours": Run(one, folder / "ours"),
            "stranger": Run(two, folder / "plain", "--agent-command", plain_agent()),
        }


@pytest.mark.parametrize("agent", ["stranger", "ours"])
def test_agent_passes_every_row(agent, runs):
    run = runs[agent]
    assert run.end() == 0, run.log()
    assert run.failed() == []
    assert set(run.rows()) == {case.name for case in wanted_cases(())}


def test_table_has_no_name_twice_and_tells_what_is_sent_and_seen():
    cases = wanted_cases(())
    assert len({case.name for case in cases}) == len(cases) >= 150
    assert all(case.rule and case.sent and case.seen for case in cases)


def test_page_counts_the_rows_of_each_chapter():
    page = (EXAMPLES.parent / "conformance.md").read_text()
    for chapter in CHAPTERS:
        assert f"| `{chapter.name}` | {len(chapter.cases)} |" in page


def test_page_counts_the_lines_of_the_example():
    page = (EXAMPLES.parent / "conformance.md").read_text()
    for file in EXAMPLES.glob("plain_*.py"):
        lines = len(file.read_text().splitlines())
        assert f"[`{file.name}`](examples/{file.name}) | {lines} |" in page


def test_stranger_imports_the_standard_library_and_paho_only():
    for file in EXAMPLES.glob("plain_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in getattr(node, "names", ())]
            modules = [node.module] if isinstance(node, ast.ImportFrom) else names
            if isinstance(node, ast.Import | ast.ImportFrom):
                tops = {str(one).split(".")[0] for one in modules}
                assert tops <= STRANGER | sys.stdlib_module_names, file.name

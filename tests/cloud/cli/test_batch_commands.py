"""`relight opens propose` and `relight batch`."""

from pathlib import Path

from tests.cloud.cli.commands import done, refused, relight

PROPOSALS = (
    "account_id,meter_id,sum,notice_served_on,notice_proof\nN1,MET-1,1500.00,2026-01-05,post 1\n"
)


def imported(folder: Path, config: Path) -> Path:
    """One home with supply; the file that proposes to open it."""
    files = {
        "accounts": "account_id,zone,language\nN1,INDORE-1,hi\n",
        "meters": "meter_id,account_id,agent_id,installed_on,mapped_on,"
        "feeder,transformer,protected\n"
        "MET-1,N1,AGENT-1,2022-05-10,2022-05-11,F-1,T-1,no\n",
    }
    for kind, text in files.items():
        path = folder / f"{kind}.csv"
        path.write_text(text, encoding="utf-8")
        done("import", kind, path, "--config", config)
    opens = folder / "opens.csv"
    opens.write_text(PROPOSALS, encoding="utf-8")
    return opens


def test_batch_is_proposed_shown_and_cancelled(folder: Path, config: Path):
    opens = imported(folder, config)
    given = ("--by", "V. Rao", "--reason", "arrears", "--config", config)
    assert "dry run" in done("opens", "propose", opens, "--dry-run", *given)
    assert done("batch", "list", "--config", config) == "no batch was ever proposed\n"
    assert "batch 1: 1 opens, Rs 1,500.00 demanded, canary" in done(
        "opens", "propose", opens, *given
    )
    shown = done("batch", "show", "1", "--config", config)
    assert "TOTAL 1 opens" in shown
    assert "MET-1  N1  Rs 1,500.00  proposed canary" in shown
    assert "V. Rao: arrears" in done("batch", "list", "--config", config)
    cancelled = done("batch", "cancel", "1", "--by", "S. Khan", "--config", config)
    assert cancelled == "batch 1: 1 opens cancelled\n"
    assert "cancelled already" in refused(
        "batch", "cancel", "1", "--by", "S. Khan", "--config", config
    )


def test_bad_file_is_told_row_by_row_and_ends_with_status_one(folder: Path, config: Path):
    opens = imported(folder, config)
    opens.write_text(PROPOSALS.replace("N1", "N9"), encoding="utf-8")
    found = relight("opens", "propose", opens, "--by", "V", "--reason", "r", "--config", config)
    assert found.exit_code == 1
    assert "'N9' is no known account" in found.stdout

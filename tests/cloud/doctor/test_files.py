from datetime import UTC, datetime, timedelta

import pytest

from cloud.doctor import files
from cloud.doctor.findings import DAY_MS, Code, NotProven
from mosquitto.certificates import create_client, load_authority
from mosquitto.configuration import Identity, Kind
from tests.cloud.doctor.conftest import MADE_AT_MS

PRIVATE = (
    "trust/keys/ENGINE-1.key",
    "trust/keys/INTAKE-1.key",
    "trust/keys/ROOT.key",
    "secrets/razorpay",
    "broker/certificates/server.key",
    "broker/certificates/AGENT-1.key",
)
FOLDERS = (".", "trust/keys", "secrets", "broker", "broker/certificates", "relight.toml")


@pytest.mark.parametrize("name", PRIVATE)
def test_key_or_secret_that_others_can_read_is_found(folder, subject, name):
    (folder / name).chmod(0o640)
    (remark,) = files.keys_are_private(subject())
    assert (remark.code, remark.text) == (Code.PRIVATE_FILE_OPEN, f"{name} has mode 0640")


def test_secret_of_another_provider_is_looked_at_too(folder, subject):
    with (folder / "relight.toml").open("a") as file:
        file.write('\n[intake.signed.BANK]\nsecrets = ["secrets/bank"]\n')
    (folder / "secrets" / "bank").write_text("secret")
    (folder / "secrets" / "bank").chmod(0o604)
    (remark,) = files.keys_are_private(subject())
    assert remark.text == "secrets/bank has mode 0604"


@pytest.mark.parametrize("name", FOLDERS)
def test_place_that_everybody_may_write_is_found(folder, subject, name):
    (folder / name).chmod(0o777)
    assert [one.code for one in files.folders_are_ours(subject())] == [Code.FOLDER_WRITABLE]


@pytest.mark.parametrize("name", ["ledger.db", "spool.db", "ledger.db-wal", "spool.db-shm"])
def test_store_that_everybody_may_read_is_found(folder, subject, name):
    (folder / name).touch()
    (folder / name).chmod(0o644)
    (remark,) = files.stores_are_not_public(subject())
    assert (remark.code, remark.text) == (Code.STORE_READABLE, f"everybody may read {name}")


def test_certificate_that_ends_within_a_month_is_found(folder, subject):
    certificates = folder / "broker" / "certificates"
    made_at = datetime.fromtimestamp(MADE_AT_MS / 1_000, UTC) - timedelta(days=800)
    identity = Identity(name="OLD-1", kind=Kind.AGENT)
    create_client(certificates, load_authority(certificates), identity, now=made_at)
    (remark,) = files.certificates_last(subject())
    assert remark.code is Code.CERTIFICATE_ENDS_SOON
    assert remark.text.startswith("broker/certificates/OLD-1.crt ends at ")
    assert len(files.certificates_last(subject(later_ms=900 * DAY_MS))) > 2


def test_folder_without_certificates_is_not_called_good(folder, subject):
    for path in (folder / "broker" / "certificates").glob("*.crt"):
        path.unlink()
    (remark,) = files.certificates_last(subject())
    assert isinstance(remark, NotProven)

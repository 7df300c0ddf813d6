from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mosquitto.configuration import BrokerPlan, BrokerPlanError, Identity, Kind
from mosquitto.initialisation import add_identity, initialise

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "broker"
    plan = BrokerPlan(
        directory=directory, host="broker.example", engines=("ENGINE-1",), agents=("A1", "A2")
    )
    initialise(plan, now=NOW)
    return directory


def certificate(directory: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "certificates" / f"{name}.crt").read_bytes())


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_directory_holds_the_files_and_nothing_else(directory):
    names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    pairs = {
        f"certificates/{name}.{end}"
        for name in ("ca", "server", "ENGINE-1", "A1", "A2")
        for end in ("crt", "key")
    }
    assert names == pairs | {"mosquitto.conf", "acl"}


def test_private_keys_are_their_owners_alone(directory):
    keys = list(directory.rglob("*.key"))
    assert len(keys) == 5
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_certificate_names_its_identity_and_is_signed_by_the_authority_for_a_client(directory):
    authority, made = certificate(directory, "ca"), certificate(directory, "A1")
    made.verify_directly_issued_by(authority)
    (name,) = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "A1"
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert made.not_valid_before_utc == NOW - timedelta(hours=1)


def test_server_certificate_holds_its_host_and_loopback(directory):
    made = certificate(directory, "server")
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example", "localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_second_initialisation_is_refused_and_changes_nothing(directory):
    before = contents(directory)
    with pytest.raises(BrokerPlanError, match="exists"):
        initialise(BrokerPlan(directory=directory), now=NOW)
    assert contents(directory) == before


def test_wrong_plan_leaves_nothing_behind(tmp_path):
    with pytest.raises(BrokerPlanError):
        initialise(BrokerPlan(directory=tmp_path / "broker", agents=("a",)), now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_identity_added_later_is_signed_by_the_same_authority_and_stands_in_the_acl(directory):
    add_identity(directory, Identity(name="GUARD-1", kind=Kind.GUARD), now=NOW)
    certificate(directory, "GUARD-1").verify_directly_issued_by(certificate(directory, "ca"))
    acl = (directory / "acl").read_text().splitlines()
    assert acl.index("user GUARD-1") > acl.index("user ENGINE-1")
    assert (directory / "acl").stat().st_mode & 0o777 == 0o600


def test_name_that_has_a_certificate_is_not_added_again(directory):
    before = contents(directory)
    with pytest.raises(BrokerPlanError, match="A1 has a certificate"):
        add_identity(directory, Identity(name="A1", kind=Kind.ENGINE), now=NOW)
    assert contents(directory) == before


def test_nothing_is_added_where_no_broker_is(tmp_path):
    with pytest.raises(BrokerPlanError, match="initialise it first"):
        add_identity(tmp_path, Identity(name="A1", kind=Kind.AGENT), now=NOW)

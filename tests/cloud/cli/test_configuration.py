"""What relight.toml may not be: each fault is one line with the file, the key and the cure."""

import pytest
from sqlalchemy import select

from cloud.cli.processes import make_engine
from cloud.configuration import Installation
from cloud.schema import alarms
from cloud.store import open_store, reading
from tests.cloud.cli.commands import change, refused

PROCESSES = ("engine", "intake", "up")


@pytest.mark.parametrize("command", PROCESSES)
def test_missing_configuration_is_named_with_the_option_that_names_it(command, tmp_path):
    missing = tmp_path / "none.toml"
    said = refused(command, "--config", missing)
    assert said == f"no configuration {missing}: name it with --config"


def test_text_that_is_not_toml_is_refused(config):
    config.write_text("[trust\n")
    assert str(config) in refused("engine", "--config", config)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("is_production", "is_prodution", "is_prodution"),
        ('pin = "', 'pinned = "', "pin"),
        ('name = "ENGINE-1"', "name = 7", "engine.name"),
        ("port = 18080", 'port = "18080"', "intake.port"),
        ('addresses = ["127.0.0.1:18883"]', "addresses = 18883", "broker.addresses"),
        ("is_production = false", "is_production = 0", "trust.is_production"),
        ("[broker]", "[brokers]", "broker"),
    ],
)
def test_unknown_missing_or_mistyped_key_is_named(config, old, new, named):
    change(config, old, new)
    said = refused("engine", "--config", config)
    assert str(config) in said
    assert named in said


@pytest.mark.parametrize("command", PROCESSES)
def test_process_without_its_section_says_which(command, config):
    text = config.read_text()
    trust_and_broker, _, _ = text.partition("[engine]")
    config.write_text(trust_and_broker)
    section = "intake" if command == "intake" else "engine"
    said = refused(command, "--config", config)
    assert said == f"{config} has no [{section}] section, which this needs"


@pytest.mark.parametrize("command", ["engine", "intake"])
def test_address_without_a_port_is_refused(command, config):
    change(config, '"127.0.0.1:18883"', '"127.0.0.1"')
    assert "'127.0.0.1' is not HOST:PORT" in refused(command, "--config", config)


@pytest.mark.parametrize(("command", "name"), [("engine", "ENGINE-1"), ("intake", "INTAKE-1")])
def test_key_file_that_others_can_read_is_refused(command, name, folder, config):
    key = folder / "trust" / "keys" / f"{name}.key"
    key.chmod(0o640)
    said = refused(command, "--config", config)
    assert said == f"{key} has mode 0640; others can read it: chmod 0600 {key}"


def test_missing_key_file_is_named(folder, config):
    key = folder / "trust" / "keys" / "ENGINE-1.key"
    key.unlink()
    assert refused("engine", "--config", config) == f"no key file {key}: create it, mode 0600"


def test_webhook_secret_that_others_can_read_is_refused(folder, config):
    secret = folder / "secrets" / "razorpay"
    secret.chmod(0o644)
    assert f"chmod 0600 {secret}" in refused("intake", "--config", config)


@pytest.mark.parametrize("command", ["engine", "intake"])
def test_other_root_than_the_pinned_one_is_refused(command, folder, config):
    pin = (folder / "trust" / "pin").read_text().strip()
    other = "00" * 32
    change(config, pin, other)
    said = refused(command, "--config", config)
    assert f"root document has digest {pin}, the pin is {other}" in said


@pytest.mark.parametrize("pin", ["", "cafe", "not hexadecimal"])
def test_pin_that_is_none_is_refused(folder, config, pin):
    change(config, (folder / "trust" / "pin").read_text().strip(), pin)
    assert "pin" in refused("engine", "--config", config)


def test_missing_trust_documents_are_named(folder, config):
    (folder / "trust" / "documents").unlink()
    assert str(folder / "trust" / "documents") in refused("engine", "--config", config)


def test_trust_documents_that_are_cut_short_are_refused(folder, config):
    documents = folder / "trust" / "documents"
    documents.write_bytes(documents.read_bytes()[:-1])
    assert "[trust]" in refused("engine", "--config", config)


@pytest.mark.parametrize("command", ["engine", "intake"])
def test_production_refuses_keys_marked_development(command, config):
    change(config, "is_production = false", "is_production = true")
    assert "is marked development" in refused(command, "--config", config)


def test_engine_with_a_key_of_another_role_is_refused(config):
    change(config, "trust/keys/ENGINE-1.key", "trust/keys/INTAKE-1.key")
    said = refused("engine", "--config", config)
    assert said == "trust/keys/INTAKE-1.key is no key of ENGINE-1 in the registry"


def test_intake_with_a_key_of_another_role_is_refused(config):
    change(config, "trust/keys/INTAKE-1.key", "trust/keys/ENGINE-1.key")
    assert "is not registered as intake INTAKE-1" in refused("intake", "--config", config)


def test_three_webhook_secrets_are_refused(config):
    one = '"secrets/razorpay"'
    change(config, f"[{one}]", f"[{one}, {one}, {one}]")
    assert "razorpay_secrets: 3 given" in refused("intake", "--config", config)


@pytest.mark.parametrize("command", ["engine", "intake"])
def test_missing_certificates_of_the_broker_are_named(command, folder, config):
    name = {"engine": "ENGINE-1", "intake": "INTAKE-1"}[command]
    certificate = folder / "broker" / "certificates" / f"{name}.crt"
    certificate.unlink()
    assert str(certificate) in refused(command, "--config", config)


def test_identity_that_enrol_did_not_sign_is_left_out_with_an_alarm(folder, config):
    identity = folder / "trust" / "identities" / "AGENT-1.identity"
    changed = bytearray(identity.read_bytes())
    changed[-1] ^= 1
    identity.write_bytes(changed)
    installation = Installation(config)
    assert make_engine(installation).engine.settings.identities == {}
    with reading(open_store(installation.ledger_url())) as connection:
        (alarm,) = connection.execute(select(alarms)).all()
    assert (alarm.code, alarm.subject) == ("identity_refused", str(identity))
    assert "does not verify" in alarm.detail

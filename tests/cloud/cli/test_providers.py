"""Providers besides Razorpay, and polling: from `relight init` to what an intake is made of."""

import pytest

from cloud.cli import processes
from cloud.cli.installation import INTAKE, PROVIDER, intake_scope
from cloud.cli.processes import run_intake_process
from cloud.configuration import Installation
from cloud.intake.razorpay import Razorpay
from cloud.intake.signed import Signed
from cloud.intake.spool_schema import Sweep
from tests.cloud.cli.commands import change, done, refused, relight

BANK = """
[intake.signed.BANK-A]
secrets = ["secrets/bank-a"]
"""


@pytest.fixture
def settings_of(monkeypatch):
    """What `relight intake` is made of, without running it."""
    made = []
    monkeypatch.setattr(processes, "run_intake", made.append)
    monkeypatch.setattr(processes, "run_until_stopped", lambda _: None)

    def settings(config):
        run_intake_process(Installation(config))
        return made[-1]

    return settings


def scope_of(config):
    authorities = Installation(config).authorities(latest_ms=0)
    (key,) = [one for one in authorities.keyring().keys.values() if one.subject == INTAKE]
    return key.scope


@pytest.fixture
def with_bank(tmp_path):
    done("init", tmp_path / "i", "--provider", "BANK-A", "--provider", "BANK-B")
    return tmp_path / "i" / "relight.toml"


@pytest.fixture
def polled(tmp_path):
    said = done("init", tmp_path / "i", "--poll-razorpay")
    assert "put the API key into" in said
    for name in ("razorpay-key-id", "razorpay-key-secret"):
        path = tmp_path / "i" / "secrets" / name
        path.write_text("rzp_test_1\n")
        path.chmod(0o600)
    return tmp_path / "i" / "relight.toml"


def test_installation_is_not_polled_and_has_razorpay_alone_unless_told(config, settings_of):
    settings = settings_of(config)
    assert (settings.names, settings.polled) == ((PROVIDER,), ())
    assert isinstance(settings.providers[0], Razorpay)
    assert scope_of(config) == ("WEBHOOK:RAZORPAY",)


def test_each_provider_gets_a_secret_a_section_a_scope_and_its_topics(with_bank, settings_of):
    settings = settings_of(with_bank)
    assert settings.names == ("RAZORPAY", "BANK-A", "BANK-B")
    secrets = {one.name: one.secrets for one in settings.providers}
    assert len({secret for (secret,) in secrets.values()}) == 3
    assert isinstance(settings.providers[1], Signed)
    assert scope_of(with_bank) == ("WEBHOOK:RAZORPAY", "WEBHOOK:BANK-A", "WEBHOOK:BANK-B")
    acl = (with_bank.parent / "broker" / "acl").read_text()
    for name in settings.names:
        assert f"topic write payment/+/{name}\n" in acl
    modes = {one.stat().st_mode & 0o777 for one in (with_bank.parent / "secrets").iterdir()}
    assert modes == {0o600}


def test_polled_installation_says_so_in_its_registry(polled, settings_of):
    settings = settings_of(polled)
    assert settings.polled == (PROVIDER,)
    assert scope_of(polled) == ("RAZORPAY",)
    assert settings.razorpay_poll.every_ms == {
        Sweep.RECENT: 60_000,
        Sweep.LATE: 3_600_000,
        Sweep.DEEP: 86_400_000,
    }
    assert intake_scope(("B",), is_polled=True) == ("RAZORPAY", "WEBHOOK:B")


def test_polling_without_its_key_names_the_missing_file(polled):
    (polled.parent / "secrets" / "razorpay-key-id").unlink()
    missing = polled.parent / "secrets" / "razorpay-key-id"
    assert refused("intake", "--config", polled) == f"no key file {missing}: create it, mode 0600"


def test_api_key_that_others_can_read_is_refused(polled):
    path = polled.parent / "secrets" / "razorpay-key-secret"
    path.chmod(0o644)
    assert f"chmod 0600 {path}" in refused("intake", "--config", polled)


@pytest.mark.parametrize("name", ["key_id", "key_secret"])
def test_half_a_key_is_refused(polled, name):
    lines = polled.read_text().splitlines(keepends=True)
    polled.write_text("".join(one for one in lines if not one.startswith(name)))
    said = refused("intake", "--config", polled)
    assert said == f"{polled} [intake.razorpay]: key_id and key_secret belong together"


def test_api_address_that_would_send_the_key_in_clear_is_refused(polled):
    change(polled, "key_id =", 'api = "http://api.razorpay.com"\nkey_id =')
    assert "use https" in refused("intake", "--config", polled)


def test_pause_between_polls_that_would_let_every_watermark_grow_old_is_refused(polled):
    change(polled, "key_id =", "recent_every_s = 3600\nkey_id =")
    assert "recent_every_s" in refused("intake", "--config", polled)


def test_razorpay_may_be_polled_without_webhooks_but_not_be_neither(polled, settings_of):
    change(polled, 'secrets = ["secrets/razorpay"]', "secrets = []")
    settings = settings_of(polled)
    assert (settings.providers, settings.names) == ((), (PROVIDER,))
    lines = polled.read_text().splitlines(keepends=True)
    polled.write_text("".join(one for one in lines if not one.startswith("key_")))
    assert "razorpay_secrets: 0 given" in refused("intake", "--config", polled)


def test_signed_provider_alone_is_enough_and_none_is_refused(with_bank, settings_of):
    text = with_bank.read_text()
    before, _, rest = text.partition("[intake.razorpay]")
    with_bank.write_text(before + "[intake.signed" + rest.partition("[intake.signed")[2])
    assert settings_of(with_bank).names == ("BANK-A", "BANK-B")
    with_bank.write_text(before)
    said = refused("intake", "--config", with_bank)
    assert said == "no provider: configure [intake.razorpay] or [intake.signed.NAME]"


def test_provider_that_the_registry_does_not_list_is_refused(config):
    secret = config.parent / "secrets" / "bank-a"
    secret.write_text("a secret of over 16 characters\n")
    secret.chmod(0o600)
    config.write_text(config.read_text() + BANK)
    assert "not for BANK-A: add it to the key's scope" in refused("intake", "--config", config)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[intake.signed.BANK-A]", "[intake.signed.RAZORPAY]", "one name"),
        ("[intake.signed.BANK-A]", "[intake.signed.bank-a]", "1 to 32 of A-Z"),
        ('["secrets/bank-a"]', "[]", "secrets: 0 given"),
        ('["secrets/bank-a"]', '["secrets/bank-a"]\ntolerance_s = 0', "tolerance_s: 0"),
        ('["secrets/bank-a"]', '["secrets/bank-a"]\ntolerance = 9', "tolerance"),
    ],
)
def test_signed_section_that_cannot_work_is_refused(with_bank, old, new, named):
    change(with_bank, old, new)
    assert named in refused("intake", "--config", with_bank)


@pytest.mark.parametrize("names", [("bank",), ("A/B",), ("RAZORPAY",), ("BANK-A", "BANK-A")])
def test_provider_whose_name_cannot_be_makes_nothing(names, tmp_path):
    options = [word for name in names for word in ("--provider", name)]
    for command in (("init",), ("broker", "init"), ("keys", "development")):
        assert "provider" in refused(*command, tmp_path / "i", *options)
    assert not (tmp_path / "i").exists()


def test_broker_and_keys_alone_take_providers_too(tmp_path):
    done("broker", "init", tmp_path / "b", "--provider", "BANK-A")
    assert "topic write payment/+/BANK-A\n" in (tmp_path / "b" / "acl").read_text()
    made = relight("keys", "development", tmp_path / "k", "--provider", "BANK-A", "--poll-razorpay")
    assert made.exit_code == 0, made.output

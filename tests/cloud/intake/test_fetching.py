"""The door to a provider's API: whom it trusts, and what it takes for an answer."""

import ssl
from datetime import UTC, datetime

import pytest

from cloud.intake import fetching
from cloud.intake.fetching import FetchError, HttpFetch
from cloud.intake.provider import SettingsError
from mosquitto.certificates import create_authority, create_server
from tests.cloud.intake.razorpay_api import KEY_ID, KEY_SECRET, FakeRazorpay

TARGET = "/v1/payments?count=100&skip=0"


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("http://api.razorpay.com", "use https"),
        ("api.razorpay.com", "no address"),
        ("ftp://api.razorpay.com", "no address"),
        ("https://api.razorpay.com/v1", "no address"),
        ("https://", "no address"),
    ],
)
def test_address_that_is_none_or_would_give_the_key_away_is_refused(address, named):
    with pytest.raises(SettingsError, match=named):
        HttpFetch(address, "key", "secret")


async def test_certificate_of_nobody_we_trust_or_of_another_host_is_refused(tmp_path, monkeypatch):
    now = datetime.now(UTC)
    create_server(tmp_path, create_authority(tmp_path, now=now), "127.0.0.1", now=now)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    async with FakeRazorpay().listening(tls) as api:
        address = f"https://127.0.0.1:{api.port}"
        with pytest.raises(FetchError, match="certificate verify failed"):
            await HttpFetch(address, KEY_ID, KEY_SECRET).get(TARGET)
        assert api.requests == []  # the key went nowhere
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        assert b"collection" in await HttpFetch(address, KEY_ID, KEY_SECRET).get(TARGET)
        elsewhere = HttpFetch(f"https://ip6-localhost:{api.port}", KEY_ID, KEY_SECRET)
        elsewhere._host = "127.0.0.2"
        with pytest.raises(FetchError):
            await elsewhere.get(TARGET)
        assert len(api.requests) == 1


@pytest.fixture
async def api():
    async with FakeRazorpay().listening() as fake:
        yield fake


@pytest.fixture
def fetch(api):
    return HttpFetch(f"http://127.0.0.1:{api.port}", KEY_ID, KEY_SECRET)


async def test_answer_that_is_whole_is_given_as_its_bytes(api, fetch):
    api.pay(1, 1_000)
    assert b"pay_00000000000001" in await fetch.get(TARGET)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (500, "status 500"),
        (429, "status 429"),
        (302, "status 302"),
        (401, "key_id and key_secret"),
        ("cut", "ended early"),
        ("no http", "127.0.0.1"),
    ],
)
async def test_anything_but_a_whole_good_answer_is_an_error_in_words(api, fetch, fault, told):
    api.faults.append(fault)
    with pytest.raises(FetchError, match=told) as raised:
        await fetch.get(TARGET)
    assert KEY_SECRET not in str(raised.value)


async def test_answer_beyond_the_bound_is_given_up(api, fetch, monkeypatch):
    """I13."""
    monkeypatch.setattr(fetching, "ANSWER_BYTES_MAX", 1_000)
    for number in range(10):
        api.pay(number, 1_000)
    with pytest.raises(FetchError, match="over 1000 bytes"):
        await fetch.get(TARGET)


@pytest.mark.parametrize(("said", "wait_s"), [("7", 7), ("9999999", 300), ("tomorrow", 0)])
async def test_wait_that_a_provider_asks_for_is_bounded(api, fetch, said, wait_s):
    api.faults.append(429)
    api.retry_after = said
    with pytest.raises(FetchError) as raised:
        await fetch.get(TARGET)
    assert raised.value.retry_after_s == wait_s


async def test_nobody_at_the_address_is_an_error(fetch):
    fetch._port = 1
    with pytest.raises(FetchError):
        await fetch.get(TARGET)

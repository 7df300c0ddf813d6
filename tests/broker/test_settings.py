"""Settings that can never work are refused when they are made."""

import random
import ssl
from pathlib import Path

import pytest

from tests.broker.running_broker import RunningBroker
from wire.link import BrokerAddress, Link, LinkSettings, TlsFiles, Will
from wire.link_settings import tls_context

GOOD = {
    "client_id": "A1",
    "brokers": (BrokerAddress("127.0.0.1", 1),),
    "tls": None,
    "subscriptions": (),
}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "Ä1"}, "client_id 'Ä1'"),
        ({"brokers": ()}, "brokers"),
        ({"canary": "canary/+"}, "canary/"),
        ({"will": Will("presence/#", b"", retain=True)}, "presence/#"),
        ({"publish_window": 0}, "publish_window 0"),
        ({"publish_window": 65_535}, "publish_window 65535"),
        ({"receive_window": 0}, "receive_window 0"),
        ({"receive_queue_max": 0}, "receive_queue_max 0"),
        ({"send_queue_max": 0}, "send_queue_max 0"),
        ({"session_expiry_s": 2**32}, "session_expiry_s 4294967296"),
        ({"keepalive_s": 0}, "keepalive_s 0"),
    ],
)
def test_settings_that_can_never_work_are_refused_with_their_value(wrong, named):
    with pytest.raises(ValueError, match=named.replace("+", r"\+")):
        LinkSettings(**(GOOD | wrong))


def test_missing_certificate_files_are_refused_before_the_first_connection(tmp_path):
    tls = TlsFiles(tmp_path / "ca.crt", tmp_path / "A1.crt", tmp_path / "A1.key")
    with pytest.raises(OSError, match=r"A1\.key.*readable PEM"):
        Link(LinkSettings(**(GOOD | {"tls": tls})), randomness=random.Random(1))


def test_link_offers_tls_1_3_and_nothing_older(tmp_path: Path):
    context = tls_context(RunningBroker(tmp_path / "broker").files("A1"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_receive_of_nothing_is_refused():
    link = Link(LinkSettings(**GOOD), randomness=random.Random(1))
    with pytest.raises(ValueError, match="limit 0"):
        await link.receive(0)


async def test_stopping_a_link_that_never_ran_returns_at_once():
    link = Link(LinkSettings(**GOOD), randomness=random.Random(1))
    await link.stop()
    await link.run()
    assert not link.connected

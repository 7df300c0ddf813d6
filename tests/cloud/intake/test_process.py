import asyncio
import contextlib
import json
import random
import socket
from dataclasses import replace

import pytest

from cloud.intake.fetching import HttpFetch
from cloud.intake.poll_plan import LIST_LAG_MS
from cloud.intake.process import IntakeSettings, RazorpayPoll, run_intake
from cloud.intake.provider import SettingsError
from cloud.intake.razorpay import PROVIDER, Razorpay
from cloud.intake.signed import Signed
from cloud.intake.spool import Spool, SpoolError
from cloud.intake.spool_schema import Sweep
from tests.cloud.intake.razorpay_api import KEY_ID, KEY_SECRET, FakeRazorpay
from tests.cloud.intake.reports import SECRET, captured, open_spool
from tests.cloud.intake.web import get, post
from tests.wire.installation import (
    FOREIGN_PROVIDER,
    INTAKE,
    NOW_MS,
    WEBHOOK_PROVIDER,
    authorities,
    key,
)
from wire.fields import IntakeId
from wire.link import BrokerAddress


@pytest.fixture
def nobody():
    """An address at which no broker answers."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    return BrokerAddress("127.0.0.1", port)


@pytest.fixture
def settings(tmp_path, nobody):
    return IntakeSettings(
        intake=INTAKE,
        host="127.0.0.1",
        port=0,
        spool=tmp_path / "spool.db",
        providers=(Razorpay(secrets=(SECRET,)),),
        key=key("intake"),
        authorities=authorities(),
        brokers=(nobody,),
        tls=None,
        clock_ms=lambda: NOW_MS,
        randomness=random.Random(1),
    )


@contextlib.asynccontextmanager
async def running(settings):
    listening = asyncio.get_running_loop().create_future()
    intake = asyncio.create_task(run_intake(settings, listening=listening))
    await asyncio.wait((intake, listening), return_when=asyncio.FIRST_COMPLETED)
    if intake.done():
        intake.result()
    try:
        yield listening.result()
    finally:
        intake.cancel()
        with pytest.raises(asyncio.CancelledError):
            await intake


async def test_reports_are_taken_in_while_there_is_no_broker_and_survive_a_restart(settings):
    """I1: the broker may be away for days."""
    async with running(settings) as port:
        for number in (1, 2):
            assert (await post(port, captured(number))).status == 200
        health = json.loads((await get(port, "/health")).body)
    assert (health["made"], health["unreceipted"], health["is_connected"]) == (2, 2, False)
    assert health["in_flight"] == 0
    async with running(settings) as port:
        assert (await post(port, captured(2))).body == b"stored before"
        assert (await post(port, captured(3))).status == 200
        again = json.loads((await get(port, "/health")).body)
    assert (again["spool"], again["made"], again["unreceipted"]) == (health["spool"], 3, 3)
    spool = Spool.beside(settings.spool)
    assert [one.number for one in spool.unreceipted(after=0, limit=9)] == [1, 2, 3]
    spool.close()


async def test_second_intake_on_the_same_spool_does_not_start(settings):
    holder = open_spool(settings.spool)
    with pytest.raises(SpoolError, match="another intake"):
        await run_intake(settings)
    holder.close()


@pytest.mark.parametrize("secrets", [(), ("",), (SECRET, ""), ("a", "b", "c")])
def test_missing_empty_or_third_secret_is_refused(secrets):
    with pytest.raises(SettingsError, match="razorpay_secrets"):
        Razorpay(secrets=secrets)


def test_intake_without_a_provider_or_with_two_of_one_name_is_refused(settings):
    with pytest.raises(SettingsError, match="no provider"):
        replace(settings, providers=())
    with pytest.raises(SettingsError, match="one name"):
        replace(settings, providers=settings.providers * 2)


def test_provider_outside_the_scope_of_the_key_is_refused(settings):
    bank = Signed(name=FOREIGN_PROVIDER, secrets=("x" * 16,))
    with pytest.raises(SettingsError, match="not for PAYTM: add it to the key's scope"):
        replace(settings, providers=(*settings.providers, bank))
    in_scope = Signed(name=WEBHOOK_PROVIDER, secrets=("x" * 16,))
    assert replace(settings, providers=(*settings.providers, in_scope)).polled == ()


def test_provider_that_must_be_polled_and_is_not_is_an_alarm(settings, caplog):
    replace(settings, intake=INTAKE)
    assert "RAZORPAY is not polled, so no relay is ever opened" in caplog.text
    assert "BBPS-BANK" not in caplog.text


def test_key_that_the_registry_does_not_name_as_this_intake_is_refused(settings):
    for wrong in ({"key": key("stranger")}, {"key": key("engine")}, {"intake": IntakeId("OTHER")}):
        with pytest.raises(SettingsError, match="not registered as intake"):
            replace(settings, **wrong)


def test_settings_do_not_show_secrets(settings):
    assert SECRET not in repr(settings)
    assert key("intake").seed.hex() not in repr(settings)


async def test_intake_polls_beside_its_webhooks_and_tells_how_far_it_came(settings):
    async with FakeRazorpay().listening() as api:
        api.pay(1, NOW_MS // 1_000 - 30)
        fetch = HttpFetch(f"http://127.0.0.1:{api.port}", KEY_ID, KEY_SECRET)
        spool = open_spool(settings.spool)
        spool.mark_polled(PROVIDER, dict.fromkeys(Sweep, NOW_MS - 600_000))
        spool.close()
        polling = replace(settings, razorpay_poll=RazorpayPoll(fetch=fetch))
        async with running(polling) as port:
            assert (await post(port, captured(2))).status == 200
            health = json.loads((await get(port, "/health")).body)
            while health["complete_to_ms"] != {"RAZORPAY": NOW_MS - LIST_LAG_MS}:
                health = json.loads((await get(port, "/health")).body)
    assert health["made"] == 2
    assert health["counters"]["fetched"] == 1


async def test_provider_may_be_polled_without_any_webhook(settings):
    async with FakeRazorpay().listening() as api:
        fetch = HttpFetch(f"http://127.0.0.1:{api.port}", KEY_ID, "a wrong secret")
        polling = replace(settings, providers=(), razorpay_poll=RazorpayPoll(fetch=fetch))
        assert polling.names == ("RAZORPAY",)
        assert "a wrong secret" not in repr(polling)
        async with running(polling) as port:
            assert (await post(port, captured(1))).status == 404
            await api.asked.wait()

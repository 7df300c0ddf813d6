import asyncio
import contextlib
import json
import random
import socket
from dataclasses import replace

import pytest

from cloud.intake.process import IntakeSettings, SettingsError, run_intake
from cloud.intake.spool import Spool, SpoolError
from tests.cloud.intake.reports import SECRET, captured, open_spool
from tests.cloud.intake.web import get, post
from tests.wire.installation import INTAKE, NOW_MS, authorities, key
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
        razorpay_secrets=(SECRET,),
        razorpay_merchant=None,
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
def test_missing_empty_or_third_secret_is_refused(settings, secrets):
    with pytest.raises(SettingsError, match="razorpay_secrets"):
        replace(settings, razorpay_secrets=secrets)


def test_key_that_the_registry_does_not_name_as_this_intake_is_refused(settings):
    for wrong in ({"key": key("stranger")}, {"key": key("engine")}, {"intake": IntakeId("OTHER")}):
        with pytest.raises(SettingsError, match="not registered as intake"):
            replace(settings, **wrong)


def test_settings_do_not_show_secrets(settings):
    assert SECRET not in repr(settings)
    assert key("intake").seed.hex() not in repr(settings)

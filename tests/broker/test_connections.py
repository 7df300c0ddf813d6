"""How connections of a link follow each other. The broker is scripted."""

import asyncio
import logging

import pytest

from tests.broker.running_broker import LONGEST_WAIT_S, Links, until
from wire.link import LinkLost


async def test_link_moves_to_the_next_broker_when_told_and_publishes_its_will_on_the_old_one(
    scripted, links, other
):
    link = await links.ready(scripted.settings(brokers=(scripted.address, other.address)))
    await link.move_to_next_broker()
    assert await link.next_connection(1) == 2
    assert (link.broker, len(other.seen.connects)) == (other.address, 1)
    await until(lambda: scripted.seen.disconnects == [b"\x04\x00"])
    await link.move_to_next_broker()
    assert await link.next_connection(2) == 3
    assert len(scripted.seen.connects) == 2


async def test_broker_that_does_not_answer_is_left_for_the_next_by_itself(scripted, links, other):
    other.script.answers_connect = False
    settings = scripted.settings(brokers=(other.address, scripted.address), connect_timeout_s=0.2)
    link = links.start(settings)
    await link.next_connection(0)
    assert link.broker == scripted.address


async def test_move_ends_a_connect_that_hangs(scripted, links, other):
    other.script.answers_connect = False
    settings = scripted.settings(
        brokers=(other.address, scripted.address), connect_timeout_s=10 * LONGEST_WAIT_S
    )
    link = links.start(settings)
    await until(lambda: len(other.seen.connects) == 1)
    await link.move_to_next_broker()
    async with asyncio.timeout(LONGEST_WAIT_S):
        await link.next_connection(0)


async def test_stopped_link_says_goodbye_ends_run_and_wakes_whoever_waits(scripted):
    links = Links()
    link = await links.ready(scripted.settings("t"))
    receiving = asyncio.create_task(link.receive(1))
    waiting = asyncio.create_task(link.next_connection(5))
    await links.stop()
    for task in (receiving, waiting):
        with pytest.raises(LinkLost):
            await task
    await until(lambda: scripted.seen.disconnects == [b"\x00\x00"])


async def test_wait_for_messages_ends_empty_handed_after_its_time(scripted, links):
    link = await links.ready(scripted.settings("t"))
    assert await link.receive(1, wait_ms=1) == []


async def test_cloned_certificate_is_an_error_in_the_log_and_a_slow_try(scripted, links, caplog):
    link = await links.ready(scripted.settings())
    scripted.write(b"\xe0\x02\x8e\x00")
    await link.next_connection(1)
    (line,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "0x8e" in line.getMessage()


async def test_lines_that_do_not_last_are_tried_ever_more_slowly(scripted, links):
    link = links.start(scripted.settings(retry_first_s=1e-6, retry_cap_s=10.0))
    for number in range(8):
        await link.next_connection(number)
        await link.until_ready()
        scripted.drop()
    await link.next_connection(8)
    assert link._pauses._failures == 8

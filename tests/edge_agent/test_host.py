"""The rim: what it carries, in which order, and what it does when the core fails."""

import asyncio

import pytest

from edge_agent.host import Host, Surroundings
from edge_agent.journal import InvariantBroken
from meter_sim.door import SimulatedDoor
from meter_sim.meters import PopulationPlan
from tests.edge_agent.engine_by_hand import World
from tests.edge_agent.installation_by_hand import AGENT, trust_message
from wire.link import Delivery
from wire.messages import CommandItem


class ListLink:
    """A link whose broker is the test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.arrived: asyncio.Queue[list[Delivery]] = asyncio.Queue()
        self.acknowledged: list[Delivery] = []
        self.made_when_acknowledged: list[int] = []
        self.presence: list[bytes] = []
        self.connections: asyncio.Queue[int] = asyncio.Queue()
        self.moved = 0
        self.is_stopped = False
        self.heard = asyncio.Event()

    def deliver(self, *deliveries) -> None:
        self.arrived.put_nowait([
            Delivery(one.topic, one.payload, one.is_retained) for one in deliveries
        ])  # fmt: skip

    async def receive(self, limit: int, wait_ms: int | None = None) -> list[Delivery]:
        del limit, wait_ms
        return await self.arrived.get()

    def acknowledge(self, deliveries) -> None:
        assert not self.world.agent.journal._connection.in_transaction
        self.made_when_acknowledged.append(len(self.world.agent.journal.commands.begun()))
        self.acknowledged += deliveries

    def send(self, topic, payload, *, retain=False, qos=1):
        del qos
        if topic == f"presence/{AGENT}":
            assert retain
            self.presence.append(payload)
        else:
            self.world._read(topic, payload)
        self.heard.set()
        return asyncio.get_running_loop().create_future()

    async def next_connection(self, after: int) -> int:
        del after
        return await self.connections.get()

    async def move_to_next_broker(self) -> None:
        self.moved += 1
        self.heard.set()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_stopped = True


class Stage:
    """A world with a running host; time passes only where the test lets it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.link = ListLink(world)
        door = SimulatedDoor(world.relays, clock_ms=lambda: world.elapsed_ms, sleep=self.sleep)
        surroundings = Surroundings(elapsed_ms=lambda: world.elapsed_ms, sleep=self.sleep)
        self.host = Host(world.agent, self.link, door, surroundings, meters_at_once=8)
        self.passed = asyncio.Event()

    async def sleep(self, wait_s: float) -> None:
        until_ms = self.world.elapsed_ms + wait_s * 1_000
        while self.world.elapsed_ms < until_ms:
            await self.passed.wait()

    async def pass_time(self, wait_ms: int) -> None:
        self.world.elapsed_ms += wait_ms
        self.passed.set()
        self.passed.clear()
        await self.until(lambda: True)

    async def until(self, is_true) -> None:
        for _ in range(1_000):  # turns of the loop, not time
            await asyncio.sleep(0)
            if is_true() and self.link.arrived.empty():
                break
        for _ in range(20):
            await asyncio.sleep(0)
        assert is_true()

    async def greet(self) -> None:
        hellos = len(self.world.hellos)
        self.link.connections.put_nowait(1)
        await self.until(lambda: len(self.world.hellos) > hellos)
        welcome = self.world.welcome(self.world.hellos[-1])
        self.link.deliver(trust_message(self.world.registry), welcome)
        await self.until(lambda: self.world.agent.is_welcomed)


METERS = tuple(f"M-{number}" for number in range(20))


@pytest.fixture
async def stage():
    stage = Stage(World(meters=METERS, plan=PopulationPlan(initially_open=frozenset(METERS))))
    serving = asyncio.ensure_future(stage.host.run())
    await stage.greet()
    yield stage
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_command_is_carried_through_and_delivered_messages_are_acknowledged_after_the_commit(
    stage,
):
    """I5: the broker is told only what is journaled."""
    stage.link.deliver(stage.world.command("close"))
    await stage.until(lambda: len(stage.world.items) == 1)
    assert stage.world.items[1].outcome == "closed"
    assert stage.world.is_closed()
    assert len(stage.link.acknowledged) == 3
    assert stage.link.made_when_acknowledged == [0, 1]


async def test_batch_over_many_meters_is_begun_and_finished_together(stage):
    commits = []
    stage.world.agent.journal._connection.set_trace_callback(
        lambda sql: commits.append(sql) if sql == "COMMIT" else None
    )
    stage.link.deliver(*[stage.world.command("close", meter) for meter in METERS])
    await stage.until(lambda: len(stage.world.items) == len(METERS))
    assert all(item.outcome == "closed" for item in stage.world.items.values())
    # Eight lines for twenty meters: three rounds of begin and finish, and one receive.
    assert len(commits) <= 7


async def test_presence_is_online_with_the_connection_and_offline_at_the_end():
    stage = Stage(World())
    serving = asyncio.ensure_future(stage.host.run())
    await stage.greet()
    assert stage.link.presence == [b"online"]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert stage.link.presence == [b"online", b"offline"]
    assert stage.link.is_stopped


async def test_timers_run_without_messages(stage):
    hellos = len(stage.world.hellos)
    await stage.pass_time(720_000)
    await stage.until(lambda: len(stage.world.hellos) > hellos)


async def test_three_unanswered_hellos_leave_the_broker():
    stage = Stage(World())
    serving = asyncio.ensure_future(stage.host.run())
    stage.link.connections.put_nowait(1)
    await stage.until(lambda: len(stage.world.hellos) == 1)
    for wait_ms in (5_000, 15_000, 45_000):
        await stage.pass_time(wait_ms)
    await stage.until(lambda: stage.link.moved == 1)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_error_of_the_journal_ends_run_and_nothing_is_acknowledged():
    """I5: what could not be stored is not said to be."""
    stage = Stage(World())
    serving = asyncio.ensure_future(stage.host.run())
    await stage.greet()
    acknowledged = len(stage.link.acknowledged)
    stage.world.agent.journal._connection.execute("DROP TABLE steps")
    stage.link.deliver(stage.world.command("close"))
    with pytest.raises(Exception, match="steps"):
        await serving
    assert len(stage.link.acknowledged) == acknowledged
    for call in (stage.world.agent.due, stage.world.agent.connected):
        with pytest.raises(InvariantBroken):
            call()


async def test_many_hosts_live_on_one_loop():
    stages = [Stage(World()) for _ in range(10)]
    serving = [asyncio.ensure_future(stage.host.run()) for stage in stages]
    for stage in stages:
        await stage.greet()
        stage.link.deliver(stage.world.command("close"))
    for stage in stages:
        await stage.until(lambda stage=stage: bool(stage.world.items))
        assert isinstance(stage.world.items[1], CommandItem)
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)

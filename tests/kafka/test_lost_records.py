"""Decides that records that others delete are missed, and that what is open is done again."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from bench.servers.broker import Broker
from bench.servers.fleet import ServiceProcess, client_of, control_plane
from bench.servers.system import start_worker
from bench.servers.topics import SystemTopics
from control.bus.interface import Subscription
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from control.core.records.foreign import read
from control.model.bus.messages import JobReady
from control.model.bus.records import Delivery, Record, receipts_of
from control.model.bus.reports import RecordsLost
from control.model.errors import PartitionsLost
from control.model.names import Group, Topic
from tests.core.dispatcher.leasing import placed

pytestmark = pytest.mark.kafka

PATIENCE_S = 240.0  # Only ends what would wait for ever.
JOBS, PLACED = Topic.TASK_RUNS, Topic.TASK_RUNS_LOAD_BALANCED


@asynccontextmanager
async def opened(broker: Broker, prefix: str) -> AsyncIterator[KafkaBus]:
    """A bus; leaving the block is a crash."""
    cluster = Cluster(servers=broker.address, member=prefix, prefix=prefix)
    bus = KafkaBus(cluster, 1, owns_state=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(bus.run)
        yield bus
        nursery.cancel_scope.cancel()


def ready(*numbers: int) -> list[Record]:
    return [Record(JOBS, placed(number, "w").job, number) for number in numbers]


async def finish(bus: KafkaBus, count: int, done: int) -> list[int]:
    """Read so many jobs, and be done with the first ones; gives the offsets of all."""
    jobs = await bus.subscribe(JOBS, Group.BALANCER)
    found: list[Delivery] = []
    with trio.fail_after(PATIENCE_S):
        while len(found) < count:
            found += await jobs.receive()
    await bus.forward(receipts_of(Group.BALANCER, JOBS, [d.place for d in found[:done]]), [])
    return [each.offset for each in found]


async def read_for_ever(subscription: Subscription) -> None:
    while True:
        await subscription.receive()


async def next_job(bus: KafkaBus) -> int:
    jobs = await bus.subscribe(JOBS, Group.BALANCER)
    with trio.fail_after(PATIENCE_S):
        (found,) = await jobs.receive()
    assert isinstance(found.message, JobReady)
    return found.message.job_id


def said(broker: Broker, prefix: str) -> list[RecordsLost]:
    """What was said of lost records, but for topics that were made new."""
    found = SystemTopics(broker.address, prefix).records(Topic.TASK_RUN_EVENTS)
    messages = [read(Topic.TASK_RUN_EVENTS, each.value() or b"") for each in found]
    return [each for each in messages if isinstance(each, RecordsLost) and each.below]


def delete_below(broker: Broker, name: str, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    for future in admin.delete_records([TopicPartition(name, 0, offset)]).values():
        future.result(PATIENCE_S)


@pytest.mark.parametrize("done", [0, 1])
async def test_deleted_records_that_were_not_done_are_said_once(
    broker: Broker, prefix: str, done: int
) -> None:
    """Also to a group that has finished nothing yet."""
    async with opened(broker, prefix) as bus:
        await bus.publish(ready(1, 2, 3, 4))
        last = (await finish(bus, 4, done=done))[3]
    await trio.to_thread.run_sync(delete_below, broker, f"{prefix}{JOBS}", last)
    for _ in range(2):  # Also after a restart.
        async with opened(broker, prefix) as bus:
            assert await next_job(bus) == 4
            await bus.publish([])
            with trio.fail_after(PATIENCE_S):
                while not (found := await trio.to_thread.run_sync(said, broker, prefix)):
                    pass
    assert found == [RecordsLost(topic=JOBS, group=Group.BALANCER, partition=0, below=last)]


async def test_deleted_records_that_were_done_are_nobodys_loss(broker: Broker, prefix: str) -> None:
    async with opened(broker, prefix) as bus:
        await bus.publish(ready(1, 2, 3))
        last = (await finish(bus, 3, done=2))[2]
    await trio.to_thread.run_sync(delete_below, broker, f"{prefix}{JOBS}", last)
    async with opened(broker, prefix) as bus:
        assert await next_job(bus) == 3
        await bus.publish(ready(4))
    assert not await trio.to_thread.run_sync(said, broker, prefix)


async def test_a_deleted_topic_is_made_again_and_its_readers_begin_anew(
    broker: Broker, prefix: str
) -> None:
    async with opened(broker, prefix) as bus:
        events = await bus.subscribe(Topic.TASK_RUN_EVENTS, Group.TRIGGER)
        lanes = await bus.subscribe(PLACED, Group.DISPATCHER)
        await bus.publish([Record(PLACED, placed(1, "w"), 1, 0)])
        with trio.fail_after(PATIENCE_S):
            while not await lanes.receive():
                pass
        admin = AdminClient({"bootstrap.servers": broker.address})
        (deleted,) = admin.delete_topics([f"{prefix}{PLACED}"]).values()
        await trio.to_thread.run_sync(deleted.result)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bus.publish, [Record(PLACED, placed(2, "w"), 2, 0)])
                with pytest.raises(PartitionsLost):
                    await read_for_ever(lanes)
            lanes = await bus.subscribe(PLACED, Group.DISPATCHER)
            while not (found := await lanes.receive()):
                pass
            assert [each.message for each in found] == [placed(2, "w")]
            lost = RecordsLost(topic=PLACED, group=Group.DISPATCHER, partition=0, below=0)
            heard: list[object] = []
            while heard.count(lost) < 2:  # The first was said when all topics were made.
                heard += [each.message for each in await events.receive()]
        assert bus.failing is None


class Whole:
    """A control plane in one process, without workers."""

    def __init__(self, directory: Path, broker: Broker, prefix: str) -> None:
        self.directory = directory
        self.broker = broker
        self.prefix = prefix
        flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--partitions", "2")
        self.process: ServiceProcess = control_plane(directory, broker.address, prefix, *flags)

    def delete(self, *topics: Topic) -> None:
        """Delete topics as an admin does."""
        admin = AdminClient({"bootstrap.servers": self.broker.address})
        for future in admin.delete_topics([f"{self.prefix}{topic}" for topic in topics]).values():
            future.result(PATIENCE_S)


@pytest.fixture
def whole(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Whole]:
    """One that runs."""
    plane = Whole(tmp_path / "plane", broker, prefix)
    plane.process.start()
    yield plane
    plane.process.stop()


def submit(client: httpx.Client, runs: int, command: str) -> list[int]:
    job = {"name": "job", "stage": "run", "kind": "Shell", "params": {"command": command}}
    pipeline = {"name": "one", "stages": ["run"], "jobs": [job]}
    client.put("/v1/pipelines/one", json=pipeline).raise_for_status()
    answer = client.post("/v1/runs:batch", json={"runs": [{"pipeline": "one"}] * runs})
    answer.raise_for_status()
    return [run["id"] for run in answer.json()["runs"]]


def wait_for(client: httpx.Client, runs: list[int], state: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(client.get(f"/v1/runs/{run}").json()["state"] != state for run in runs):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_two(client: httpx.Client, state: str) -> None:
    """Which ones is not said: equal jobs come in no order over the partitions of a topic."""
    deadline = time.monotonic() + PATIENCE_S
    while len(client.get("/v1/runs", params={"state": state}).json()["items"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(
    "topics",
    [(Topic.TASK_RUNS,), (Topic.TASK_RUN_EVENTS,), (PLACED,), (Topic.TASK_RUN_RESULTS, JOBS)],
    ids="+".join,
)
def test_jobs_outlive_the_topics_they_wait_on(whole: Whole, topics: tuple[Topic, ...]) -> None:
    gate = whole.directory.with_name("gate")  # Jobs see nothing of the directory itself.
    with client_of(whole.directory) as client, ExitStack() as stack:
        stack.enter_context(start_worker(whole.directory, slots=3, name="w"))  # One is kept free.
        runs = submit(client, 6, f"until [ -e {gate} ]; do sleep 0.05; done")
        wait_for_two(client, "IN_PROGRESS")
        whole.delete(*topics)
        whole.process.wait_for("bus.topic_deleted")
        gate.touch()
        runs += submit(client, 4, "true")
        wait_for(client, runs, "DONE")
        deadline = time.monotonic() + PATIENCE_S
        while client.get("/v1/health").status_code != 200:
            assert time.monotonic() < deadline
    assert whole.process.runs


@pytest.mark.e2e
@pytest.mark.slow
def test_jobs_outlive_their_deleted_records(whole: Whole) -> None:
    with client_of(whole.directory) as client:
        runs = submit(client, 5, "true")
        topics = SystemTopics(whole.broker.address, whole.prefix)
        deadline = time.monotonic() + PATIENCE_S
        while len(topics.records(JOBS)) < len(runs):
            assert time.monotonic() < deadline
    whole.process.stop()
    admin = AdminClient({"bootstrap.servers": whole.broker.address})
    places = [TopicPartition(f"{whole.prefix}{JOBS}", at, -1) for at in range(2)]
    for future in admin.delete_records(places).values():
        future.result(PATIENCE_S)
    whole.process.start()
    with client_of(whole.directory) as client, ExitStack() as stack:
        stack.enter_context(start_worker(whole.directory, slots=2, name="w"))
        wait_for(client, runs, "DONE")
    assert "bus.records_lost" in whole.process.said()

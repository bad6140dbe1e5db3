"""Decides whether jobs that change buses are neither lost nor run nor counted twice."""

import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.servers.broker import Broker
from bench.servers.system import System, start_control
from control.bus.embedded.log import Journal
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from control.bus_migration.kafka_side import Handover
from control.bus_migration.migrate import demote, promote
from control.model.bus.messages import JobReady
from control.model.config import EMBEDDED, Config
from control.model.errors import BusUnavailable, ConfigError
from control.model.names import Group, Topic
from control.process import data_directory
from control.process.control_plane import this_world
from store.bus_log import SqliteLogRows
from store.database.state import open_state

pytestmark = pytest.mark.kafka

JOBS = 300


class Killed(Exception):
    """The process dies here."""


def quiet(_: str) -> None:
    """Nobody listens."""


def settings(directory: Path, broker: Broker | str, prefix: str) -> Config:
    address = broker if isinstance(broker, str) else broker.address
    bus = f"kafka://{address}"
    return Config(data_dir=str(directory), bus=bus, topic_prefix=prefix, partitions=4)


def submit(system: System, command: str, inputs: list[dict[str, int]]) -> None:
    job = {"name": "only", "stage": "s", "kind": "Shell", "params": {"command": command}}
    with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
        body = {"name": "p", "stages": ["s"], "jobs": [job]}
        client.put("/v1/pipelines/p", json=body).raise_for_status()
        runs = [{"pipeline": "p", "input": each} for each in inputs]
        client.post("/v1/runs:batch", json={"runs": runs}).raise_for_status()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of a control plane that was stopped while jobs waited."""
    directory = tmp_path_factory.mktemp("waiting") / "data"
    with start_control(directory):
        submit(System(directory, []), "true", [{}] * JOBS)
    return directory


@pytest.fixture
def directory(waiting: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(waiting, tmp_path / "data")


async def on_kafka(config: Config) -> list[int]:
    """The jobs that wait there."""
    cluster = Cluster(servers=config.brokers or "", member="m", prefix=config.topic_prefix)
    read = partial(_left_on, Handover(cluster))
    return sorted(await trio.to_thread.run_sync(read))


def _left_on(handover: Handover) -> list[int]:
    return [
        left.delivery.message.job_id
        for portion in handover.left(Topic.TASK_RUNS, handover.progress())
        for left in portion
        if isinstance(left.delivery.message, JobReady)
    ]


def on_embedded(directory: Path) -> list[int]:
    """The jobs that wait on the embedded bus."""
    conn, journal = open_state(directory / "state.db"), Journal(SqliteLogRows())
    positions, more = journal.join(conn, Topic.TASK_RUNS, Group.BALANCER), True
    jobs = []
    while more:
        found, positions, more = journal.read(conn, Topic.TASK_RUNS, Group.BALANCER, positions)
        jobs += [each.message.job_id for each in found if isinstance(each.message, JobReady)]
    conn.close()
    return sorted(jobs)


def dies_at(line: int) -> Callable[[str], None]:
    """Somebody to tell, who pulls the plug."""
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if len(said) > line:
            raise Killed(sentence)

    return say


async def test_waiting_jobs_go_there_and_back(directory: Path, broker: Broker, prefix: str) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    assert len(before) == JOBS
    there = await promote(config, this_world(), quiet)
    assert (there.waiting, there.placed) == (JOBS, 0)
    assert f"--bus kafka://{broker.address} --topic-prefix {prefix}" in there.next
    assert on_embedded(directory) == []
    assert await on_kafka(config) == before
    again = await promote(config, this_world(), quiet)
    assert (again.waiting, again.other) == (0, 0)
    assert await on_kafka(config) == before
    back = await demote(config, this_world(), quiet)
    assert (back.bus, back.waiting, back.other) == (EMBEDDED, JOBS, there.other)
    assert on_embedded(directory) == before
    assert await on_kafka(config) == []
    assert (await demote(config, this_world(), quiet)).waiting == 0
    assert (await promote(config, this_world(), quiet)).waiting == JOBS
    assert await on_kafka(config) == before


@pytest.mark.parametrize("line", range(3))
async def test_a_promotion_that_dies_is_finished_by_the_next(
    line: int, directory: Path, broker: Broker, prefix: str
) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    with pytest.RaisesGroup(Killed, flatten_subgroups=True):
        await promote(config, this_world(), dies_at(line))
    await promote(config, this_world(), quiet)
    assert await on_kafka(config) == before
    assert on_embedded(directory) == []


@pytest.mark.parametrize("line", range(2))
async def test_a_demotion_that_dies_is_finished_by_the_next(
    line: int, directory: Path, broker: Broker, prefix: str
) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    with pytest.RaisesGroup(Killed, flatten_subgroups=True):
        await promote(config, this_world(), dies_at(2))  # Before anything was published.
    with pytest.RaisesGroup(Killed, flatten_subgroups=True):
        await demote(config, this_world(), dies_at(line))
    await demote(config, this_world(), quiet)
    assert on_embedded(directory) == before
    assert await on_kafka(config) == []


async def test_what_a_demotion_left_on_kafka_is_not_read_again(
    directory: Path, broker: Broker, prefix: str
) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    await promote(config, this_world(), quiet)
    with pytest.RaisesGroup(Killed, flatten_subgroups=True):
        await demote(config, this_world(), dies_at(1))
    assert on_embedded(directory) == await on_kafka(config) == before
    await promote(config, this_world(), quiet)
    assert await on_kafka(config) == before


async def test_progress_in_a_dead_process_transaction_is_waited_for(
    directory: Path, broker: Broker, prefix: str
) -> None:
    """It has no records: the ends of the topics do not show that it is open."""
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    await promote(config, this_world(), quiet)
    abandoned = await trio.to_thread.run_sync(progress_in_a_transaction, config)
    back = await demote(config, this_world(), quiet)
    assert (back.bus, back.waiting) == (EMBEDDED, JOBS)
    assert on_embedded(directory) == before
    del abandoned


def progress_in_a_transaction(config: Config) -> Producer:
    """A producer whose transaction with progress of the balancer nobody ends."""
    cluster = Cluster(servers=config.brokers or "", member="dead", prefix=config.topic_prefix)
    producer = Producer(cluster.producer("abandoned", lambda _: None))
    consumer = Consumer(cluster.consumer(cluster.group(Group.BALANCER), lambda _: None))
    producer.init_transactions(30)
    producer.begin_transaction()
    place = TopicPartition(cluster.topic(Topic.TASK_RUNS), 0, 1)
    producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), 30)
    consumer.close()
    return producer


def test_kill_9_while_jobs_are_published(directory: Path, broker: Broker, prefix: str) -> None:
    before = on_embedded(directory)
    config = settings(directory, broker, prefix)
    command = [str(Path(sys.executable).parent / "tpctl"), "bus", "promote", config.bus]
    command += ["--topic-prefix", prefix, "--data-dir", str(directory), "--partitions", "4"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("publishing them" in line for line in process.stderr)
        process.kill()
    found = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=True)
    assert msgspec.json.decode(found.stdout)["bus"] == f"kafka {prefix}"
    assert "start it with: tpctl up --data-dir" in found.stderr
    assert trio.run(on_kafka, config) == before


def bus_of(directory: Path) -> str:
    with sqlite3.connect(directory / "state.db") as conn:
        (found,) = conn.execute("SELECT value FROM settings WHERE name = 'bus'").fetchone()
        assert conn.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    conn.close()
    return str(found)


async def test_refusals_change_nothing(
    directory: Path, tmp_path: Path, broker: Broker, prefix: str
) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    with pytest.raises(ConfigError, match=r"no state\.db"):
        await promote(settings(tmp_path / "none", broker, prefix), this_world(), quiet)
    with (
        data_directory.locked(directory),
        pytest.raises(ConfigError, match="another control plane"),
    ):
        await promote(config, this_world(), quiet)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(BusUnavailable, match=address):
            await promote(settings(directory, address, prefix), this_world(), quiet)
    assert bus_of(directory) == EMBEDDED
    assert on_embedded(directory) == before


async def test_a_prefix_in_use_is_refused(directory: Path, broker: Broker, prefix: str) -> None:
    config = settings(directory, broker, prefix)
    before = on_embedded(directory)
    cluster = Cluster(servers=broker.address, member="elsewhere", prefix=prefix)
    bus = KafkaBus(cluster, 4, owns_state=False)
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(bus.run)
        await bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        with pytest.RaisesGroup(
            pytest.RaisesExc(ConfigError, match="running with this prefix.*elsewhere")
        ):
            await promote(config, this_world(), said.append)
        nursery.cancel_scope.cancel()
    assert "waiting for balancer taskplane-elsewhere" in said[0]
    assert bus_of(directory) == EMBEDDED
    assert on_embedded(directory) == before


async def test_another_bus_is_refused(
    directory: Path, waiting: Path, tmp_path: Path, broker: Broker, prefix: str
) -> None:
    config = settings(directory, broker, prefix)
    await promote(config, this_world(), quiet)
    with pytest.raises(ConfigError, match=f"on another bus .kafka {prefix}.; give the --topic"):
        await demote(settings(directory, broker, f"{prefix}x"), this_world(), quiet)
    conn = open_state(directory / "state.db")
    embedded = msgspec.structs.replace(config, bus=EMBEDDED)
    with pytest.raises(ConfigError, match="tpctl bus demote"):
        data_directory.claim_bus(conn, embedded)
    conn.close()
    other = shutil.copytree(waiting, tmp_path / "other")
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="another data directory")):
        await promote(settings(other, broker, prefix), this_world(), quiet)

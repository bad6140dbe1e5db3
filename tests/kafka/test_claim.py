"""Decides which of two processes on copies of a data directory goes on; a slow one is no copy."""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio
from confluent_kafka import Producer

from bench.servers.broker import Broker
from bench.servers.fleet import client_of, control_plane
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from control.model.bus.messages import Deadline
from control.model.bus.records import Record
from control.model.errors import ConfigError, Unavailable
from control.model.names import Topic
from control.model.numbers import RunId

pytestmark = pytest.mark.kafka

PATIENCE_S = 240.0  # Only ends what would wait for ever.
RECORD = Record(Topic.TASK_COMMANDS, Deadline(run_id=RunId(1), at_ms=1))


def cluster_of(broker: Broker, prefix: str, instance: str) -> Cluster:
    return Cluster(servers=broker.address, member="copied", instance=instance, prefix=prefix)


@asynccontextmanager
async def opened(cluster: Cluster) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(cluster, 1, owns_state=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(bus.run)
        yield bus
        nursery.cancel_scope.cancel()


async def test_the_first_of_two_copies_ends_and_says_why(broker: Broker, prefix: str) -> None:
    # What waits for its bus is answered as at any end of it.
    refusal = pytest.RaisesGroup(ConfigError, Unavailable, flatten_subgroups=True)
    with trio.fail_after(PATIENCE_S), refusal as refused:
        async with opened(cluster_of(broker, prefix, "1")) as first:
            await first.publish([RECORD])
            async with opened(cluster_of(broker, prefix, "2")) as second:
                await second.publish([RECORD])
                await first.publish([RECORD])
    assert "its data directory is a copy" in str(refused.value.exceptions)


async def test_a_process_that_was_only_slow_goes_on(broker: Broker, prefix: str) -> None:
    cluster = cluster_of(broker, prefix, "1")
    async with opened(cluster) as bus:
        await bus.publish([RECORD])
        # As when the brokers have ended its transaction while it was frozen.
        fencing = Producer(cluster.producer("publish", lambda _: None))
        await trio.to_thread.run_sync(fencing.init_transactions, PATIENCE_S)
        with trio.fail_after(PATIENCE_S):
            await bus.publish([RECORD])


@pytest.mark.e2e
@pytest.mark.slow
def test_of_two_state_hosts_on_copies_of_one_directory_the_first_ends(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0")
    first = control_plane(tmp_path / "first", broker.address, prefix, *flags)
    first.start()
    first.stop()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = control_plane(tmp_path / "second", broker.address, prefix, *flags)
    first.start()
    try:
        second.start()
        with client_of(tmp_path / "first") as client:
            job = {"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}
            pipeline = {"name": "one", "stages": ["run"], "jobs": [job]}
            # It may end before it has anything to publish: then nobody answers.
            with suppress(httpx.TransportError):
                client.post("/v1/runs", json={"pipeline": pipeline})
        deadline = time.monotonic() + PATIENCE_S
        while first.runs:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert first.exit_code() == 2
        assert "its data directory is a copy" in first.said()
        with client_of(tmp_path / "second") as client:
            assert client.get("/v1/health").status_code == 200
    finally:
        first.stop()
        second.stop()

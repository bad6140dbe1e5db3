"""Decides whether a job that changes buses is the same job there."""

import msgspec
import pytest

from control.core.records.moved import moved
from control.model.bus.messages import DrainWorker, JobReady, Message, Placed
from control.model.bus.records import Delivery, Record
from control.model.names import Topic
from control.model.numbers import JobId, RunId
from control.model.states import Speed

JOB = JobReady(
    run_id=RunId(7),
    job_id=JobId(70),
    attempt=1,
    pipeline="p",
    name="n",
    stage="s",
    client="c",
    kind="Sleep",
    version="1.0.0",
    order=(0, 0, 0, 0),
    created_ms=1,
    ready_ms=1,
)
PLACED = Placed(job=JOB, partition=5, worker="w", speed=Speed.FAST, expected=1.0)


def at(topic: Topic, message: Message, partition: int = 0, offset: int = 3) -> Delivery:
    return Delivery(message, topic, partition, offset)


def test_a_waiting_job_goes_by_its_run() -> None:
    assert moved(at(Topic.TASK_RUNS, JOB), 4) == Record(Topic.TASK_RUNS, JOB, 7)


@pytest.mark.parametrize(("partitions", "expected"), [(8, 5), (4, 1)])
def test_a_placed_job_keeps_its_partition_where_there_is_one(
    partitions: int, expected: int
) -> None:
    found = moved(at(Topic.TASK_RUNS_LOAD_BALANCED, PLACED, 5), partitions)
    assert found.partition == expected
    assert isinstance(found.message, Placed)
    assert found.message.partition == expected


def test_a_placed_job_keeps_its_lease_over_several_moves() -> None:
    first = at(Topic.TASK_RUNS_LOAD_BALANCED, PLACED, 5, offset=9)
    once = moved(first, 8)
    assert once.message == msgspec.structs.replace(PLACED, epoch=first.place)
    assert once.partition is not None
    again = moved(at(once.topic, once.message, once.partition, offset=100), 8)
    assert again == once


def test_a_command_goes_as_it_is() -> None:
    drain = DrainWorker(worker="w")
    assert moved(at(Topic.TASK_COMMANDS, drain), 4) == Record(Topic.TASK_COMMANDS, drain)

"""Decides that no service ends by records that are well-formed and wrong, and that work goes on."""

import tempfile
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from control.api.live.projection import Live
from control.api.metrics import Metrics
from control.api.remote_balancer import BalancerElsewhere
from control.core.records.foreign import read
from control.model.bus.messages import Finished, Message
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.numbers import RunId
from control.model.states import Outcome, Speed, State
from control.services.job_logs import JobLogs
from control.services.replicated_credentials import WorkerKeys
from control.services.statistics import Statistics
from store.facts.database import Facts
from store.log_files import LogFiles
from tests.core.records.foreign_messages import Sample, well_formed
from tests.services.plane import PARTITIONS, Plane, inline, job, now_ms, opened, pipeline

QUIET_S = 100.0  # Virtual: whatever has a time of its own is over by then.


def record(topic: Topic, message: Message) -> Record:
    partition = getattr(message, "partition", None)
    lane = topic == Topic.TASK_RUNS_LOAD_BALANCED and partition is not None
    return Record(topic, message, None, partition % PARTITIONS if lane and partition else None)


def done(plane: Plane, run_id: int) -> Finished:
    """The result of a run's first job, as it is now."""
    run = plane.run(run_id)
    only = run.jobs[0]
    return Finished(
        run_id=RunId(run_id),
        job_id=only.id,
        attempt=only.attempt,
        pipeline=run.pipeline,
        name="only",
        stage="s",
        client="ann",
        kind="Sleep",
        version="1.0.0",
        worker="w",
        partition=0,
        speed=Speed.FAST,
        outcome=Outcome.DONE,
        final=True,
        expected=1.0,
        ready_ms=now_ms(),
        started_ms=now_ms(),
        finished_ms=now_ms(),
        wait_seconds=0.0,
        duration_seconds=1.0,
    )


async def play(samples: list[Sample], directory: Path) -> None:
    facts, logs = Facts(directory / "facts"), LogFiles(directory / "logs")
    async with opened(directory) as (plane, nursery):
        live = Live(plane.bus, Metrics(), now_ms)
        elsewhere = BalancerElsewhere(plane.bus)
        for service in (
            plane.trigger.run,
            plane.balancer.run,
            plane.dispatcher.run,
            Statistics(plane.bus, facts, inline).run,
            JobLogs(plane.bus, logs, inline).run,
            WorkerKeys(plane.bus, lambda: None).run,
            live.run,
            elsewhere.run,
        ):
            await nursery.start(service)
        plane.client("ann")
        await plane.submit(pipeline("p", job("only"), job("then", "t")), count=3)
        await plane.bus.publish([record(topic, read(topic, value)) for topic, value in samples])
        await trio.sleep(QUIET_S)

        shown = (
            live.crew.workers(),
            live.partitions(elsewhere.partitions()),
            live.partitions(plane.balancer.partitions()),
            live.notes.all(),
            live.pulses.all(live.crew.running()),
            elsewhere.rules(),
            await plane.balancer.queues(10, None),
        )
        msgspec.json.encode(shown)
        assert not plane.unread(Topic.TASK_RUN_RESULTS)
        assert not plane.unread(Topic.TASK_RUN_EVENTS)
        (run_id,) = await plane.submit(pipeline("q"))
        await plane.bus.publish([Record(Topic.TASK_RUN_RESULTS, done(plane, run_id), run_id)])
        await trio.sleep(QUIET_S)
        assert plane.run(run_id).state == State.DONE
    facts.close()
    logs.close()


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(well_formed(), min_size=1, max_size=30))
def test_no_service_ends_by_records_that_are_wrong(samples: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock = MockClock(autojump_threshold=0)
        trio.run(partial(play, samples, Path(directory)), clock=clock)

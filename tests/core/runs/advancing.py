"""Holds what the tests of `Advance` share: a run of a few jobs, and what is reported of them."""

import msgspec

from control.core.runs.advance import Advance
from control.core.runs.expand import divide
from control.core.runs.graph import Graph
from control.model.bus.messages import Finished, Started
from control.model.numbers import JobId, RunId
from control.model.pipelines import JobSpec, Pipeline
from control.model.state_rows import JobRow, NewRun
from control.model.states import Outcome, Speed

NEW = NewRun(
    revision_id=1,
    client="ann",
    client_priority=10,
    max_running=None,
    trigger="api",
    created_ms=1_000,
)


def start(*jobs: JobSpec, timeout: float | None = None) -> Advance:
    stages = tuple(dict.fromkeys(job.stage for job in jobs))
    pipeline = Pipeline(name="p", stages=stages, jobs=jobs, timeout=timeout)
    return divide(NEW, Graph(pipeline), run_id=RunId(7), first_job_id=JobId(100))


def again(step: Advance, now_ms: int = 2_000) -> Advance:
    """The next transaction on the same run, as the store would give it back."""
    return Advance(step.run, step.graph, now_ms)


def job(name: str, stage: str = "a", **settings: object) -> JobSpec:
    return msgspec.convert({"name": name, "stage": stage, "kind": "Sleep", **settings}, JobSpec)


def row(step: Advance, name: str) -> JobRow:
    return step.run.jobs[step.graph.index[name]]


def begin(step: Advance, name: str) -> Started:
    found = row(step, name)
    return Started(
        run_id=RunId(7),
        job_id=found.id,
        attempt=found.attempt,
        worker="w",
        partition=0,
        started_ms=1_500,
    )


def result(
    step: Advance, name: str, outcome: Outcome = Outcome.DONE, *, began: bool = True
) -> Finished:
    found = row(step, name)
    return Finished(
        run_id=RunId(7),
        job_id=found.id,
        attempt=found.attempt,
        pipeline="p",
        name=name,
        stage="a",
        client="ann",
        kind="Sleep",
        version="1.0.0",
        worker="w1",
        partition=0,
        speed=Speed.FAST,
        outcome=outcome,
        final=outcome in {Outcome.DONE, Outcome.CANCELLED},
        expected=1.0,
        ready_ms=1_000,
        started_ms=1_500 if began else None,
        finished_ms=2_000,
        wait_seconds=0.5,
        duration_seconds=0.5,
        error=None if outcome == Outcome.DONE else "exit code 1",
    )


def end(step: Advance, name: str, outcome: Outcome = Outcome.DONE) -> Advance:
    step = again(step)
    assert step.finished(result(step, name, outcome), jitter=0.0)
    step.settle()
    return step


def names(step: Advance, jobs: list[JobRow]) -> list[str]:
    return [step.graph.pipeline.jobs[found.idx].name for found in jobs]

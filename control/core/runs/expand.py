"""Decides what a new run consists of, and what the message about a job that may run says."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from control.core.runs.advance import WAITS_FOR_JOBS, Advance
from control.core.runs.graph import Graph
from control.core.runs.identity import identity_of
from control.model.bus.child_messages import StartChild, StopChild
from control.model.bus.messages import ENCODER, CancelJob, JobReady, Message, PriorityKey, Skipped
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.state_rows import JobRow, NewRun, RunRow
from control.model.states import State
from control.model.this import Subject
from control.model.times import to_rfc3339_or_none


def divide(
    new: NewRun, graph: Graph, *, run_id: int, first_job_id: int, steady_ms: int | None = None
) -> Advance:
    """A run with all its jobs; `released` are those that may start at once.

    `steady_ms`: what its deadline is measured by, if the wall clock was set since the start.
    """
    if steady_ms is None:
        steady_ms = new.created_ms
    pipeline = graph.pipeline
    timeout = pipeline.timeout
    run = RunRow(
        id=run_id,
        revision_id=new.revision_id,
        pipeline=pipeline.name,
        client=new.client,
        client_priority=new.client_priority,
        max_running=new.max_running,
        state=State.READY,
        reason="waits for its first job to start",
        priority=pipeline.priority if new.priority is None else new.priority,
        trigger=new.trigger,
        allowed_failures=0,
        created_ms=new.created_ms,
        started_ms=None,
        finished_ms=None,
        deadline_ms=None if timeout is None else steady_ms + round(timeout * 1000),
        schedule_id=new.schedule_id,
        scheduled_for_ms=new.scheduled_for_ms,
        depth=new.depth,
        root_run_id=run_id if new.root_run_id is None else new.root_run_id,
        ending=None,
        jobs=[
            JobRow(
                id=first_job_id + idx,
                idx=idx,
                state=State.READY,
                reason=WAITS_FOR_JOBS,
                priority=job.priority,
                attempt=1,
            )
            for idx, job in enumerate(pipeline.jobs)
        ],
    )
    step = Advance(run, graph, new.created_ms, steady_ms)
    step.deadline_set = True
    step.settle()
    step.waiting_delta = sum(job.state == State.READY for job in run.jobs)
    return step


def order_of(run: RunRow, graph: Graph, job: JobRow) -> PriorityKey:
    """A job's place in the strict global order; smaller goes first."""
    return (run.client_priority, run.priority, graph.stage_of[job.idx], job.priority)


def job_ready(
    run: RunRow,
    graph: Graph,
    job: JobRow,
    job_input: Raw,
    *,
    installation: str = "",
    ended_attempt: int = 0,
) -> JobReady:
    """The message that lets the balancer have a job. `installation`: whose it is, a random name.

    `ended_attempt`: the last attempt of the job that was not lost with its worker; 0: none.
    """
    spec = graph.pipeline.jobs[job.idx]
    assert job.ready_ms is not None
    return JobReady(
        **identity_of(run, graph, job),
        order=order_of(run, graph, job),
        created_ms=run.created_ms,
        ready_ms=job.ready_ms,
        stages_left=len(graph.pipeline.stages) - graph.stage_of[job.idx],
        retries_left=max(spec.retry_attempt - job.failures, 0),
        lost=job.lost,
        timeout=spec.timeout,
        max_running=run.max_running,
        labels=spec.labels,
        subject=Subject(
            revision=graph.revision,
            trigger=run.trigger,
            scheduled_ms=run.scheduled_for_ms,
            first_attempt=ended_attempt + 1 if ended_attempt + 1 < job.attempt else None,
            installation=installation,
        ),
        work=graph.work[job.idx],
        input=job_input,
    )


def released(
    step: Advance, job: JobRow, job_input: Raw, installation: str, ended_attempt: int = 0
) -> Record:
    """The message that lets a job run: to the balancer, or to the trigger, which starts runs.

    `installation`, `ended_attempt`: as for `job_ready`.
    """
    run, graph = step.run, step.graph
    if job.idx not in graph.children:
        ready = job_ready(
            run, graph, job, job_input, installation=installation, ended_attempt=ended_attempt
        )
        return Record(Topic.TASK_RUNS, ready, run.id)
    spec = graph.pipeline.jobs[job.idx]
    start = StartChild(
        run_id=run.id,
        job_id=job.id,
        attempt=job.attempt,
        pipeline=run.pipeline,
        name=spec.name,
        kind=spec.kind,
        client=run.client,
        input=job_input,
        ended_attempt=ended_attempt,
    )
    return Record(Topic.TASK_RUN_EVENTS, start, run.id)


def stopped(step: Advance, job: JobRow) -> tuple[Topic, Message]:
    """The message that stops what a cancelled job has begun, and where it goes."""
    if job.idx in step.graph.children:
        spec = step.graph.pipeline.jobs[job.idx]
        stop = StopChild(
            run_id=step.run.id,
            job_id=job.id,
            attempt=job.attempt,
            pipeline=step.run.pipeline,
            name=spec.name,
            kind=spec.kind,
            client=step.run.client,
            reason=job.reason,
        )
        return Topic.TASK_RUN_EVENTS, stop
    cancel = CancelJob(job_id=job.id, attempt=job.attempt, reason=job.reason)
    return Topic.TASK_COMMANDS, cancel


def skipped(run: RunRow, graph: Graph, job: JobRow, now_ms: int) -> Skipped:
    """The message about a job that ended without an attempt."""
    spec = graph.pipeline.jobs[job.idx]
    return Skipped(
        run_id=run.id,
        job_id=job.id,
        attempt=job.attempt,
        pipeline=run.pipeline,
        name=spec.name,
        kind=spec.kind,
        client=run.client,
        ready_ms=job.ready_ms or now_ms,
        finished_ms=now_ms,
        reason=job.reason,
    )


class EndedState(msgspec.Struct, frozen=True, kw_only=True):
    """`states.NAME` of docs/contract.md, "Templates"; times are RFC 3339."""

    state: State
    reason: str
    exit_code: int | None
    attempt: int
    started_at: str | None
    finished_at: str | None


def ended_state(job: JobRow) -> EndedState:
    """How a job ended that another has waited for."""
    return EndedState(
        state=job.state,
        reason=job.reason,
        exit_code=job.exit_code,
        attempt=job.attempt,
        started_at=to_rfc3339_or_none(job.started_ms),
        finished_at=to_rfc3339_or_none(job.finished_ms),
    )


def job_input(
    run_input: bytes, outputs: Mapping[str, bytes], states: Mapping[str, EndedState]
) -> Raw:
    """A job's input (docs/contract.md, "The input of a job") but for `this`, joined undecoded.

    `outputs`, `states`: of the jobs it has waited for, by name.
    """
    return _document(run_input, outputs, b'"states":' + ENCODER.encode(states))


def triggered_input(run_input: bytes, outputs: Mapping[str, bytes], run: RunRow) -> Raw:
    """What a run reads that another one has started by its end; `outputs`: of all its jobs."""
    source = {"run_id": run.id, "pipeline": run.pipeline, "state": run.state, "reason": run.reason}
    return _document(run_input, outputs, b'"from":' + ENCODER.encode(source))


def _document(run_input: bytes, outputs: Mapping[str, bytes], more: bytes) -> Raw:
    parts = [b'{"run":', run_input, b',"jobs":{']
    for at, (name, output) in enumerate(outputs.items()):
        parts += [b"," if at else b"", ENCODER.encode(name), b":", output]
    return Raw(b"".join([*parts, b"},", more, b"}"]))

"""Decides how a job of the kind `Pipeline` becomes a run of another pipeline, and how it ends.

The control plane executes such a job itself: it has no worker and takes no slot. The run that it
starts is its *child run*; the job ends as that ends.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta, Raw

from control.core.graph import Graph
from control.model import outputs as outputs_rules
from control.model.errors import JobFailed
from control.model.kinds import BaseKind
from control.model.messages import ENCODER, ChildEnded
from control.model.names import CHILD_KIND
from control.model.pipelines import NAME_PATTERN
from control.model.rows import JobRow, RunRow
from control.model.states import Outcome, State
from control.model.templates import render
from control.model.this import Subject, this_of, with_this

_OUTCOMES: Final[Mapping[State, Outcome]] = {
    State.DONE: Outcome.DONE,
    State.ERROR: Outcome.FAILED,
    State.CANCELLED: Outcome.CANCELLED,
}


class PipelineParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pipeline to run, with what, and whether its end is this job's."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME_PATTERN,
            description="The pipeline to run.",
            examples=["daily-report"],
        ),
    ]
    input: Annotated[
        object, Meta(description="The run's input, any JSON.", examples=[{"day": "2026-11-30"}])
    ] = None
    wait: Annotated[
        bool,
        Meta(description="False: the job is done once that run is there.", examples=[False]),
    ] = True


class PipelineKind(BaseKind[PipelineParams]):
    """Executed by the control plane."""

    name: ClassVar[str] = CHILD_KIND
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Run another pipeline, and wait for its end."
    params = PipelineParams


def params_of(run: RunRow, graph: Graph, job: JobRow, job_input: Raw) -> PipelineParams:
    """The params of a job that may start, with its templates filled in; raises `JobFailed`."""
    spec = graph.pipeline.jobs[job.idx]
    subject = Subject(
        pipeline=run.pipeline,
        stage=spec.stage,
        trigger=run.trigger,
        created_ms=run.created_ms,
        revision=graph.revision,
        scheduled_ms=run.scheduled_for_ms,
    )
    this = this_of(
        run_id=run.id,
        job_id=job.id,
        attempt=job.attempt,
        job=spec.name,
        client=run.client,
        subject=subject,
    )
    data = msgspec.json.decode(with_this(bytes(job_input), this))
    try:
        return msgspec.convert(render(msgspec.json.decode(spec.params), data), PipelineParams)
    except JobFailed as error:
        raise JobFailed(str(error), final=True) from error
    except msgspec.ValidationError as error:
        raise JobFailed(f"the params do not fit: {error}", final=True) from error


def circle_problem(names: Sequence[str], name: str) -> str | None:
    """Why this pipeline is not started; None: it may be.

    `names`: of the pipelines whose runs are jobs of each other, from the first down to the one
    that wants to start it.
    """
    if name not in names:
        return None
    chain = " -> ".join([*names[names.index(name) :], name])
    return f"its runs would start each other without end: {chain}"


def output_of(child: RunRow, outputs: Mapping[str, bytes]) -> Raw:
    """The job's output (CONTRACT.md section 2); raises `JobFailed` when that is too large.

    `outputs`: JSON, by the name of the job.
    """
    value = ENCODER.encode(
        {
            "run_id": child.id,
            "state": child.state,
            "jobs": {name: Raw(output) for name, output in outputs.items()},
        }
    )
    problem = outputs_rules.problem(value)
    if problem is not None:
        raise JobFailed(f"the outputs of run {child.id} are too much together: {problem}")
    return Raw(value)


def ended_with(child: RunRow, outputs: Mapping[str, bytes]) -> "End":
    """How a job ends whose child run has ended; `outputs`: as for `output_of`."""
    outcome = _OUTCOMES[child.state]
    try:
        output = output_of(child, outputs)
    except JobFailed as problem:
        return End(outcome=Outcome.FAILED, error=str(problem), final=True)
    if outcome == Outcome.DONE:
        return End(outcome=outcome, output=output)
    error = f"run {child.id} of {child.pipeline} is {child.state}: {child.reason}"
    return End(outcome=outcome, error=error, output=output)


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. `final`: trying again cannot help."""

    outcome: Outcome
    error: str | None = None
    output: Raw = Raw(b"null")
    final: bool = False


def child_ended(run: RunRow, graph: Graph, job: JobRow, end: End, now_ms: int) -> ChildEnded:
    """The message about the end of a job's last attempt."""
    spec = graph.pipeline.jobs[job.idx]
    may_be_tried = end.outcome in {Outcome.FAILED, Outcome.TIMED_OUT}
    started_ms = job.started_ms if job.started_ms is not None else now_ms
    return ChildEnded(
        run_id=run.id,
        job_id=job.id,
        attempt=job.attempt,
        pipeline=run.pipeline,
        name=spec.name,
        stage=spec.stage,
        client=run.client,
        kind=spec.kind,
        version=spec.version,
        outcome=end.outcome,
        final=end.final or not may_be_tried or job.failures >= spec.retry_attempt,
        ready_ms=job.ready_ms or started_ms,
        started_ms=started_ms,
        finished_ms=max(now_ms, started_ms),
        error=end.error,
        output=end.output,
    )

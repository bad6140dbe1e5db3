"""Decides how a job of the kind `Pipeline` becomes a run of another pipeline, and how it ends.

The control plane executes such a job itself: it has no worker and takes no slot. The run that it
starts is its *child run*; the job ends as that ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Raw

from control.core.runs.advance import Advance
from control.core.runs.identity import identity_of, subject_of
from control.model import limits
from control.model import outputs as outputs_rules
from control.model.bus.child_messages import ChildEnded, StartChild
from control.model.bus.messages import ENCODER
from control.model.bus.records import Delivery
from control.model.errors import JobFailed
from control.model.kinds import BaseKind
from control.model.names import CHILD_KIND
from control.model.pipelines import NAME_PATTERN
from control.model.raw import NULL
from control.model.state_rows import JobRow, RunRow
from control.model.states import FINAL, Outcome, State
from control.model.templates import render
from control.model.this import this_of, with_this


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


def params_of(step: Advance, job: JobRow, job_input: Raw) -> PipelineParams:
    """The params of a job that may start, with its templates filled in; raises `JobFailed`."""
    run, graph = step.run, step.graph
    spec = graph.pipeline.jobs[job.idx]
    this = this_of(
        run_id=run.id,
        job_id=job.id,
        attempt=job.attempt,
        job=spec.name,
        client=run.client,
        subject=subject_of(run, graph, spec.stage),
    )
    try:
        data = msgspec.json.decode(with_this(bytes(job_input), this))
        return msgspec.convert(render(msgspec.json.decode(spec.params), data), PipelineParams)
    except JobFailed as error:
        raise JobFailed(str(error), final=True) from error
    except msgspec.DecodeError as error:
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


def portions(deliveries: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    """Parts that one transaction each can apply: a child run has as many rows as jobs, or more.

    In order, so that a stop comes after its start.
    """
    first = starts = 0
    for at, delivery in enumerate(deliveries, 1):
        starts += isinstance(delivery.message, StartChild)
        if starts == limits.PUBLISH_PORTION_MAX:
            yield deliveries[first:at]
            first, starts = at, 0
    if first < len(deliveries):
        yield deliveries[first:]


class Choice(Enum):
    """Which run an attempt at a job waits for."""

    NEW = "new"
    TAKE = "take"  # The one that there is, as it is.
    RETRY = "retry"  # The same, of which the failed and cancelled jobs run again.
    LATER = "later"  # None before the last one has ended.


def choose(state: State, *, ending: bool, attempt: int, ended_attempt: int, same: bool) -> Choice:
    """What becomes of the last run that was started for a job, in this state.

    `attempt`: the one that it was for; `ended_attempt`: the last one whose end is known. `same`:
    whether a new run would be of the same definition, with the same input.
    """
    if attempt > ended_attempt:  # The attempt was lost, its run was not.
        return Choice.TAKE
    if state not in FINAL and ending:
        return Choice.LATER
    if not same:
        return Choice.NEW
    return Choice.RETRY if state in {State.ERROR, State.CANCELLED} else Choice.TAKE


def input_problem(value: bytes) -> str | None:
    """Why a run cannot have this input: JSON that came out of templates has no bound of its own."""
    problem = outputs_rules.depth_problem(value)
    return None if problem is None else f"its input is {problem}"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. `final`: trying again cannot help."""

    outcome: Outcome
    error: str | None = None
    output: Raw = NULL
    final: bool = False


def ended_with(child: RunRow, outputs: Mapping[str, bytes]) -> End:
    """How a job ends whose child run has ended. `outputs`: JSON of its jobs, if it is DONE."""
    if child.state == State.DONE:
        return _done(child, outputs)
    outcome = Outcome.FAILED if child.state == State.ERROR else Outcome.CANCELLED
    error = f"run {child.id} of {child.pipeline} is {child.state}: {child.reason}"
    return End(outcome=outcome, error=error)


def _done(child: RunRow, outputs: Mapping[str, bytes]) -> End:
    jobs = {name: Raw(output) for name, output in outputs.items()}
    value = ENCODER.encode({"run_id": child.id, "state": child.state, "jobs": jobs})
    problem = outputs_rules.problem(value)
    if problem is None:
        return End(outcome=Outcome.DONE, output=Raw(value))
    error = f"the outputs of run {child.id} are too much together: {problem}"
    return End(outcome=Outcome.FAILED, error=error, final=True)


def child_ended(
    step: Advance, job: JobRow, end: End, *, attempt: int, started_ms: int
) -> ChildEnded:
    """The message about the end of an attempt at a job that began then."""
    run, graph = step.run, step.graph
    spec = graph.pipeline.jobs[job.idx]
    may_be_tried = end.outcome in {Outcome.FAILED, Outcome.TIMED_OUT}
    return ChildEnded(
        **identity_of(run, graph, job, attempt),
        outcome=end.outcome,
        final=end.final or not may_be_tried or job.failures >= spec.retry_attempt,
        ready_ms=min(job.ready_ms or started_ms, started_ms),
        started_ms=started_ms,
        finished_ms=max(step.now_ms, started_ms),
        error=end.error,
        output=end.output,
    )

"""Decides which notices a run's end asks for, and of what runs they are made.

A notice is a run of its own, of one job of the kind `Notification`: it waits, is retried, and is
listed when it fails, and changes nothing of the run that it is about.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from control.core.runs.notice_text import EndedRun, FailedJob, Notice, fitting, notice
from control.core.runs.triggers import fires
from control.model import limits
from control.model.bus.messages import ENCODER
from control.model.errors import JobFailed
from control.model.json_values import Json
from control.model.names import NOTICE_KIND
from control.model.numbers import RunId
from control.model.pipelines import JobSpec, NotifySpec, Pipeline
from control.model.state_rows import RunRow
from control.model.states import State
from control.model.templates import Renderer
from control.model.times import to_rfc3339_or_none

_NAME_CHARS: Final = 120
_VERSION: Final = "1.0.0"


def wanted(pipeline: Pipeline, state: State) -> list[int]:
    """Which entries of `notify` are to be sent for a run that ended in this state."""
    return [at for at, spec in enumerate(pipeline.notify) if fires(spec, state)]


def first_failed(run: RunRow, pipeline: Pipeline) -> FailedJob | None:
    """The failed job that ended first, without its log; those that were allowed to come last."""
    failed = [job for job in run.jobs if job.state == State.ERROR]
    if not failed:
        return None
    first = min(
        failed,
        key=lambda job: (pipeline.jobs[job.idx].allow_failure, job.finished_ms or 0, job.idx),
    )
    return FailedJob(
        job_id=first.id,
        name=pipeline.jobs[first.idx].name,
        attempt=first.attempt,
        error=first.error or first.reason,
        exit_code=first.exit_code,
    )


def ended_run(run: RunRow, first: FailedJob | None) -> EndedRun:
    """What a notice says of a run."""
    started_ms = run.created_ms if run.started_ms is None else run.started_ms
    ended_ms = started_ms if run.finished_ms is None else run.finished_ms
    return EndedRun(
        run_id=run.id,
        pipeline=run.pipeline,
        state=run.state,
        seconds=max(ended_ms - started_ms, 0) / 1000,
        reason=run.reason,
        scheduled_for=to_rfc3339_or_none(run.scheduled_for_ms),
        failed=sum(job.state == State.ERROR for job in run.jobs),
        allowed_failures=run.allowed_failures,
        first=first,
    )


def message(
    spec: NotifySpec, ended: EndedRun, data: Mapping[str, Json], problem: str | None = None
) -> Notice:
    """The notice; `data`: what its templates may name, unless there is a problem with that.

    Where a template names nothing, perhaps as a job failed, it says so, with the usual text.
    """
    usual = notice(ended)
    if spec.title is None and spec.body is None:
        return usual
    if problem is None:
        renderer = Renderer(data)
        try:
            title = usual.title if spec.title is None else renderer.text(spec.title)
            body = usual.body if spec.body is None else renderer.text(spec.body)
        except JobFailed as error:
            problem = str(error)
        else:
            return fitting(Notice(title or usual.title, body or usual.body))
    return Notice(usual.title, f"(Its own text could not be made: {problem})\n\n{usual.body}")


def notice_pipeline(of: str, spec: NotifySpec) -> Pipeline:
    """The pipeline of the runs that send notices of another one to a target.

    The texts come with each run's input: what was filled in is never looked at again.
    """
    params = {
        "target": spec.target,
        "title": "${{ run.title }}",
        "body": "${{ run.body }}",
    }
    job = JobSpec(
        name="notice",
        stage="notify",
        kind=NOTICE_KIND,
        version=_VERSION,
        params=Raw(ENCODER.encode(params)),
        retry_attempt=limits.NOTICE_RETRIES,
        retry_delay=limits.NOTICE_RETRY_S,
    )
    return Pipeline(name=f"{of[:_NAME_CHARS]}.notice", stages=("notify",), jobs=(job,))


def notice_input(found: Notice, run_id: RunId) -> Raw:
    """The input of such a run."""
    value = {"run_id": run_id, "title": found.title, "body": found.body}
    return Raw(msgspec.json.encode(value))

"""Decides how it is told why a job waits, runs, or ended."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model.states import FINAL, State
from control.model.times import from_rfc3339
from control.model.views import AttemptView, JobView
from store.views import Links

_NAMED_MAX = 5


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is in its state, and what led there."""

    reason: Annotated[str, Meta(description="In one sentence.", examples=["no free slot"])]
    steps: Annotated[
        list[str],
        Meta(
            description="What led there, in order.",
            examples=[["submitted at 2026-11-22T09:30:00.000Z", "waits for extract (READY)"]],
        ),
    ]


def explain(
    job: JobView, links: Links, *, refusal: str | None, expected_s: float | None, now_ms: int
) -> Explanation:
    """Why the job waits, runs, or ended. `refusal`: why the balancer has not placed it."""
    steps = [f"submitted at {job.created_at}"]
    steps += [_attempt(attempt) for attempt in job.attempts]
    if job.state == State.READY:
        reason, more = _waiting(job, links, refusal, expected_s, now_ms)
    elif job.state == State.IN_PROGRESS:
        reason, more = _running(job, expected_s, now_ms)
    else:
        reason, more = job.reason, _ended(job, links)
    return Explanation(reason=reason, steps=steps + more)


def _waiting(
    job: JobView, links: Links, refusal: str | None, expected_s: float | None, now_ms: int
) -> tuple[str, list[str]]:
    before = waited_for(links)
    open_ones = [f"{name} ({state})" for name, state in before if state not in FINAL]
    if job.ready_at is None:
        if not open_ones:
            return job.reason, []
        more = f" and {len(open_ones) - _NAMED_MAX} more" if len(open_ones) > _NAMED_MAX else ""
        waits = f"waits for {', '.join(open_ones[:_NAMED_MAX])}{more}"
        return waits, [waits]
    ready_ms = from_rfc3339(job.ready_at)
    if ready_ms > now_ms:
        wait = f"attempt {job.attempt} is due in {(ready_ms - now_ms) / 1000:g} s"
        return f"{job.reason}", [f"{wait}, at {job.ready_at}"]
    steps = [f"ready to run since {job.ready_at}, which is {(now_ms - ready_ms) / 1000:g} s"]
    if expected_s is not None:
        steps.append(f"expected to take {expected_s:.3g} s")
    if refusal is not None:
        steps.append(f"the balancer has not placed it: {refusal}")
    return refusal or job.reason, steps


def _running(job: JobView, expected_s: float | None, now_ms: int) -> tuple[str, list[str]]:
    started_ms = now_ms if job.started_at is None else from_rfc3339(job.started_at)
    took_s = (now_ms - started_ms) / 1000
    steps = [
        f"attempt {job.attempt} started at {job.started_at} on {job.worker},"
        f" partition {job.partition}"
    ]
    if expected_s is not None:
        steps.append(f"runs for {took_s:g} s, expected to take {expected_s:.3g} s")
    if job.progress is not None:
        steps.append(f"says it is {job.progress:.0%} done")
    return job.reason, steps


def _ended(job: JobView, links: Links) -> list[str]:
    steps = []
    if job.started_at is not None:
        where = f" on {job.worker}" if job.worker else ""
        steps.append(f"attempt {job.attempt} started at {job.started_at}{where}")
    else:
        bad = [f"{n} ({s})" for n, s in waited_for(links) if s in {State.ERROR, State.CANCELLED}]
        if bad:
            steps.append(f"before it: {', '.join(bad[:_NAMED_MAX])}")
    exit_code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    steps.append(f"{job.state} at {job.finished_at}{exit_code}: {job.reason}")
    return steps


def _attempt(attempt: AttemptView) -> str:
    where = f" on {attempt.worker}" if attempt.worker else ""
    why = f": {attempt.error}" if attempt.error else ""
    return f"attempt {attempt.attempt}{where} ended {attempt.outcome} at {attempt.finished_at}{why}"


def waited_for(links: Links) -> list[tuple[str, State]]:
    """The jobs this one waits (or waited) for, with their states."""
    jobs, me = links.outline.jobs, links.outline.jobs[links.idx]
    if me.needs is not None:
        wanted = set(me.needs)
        return [(j.name, s) for j, s in zip(jobs, links.states, strict=True) if j.name in wanted]
    stages = links.outline.stages
    earlier = set(stages[: stages.index(me.stage)])
    return [(j.name, s) for j, s in zip(jobs, links.states, strict=True) if j.stage in earlier]

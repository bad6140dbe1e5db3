"""Decides how it is told why a job waits, runs, or ended."""

import msgspec

from control.model.api.balancer import Waits
from control.model.api.explanation import Explanation, WaitsView
from control.model.api.views import AttemptView, JobView, RunView
from control.model.states import FINAL, State
from control.model.times import from_rfc3339, to_rfc3339, to_rfc3339_or_none
from store.views import Links, OpenJob

_NAMED_MAX = 5


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """The job's run, and the run that the job is (kind `Pipeline`), with what is open in that."""

    run: RunView
    child: RunView | None = None
    open_jobs: list[OpenJob] = []


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the balancer says of a job: how it stands there, or why it is not known."""

    waits: Waits | None = None
    silence: str | None = None
    expected_s: float | None = None


def explain(job: JobView, links: Links, told: Told, family: Family, *, now_ms: int) -> Explanation:
    """Why the job waits, runs, or ended."""
    expected_s = told.expected_s
    steps = [f"submitted at {job.created_at}{_by(family.run)}"]
    steps += [_attempt(attempt) for attempt in job.attempts]
    if job.state == State.READY:
        reason, more = _waiting(job, links, told, now_ms)
    elif job.state == State.IN_PROGRESS:
        reason, more = _running(job, expected_s, now_ms)
    else:
        reason, more = job.reason, _ended(job, links)
    more += _child(family)
    waits = None if told.waits is None else show_waits(told.waits)
    return Explanation(reason=reason, steps=steps + more, waits=waits)


def show_waits(waits: Waits) -> WaitsView:
    """How it stands at the balancer, as it is shown."""
    return WaitsView(
        speed=waits.speed,
        expected_seconds=max(waits.expected_s, 0.0),
        known=waits.known,
        may_be_sent_ahead=waits.sent_ahead,
        ahead=waits.ahead,
        at_least=waits.at_least,
        refused=waits.refused,
        refused_at=to_rfc3339_or_none(waits.refused_ms),
    )


def _waiting(job: JobView, links: Links, told: Told, now_ms: int) -> tuple[str, list[str]]:
    before = waited_for(links)
    open_ones = [f"{name} ({state})" for name, state in before if state not in FINAL]
    if job.ready_at is None:
        if not open_ones:
            return job.reason, []
        more = f" and {len(open_ones) - _NAMED_MAX} more" if len(open_ones) > _NAMED_MAX else ""
        awaited = f"waits for {', '.join(open_ones[:_NAMED_MAX])}{more}"
        return awaited, [awaited]
    ready_ms = from_rfc3339(job.ready_at)
    if ready_ms > now_ms:
        wait = f"attempt {job.attempt} is due in {(ready_ms - now_ms) / 1000:g} s"
        return f"{job.reason}", [f"{wait}, at {job.ready_at}"]
    steps = [f"ready to run since {job.ready_at}, which is {(now_ms - ready_ms) / 1000:g} s"]
    waits = told.waits
    if waits is not None:
        steps += [*standing(waits), f"the balancer has not placed it: {waits.why}"]
        return waits.why, steps
    if told.expected_s is not None:
        steps.append(f"expected to take {told.expected_s:.3g} s")
    if told.silence is not None:
        steps.append(told.silence)
    return told.silence or job.reason, steps


def standing(waits: Waits) -> list[str]:
    """How it stands at the balancer, in words."""
    if waits.known:
        steps = [f"expected to take {waits.expected_s:.3g} s: {waits.speed}"]
    else:
        guess = f"taken for {waits.expected_s:.3g} s: {waits.speed}"
        steps = [f"nothing is known of it yet; {guess}"]
    if waits.sent_ahead:
        steps.append("so short that it may be sent ahead, to wait at a worker for a slot")
    if waits.ahead:
        count = f"{'at least ' if waits.at_least else ''}{waits.ahead}"
        jobs = "job comes" if waits.ahead == 1 else "jobs come"
        steps.append(f"{count} {jobs} before it")
    elif not waits.at_least:
        steps.append("no job comes before it")
    if waits.refused is not None and waits.refused_ms is not None:
        steps.append(f"refused at {to_rfc3339(waits.refused_ms)}: {waits.refused}")
    else:
        steps.append("the balancer has not come to it yet")
    return steps


def _running(job: JobView, expected_s: float | None, now_ms: int) -> tuple[str, list[str]]:
    started_ms = now_ms if job.started_at is None else from_rfc3339(job.started_at)
    took_s = (now_ms - started_ms) / 1000
    where = "" if job.worker is None else f" on {job.worker}, partition {job.partition}"
    steps = [f"attempt {job.attempt} started at {job.started_at}{where}"]
    if expected_s is not None:
        steps.append(f"runs for {took_s:g} s, expected to take {expected_s:.3g} s")
    if job.progress is not None:
        steps.append(f"says it is {job.progress:.0%} done")
    return job.reason, steps


def _by(run: RunView) -> str:
    if run.parent_run_id is None:
        return ""
    return f", as job {run.parent_job_id} of run {run.parent_run_id}"


def _child(family: Family) -> list[str]:
    """The run that the job is, as far as it has come."""
    child = family.child
    if child is None:
        return []
    named = f"run {child.id} of {child.pipeline} is {child.state}: {child.reason}"
    if child.state in FINAL:
        return [named]
    jobs = sum(sum(stage.counts.values()) for stage in child.stages)
    steps = [named, f"{jobs - len(family.open_jobs)} of its {jobs} jobs have ended"]
    shown = [f"{name} ({state})" for _, name, state, _ in family.open_jobs[:_NAMED_MAX]]
    more = len(family.open_jobs) - len(shown)
    steps.append(f"open: {', '.join(shown)}{f' and {more} more' if more else ''}")
    return steps


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

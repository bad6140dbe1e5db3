"""Decides what a notice says about a run when its pipeline has no words of its own for it.

Error and log come from jobs: nothing of them reaches a reader's screen but text.
"""

from collections.abc import Sequence
from typing import NamedTuple

from control.model import limits
from control.model.display_text import LogCleaner, clean, seconds
from control.model.numbers import JobId, RunId
from control.model.states import State


class FailedJob(NamedTuple):
    """The first job of a run that failed. `log`: the end of its last attempt's log."""

    job_id: JobId
    name: str
    attempt: int
    error: str
    exit_code: int | None = None
    log: bytes = b""


class EndedRun(NamedTuple):
    """What a notice is about."""

    run_id: RunId
    pipeline: str
    state: State
    seconds: float  # From its start to its end, or until now.
    reason: str | None = None
    scheduled_for: str | None = None  # RFC 3339.
    failed: int = 0  # How many jobs.
    allowed_failures: int = 0
    first: FailedJob | None = None


class Notice(NamedTuple):
    """A message: one line, and lines of plain text."""

    title: str
    body: str


def notice(run: EndedRun) -> Notice:
    """Pipeline, run, state, the first error with its last log lines, how long, where to look."""
    state = run.state.value
    lines = [f"Run {run.run_id} of {run.pipeline}: {state} after {seconds(run.seconds)}."]
    if run.scheduled_for is not None:
        lines.append(f"It was scheduled for {clean(run.scheduled_for)}.")
    if run.reason:
        lines.append(f"Reason: {_cut(clean(run.reason), limits.NOTICE_ERROR_CHARS_MAX)}")
    if run.allowed_failures:
        lines.append(f"Allowed failures: {run.allowed_failures}.")
    if run.first is not None:
        lines += ["", *_failure(run.first, run.failed)]
    lines += ["", f"tpctl run show {run.run_id}"]
    if run.first is not None:
        lines.append(f"tpctl job logs {run.first.job_id}")
    return Notice(f"{run.pipeline}: {state} (run {run.run_id})", "\n".join(lines))


def fitting(found: Notice) -> Notice:
    """A notice as long as its kind takes it: outputs may be in it, as often as one likes."""
    title = _cut(found.title, limits.TEXT_CHARS_MAX)
    return Notice(title, _cut(found.body, limits.NOTICE_CHARS_MAX))


def _failure(job: FailedJob, failed: int) -> Sequence[str]:
    more = f", the first of {failed} that failed" if failed > 1 else ""
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    lines = [f"Job {job.name} (attempt {job.attempt}{code}){more}:"]
    lines.append(f"  {_cut(clean(job.error), limits.NOTICE_ERROR_CHARS_MAX)}")
    if log := _last_lines(job.log):
        lines += ["Its log ends with:", *(f"  {line}" for line in log)]
    return lines


def _last_lines(log: bytes) -> list[str]:
    cleaner = LogCleaner(colour=False)
    lines = (cleaner.feed(log) + cleaner.finish()).splitlines()
    shown = [_cut(clean(line).rstrip(), limits.NOTICE_LINE_CHARS_MAX) for line in lines]
    return [line for line in shown if line][-limits.NOTICE_LINES_MAX :]


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"

"""Draws a run's jobs as what came after what: stages as branches, jobs as leaves."""

from collections.abc import Sequence

from control.model.api.views import JobView, RunView
from tui.core.formatting import took
from tui.core.spans import Line, fit_line, line
from tui.core.state_symbols import sign, together
from tui.core.timestamps import jobs_seconds


def needs_tree(
    run: RunView,
    jobs: Sequence[JobView],
    width: int,
    height: int,
    *,
    selected_job: int | None,
    now_ms: int,
) -> list[Line]:
    """One line a job under its stage; the selected one stays in view."""
    lines: list[Line] = []
    chosen = 0
    for stage in run.stages:
        lines.append(line(sign(together(stage.counts)), (f" {stage.name}", "bold")))
        own = [job for job in jobs if job.stage == stage.name]
        for at, job in enumerate(own):
            if job.id == selected_job:
                chosen = len(lines)
            branch = "└─" if at == len(own) - 1 else "├─"
            cursor = "▸" if job.id == selected_job else " "
            tries = f" try {job.attempt}/{job.retry_attempt + 1}" if job.attempt > 1 else ""
            seconds = jobs_seconds([job], now_ms)
            lines.append(
                line(
                    (f"{cursor}{branch} ", "dim"),
                    sign(job.state),
                    (f" {job.name}", "cursor" if job.id == selected_job else ""),
                    (f"{tries}  {took(seconds) if seconds is not None else ''}  ", "dim"),
                    (job.reason, "dim"),
                )
            )
    top = max(min(chosen - height // 2, len(lines) - height), 0)
    return [fit_line(each, width) for each in lines[top : top + height]]

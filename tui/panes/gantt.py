"""Decides how a run's jobs lie in time: one row a job, from the run's begin to its expected end."""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.cells import cell_len

from control.model.api.views import JobView, RunView
from control.model.states import Outcome, State
from tui.core.axis_ticks import step_of, written
from tui.core.critical_path import critical_path
from tui.core.formatting import took
from tui.core.spans import Line, Span, cut, fit, line
from tui.core.state_symbols import (
    CRITICAL,
    CURSOR,
    EARLIER,
    FREE,
    PARTLY,
    STATE_SIGNS,
    WORK,
    look_of,
)
from tui.core.tables.cells import Cells, Scale, blank, inset, joined, paint, write
from tui.core.tables.groups import JobGroup, grouped, shown_part
from tui.core.timestamps import instant, jobs_seconds, later

_LABEL_MIN: Final = 8
_LABEL_MAX: Final = 24
_TOOK: Final = 14
_TICK_CELLS: Final = 12
_AHEAD_MOST: Final = 1.0  # What is to come takes no more of the row than what has been.
_NO_MS: Final = 1


class _ChartScale(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows of one picture share."""

    scale: Scale
    now_ms: int
    ended: bool
    critical: frozenset[int]
    selected: int | None
    label: int


def gantt(
    run: RunView,
    jobs: Sequence[JobView],
    width: int,
    height: int,
    *,
    now_ms: int,
    selected: int | None,
) -> list[Line]:
    """The axis, then a row for each job, or for several whose names differ by a number.

    `░` ready, `█` in progress, `▓` earlier attempts, `▒` some of several jobs in progress, `▸` now,
    `◆` on the critical path.
    """
    if height <= 0:
        return []
    place = {stage.name: at for at, stage in enumerate(run.stages)}
    ordered = sorted(jobs, key=lambda job: (place.get(job.stage, len(place)), job.id))
    rows = grouped(ordered, height - 1, selected)
    if not rows:
        return inset([line(("no jobs are known yet", "dim"))], width, height)
    at = next((at for at, row in enumerate(rows) if row.has(selected)), None)
    room = height - 1 if len(rows) <= height - 1 else max(height - 2, 0)
    part = shown_part(len(rows), room, at)
    label = max((cell_len(cut(rows[at].label, _LABEL_MAX)) for at in part), default=0)
    label = min(max(label, _LABEL_MIN), max(width // 4, 1)) + 3
    frame = _ChartScale(
        scale=_scale(run, jobs, max(width - 2 - label - _TOOK, 0), now_ms),
        now_ms=now_ms,
        ended=run.finished_at is not None,
        critical=frozenset(critical_path(jobs, [stage.name for stage in run.stages])),
        selected=selected,
        label=label,
    )
    lines = [_axis(frame), *(_row(rows[at], frame) for at in part)]
    if hidden := len(rows) - len(part):
        lines.append(
            line((f"… {hidden} more rows: {part.start} above, {hidden - part.start} below", "dim"))
        )
    return inset(lines, width, height)


def _scale(run: RunView, jobs: Sequence[JobView], cells: int, now_ms: int) -> Scale:
    begins = [at for job in jobs if (at := instant(job.ready_at)) is not None]
    begins += [at for at in (instant(run.started_at),) if at is not None]
    begin_ms = min(begins, default=instant(run.created_at) or now_ms)
    finished_ms = instant(run.finished_at)
    end_ms = max(finished_ms if finished_ms is not None else now_ms, begin_ms + _NO_MS)
    if finished_ms is None and run.expected_seconds is not None:
        ahead_s = min(run.expected_seconds, (end_ms - begin_ms) / 1000 * _AHEAD_MOST)
        end_ms = max(later(end_ms, ahead_s), end_ms)
    return Scale(begin_ms=begin_ms, end_ms=end_ms, cells=cells)


def _now_cell(frame: _ChartScale) -> int:
    return min(frame.scale.cell(frame.now_ms), frame.scale.cells - 1)


def _axis(frame: _ChartScale) -> Line:
    scale = frame.scale
    row = blank(scale.cells)
    total_s = (scale.end_ms - scale.begin_ms) / 1000
    step_s = step_of(total_s * _TICK_CELLS / max(scale.cells, 1))
    for tick in range(int(total_s // step_s) + 1):
        at = scale.cell(later(scale.begin_ms, tick * step_s))
        text = written(tick * step_s)
        if at + len(text) <= scale.cells:
            write(row, at, text, "dim")
    if not frame.ended and scale.cells:
        at = _now_cell(frame)
        write(row, max(at - 4, 0), " now"[-at:] if at else "", "bold")
        paint(row, at, at + 1, "│", "accent")
    return (*line(fit("", frame.label)), *joined(row), *line((fit("took", _TOOK, "right"), "dim")))


def _row(group: JobGroup, frame: _ChartScale) -> Line:
    chosen = group.has(frame.selected)
    mark = CRITICAL if any(job.id in frame.critical for job in group.jobs) else " "
    label = line(
        (fit(group.label, frame.label - 3), "cursor" if chosen else ""), (f" {mark} ", "accent")
    )
    cells = _of_one(group.jobs[0], frame) if len(group.jobs) == 1 else _of_many(group, frame)
    return (*label, *joined(cells), *line(_took(group, frame)))


def _of_one(job: JobView, frame: _ChartScale) -> Cells:
    row, scale = blank(frame.scale.cells), frame.scale
    begin_ms, end_ms = instant(job.started_at), instant(job.finished_at)
    ready_ms = instant(job.ready_at)
    before_ms = ready_ms
    for earlier in job.attempts:
        began_ms, ended_ms = instant(earlier.started_at), instant(earlier.finished_at)
        if ended_ms is None:
            continue
        if before_ms is not None:
            _stretch(row, scale, before_ms, began_ms or ended_ms, (FREE, "dim"))
        if began_ms is not None:
            _stretch(row, scale, began_ms, ended_ms, (EARLIER, "warn"))
        if earlier.outcome is not Outcome.CANCELLED:
            _end(row, scale, ended_ms, (STATE_SIGNS[State.ERROR], "bad"))
        before_ms = ended_ms
    stop_ms = frame.now_ms if end_ms is None else end_ms
    if before_ms is not None:
        wait_end_ms = stop_ms if begin_ms is None else begin_ms
        _stretch(row, scale, before_ms, wait_end_ms, (FREE, "dim"), exact=True)
    if begin_ms is not None:
        look = look_of(job.state)
        _stretch(row, scale, begin_ms, stop_ms, (WORK, look))
        if job.state in {State.ERROR, State.CANCELLED}:
            _end(row, scale, stop_ms, (STATE_SIGNS[job.state], look))
    if end_ms is None and before_ms is not None and row:
        at = _now_cell(frame)
        paint(row, at, at + 1, CURSOR, "accent")
    return row


def _of_many(group: JobGroup, frame: _ChartScale) -> Cells:
    """Cells in which all that are under way are in progress, some of them, or none."""
    row, scale = blank(frame.scale.cells), frame.scale
    ready, busy = [0] * len(row), [0] * len(row)
    for job in group.jobs:
        ready_ms, begin_ms = instant(job.ready_at), instant(job.started_at)
        stop_ms = instant(job.finished_at)
        stop_ms = frame.now_ms if stop_ms is None else stop_ms
        if ready_ms is not None:
            _tally(ready, scale, ready_ms, stop_ms if begin_ms is None else begin_ms)
        if begin_ms is not None:
            _tally(busy, scale, begin_ms, stop_ms)
    look = look_of(group.state)
    for at, (waits, runs) in enumerate(zip(ready, busy, strict=True)):
        if runs:
            row[at] = (PARTLY if waits else WORK, look)
        elif waits:
            row[at] = (FREE, "dim")
    if any(job.finished_at is None and job.ready_at for job in group.jobs) and row:
        at = _now_cell(frame)
        paint(row, at, at + 1, CURSOR, "accent")
    return row


def _tally(tallies: list[int], scale: Scale, begin_ms: int, end_ms: int) -> None:
    first = max(scale.cell(begin_ms), 0)
    for at in range(first, min(max(scale.cell(end_ms), first + 1), len(tallies))):
        tallies[at] += 1


def _stretch(
    row: Cells, scale: Scale, begin_ms: int, end_ms: int, span: Span, *, exact: bool = False
) -> None:
    """Paint a length of time: one cell at least, where it need not be exact."""
    first = min(scale.cell(begin_ms), scale.cells - 1)
    last = scale.cell(end_ms)
    paint(row, first, last if exact else max(last, first + 1), *span)


def _end(row: Cells, scale: Scale, at_ms: int, span: Span) -> None:
    at = min(max(scale.cell(at_ms) - 1, 0), scale.cells - 1)
    paint(row, at, at + 1, *span)


def _took(group: JobGroup, frame: _ChartScale) -> Span:
    """What stands at the right: how long it took, takes already, or has been ready."""
    state = group.state
    lasted = jobs_seconds(group.jobs, frame.now_ms)
    if lasted is not None:
        text = took(lasted) + ("…" if state is State.IN_PROGRESS else "")
        signed = f"{text} {STATE_SIGNS[state]}"
        return (fit(signed, _TOOK, "right"), look_of(state))
    ready = [at for job in group.jobs if (at := instant(job.ready_at)) is not None]
    if ready and state is State.READY:
        waited = max(frame.now_ms - min(ready), 0) / 1000
        return (fit(f"ready {took(waited)} ○", _TOOK, "right"), "dim")
    text = "waits ○" if state is State.READY else STATE_SIGNS[state]
    return (fit(text, _TOOK, "right"), look_of(state))

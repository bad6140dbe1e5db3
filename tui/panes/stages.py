"""Decides how a run's stages stand side by side, each a column of its jobs."""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.model.api.views import JobView, RunView
from control.model.states import State
from tui.core.formatting import took
from tui.core.spans import Line, Look, Span, fit, fit_line, line, spread, width_of
from tui.core.state_symbols import AFTER, BEFORE, CURSOR, sign, together
from tui.core.tables.cells import inset
from tui.core.tables.groups import JobGroup, grouped, shown_part
from tui.core.timestamps import jobs_seconds

_CELLS_MIN: Final = 22
_CELLS_MAX: Final = 44
_EDGES: Final = 2


class _Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What all columns of one picture share."""

    height: int
    selected: int | None
    now_ms: int


def stage_columns(
    run: RunView,
    jobs: Sequence[JobView],
    width: int,
    height: int,
    *,
    selected_job: int | None,
    now_ms: int,
) -> list[Line]:
    """Boxes of `height` lines; the selected job and its stage are always among what is shown.

    The lower edge says how many stages there are to either side.
    """
    if height <= 0 or width <= 0:
        return []
    if not run.stages:
        return inset([line(("no stages are known yet", "dim"))], width, height)
    by_stage: dict[str, list[JobView]] = {stage.name: [] for stage in run.stages}
    chosen = None
    for job in sorted(jobs, key=lambda each: each.id):
        by_stage.setdefault(job.stage, []).append(job)
        if job.id == selected_job:
            chosen = next((a for a, s in enumerate(run.stages) if s.name == job.stage), None)
    count = len(run.stages)
    room = min(max(width // _CELLS_MIN, 1), count)
    part = shown_part(count, room, chosen)
    picture = _Picture(height=height, selected=selected_job, now_ms=now_ms)
    made: list[Line] = [()] * height
    for at in part:
        more = (part.start if at == part[0] else 0, count - part.stop if at == part[-1] else 0)
        begin, end = (width * (at + beside - part.start) // room for beside in (0, 1))
        stage = run.stages[at]
        title = (f"{at + 1} {stage.name}", sign(together(stage.counts)))
        cells = min(end - begin, _CELLS_MAX)
        column = _column(title, by_stage[stage.name], cells, more, picture)
        made = [(*left, *right) for left, right in zip(made, column, strict=True)]
    return [fit_line(each, width) for each in made]


def _column(
    title: tuple[str, Span],
    jobs: Sequence[JobView],
    cells: int,
    more: tuple[int, int],
    picture: _Picture,
) -> list[Line]:
    inner = max(cells - _EDGES, 0)
    height = picture.height
    lines = [_upper(*title, _lasted(jobs, picture.now_ms), inner)]
    lines += [_framed(row, inner) for row in _rows(jobs, inner, picture)]
    lines += [_framed((), inner)] * (height - 1 - len(lines))
    return [fit_line(each, cells) for each in (*lines[: height - 1], _lower(more, inner))]


def _rows(jobs: Sequence[JobView], inner: int, picture: _Picture) -> list[Line]:
    room, selected = max(picture.height - _EDGES, 0), picture.selected
    groups = grouped(jobs, room, selected)
    at = next((at for at, group in enumerate(groups) if group.has(selected)), None)
    shown = room if len(groups) <= room else max(room - 1, 1)
    part = shown_part(len(groups), min(shown, room), at)
    rows = [_row(groups[at], inner, selected, picture.now_ms) for at in part]
    if (hidden := len(groups) - len(part)) and len(rows) < room:
        rows.append(line((f"  … {hidden} more", "dim")))
    return rows


def _row(group: JobGroup, inner: int, selected: int | None, now_ms: int) -> Line:
    chosen = group.has(selected)
    name: Span = (f" {group.label}", "cursor" if chosen else "")
    left = (*line((CURSOR, "accent") if chosen else " "), sign(group.state), *line(name))
    return spread(left, _detail(group, now_ms), inner)


def _detail(group: JobGroup, now_ms: int) -> Line:
    """What is worth saying of a job beside its state: how long it took, or which try comes."""
    lasted = _lasted(group.jobs, now_ms)
    job = group.jobs[0]
    if len(group.jobs) > 1 or job.attempt <= 1 or job.state not in {State.READY, State.IN_PROGRESS}:
        return line((lasted, ""))
    tries = job.retry_attempt + 1
    said = f"try {job.attempt}/{tries}" if job.attempt <= tries else f"try {job.attempt}"
    return line((said, "warn"), f" {lasted}" if job.state is State.IN_PROGRESS else "")


def _lasted(jobs: Sequence[JobView], now_ms: int) -> str:
    seconds = jobs_seconds(jobs, now_ms)
    return "" if seconds is None else took(seconds)


def _framed(row: Line, inner: int) -> Line:
    return (("│", "frame"), *fit_line(row, inner), ("│", "frame"))


def _upper(name: str, state: Span, lasted: str, inner: int) -> Line:
    tail = line(" ", state, f" {lasted}" if lasted else "", " ")
    look: Look = "bold"
    room = inner - 2 - width_of(tail)
    if room <= 0:
        return line(("╭" + "─" * inner + "╮", "frame"))
    words = line((fit(name, room).rstrip(), look))
    rule = "─" * (inner - 2 - width_of(words) - width_of(tail))
    return (("╭─ ", "frame"), *words, *tail, (rule + "╮", "frame"))


def _lower(more: tuple[int, int], inner: int) -> Line:
    before, after = more
    left = f"─ {BEFORE} {before} " if before else ""
    right = f" {after} {AFTER} ─" if after else ""
    if len(left) + len(right) > inner:
        left = right = ""
    rule = "─" * (inner - len(left) - len(right))
    return (("╰", "frame"), (left, "accent"), (rule, "frame"), (right, "accent"), ("╯", "frame"))

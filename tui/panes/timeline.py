"""Decides how the next hours of schedules are drawn: a cell for each stretch of time."""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from control.model.api.forecast import Forecast
from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.states import Overlap
from tui.core.spans import Line, spark
from tui.core.state_symbols import EARLIER, SKIPPED, UNPLANNED, WORK
from tui.core.tables.cells import Cells, Scale, blank, joined, paint, write
from tui.core.timestamps import instant, later, moment

LEGEND: Final = (
    "█ expected run  ▓ into its next fire  × skipped  │ short  ┆ in its window  ≡ many  · paused"
    "  ┄ not planned yet"
)
_HOUR_MS: Final = 3_600_000
_STEP_HOURS: Final = (1, 2, 3, 6, 12, 24)
_LABEL_CELLS: Final = 4
_SHORT_PART: Final = 6  # A run that takes less than this part of a cell is a line.
_MANY: Final = 2
_DAY_CELLS: Final = 12


def axis(
    start_ms: int, column_ms: int, columns: int, zone: tzinfo = UTC, *, now_ms: int
) -> list[Line]:
    """Two lines: the hours of the zone's clock, and where its days begin; `▲` is now."""
    hours = blank(columns, "─", "dim")
    days = blank(columns)
    step = _step_hours(column_ms)
    before = moment(start_ms - column_ms, zone)
    written_to = 0
    for column in range(columns):
        here = moment(start_ms + column * column_ms, zone)
        if here is None:
            break
        if before is not None and here.date() != before.date() and column:
            text = f"┊ {here:%a %d %b}"
            write(days, column, text if columns - column >= _DAY_CELLS else "┊", "bold")
        hour = _begun(before, here, step)
        if hour is not None and column >= written_to and column + 2 <= columns:
            write(hours, column, f"{hour:02d}", "")
            written_to = column + 3
        before = here
    now = (now_ms - start_ms) // column_ms
    paint(days, now, now + 1, "▲", "accent")
    return [joined(hours), joined(days)]


def _step_hours(column_ms: int) -> int:
    """Hours between two that are written, so that they do not touch."""
    least = _LABEL_CELLS * max(column_ms, 1)
    return next((hours for hours in _STEP_HOURS if hours * _HOUR_MS >= least), _STEP_HOURS[-1])


def _begun(before: datetime | None, here: datetime, step: int) -> int | None:
    """The hour that is written where this column begins; None: none began since the last one.

    Hours count by the local clock; one that it jumps over begins with the next.
    """
    first = here.hour - here.hour % step
    if before is None:
        return None
    if (here.date(), first) != (before.date(), before.hour - before.hour % step):
        return first
    return None


def needed(forecast: Forecast, start_ms: int, column_ms: int, columns: int) -> Line:
    """Slots that planned runs need, as heights; a full cell is every slot, `▓` more than there are.

    What the forecast does not tell stays empty.
    """
    most: list[float | None] = [None] * max(columns, 0)
    known = [
        (at, bucket.slots) for bucket in forecast.items if (at := instant(bucket.at)) is not None
    ]
    for at, (begin_ms, slots) in enumerate(known):
        length_ms = (
            known[at + 1][0] - begin_ms
            if at + 1 < len(known)
            else (begin_ms - known[at - 1][0] if at else column_ms)
        )
        first = (begin_ms - start_ms) // column_ms
        last = -((start_ms - begin_ms - max(length_ms, 1)) // column_ms)
        for column in range(max(first, 0), min(last, len(most))):
            most[column] = max(most[column] or 0.0, slots)
    heights = spark(most, len(most), top=float(forecast.slots) or None)
    row: Cells = []
    for height, slots_then in zip(heights, most, strict=True):
        if slots_then is not None and slots_then > forecast.slots:
            row.append((EARLIER, "bad"))
        else:
            row.append((height, "accent"))
    return joined(row)


def fires(
    schedule: ScheduleView,
    plan: SchedulePlan | None,
    start_ms: int,
    column_ms: int,
    columns: int,
) -> Line:
    """The planned runs of one schedule; the signs are those of `LEGEND`.

    Where no cell has several, each stretch of the plan is one run.
    """
    scale = Scale(begin_ms=start_ms, end_ms=start_ms + columns * column_ms, cells=max(columns, 0))
    row = blank(columns)
    stretches = sorted(
        (max(due_ms, start_ms), each.runs)
        for each in (plan.stretches if plan is not None else ())
        if (due_ms := instant(each.at)) is not None
    )
    at_column: dict[int, int] = {}
    for due_ms, runs in stretches:
        cell = scale.cell(due_ms)
        at_column[cell] = at_column.get(cell, 0) + runs
    takes_s = schedule.expected_seconds
    if schedule.paused:
        for cell in at_column:
            paint(row, cell, cell + 1, "·", "dim")
    elif takes_s is None or takes_s * 1000 * _SHORT_PART < column_ms:
        sign = "┆" if schedule.spec.window else "│"
        for cell, number in at_column.items():
            paint(row, cell, cell + 1, "≡" if number >= _MANY else sign, "")
    elif any(number >= _MANY for number in at_column.values()):
        _crowded(row, scale, at_column, takes_s)
    else:
        _runs(row, scale, [due for due, _ in stretches], takes_s, schedule.spec.overlap)
    until_ms = None if plan is None or schedule.paused else instant(plan.until)
    if until_ms is not None:
        # The planner moves on once a minute: the last column is hardly ever full.
        paint(row, scale.cell(until_ms) + 2, len(row), UNPLANNED, "dim")
    return joined(row)


def _crowded(row: Cells, scale: Scale, at_column: dict[int, int], takes_s: float) -> None:
    """Several begin in one cell: `≡`, and how far the last of them reach."""
    for cell in sorted(at_column):
        end = scale.cell(later(scale.at(cell), takes_s))
        paint(row, cell + 1, end, WORK, "accent")
    for cell, number in at_column.items():
        paint(row, cell, cell + 1, "≡" if number >= _MANY else WORK, "accent")


def _runs(row: Cells, scale: Scale, dues: Sequence[int], takes_s: float, overlap: Overlap) -> None:
    """Runs one after the other, as the schedule's overlap rule lets them begin."""
    skipped: list[int] = []
    free_ms = scale.begin_ms
    for at, due_ms in enumerate(dues):
        begin_ms = due_ms
        if due_ms < free_ms:
            if overlap is Overlap.SKIP:
                skipped.append(scale.cell(due_ms))
                continue
            if overlap is Overlap.QUEUE:
                begin_ms = free_ms
        end_ms = later(begin_ms, takes_s)
        next_ms = dues[at + 1] if at + 1 < len(dues) else end_ms
        free_ms = end_ms
        _run(row, scale, begin_ms, end_ms, next_ms)
        if begin_ms >= scale.end_ms:
            break
    for cell in skipped:
        beside = cell + 1 if cell + 1 < len(row) and row[cell + 1][0] == " " else cell
        paint(row, beside, beside + 1, SKIPPED, "bad")


def _run(row: Cells, scale: Scale, begin_ms: int, end_ms: int, next_ms: int) -> None:
    """One run: `▓` from where the next one is due, and where an earlier one still runs."""
    first = scale.cell(begin_ms)
    last = max(
        -(-(end_ms - scale.begin_ms) * scale.cells // max(scale.end_ms - scale.begin_ms, 1)),
        first + 1,
    )
    into = scale.cell(next_ms) if next_ms < end_ms else last
    for cell in range(max(first, 0), min(last, len(row))):
        taken = row[cell][0] in {WORK, EARLIER} or (cell >= into and cell > first)
        row[cell] = (EARLIER, "warn") if taken else (WORK, "accent")

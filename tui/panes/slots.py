"""Decides how a worker's attempts lie in its slots.

Nobody records in which slot an attempt ran: they are laid into rows as if each had taken the first
slot that was free. So many were busy at any time; which ones is a picture.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.model.api.fleet import WorkerView
from control.model.api.reports import WorkerAttempt
from control.model.states import Outcome, State
from tui.core.alerts import is_over
from tui.core.formatting import roughly
from tui.core.spans import Line, Look, Span, fit, line, spread
from tui.core.state_symbols import CURSOR, FREE, OVER, PARTLY, STATE_SIGNS, WORK
from tui.core.tables.cells import Scale, blank, inset, joined, paint
from tui.core.timestamps import instant

_ATTEMPTS_MAX: Final = 1_000  # As many are asked for.
_LABEL: Final = 8
_NAME_MAX: Final = 26
_NAME_PART: Final = 4
_HALF: Final = 0.5
_ENDS: Final[dict[Outcome, Span]] = {
    Outcome.FAILED: (STATE_SIGNS[State.ERROR], "bad"),
    Outcome.TIMED_OUT: (STATE_SIGNS[State.ERROR], "bad"),
    Outcome.LOST: (STATE_SIGNS[State.ERROR], "bad"),
    Outcome.CANCELLED: (STATE_SIGNS[State.CANCELLED], "warn"),
}


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt in one slot. `outcome`: None while it runs."""

    begin_ms: int
    end_ms: int
    name: str
    outcome: Outcome | None
    over: bool = False


def slot_history(
    worker: WorkerView,
    attempts: Sequence[WorkerAttempt] | None,
    width: int,
    height: int,
    *,
    now_ms: int,
    window_ms: int,
    limit: int = _ATTEMPTS_MAX,
) -> list[Line]:
    """One row a slot, oldest left: `█` busy, `▒` for less than half a cell, `░` free.

    `attempts`: None while they are not known; of more than `limit` only the last ones are. What
    is not known stays empty: it is not free.
    """
    if height <= 0:
        return []
    known = [] if attempts is None else attempts
    name = min(_NAME_MAX, max(width - 2, 0) // _NAME_PART)
    cells = max(width - 2 - _LABEL - name - 1, 0)
    begin_ms = now_ms - max(window_ms, 1)
    scale = Scale(begin_ms=begin_ms, end_ms=now_ms, cells=cells)
    rows = packed(_stays(worker, known, begin_ms, now_ms), worker.slots)
    room = height - 1 if len(rows) < height else max(height - 2, 0)
    connected_ms = instant(worker.connected_at)
    since_ms = begin_ms if connected_ms is None else connected_ms
    if attempts is None:
        since_ms = now_ms
    elif len(attempts) >= limit:  # What ended before the first of these is not told.
        ends = [end_ms for each in attempts if (end_ms := instant(each.finished_at)) is not None]
        since_ms = max(since_ms, min(ends, default=now_ms))
    lines = [_row(at, row, scale, since_ms, name) for at, row in enumerate(rows[:room], start=1)]
    if len(rows) > room:
        lines.append(line((f"… {len(rows) - room} more slots", "dim")))
    before = f"{roughly(window_ms / 1000)} ago"
    if attempts is None:
        before += ": loading …"
    foot = (
        *line((fit("", _LABEL), "")),
        *spread(line((before, "dim")), line(("now", "dim")), cells),
    )
    return inset([*lines, foot], width, height)


def packed(stays: Sequence[Stay], slots: int) -> list[list[Stay]]:
    """Attempts by slot: each takes the first that is free, or the one that is free soonest."""
    rows: list[list[Stay]] = [[] for _ in range(max(slots, 1))]
    free_ms: list[int | None] = [None] * len(rows)
    for stay in sorted(stays, key=lambda each: (each.begin_ms, each.end_ms)):
        at = next(
            (at for at, until in enumerate(free_ms) if until is None or until <= stay.begin_ms),
            None,
        )
        if at is None:  # Clocks differ a little, so that an attempt may seem to begin too early.
            at = min(range(len(rows)), key=lambda row: free_ms[row] or 0)
        rows[at].append(stay)
        free_ms[at] = max(free_ms[at] or stay.end_ms, stay.end_ms)
    return rows


def _stays(
    worker: WorkerView, attempts: Sequence[WorkerAttempt], begin_ms: int, now_ms: int
) -> list[Stay]:
    found, ended = [], set()
    for each in attempts:
        began_ms, ended_ms = instant(each.started_at), instant(each.finished_at)
        ended.add((each.job_id, each.attempt))
        if began_ms is None or ended_ms is None or ended_ms < begin_ms or began_ms > now_ms:
            continue
        name = f"{each.pipeline}/{each.job}"
        found.append(Stay(begin_ms=began_ms, end_ms=ended_ms, name=name, outcome=each.outcome))
    for job in worker.running:
        began_ms = instant(job.started_at)
        if began_ms is not None and (job.job_id, job.attempt) not in ended:
            found.append(
                Stay(
                    begin_ms=min(began_ms, now_ms),
                    end_ms=now_ms,
                    name=f"{job.pipeline}/{job.name}",
                    outcome=None,
                    over=is_over(job, now_ms),
                )
            )
    return found


def _row(at: int, stays: Sequence[Stay], scale: Scale, since_ms: int, name: int) -> Line:
    row = blank(scale.cells, FREE, "dim")
    paint(row, 0, scale.cell(since_ms), " ")
    busy_ms = [0] * scale.cells
    over = [False] * scale.cells
    for stay in stays:
        _spend(stay, busy_ms, over, scale)
    cell_ms = max((scale.end_ms - scale.begin_ms) / max(scale.cells, 1), 1)
    for cell, spent_ms in enumerate(busy_ms):
        if spent_ms:
            look: Look = "warn" if over[cell] else "accent"
            row[cell] = (WORK if spent_ms >= cell_ms * _HALF else PARTLY, look)
    for stay in stays:
        if stay.outcome in _ENDS:
            end = min(max(scale.cell(stay.end_ms - 1), 0), scale.cells - 1)
            paint(row, end, end + 1, *_ENDS[stay.outcome])
        elif stay.outcome is None:
            paint(row, scale.cells - 1, scale.cells, CURSOR, "warn" if stay.over else "accent")
    named = _named(stays)
    called = "" if named is None else named.name
    runs = named is not None and named.outcome is None
    late: Span = (OVER if named is not None and named.over else "", "warn")
    return (
        *line((fit(f"slot {at}", _LABEL), "dim")),
        *joined(row),
        *line(" ", (fit(called, max(name - 2, 0)), "" if runs else "dim"), " ", late),
    )


def _named(stays: Sequence[Stay]) -> Stay | None:
    """What a slot is named by: what runs in it, the longest first; else the longest that ran."""

    def length(stay: Stay) -> tuple[bool, int]:
        return (stay.over, stay.end_ms - stay.begin_ms)

    running = [stay for stay in stays if stay.outcome is None]
    return max(running or stays, key=length, default=None)


def _spend(stay: Stay, busy_ms: list[int], over: list[bool], scale: Scale) -> None:
    """Add an attempt's time to the cells it lies in."""
    first = max(scale.cell(stay.begin_ms), 0)
    last = min(scale.cell(max(stay.end_ms, stay.begin_ms)), scale.cells - 1)
    for cell in range(first, last + 1):
        begin_ms = max(stay.begin_ms, scale.at(cell))
        spent_ms = min(stay.end_ms, scale.at(cell + 1)) - begin_ms
        if spent_ms > 0 or first == last:
            busy_ms[cell] += max(spent_ms, 1)
            over[cell] = over[cell] or stay.over

"""Decides what is said of one schedule: its rules, its next fires, and how its last runs went."""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Final

from control.model.api.forecast import Forecast
from control.model.api.schedules import PlannedView, SchedulePlan, ScheduleView
from control.model.api.views import RunView
from control.model.states import FINAL
from tui.core.due import to_come
from tui.core.formatting import took
from tui.core.spans import Line, Look, Span, cut, fit, line, trend
from tui.core.state_symbols import OVER, PAUSED, sign
from tui.core.tables.cells import inset
from tui.core.timestamps import between, instant, later, moment, run_seconds, zone_of

FIRES_SHOWN: Final = 3
RUNS_SHOWN: Final = 14
_FIRE: Final = 23
_LOCAL: Final = 24
_IN: Final = 9
_END: Final = 15
_SLOTS: Final = 13
_ZONE_CELLS_MAX: Final = 32


def schedule_detail(
    schedule: ScheduleView,
    plan: SchedulePlan | None,
    recent_runs: Sequence[RunView],
    forecast: Forecast | None,
    width: int,
    *,
    now_ms: int,
) -> list[Line]:
    """One schedule; `recent_runs` may hold those of others too."""
    fires = to_come(plan, now_ms)[:FIRES_SHOWN] if plan is not None else []
    zone = zone_of(schedule.spec.timezone)
    lines = [_rules(schedule), line("")]
    if fires:
        lines.append(_titles())
        befores = [now_ms, *(each.due_ms for each in fires)]
        for (before_ms, due_ms), each in zip(pairwise(befores), fires, strict=True):
            takes_s = each.run.expected_seconds
            if takes_s is None:
                takes_s = schedule.expected_seconds
            lines.append(
                (
                    *_fire(due_ms, zone, takes_s, now_ms, late=each.late),
                    *_then(due_ms, forecast),
                    *_note(each.run, before_ms, due_ms, zone),
                )
            )
    else:
        why = "paused: it starts nothing by itself" if schedule.paused else "nothing is planned"
        lines.append(line((why, "dim")))
    return inset([*lines, line(""), *_last(schedule, recent_runs, now_ms)], width)


def _rules(schedule: ScheduleView) -> Line:
    spec = schedule.spec
    expected = schedule.expected_seconds
    said: list[str | Span] = [
        (f"{PAUSED} paused   " if schedule.paused else "", "warn"),
        ("cron ", "dim"),
        (cut(spec.cron, _ZONE_CELLS_MAX), "bold"),
        f"  {cut(spec.timezone, _ZONE_CELLS_MAX)}",
        ("   expected ", "dim"),
        "not known" if expected is None else took(expected),
        ("   overlap ", "dim"),
        spec.overlap.value,
        ("   missed ", "dim"),
        spec.missed.value,
        ("   window ", "dim"),
        took(spec.window),
        ("   dst gap ", "dim"),
        spec.dst.gap.value,
        (", fold ", "dim"),
        spec.dst.fold.value,
    ]
    return line(*said)


def _titles() -> Line:
    return line(
        (
            fit("NEXT FIRE", _FIRE)
            + fit("LOCAL", _LOCAL)
            + fit("IN", _IN)
            + fit("EXPECTED END", _END)
            + fit("SLOTS THEN", _SLOTS)
            + "NOTE",
            "title",
        )
    )


def _fire(due_ms: int, zone: tzinfo, takes_s: float | None, now_ms: int, *, late: bool) -> Line:
    here, there = moment(due_ms), moment(due_ms, zone)
    end = None if takes_s is None else moment(later(due_ms, takes_s))
    return line(
        (fit("?" if here is None else f"{here:%a %d %b %H:%M:%S}Z", _FIRE), "bold"),
        fit("?" if there is None else f"{there:%a %d %b %H:%M} {there.tzname()}", _LOCAL),
        fit("late" if late else took((due_ms - now_ms) / 1000), _IN),
        fit(_ending(here, end), _END),
    )


def _ending(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return "not known"
    return f"{end:%H:%M}Z" if begin.date() == end.date() else f"{end:%a %d} {end:%H:%M}Z"


def _then(due_ms: int, forecast: Forecast | None) -> Line:
    """Slots that planned runs need when this one begins."""
    slots = None
    for bucket in forecast.items if forecast else ():
        at_ms = instant(bucket.at)
        if at_ms is not None and at_ms <= due_ms:
            slots = bucket.slots
    if forecast is None or slots is None:
        return line((fit("–", _SLOTS), "dim"))
    over = slots > forecast.slots
    text = f"{slots:.0f} of {forecast.slots}{' ' + OVER if over else ''}"
    return line((fit(text, _SLOTS), "bad" if over else ""))


def _note(planned: PlannedView, before_ms: int, due_ms: int, zone: tzinfo) -> Line:
    notes: list[Span] = []
    if planned.waiting:
        notes.append(("an earlier run has to end first", "warn"))
    if planned.backfill:
        notes.append(("asked for later", ""))
    nominal_ms = instant(planned.nominal)
    if nominal_ms is not None and due_ms > nominal_ms:
        notes.append((f"{took((due_ms - nominal_ms) / 1000)} after its nominal time", "dim"))
    changed = _clocks(before_ms, due_ms, zone)
    if changed:
        notes.append((changed, "warn"))
    return line(*(piece for at, note in enumerate(notes) for piece in ("  " if at else "", note)))


def _clocks(before_ms: int, due_ms: int, zone: tzinfo) -> str:
    """What the zone's clock does between two instants."""
    before, then = moment(before_ms, zone), moment(due_ms, zone)
    if zone is UTC or before is None or then is None:
        return ""
    old, new = before.utcoffset(), then.utcoffset()
    if old is None or new is None or old == new:
        return ""
    return "clocks go forward before it" if new > old else "clocks go back before it"


def _last(schedule: ScheduleView, runs: Sequence[RunView], now_ms: int) -> list[Line]:
    own = sorted((run for run in runs if run.schedule_id == schedule.id), key=lambda run: run.id)
    own = own[-RUNS_SHOWN:]
    if not own:
        return [line(("no run of it is known here", "dim"))]
    lasted = [run_seconds(run, now_ms) for run in own]
    ended = [
        seconds
        for run, seconds in zip(own, lasted, strict=True)
        if run.state in FINAL and seconds is not None
    ]
    said: list[str | Span] = [
        (f"last {len(own)}  ", "dim"),
        *(sign(run.state) for run in own),
        ("   took ", "dim"),
        (trend(lasted, len(own)), "accent"),
    ]
    if ended:
        said += [("   shortest ", "dim"), took(min(ended)), ("  longest ", "dim"), took(max(ended))]
    late = [seconds for run in own if (seconds := _late(run)) is not None]
    if late:
        look: Look = "warn" if max(late) > max(schedule.spec.window, 1) + 1 else ""
        said += [("   began at most ", "dim"), (took(max(late)), look), (" late", "dim")]
    return [line(*said)]


def _late(run: RunView) -> float | None:
    """Seconds between its nominal time and its making."""
    created_ms = instant(run.created_at)
    return None if created_ms is None else between(instant(run.scheduled_for), created_ms, 0)

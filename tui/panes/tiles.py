"""Decides what the four tiles of the overview say: throughput, what waits, how long, errors."""

from collections.abc import Callable, Sequence
from typing import Final

from control.model.api.live import Counts, Pulse
from control.model.api.queues import Queues, WaitingClass
from control.model.api.reports import ClassStats, Summary, TaskStats
from control.model.states import Speed
from tui.core.alerts import OLDEST_S, QUEUE_PART
from tui.core.formatting import count, part, roughly, took
from tui.core.spans import Line, Look, Span, fit, line, spark, spread, trend
from tui.core.state_symbols import OVER
from tui.core.tables.cells import inset

TILE_LINES: Final = 4
PULSES: Final = 90  # 15 minutes.
_PULSE_S: Final = 10
_NOW_PULSES: Final = 3  # What happens now is told by half a minute; one pulse jumps too much.
_TREND_PULSES: Final = 12  # Before there are more, the mean says nothing.
_MOVED: Final = 0.01
_EXACT_BELOW: Final = 10
_WORD: Final = 4
_FIELD: Final = 7
_SPEEDS: Final = (Speed.FAST, Speed.SLOW)
_UNKNOWN: Final[Span] = ("not known yet", "dim")


def throughput(pulses: Sequence[Pulse], width: int) -> list[Line]:
    """Jobs that end per second: now, over the last 15 minutes, and at most."""
    full = _full(pulses)
    if not full:
        return inset([line(("– jobs/s", "bold")), line(_UNKNOWN)], width)
    rates = [pulse.ended / _PULSE_S for pulse in full]
    now = _mean(rates[-_NOW_PULSES:])
    ended = sum(pulse.ended for pulse in full)
    return inset(
        [
            spread(line((f"{_rate(now)} jobs/s", "bold")), _trend(rates, now), width - 2),
            _history(rates, width - 2, "accent", draw=trend),
            spread(line(("15 m ago", "dim")), line(("now", "dim")), width - 2),
            spread(
                line(f"peak {_rate(max(rates))}/s"),
                line((f"{count(ended)} in {roughly(len(full) * _PULSE_S)}", "dim")),
                width - 2,
            ),
        ],
        width,
    )


def waiting(
    counts: Counts | None, queues: Queues | None, pulses: Sequence[Pulse], width: int
) -> list[Line]:
    """Jobs that wait: how many of those that may, of which class, and for how long still."""
    if counts is None:
        return inset([line(("– waiting", "bold")), line(_UNKNOWN)], width)
    most = counts.queue_size
    filled = counts.waiting / most if most else 0.0
    over = filled > QUEUE_PART
    right: Span = (f"{part(filled)}{' ' + OVER if over else ''}", "warn" if over else "")
    classes = {} if queues is None else {each.speed: each for each in queues.classes}
    history: list[float] = [pulse.waiting for pulse in _full(pulses)]
    lines = [
        spread(
            line((count(counts.waiting), "bold"), f" of {count(most)}" if most else " waiting"),
            line(right) if most else (),
            width - 2,
        ),
        _history(history, width - 2, "warn" if over else ""),
    ]
    if queues is None:
        return inset([*lines, line(("by class ", "dim"), _UNKNOWN)], width)
    half = max((width - 2) // 2, 1)
    held = [_held(classes.get(speed)) for speed in _SPEEDS]
    arrow = _arrow(history)
    return inset(
        [
            *lines,
            line(
                *(
                    piece
                    for speed, text in zip(_SPEEDS, held, strict=True)
                    for piece in (_named(speed), fit(f" {text}", half - _WORD))
                )
            ),
            spread(
                _drains([classes.get(speed) for speed in _SPEEDS], counts.slots),
                line(arrow) if arrow else (),
                width - 2,
            ),
        ],
        width,
    )


def oldest(queues: Queues | None, summary: Summary | None, width: int) -> list[Line]:
    """How long the oldest ready jobs have waited, and how long jobs waited that have ended."""
    half = max((width - 2) // 2, 1)
    first: list[str | Span] = []
    if queues is None:
        first = [("not placed ", "bold"), _UNKNOWN]
    else:
        found = {each.speed: each.oldest_seconds for each in queues.classes}
        for speed in _SPEEDS:
            age = found.get(speed)
            over = age is not None and age > OLDEST_S[speed]
            text = f" {'none' if age is None else took(age)}{' ' + OVER if over else ''}"
            look: Look = "bad" if over else "dim" if age is None else "bold"
            first += [_named(speed), (fit(text, half - _WORD), look)]
    head = line(
        (fit("wait", _WORD + 1), "dim"),
        *((fit(f"p{p}", _FIELD, "right"), "dim") for p in (50, 95, 99)),
    )
    if summary is None:
        return inset([line(*first), line(("waited ", "dim"), _UNKNOWN)], width)
    rows = [_waited(each) for each in sorted(summary.classes, key=lambda each: each.speed)]
    if not rows:
        rows = [line(("nothing ended in the window", "dim"))]
    return inset([line(*first), head, *rows], width, TILE_LINES)


def errors(pulses: Sequence[Pulse], slow: Sequence[TaskStats], width: int) -> list[Line]:
    """Attempts that failed within 15 minutes, and the task that fails most."""
    full = _full(pulses)
    if not full:
        return inset([line(("– errors", "bold")), line(_UNKNOWN)], width)
    failed = sum(pulse.errors for pulse in full)
    retries = sum(pulse.retries for pulse in full)
    lost = sum(pulse.lost for pulse in full)
    attempts = max(sum(pulse.attempts for pulse in full), failed)
    look: Look = "bad" if failed else "good"
    worst = max(slow, key=lambda task: task.errors, default=None)
    third = line(("no task failed", "dim")) if slow else line(("by task ", "dim"), _UNKNOWN)
    if worst is not None and worst.errors:
        third = spread(
            line(("top ", "dim"), f"{worst.pipeline}/{worst.job}"),
            line((count(worst.errors), "bad")),
            width - 2,
        )
    return inset(
        [
            spread(
                line((count(failed), look), f" of {count(attempts)}"),
                line((part(failed / attempts if attempts else 0.0), look)),
                width - 2,
            ),
            _history([pulse.errors for pulse in full], width - 2, look),
            third,
            spread(
                line(("retries ", "dim"), count(retries)),
                line(("lost ", "dim"), (count(lost), "bad" if lost else "")),
                width - 2,
            ),
        ],
        width,
    )


def _full(pulses: Sequence[Pulse]) -> Sequence[Pulse]:
    """Those that are over; the last one is still under way."""
    return pulses[-PULSES - 1 : -1]


def _history(
    values: Sequence[float],
    width: int,
    look: Look,
    *,
    draw: Callable[[list[float | None], int], str] = spark,
) -> Line:
    """15 minutes across the whole width; what was before the first value stays empty."""
    missing: list[float | None] = [None] * (PULSES - len(values))
    return line((draw([*missing, *values], max(width, 0)), look))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _named(speed: Speed) -> Span:
    return speed, speed.value


def _rate(per_second: float) -> str:
    if 0 < per_second < _EXACT_BELOW:
        return f"{per_second:.1f}"
    return count(per_second)


def _trend(rates: Sequence[float], now: float) -> Line:
    usual = _mean(rates)
    if len(rates) < _TREND_PULSES or not usual:
        return ()
    moved = now / usual - 1
    if abs(moved) < _MOVED:
        return line(("→", "dim"))
    return line(
        (f"{'↑' if moved > 0 else '↓'} {part(abs(moved))}", "good" if moved > 0 else "warn")
    )


def _arrow(history: Sequence[float]) -> Span | None:
    """Whether more wait than 15 minutes tell."""
    if len(history) < _TREND_PULSES:
        return None
    usual, now = _mean(history), _mean(history[-_NOW_PULSES:])
    if abs(now - usual) <= usual * _MOVED:
        return ("→", "dim")
    return ("↑", "warn") if now > usual else ("↓", "good")


def _held(found: WaitingClass | None) -> str:
    return count(found.jobs) if found else "0"


def _drains(classes: Sequence[WaitingClass | None], slots: int) -> Line:
    """How long all slots would need for what waits of each class."""
    if not any(each is not None and each.jobs for each in classes):
        return line(("nothing to drain", "dim"))
    if not slots:
        return line((f"no slots to drain it {OVER}", "bad"))
    ends = [
        f"~{roughly(each.expected_seconds / slots)}" if each is not None and each.jobs else "–"
        for each in classes
    ]
    return line(("drains in ", "dim"), "  ".join(ends))


def _waited(stats: ClassStats) -> Line:
    values = (stats.wait.p50, stats.wait.p95, stats.wait.p99)
    return line(
        (fit(stats.speed, _WORD + 1), stats.speed.value),
        *(fit(took(value), _FIELD, "right") for value in values),
    )

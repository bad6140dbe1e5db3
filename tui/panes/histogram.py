"""Decides how the durations of a task are drawn, and what it costs in words."""

from collections.abc import Sequence
from typing import Final

from control.model.api.reports import DurationBucket, TaskDetail, TaskStats
from tui.core.axis_ticks import written
from tui.core.formatting import count, part, took
from tui.core.spans import Line, Look, Span, bar, fit, line
from tui.core.tables.cells import inset

_LABEL: Final = 9
_NUMBER: Final = 8
_WORD: Final = 8
_WORDS_LINES: Final = 2
_ROWS_MIN: Final = 3
_EXACT_BELOW_S: Final = 1.0
_WORSE: Final = 1.2


def histogram(detail: TaskDetail, width: int, height: int) -> list[Line]:
    """One bar for each stretch of duration, then the percentiles."""
    if not detail.histogram:
        return inset([line(("nothing of it ended in the window", "dim"))], width, height)
    room = height - _WORDS_LINES - 1
    buckets = _merged(detail.histogram, max(room, _ROWS_MIN))
    most = max((bucket.n for bucket in buckets), default=0) or 1
    cells = max(width - 2 - _LABEL - _NUMBER - 1, 0)
    lines = []
    for at, bucket in enumerate(buckets):
        edge = f"< {_edge(bucket.below)}"
        if bucket.below is None:
            below = buckets[at - 1].below if at else None
            edge = "any" if below is None else f"≥ {_edge(below)}"
        lines.append(
            line(
                (fit(edge, _LABEL - 1, "right") + " ", "dim"),
                (bar(bucket.n / most, cells), "accent"),
                fit(count(bucket.n) if bucket.n else "–", _NUMBER, "right"),
            )
        )
    spread, wait = detail.duration, detail.wait
    words = [
        line(
            *_percentiles(
                "took",
                (
                    ("p50", spread.p50),
                    ("p95", spread.p95),
                    ("p99", spread.p99),
                    ("max", spread.max),
                ),
            )
        ),
        line(
            *_percentiles(
                "waited",
                (("p50", wait.p50), ("p95", wait.p95), ("p99", wait.p99), ("max", wait.max)),
            )
        ),
    ]
    gap = [line("")] if room >= len(lines) else []
    return inset([*lines, *gap, *words], width, height)


def costs(stats: TaskStats, window_s: float, width: int) -> list[Line]:
    """What a task costs, in sentences; `window_s`: what its statistics look back on."""
    slots = stats.slot_seconds / window_s if window_s > 0 else 0.0
    kept = f"{slots:.1f}" if slots < 100 else count(slots)  # noqa: PLR2004 - three digits.
    return inset(
        [
            line(
                _label("class"),
                (stats.speed, stats.speed.value),
                f", learned from {count(stats.n)} {'attempt' if stats.n == 1 else 'attempts'}",
            ),
            line(
                _label("costs"),
                (part(stats.share), "bold"),
                f" of slot-seconds, {kept} slots on average",
            ),
            _trend(stats),
            line(
                _label("errors"),
                (part(stats.error_rate), "bad" if stats.errors else "good"),
                f", {count(stats.errors)} of {count(stats.n)}",
            ),
        ],
        width,
    )


def _trend(stats: TaskStats) -> Line:
    if stats.p95_before is None:
        return line(_label("before"), ("nothing ended in the window before", "dim"))
    grew = stats.p95 - stats.p95_before
    look: Look = "warn" if stats.p95 > stats.p95_before * _WORSE else ""
    moved = f"{'+' if grew >= 0 else '-'}{took(abs(grew))}"
    return line(
        _label("before"),
        f"p95 was {took(stats.p95_before)} in the window before, now ",
        (moved, look),
    )


def _label(word: str) -> Span:
    return (fit(word, _WORD), "dim")


def _percentiles(word: str, values: Sequence[tuple[str, float | None]]) -> list[str | Span]:
    return [(fit(word, _WORD), "dim"), *_values(values)]


def _values(values: Sequence[tuple[str, float | None]]) -> list[str | Span]:
    made: list[str | Span] = []
    for at, (name, value) in enumerate(values):
        made += [("  " if at else "", ""), (f"{name} ", "dim"), took(value)]
    return made


def _edge(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.3g}ms" if seconds < _EXACT_BELOW_S else written(seconds)


def _merged(buckets: Sequence[DurationBucket], rows: int) -> list[DurationBucket]:
    """As many as there are rows: neighbours are put together; empty ends are left out."""
    counted = [at for at, bucket in enumerate(buckets) if bucket.n]
    kept = list(buckets[counted[0] : counted[-1] + 1]) if counted else list(buckets)
    if len(kept) <= rows:
        return kept
    made = []
    for row in range(rows):
        alike = kept[row * len(kept) // rows : (row + 1) * len(kept) // rows]
        made.append(DurationBucket(below=alike[-1].below, n=sum(each.n for each in alike)))
    return made

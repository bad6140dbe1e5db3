"""Decides what is said of lanes: of all of one class together, and of one in detail."""

from collections.abc import Sequence
from typing import Final

from control.model.api.fleet import PartitionView, RunningView
from control.model.api.queues import Queues
from control.model.states import Speed
from tui.core.alerts import OLDEST_S, is_over
from tui.core.formatting import count, roughly, took
from tui.core.spans import Line, Look, Span, bar, cut, fit, line, spread
from tui.core.state_symbols import OVER
from tui.core.tables.cells import inset
from tui.core.timestamps import running_seconds

_NAME: Final = 4
_PARTS: Final = 6
_DEPTH: Final = 7
_WORK: Final = 9
_OLDEST: Final = 9
_SLOTS: Final = 9
_BAR_MIN: Final = 4
_WORD: Final = 8
_NEXT_MAX: Final = 8
_NAME_CELLS_MAX: Final = 32
_SPEEDS: Final = (Speed.FAST, Speed.SLOW)


def lanes(partitions: Sequence[PartitionView], queues: Queues | None, width: int) -> list[Line]:
    """One row for each class, and what is not yet placed in any lane.

    A bar is full when the work in the lanes lasts for as long as a job of the class may wait.
    """
    room = width - 2 - _NAME - _PARTS - _DEPTH - _WORK - _OLDEST - _SLOTS
    cells = max(room - 2, _BAR_MIN)
    head = line(
        (
            fit("", _NAME)
            + fit("PARTS", _PARTS, "right")
            + fit("DEPTH", _DEPTH, "right")
            + fit("  WORK TO DO", cells + 2 + _WORK)
            + fit("OLDEST", _OLDEST, "right")
            + fit("SLOTS", _SLOTS, "right"),
            "title",
        )
    )
    rows = [
        _class_row(speed, [each for each in partitions if each.speed == speed], cells)
        for speed in _SPEEDS
    ]
    return inset([head, *rows, _not_placed(queues)], width)


def _class_row(speed: Speed, own: Sequence[PartitionView], cells: int) -> Line:
    slots, running = sum(each.slots for each in own), sum(each.running for each in own)
    work = sum(each.expected_seconds for each in own)
    ages = [each.oldest_age_seconds for each in own if each.oldest_age_seconds is not None]
    oldest = max(ages, default=None)
    over = oldest is not None and oldest > OLDEST_S[speed]
    filled = work / (slots or 1) / OLDEST_S[speed]
    full: Look = "warn" if filled > 1 else speed.value
    return line(
        (fit(speed, _NAME), speed.value),
        fit(str(len(own)), _PARTS, "right"),
        fit(count(sum(each.depth for each in own)), _DEPTH, "right"),
        "  ",
        (bar(filled, cells, track=True), full),
        fit(took(work), _WORK, "right"),
        (fit(took(oldest), _OLDEST - 1, "right") + (OVER if over else " "), "bad" if over else ""),
        fit(f"{count(running)}/{count(slots)}", _SLOTS, "right"),
    )


def _not_placed(queues: Queues | None) -> Line:
    if queues is None:
        return line(("not yet placed: not known yet", "dim"))
    pieces: list[str | Span] = [("not yet placed ", "dim")]
    pieces.append((count(sum(each.jobs for each in queues.classes)), "bold"))
    for each in queues.classes:
        pieces += [("   " + each.speed, each.speed.value), f" {count(each.jobs)}"]
    return line(*pieces)


def lane_detail(
    partition: PartitionView, jobs: Sequence[RunningView], width: int, now_ms: int
) -> list[Line]:
    """One lane: its bounds, the job that has run longest, what comes next, and how fast it moves.

    `jobs`: what workers have been given, of this lane or of all.
    """
    own = [each for each in jobs if each.partition == partition.partition]
    sent = [each for each in own if each.started_at is None]
    return inset(
        [
            _bounds(partition),
            *_head(partition.head, now_ms),
            _next(sent, width - 2),
            spread(_flow(partition), _drains(partition), width - 2),
            _workers(partition),
        ],
        width,
    )


def _label(word: str) -> Span:
    return (fit(word, _WORD), "dim")


def _bounds(lane: PartitionView) -> Line:
    return line(
        _label("class"),
        (lane.speed, lane.speed.value),
        ("   slots ", "dim"),
        f"{lane.running} of {lane.slots} busy",
        ("   depth ", "dim"),
        f"{count(lane.depth)} jobs, {took(lane.expected_seconds)} of work",
        ("   sent ahead ", "dim"),
        f"{took(lane.ahead_seconds)} of at most {took(lane.window_seconds)}",
    )


def _head(head: RunningView | None, now_ms: int) -> list[Line]:
    if head is None:
        return [line(_label("head"), ("no job runs in it", "dim"))]
    elapsed, over = running_seconds(head, now_ms), is_over(head, now_ms)
    said: list[str | Span] = [
        _label("head"),
        (f"{OVER} " if over else "", "bad"),
        f"job {head.job_id} {_named(head)}",
        (" try ", "dim"),
        str(head.attempt),
        (" on ", "dim"),
        head.worker,
    ]
    if elapsed is None:
        return [line(*said, ("   has not begun", "dim"))]
    told: list[str | Span] = [
        fit("", _WORD),
        ("running ", "dim"),
        (took(elapsed), "bad" if over else "bold"),
        ("   expected ", "dim"),
        took(head.expected),
    ]
    if elapsed > head.expected > 0:
        times = elapsed / head.expected
        text = f"{times:.1f}×" if times < 10 else f"{count(times)}×"  # noqa: PLR2004 - two digits.
        told.append((f"   {text} what was expected", "bad" if over else "warn"))
    elif elapsed <= head.expected:
        told += [("   ends in ", "dim"), f"~{roughly(head.expected - elapsed)}"]
    return [line(*said), line(*told)]


def _next(sent: Sequence[RunningView], width: int) -> Line:
    if not sent:
        return line(_label("next"), ("nothing waits at a worker", "dim"))
    pieces: list[str | Span] = [_label("next")]
    for at, job in enumerate(sent[:_NEXT_MAX]):
        pieces += [(" · " if at else "", "dim"), f"{job.job_id} {_named(job)} "]
        pieces.append((took(job.expected), "dim"))
    total = took(sum(each.expected for each in sent))
    return spread(line(*pieces), line((f"{len(sent)} at workers, {total}", "dim")), width)


def _flow(lane: PartitionView) -> Line:
    return line(
        _label("in"),
        f"{_pace(lane.placed_per_minute)}/min",
        ("   out ", "dim"),
        f"{_pace(lane.ended_per_minute)}/min",
    )


def _drains(lane: PartitionView) -> Line:
    if not lane.depth:
        return line(("nothing waits in it", "dim"))
    more = lane.placed_per_minute - lane.ended_per_minute
    if more > 0:
        return line((f"grows by {_pace(more)}/min {OVER}", "warn"))
    if not lane.slots:
        return line((f"no slot serves it {OVER}", "bad"))
    return line(("drains in ", "dim"), f"~{roughly(lane.expected_seconds / lane.slots)}")


def _workers(lane: PartitionView) -> Line:
    if not lane.workers:
        return line(_label("workers"), ("none", "dim"))
    return line(_label("workers"), " ".join(cut(name, _NAME_CELLS_MAX) for name in lane.workers))


def _named(job: RunningView) -> str:
    return f"{cut(job.pipeline, _NAME_CELLS_MAX)}/{cut(job.name, _NAME_CELLS_MAX)}"


def _pace(per_minute: float) -> str:
    return f"{per_minute:.1f}" if per_minute < 100 else count(per_minute)  # noqa: PLR2004

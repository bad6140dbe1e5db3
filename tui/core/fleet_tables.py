"""Decides what the columns of the lists of what runs work are: workers, lanes, schedules."""

from collections.abc import Sequence
from typing import Final

from control.model.fleet import PartitionView, WorkerView
from tui.core.amounts import roughly, took
from tui.core.attention import OLDEST_S, is_over
from tui.core.rows import Column, figure, length
from tui.core.spans import Span, bar, cut
from tui.core.tables import Clock

_PICTURED_MAX: Final = 4
_KINDS_MAX: Final = 2


def workers(time: Clock) -> Sequence[Column[WorkerView]]:
    """The columns of the list of workers."""

    def longest(worker: WorkerView) -> str:
        if worker.state == "lost":
            return worker.reason
        started = [each for each in worker.running if each.started_at is not None]
        if not started:
            return "draining: nothing left" if worker.state == "draining" else ""
        head = min(started, key=lambda each: each.started_at or "")
        since_s = time.since_s(head.started_at) or 0.0
        over = "▲" if is_over(head, time.now_ms) else ""
        more = f" +{len(started) - 1}" if len(started) > 1 else ""
        return f"{head.job_id} {head.name} {over}{took(since_s)}{more}"

    def silent(worker: WorkerView) -> Span:
        since_s = time.since_s(worker.silent_since)
        return ("", "") if since_s is None else (f"▲{roughly(since_s)}", "warn")

    return (
        figure("NEED", 4, lambda worker: _need(worker, time.now_ms), wide=True),
        Column("", 1, _worker_sign, field="state", value=lambda worker: worker.state),
        Column("WORKER", 14, lambda worker: worker.id),
        Column("HOST", 12, lambda worker: worker.host),
        figure("SLOTS", 10, lambda worker: worker.slots, _slots, align="left"),
        Column("LABELS", 10, lambda worker: " ".join(worker.labels)),
        Column("KINDS", 15, _kinds),
        Column(
            "PARTS",
            8,
            lambda worker: ",".join(f"p{each}" for each in sorted(set(worker.partitions))),
        ),
        Column("DISPATCHER", 12, lambda worker: worker.dispatcher, wide=True),
        figure(
            "ATTEMPTS (longest first)",
            0,
            lambda worker: len(worker.running),
            longest,
            field="attempts",
            align="left",
        ),
        length(
            "UP",
            6,
            lambda worker: time.since_s(worker.connected_at),
            lambda worker: roughly(time.since_s(worker.connected_at)),
        ),
        length("SILENT", 6, lambda worker: time.since_s(worker.silent_since), silent),
    )


def _need(worker: WorkerView, now_ms: int) -> int:
    """Who needs to be looked at comes first: overdue jobs, silence, leaving, lost, all others."""
    if any(is_over(each, now_ms) for each in worker.running):
        return 0
    if worker.silent_since is not None:
        return 1
    return {"draining": 2, "lost": 3}.get(worker.state, 4)


def _worker_sign(worker: WorkerView) -> Span:
    if worker.state == "lost":
        return ("✗", "bad")
    if worker.silent_since is not None:
        return ("▲", "warn")
    return ("◐", "warn") if worker.state == "draining" else ("●", "good")


def _slots(worker: WorkerView) -> str:
    busy = min(sum(each.started_at is not None for each in worker.running), worker.slots)
    if worker.slots > _PICTURED_MAX:
        return f"{bar(busy / worker.slots, 4, track=True)} {busy}/{worker.slots}"
    picture = "█" * busy + "░" * (worker.slots - busy)
    return f"{picture:<4} {busy}/{worker.slots}"


def _kinds(worker: WorkerView) -> str:
    names = sorted(worker.kinds)
    more = f" +{len(names) - _KINDS_MAX}" if len(names) > _KINDS_MAX else ""
    return " ".join(names[:_KINDS_MAX]) + more


def is_faulty_worker(worker: WorkerView) -> bool:
    """Whether a worker is one to look at."""
    return worker.state != "connected" or worker.silent_since is not None


def partitions(time: Clock) -> Sequence[Column[PartitionView]]:
    """The columns of one class's lanes."""

    def head(lane: PartitionView) -> Span:
        if lane.head is None:
            return ("", "")
        since_s = time.since_s(lane.head.started_at) or 0.0
        over = is_over(lane.head, time.now_ms)
        words = cut(f"{lane.head.pipeline}/{lane.head.name}", 12)
        return (f"{words} {'▲' if over else ''}{took(since_s)}", "warn" if over else "")

    return (
        figure(
            "P", 4, lambda lane: lane.partition, lambda lane: f"p{lane.partition}", align="left"
        ),
        figure("DEP", 4, lambda lane: lane.depth),
        figure("SLOTS", 6, lambda lane: lane.slots, lambda lane: f"{lane.running}/{lane.slots}"),
        length("WORK", 6, lambda lane: lane.expected_seconds),
        length("OLDEST", 7, lambda lane: lane.oldest_age_seconds, _oldest),
        length("AHEAD", 6, lambda lane: lane.ahead_seconds, wide=True),
        length("WINDOW", 6, lambda lane: lane.window_seconds, wide=True),
        Column("WORKERS", 8, _served),
        Column("HEAD OF LINE", 0, head, field="head"),
    )


def is_late_lane(lane: PartitionView) -> bool:
    """Whether a lane's oldest job has been there for too long."""
    return lane.oldest_age_seconds is not None and lane.oldest_age_seconds > OLDEST_S[lane.speed]


def _oldest(lane: PartitionView) -> Span:
    late = is_late_lane(lane)
    return (f"{'▲' if late else ''}{took(lane.oldest_age_seconds)}", "warn" if late else "")


def _served(lane: PartitionView) -> str:
    more = f" +{len(lane.workers) - 1}" if len(lane.workers) > 1 else ""
    return f"{cut(lane.workers[0], 5)}{more}" if lane.workers else "nobody"

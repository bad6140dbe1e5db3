"""Decides what the columns of the lists of what runs work are: workers, lanes, schedules."""

from collections.abc import Mapping, Sequence
from typing import Final

from control.model.api.fleet import GONE, PartitionView, WorkerView
from tui.core.alerts import OLDEST_S, is_over
from tui.core.failing import Failing
from tui.core.formatting import part, roughly, took
from tui.core.spans import Span, bar, cut
from tui.core.tables.rows import TableColumn, figure, length
from tui.core.tables.work import ServerTime

_PICTURED_MAX: Final = 4
_KINDS_MAX: Final = 2
_LOST: Final = 5  # After all that is wrong with workers that are there.
_WELL: Final = 6
_LEFT: Final = 7


class FleetContext:
    """What is known of workers besides what they say: set before rows are drawn."""

    def __init__(self, time: ServerTime) -> None:
        self.time = time
        self.errors: Mapping[str, float] = {}  # What part of the attempts failed at each.
        self.failing: Mapping[str, Failing] = {}

    def is_faulty(self, worker: WorkerView) -> bool:
        """Whether a worker is one to look at."""
        return _need(worker, self) < _WELL


def workers(fleet: FleetContext) -> Sequence[TableColumn[WorkerView]]:
    """The columns of the list of workers."""
    time = fleet.time

    def longest(worker: WorkerView) -> str | Span:
        if worker.sick is not None and worker.state not in GONE:
            return (f"starts nothing: {worker.sick}", "bad")
        if worker.state in GONE:
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

    def errors(worker: WorkerView) -> Span:
        part_of = fleet.errors.get(worker.id)
        if part_of is None:
            return ("–", "dim")
        return (part(part_of), "bad" if worker.id in fleet.failing else "")

    return (
        figure("NEED", 4, lambda worker: _need(worker, fleet), wide=True),
        TableColumn("", 1, _worker_sign, field="state", value=lambda worker: worker.state),
        TableColumn("WORKER", 14, lambda worker: worker.id),
        TableColumn("HOST", 10, lambda worker: worker.host),
        figure("SLOTS", 10, lambda worker: worker.slots, _slots, align="left"),
        TableColumn("LABELS", 8, lambda worker: " ".join(worker.labels)),
        TableColumn("KINDS", 15, _kinds),
        TableColumn(
            "PARTS",
            6,
            lambda worker: ",".join(f"p{each}" for each in sorted(set(worker.partitions))),
        ),
        TableColumn("DISPATCHER", 12, lambda worker: worker.dispatcher, wide=True),
        figure("ERR", 5, lambda worker: fleet.errors.get(worker.id), errors, field="error_rate"),
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
            4,
            lambda worker: time.since_s(worker.connected_at),
            lambda worker: roughly(time.since_s(worker.connected_at)),
        ),
        length("SILENT", 6, lambda worker: time.since_s(worker.silent_since), silent),
    )


def _need(worker: WorkerView, fleet: FleetContext) -> int:
    """Who needs to be looked at comes first, those that are well and those that left last."""
    if worker.state in GONE:
        return _LOST if worker.state == "lost" else _LEFT
    wrong = (
        worker.sick is not None,
        any(is_over(each, fleet.time.now_ms) for each in worker.running),
        worker.silent_since is not None,
        worker.id in fleet.failing,
        worker.state == "draining",
    )
    return wrong.index(True) if True in wrong else _WELL


def _worker_sign(worker: WorkerView) -> Span:
    if worker.state == "drained":
        return ("○", "dim")
    if worker.state == "lost" or worker.sick is not None:
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


def partitions(time: ServerTime) -> Sequence[TableColumn[PartitionView]]:
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
        TableColumn("WORKERS", 8, _served),
        TableColumn("HEAD OF LINE", 0, head, field="head"),
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

"""Decides what an operator must look at, the worst first, and says it in one line each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from control.model.api.fleet import GONE, PartitionView, RunningView, WorkerView
from control.model.api.live import Counts
from control.model.api.queues import Queues, WaitingGroup, is_for_ever
from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.states import Overlap, Speed
from tui.core.failing import Failing
from tui.core.formatting import count, part, roughly, took
from tui.core.spans import Look
from tui.core.state_symbols import LATE, OVER, PAUSED
from tui.core.timestamps import instant, running_seconds

OLDEST_S: Final = {Speed.FAST: 30.0, Speed.SLOW: 15 * 60.0}  # Longer should no job wait.
QUEUE_PART: Final = 0.9  # Of the jobs that may wait.
_OVER_TIMES: Final = 3
_OVER_S: Final = 10
_LOST_S: Final = 10 * 60
_RANKS: Final[tuple[Look, ...]] = ("bad", "warn", "dim")
_CONSEQUENCES: Final = {
    Overlap.ALLOW: "runs pile up",
    Overlap.SKIP: "skips some",
    Overlap.QUEUE: "falls behind",
    Overlap.REPLACE: "none may end",
}

Kind = Literal["job", "worker", "schedule", "partition", "class"]


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be.

    `key` stays the same for as long as it lasts; `about`: the object to open, and its id.
    """

    key: str
    sign: str
    look: Look
    text: str
    about: tuple[Kind, int | str]


def attention(
    *,
    workers: Iterable[WorkerView],
    partitions: Iterable[PartitionView],
    queues: Queues | None,
    counts: Counts | None,
    schedules: Iterable[ScheduleView],
    plans: Mapping[int, SchedulePlan],
    failing: Mapping[str, Failing],
    now_ms: int,
) -> list[Concern]:
    """All of it, the worst first; things of one kind stand in a stable order."""
    workers = list(workers)
    found = [
        *_of_workers(workers, now_ms),
        *_of_failing(workers, failing),
        *_of_queues(queues, counts),
        *_of_partitions(partitions),
        *_of_jobs([job for worker in workers for job in worker.running], now_ms),
        *_of_schedules(schedules, plans),
    ]
    return sorted(found, key=lambda concern: _RANKS.index(concern.look))


def job_of(
    about: tuple[Kind, int | str],
    workers: Mapping[str, WorkerView],
    partitions: Mapping[int, PartitionView],
    groups: Sequence[WaitingGroup],
) -> int | None:
    """The job to look at for a concern's object; None: it has none.

    A worker's or lane's is the one that has run longest, a class's the first that waits.
    """
    kind, key = about
    if kind == "job":
        return int(key)
    if kind == "partition":
        lane = partitions.get(int(key))
        return lane.head.job_id if lane is not None and lane.head is not None else None
    if kind == "worker":
        worker = workers.get(str(key))
        running = worker.running if worker is not None else ()
        first = min(running, key=lambda each: each.started_at or "~", default=None)
        return None if first is None else first.job_id
    return next((each.job_id for each in groups if kind == "class" and each.speed == key), None)


def is_over(job: RunningView, now_ms: int) -> bool:
    """Whether a job takes far longer than expected."""
    elapsed = running_seconds(job, now_ms)
    return (
        elapsed is not None
        and elapsed > job.expected * _OVER_TIMES
        and elapsed > job.expected + _OVER_S
    )


def _of_jobs(running: Iterable[RunningView], now_ms: int) -> Iterator[Concern]:
    for job in sorted(running, key=lambda each: each.job_id):
        if is_over(job, now_ms):
            elapsed = running_seconds(job, now_ms)
            yield Concern(
                key=f"job:{job.job_id}",
                sign=OVER,
                look="warn",
                text=f"job {job.job_id} {job.pipeline}/{job.name} {took(elapsed)} on "
                f"{job.worker}, expected {took(job.expected)}",
                about=("job", job.job_id),
            )


def _of_workers(workers: Iterable[WorkerView], now_ms: int) -> Iterator[Concern]:
    for worker in sorted(workers, key=lambda each: each.id):
        lost_ms, silent_ms = instant(worker.lost_at), instant(worker.silent_since)
        if worker.state == "lost" and lost_ms is not None:
            ago = max(now_ms - lost_ms, 0) / 1000
            if ago <= _LOST_S:
                reason = f": {worker.reason}" if worker.reason else ""
                yield Concern(
                    key=f"lost:{worker.id}",
                    sign=OVER,
                    look="bad",
                    text=f"worker {worker.id} lost {roughly(ago)} ago{reason}",
                    about=("worker", worker.id),
                )
        elif worker.sick is not None and worker.state not in GONE:
            yield Concern(
                key=f"sick:{worker.id}",
                sign=OVER,
                look="bad",
                text=f"worker {worker.id} can start no jobs: {worker.sick}",
                about=("worker", worker.id),
            )
        elif silent_ms is not None:
            held = len(worker.running)
            yield Concern(
                key=f"silent:{worker.id}",
                sign=OVER,
                look="bad",
                text=f"worker {worker.id} silent {roughly((now_ms - silent_ms) / 1000)}, "
                f"holds {held} {'job' if held == 1 else 'jobs'}",
                about=("worker", worker.id),
            )


def _of_failing(workers: Iterable[WorkerView], failing: Mapping[str, Failing]) -> Iterator[Concern]:
    for worker in sorted(workers, key=lambda each: each.id):
        found = failing.get(worker.id)
        if found is not None and worker.state not in GONE:
            yield Concern(
                key=f"failing:{worker.id}",
                sign=OVER,
                look="warn",
                text=f"worker {worker.id}: {part(found.part)} of its attempts fail, "
                f"{part(found.elsewhere)} elsewhere",
                about=("worker", worker.id),
            )


def _of_partitions(partitions: Iterable[PartitionView]) -> Iterator[Concern]:
    for lane in sorted(partitions, key=lambda each: each.partition):
        age, most = lane.oldest_age_seconds, OLDEST_S[lane.speed]
        if age is not None and age > most:
            yield Concern(
                key=f"partition:{lane.partition}",
                sign=OVER,
                look="warn",
                text=f"p{lane.partition} {lane.speed}: oldest job {took(age)}, "
                f"over {roughly(most)}",
                about=("partition", lane.partition),
            )


def _of_queues(queues: Queues | None, counts: Counts | None) -> Iterator[Concern]:
    if counts is not None and counts.queue_size:
        filled = counts.waiting / counts.queue_size
        if filled > QUEUE_PART:
            yield Concern(
                key="queue",
                sign=OVER,
                look="bad",
                text=f"{count(counts.waiting)} jobs wait, {part(filled)} of those that may; "
                "more will be refused",
                about=("class", _fuller(queues)),
            )
    if queues is None:
        return
    jobs_of = {each.reason: each.jobs for each in queues.reasons}
    first_of = {group.reason: group for group in reversed(queues.items)}
    for reason, first in sorted(first_of.items()):
        if is_for_ever(reason):
            jobs = jobs_of.get(reason, first.jobs)
            yield Concern(
                key=f"nobody:{reason}",
                sign=OVER,
                look="bad",
                text=f"{count(jobs)} {'job waits' if jobs == 1 else 'jobs wait'}: {reason}",
                about=("job", first.job_id),
            )


def _fuller(queues: Queues | None) -> str:
    """The class of which more jobs wait."""
    classes = queues.classes if queues else []
    most = max(classes, key=lambda each: each.jobs, default=None)
    return Speed.FAST.value if most is None else most.speed.value


def _of_schedules(
    schedules: Iterable[ScheduleView], plans: Mapping[int, SchedulePlan]
) -> Iterator[Concern]:
    for schedule in sorted(schedules, key=lambda each: each.id):
        if schedule.paused:
            yield Concern(
                key=f"paused:{schedule.id}",
                sign=PAUSED,
                look="dim",
                text=f"schedule of {schedule.pipeline} is paused",
                about=("schedule", schedule.id),
            )
            continue
        plan = plans.get(schedule.id)
        distance = None if plan is None else plan.shortest_seconds
        takes = schedule.expected_seconds
        if takes is not None and distance is not None and takes > distance:
            yield Concern(
                key=f"late:{schedule.id}",
                sign=LATE,
                look="warn",
                text=f"{schedule.pipeline} takes {took(takes)}, fires every "
                f"{took(distance)}: {_CONSEQUENCES[schedule.spec.overlap]}",
                about=("schedule", schedule.id),
            )

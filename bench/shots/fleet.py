"""Owns the made-up system's fleet: 47 workers, 12 lanes, and what waits for them."""

from typing import Final, TypeAlias

from bench.shots.moments import at, maybe
from bench.shots.runs import RUN_ID, SAFARI_ID
from control.model.api.fleet import PartitionView, PartitionWithJobs, RunningView, WorkerView
from control.model.api.live import Counts
from control.model.api.queues import Queues, WaitingClass, WaitingGroup, WaitingReason
from control.model.states import Speed

_Task: TypeAlias = tuple[str, str, int, float]
_RUNS: Final = {"deploy-web": RUN_ID, "import-crm": 90407, "thumbs": 90401, "media": 90397}
_MANY: Final = ["HTTP", "Python", "Query", "Shell"]
_FAST: Final = (
    ("thumbs", "make", 90401, 0.041),
    ("mail", "send", 90398, 0.21),
    ("crm", "upsert", 90407, 0.09),
)
_SLOW: Final = (
    ("media", "transcode", 90397, 41.0),
    ("docs", "pdf.render", 90410, 12.0),
    ("etl", "load", 90388, 760.0),
)
# Of each lane: class, depth, running, work in seconds, oldest in seconds, in and out a minute.
_LANES: Final = (
    (Speed.FAST, 9, 16, 1.1, 0.4, 2100.0, 2110.0),
    (Speed.FAST, 8, 16, 0.9, 0.3, 2080.0, 2080.0),
    (Speed.FAST, 7, 16, 0.8, 0.3, 2050.0, 2055.0),
    (Speed.FAST, 9, 15, 1.1, 0.4, 2075.0, 2070.0),
    (Speed.FAST, 0, 7, 0.1, 0.1, 31.0, 40.0),
    (Speed.FAST, 12, 16, 1.4, 8.4, 2300.0, 2190.0),
    (Speed.FAST, 10, 16, 1.1, 0.4, 2110.0, 2105.0),
    (Speed.FAST, 9, 16, 1.0, 0.4, 2095.0, 2100.0),
    (Speed.SLOW, 2, 16, 432.0, 181.0, 1.4, 1.6),
    (Speed.SLOW, 4, 16, 750.0, 1170.0, 1.1, 0.4),
    (Speed.SLOW, 2, 16, 546.0, 131.0, 2.0, 2.2),
    (Speed.SLOW, 3, 16, 702.0, 400.0, 1.0, 1.0),
)


def _running(
    job_id: int, task: _Task, worker: str, partition: int, started: float | None
) -> RunningView:
    """A job that a worker has; `started`: seconds from now, None: it waits there."""
    pipeline, name, run_id, expected = task
    return RunningView(
        job_id=job_id,
        run_id=run_id,
        attempt=1,
        pipeline=pipeline,
        name=name,
        worker=worker,
        partition=partition,
        expected=expected,
        started_at=maybe(started),
    )


def workers() -> list[WorkerView]:
    """All 47: one is silent, one is leaving, one was lost."""
    found = [_worker(number) for number in range(1, 47)]
    found.append(
        _made(
            "w-61",
            "node-9",
            labels=["gpu"],
            kinds=["Python", "Shell"],
            partitions=[10],
            state="draining",
        )
    )
    return found


def _worker(number: int) -> WorkerView:
    name, lane = f"w-{number:02d}", min(number // 4, 11)
    host = f"node-{(number - 1) // 7 + 1}"
    match number:
        case 5:
            given = [
                _running(81302, _FAST[0], name, 1, -0.01),
                _running(81311, _FAST[0], name, 1, 0),
            ]
            return _made(name, host, kinds=_MANY, partitions=[1], given=given)
        case 8:
            return _made(name, host, kinds=["HTTP", "Shell"], state="lost", lost=-2336)
        case 17:
            given = [_running(81220 + each, _FAST[2], name, 4, -9 + each) for each in range(3)]
            return _made(name, host, kinds=_MANY, partitions=[4], given=given, silent=-6)
        case 22:
            given = [
                _running(81301, ("deploy-web", "e2e-chrome", 90412, 190.0), name, 8, -128),
                _running(81303, ("deploy-web", "e2e-firefox", 90412, 190.0), name, 8, -131),
                *(_running(81320 + each, _SLOW[1], name, 8, -4 - each) for each in range(2)),
            ]
            return _made(name, host, labels=["chrome"], partitions=[8], given=given)
        case 45:
            given = [
                _running(81190, _SLOW[0], name, 9, -1200),
                _running(81196, _SLOW[0], name, 9, -31),
                _running(81199, _SLOW[1], name, 9, -7),
                _running(81200, _SLOW[0], name, 9, -22),
                _running(81201, _SLOW[0], name, 9, None),
                _running(81204, _SLOW[1], name, 9, None),
                _running(81209, _SLOW[0], name, 9, None),
            ]
            kinds = ["HTTP", "Shell"]
            return _made(name, host, labels=["media"], kinds=kinds, partitions=[9], given=given)
        case _:
            return _made(name, host, kinds=_MANY, partitions=[lane], given=_busy(number, lane))


def _busy(number: int, lane: int) -> list[RunningView]:
    name = f"w-{number:02d}"
    tasks = _FAST if _LANES[lane][0] == Speed.FAST else _SLOW
    found = []
    for slot in range(8 if number in {33, 41} else 4):
        task = tasks[(number + slot * slot) % 3]
        age = task[3] * ((number * 7 + slot * 5) % 11 + 1) / 12
        found.append(_running(81000 + number * 8 + slot, task, name, lane, -age))
    return found


def _made(
    name: str,
    host: str,
    *,
    labels: list[str] | None = None,
    kinds: list[str] | None = None,
    partitions: list[int] | None = None,
    given: list[RunningView] | None = None,
    state: str = "connected",
    silent: float | None = None,
    lost: float | None = None,
) -> WorkerView:
    busy = given or []
    return WorkerView(
        id=name,
        host=host,
        dispatcher="d1",
        state=state,  # type: ignore[arg-type]
        reason="silent for 10 s, 3 jobs ready again" if lost is not None else "",
        slots=8 if name in {"w-33", "w-41"} else 4,
        labels=tuple(labels or ()),
        kinds=dict.fromkeys(kinds or ["Shell"], ("1.0.0",)),
        partitions=tuple(partitions or ()) * 4,
        running=busy,
        connected_at=at(-520_000 if state == "connected" else -90_000),
        silent_since=maybe(silent),
        lost_at=maybe(lost),
    )


def partitions() -> list[PartitionView]:
    """The lanes: p9 is late, p4 is served by two workers only."""
    fleet = workers()
    return [_lane(number, fleet) for number in range(len(_LANES))]


def _lane(number: int, fleet: list[WorkerView]) -> PartitionView:
    speed, depth, busy, work, oldest, came, ended = _LANES[number]
    serving = [each for each in fleet if number in each.partitions and each.state == "connected"]
    own = [job for each in serving for job in each.running if job.partition == number]
    begun = [job for job in own if job.started_at is not None]
    return PartitionView(
        partition=number,
        speed=speed,
        slots=16,
        depth=depth,
        running=busy,
        expected_seconds=work,
        ahead_seconds=0.05 if speed == Speed.FAST else 94.0,
        window_seconds=0.08 if speed == Speed.FAST else 12.5,
        oldest_age_seconds=oldest,
        workers=[each.id for each in serving],
        head=min(begun, key=lambda job: job.started_at or "", default=None),
        placed_per_minute=came,
        ended_per_minute=ended,
    )


def partition_with_jobs(number: int) -> PartitionWithJobs:
    """A lane with what workers have of it."""
    fleet = workers()
    lane = _lane(number, fleet)
    jobs = [job for each in fleet for job in each.running if job.partition == number]
    ordered = sorted(jobs, key=lambda job: (job.started_at is None, job.started_at or ""))
    given = {name: getattr(lane, name) for name in PartitionView.__struct_fields__}
    return PartitionWithJobs(**given, jobs=ordered)


def counts() -> Counts:
    """How much there is of everything."""
    return Counts(
        open_runs=18, waiting=3912, running=182, workers=46, slots=192, queue_size=100_000
    )


def queues() -> Queues:
    """What the balancer has not placed."""
    gpu = "label gpu: no connected worker has it"
    acme = "client acme runs 50 of at most 50"
    items = [
        _group(SAFARI_ID, "ops", "deploy-web/test/e2e-safari", Speed.SLOW, 287, 1, 130, 12),
        _group(81400, "acme", "import-crm/load/upsert", Speed.FAST, 2940, 10, 0.09, 0.4),
        _group(81500, "acme", "thumbs/make/make", Speed.FAST, 401, 10, 0.041, 0.4, reason=acme),
        _group(81600, "media", "media/encode/transcode", Speed.SLOW, 209, 20, 38, 1080, reason=gpu),
    ]
    return Queues(
        items=items,
        reasons=[
            WaitingReason(reason="no free slot", jobs=3227),
            WaitingReason(reason=acme, jobs=401),
            WaitingReason(reason=gpu, jobs=209),
        ],
        classes=[
            WaitingClass(speed=Speed.FAST, jobs=3341, expected_seconds=281.0, oldest_seconds=0.4),
            WaitingClass(speed=Speed.SLOW, jobs=496, expected_seconds=45_200, oldest_seconds=1170),
        ],
    )


def _group(
    job_id: int,
    client: str,
    path: str,
    speed: Speed,
    *figures: float,
    reason: str = "no free slot",
) -> WaitingGroup:
    """`figures`: jobs, priority, seconds that one should take, and of the first's being ready."""
    jobs, priority, expected, ready = figures
    pipeline, stage, job = path.split("/")
    return WaitingGroup(
        reason=reason,
        client=client,
        pipeline=pipeline,
        stage=stage,
        job=job,
        speed=speed,
        jobs=round(jobs),
        order=(round(priority), round(priority), 0, 0),
        expected_seconds=expected,
        ready_seconds=ready,
        run_id=_RUNS[pipeline],
        job_id=job_id,
    )

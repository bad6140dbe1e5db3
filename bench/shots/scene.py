"""Makes recordings of the made-up system, in just the form in which `tpctl tui --record` writes.

Everything is told and asked at `TOLD_MS`, and looked at at `SEEN_MS`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Raw

from bench.shots import fleet, lately, runs, tasks
from bench.shots.moments import NOW_MS, at
from control.model.api.fleet import PartitionView, WorkerView
from control.model.api.live import Counts, Frame
from control.model.api.queues import Queues, WaitingClass
from control.model.api.reports import Spread, Summary
from control.model.api.views import Page, RunView
from control.model.states import FINAL, Role, Speed, State
from control.model.times import to_rfc3339
from tui.link.recording import FORMAT, Entry, Opening

SEEN_MS: Final = 60_000
TOLD_MS: Final = SEEN_MS - 2_000
LOST_MS: Final = 14_000
"""How long after `SEEN_MS` a lost link is looked at."""
Kind = Literal["live", "empty", "loading", "stale", "refused", "old"]
_NOTHING: Final = Spread(mean=None, p50=None, p95=None, p99=None, max=None)
_BROKEN: Final = 8
_STRETCHES_S: Final = range(600, 6_600, 600)  # What timelines of any width ask for.


def write(path: Path, kind: Kind = "live") -> Path:
    """Write a recording of the system in this state; gives its path back."""
    opening = Opening(
        recording=FORMAT,
        version="0.1.0",
        context="prod",
        url="http://prod:8700",
        at=to_rfc3339(NOW_MS - SEEN_MS),
    )
    lines: list[Opening | Entry] = [opening, *_entries(kind)]
    encoder = msgspec.json.Encoder()
    path.write_bytes(b"".join(encoder.encode(each) + b"\n" for each in lines))
    return path


def _entries(kind: Kind) -> Iterable[Entry]:
    match kind:
        case "live":
            return _live()
        case "empty":
            return _empty()
        case "stale":
            why = "cannot reach http://prod:8700: connection refused"
            return [*_live(), *[Entry(ms=SEEN_MS, link="lost", why=why)] * _BROKEN]
        case "refused":
            why = "wrong client id or secret (401)"
            return [Entry(ms=0, link="refused", why=why, status=401)]
        case "old":
            return [_framed(msgspec.structs.replace(_snapshot(), version=None))]
        case "loading":
            return []


def _snapshot(
    *,
    counts: Counts | None = None,
    known: list[RunView] | None = None,
    workers: list[WorkerView] | None = None,
    partitions: list[PartitionView] | None = None,
) -> Frame:
    return Frame(
        seq=0,
        time=at((TOLD_MS - SEEN_MS) / 1000),
        kind="snapshot",
        version="0.1.0",
        client_id="ann",
        role=Role.OPERATOR,
        counts=counts or Counts(open_runs=0, waiting=0, running=0, workers=0, slots=0),
        runs=known or [],
        workers=workers or [],
        partitions=partitions or [],
    )


def _framed(frame: Frame) -> Entry:
    return Entry(ms=TOLD_MS, frame=Raw(msgspec.json.encode(frame)))


def _answer(path: str, body: object, **query: str) -> Entry:
    return Entry(ms=TOLD_MS, get=path, query=query, body=Raw(msgspec.json.encode(body)))


def _page(items: Iterable[object]) -> Page[object]:
    return Page(items=list(items))


def _live() -> list[Entry]:
    known = runs.runs()
    snapshot = _snapshot(
        counts=fleet.counts(),
        # The server tells of runs without how long they will take.
        known=[
            msgspec.structs.replace(run, expected_seconds=None)
            for run in reversed(known)
            if run.state not in FINAL
        ],
        workers=fleet.workers(),
        partitions=fleet.partitions(),
    )
    snapshot = msgspec.structs.replace(snapshot, pulses=lately.pulses(), notes=lately.notes())
    window = {"window": "1h", "limit": "200"}
    found = [
        _framed(snapshot),
        _answer("/v1/queues", fleet.queues()),
        _answer("/v1/stats/summary", tasks.summary(), window="15m"),
        _answer("/v1/stats/slow-tasks", _page(tasks.task_stats()), **window),
        _answer("/v1/stats/task", tasks.task_detail()),
        _answer("/v1/schedules", _page(tasks.schedules()), limit="1000"),
        *_plans(),
        _answer(
            "/v1/stats/workers",
            _page(tasks.worker_stats(fleet.workers())),
            window="15m",
            limit="1000",
        ),
        _answer("/v1/forecast", tasks.forecast()),
        _answer("/v1/runs", _page(known), limit="200"),
        _answer(
            "/v1/runs",
            _page(run for run in known if run.state == State.IN_PROGRESS),
            state="IN_PROGRESS",
            limit="100",
        ),
        _answer("/v1/runs", _page(lately.nightly_runs()), pipeline="nightly-report", limit="14"),
        _answer("/v1/workers/w-45/history", _page(lately.history()), window="15m", limit="1000"),
        _answer(f"/v1/runs/{runs.RUN_ID}/jobs", _page(runs.jobs()), limit="1000"),
    ]
    found += [_answer(f"/v1/runs/{run.id}", run) for run in known]
    found += [_answer(f"/v1/jobs/{job.id}", job) for job in runs.jobs()]
    found += [
        _answer(f"/v1/jobs/{job_id}/explain", each) for job_id, each in runs.explanations().items()
    ]
    found += [
        _answer(f"/v1/partitions/{number}", fleet.partition_with_jobs(number))
        for number in range(len(fleet.partitions()))
    ]
    found.append(Entry(ms=TOLD_MS, log=(runs.CHROME_ID, 1), stream=1, text=runs.log_of_chrome()))
    return found


def _plans() -> list[Entry]:
    path, asked = "/v1/schedules/plan", {"next": "5", "limit": "1000"}
    return [
        _answer(path, _page(tasks.plans()), **asked),
        *(
            _answer(path, _page(tasks.plans(stretch_s)), **asked, bucket=str(stretch_s))
            for stretch_s in _STRETCHES_S
        ),
    ]


def _empty() -> list[Entry]:
    classes = [
        WaitingClass(speed=speed, jobs=0, expected_seconds=0.0, oldest_seconds=None)
        for speed in (Speed.FAST, Speed.SLOW)
    ]
    summary = Summary(
        window=900.0,
        runs=0,
        jobs=0,
        done=0,
        error=0,
        cancelled=0,
        retries=0,
        lost=0,
        throughput=0.0,
        busy_slots=0.0,
        wait=_NOTHING,
        duration=_NOTHING,
    )
    empty = _page([])
    return [
        _framed(_snapshot()),
        _answer("/v1/queues", Queues(items=[], reasons=[], classes=classes)),
        _answer("/v1/stats/summary", summary, window="15m"),
        *(
            _answer(f"/v1/{each}", empty)
            for each in ("stats/slow-tasks", "stats/workers", "schedules", "schedules/plan", "runs")
        ),
        _answer(
            "/v1/forecast",
            msgspec.structs.replace(tasks.forecast(), items=[], slots=0, unknown=0),
        ),
    ]

"""Decides which questions the views ask: the calls, what comes back, and how often."""

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from control.model.api.explanation import Explanation
from control.model.api.fleet import PartitionWithJobs
from control.model.api.forecast import Forecast
from control.model.api.queues import Queues
from control.model.api.reports import Summary, TaskDetail, TaskStats, WorkerAttempt, WorkerStats
from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.api.views import JobView, Page, RunView
from control.model.states import State
from tui.link.polling import PolledCall

QUEUES = PolledCall(key="queues", path="/v1/queues", shape=Queues, every_s=2.0)
QUEUES_FOR_ATTENTION = msgspec.structs.replace(QUEUES, every_s=10.0)
SUMMARY = PolledCall(
    key="summary", path="/v1/stats/summary", shape=Summary, query={"window": "15m"}, every_s=10.0
)
SCHEDULES = PolledCall(
    key="schedules",
    path="/v1/schedules",
    shape=Page[ScheduleView],
    query={"limit": "1000"},
    every_s=15.0,
    pages=5,
)
PLAN = PolledCall(
    key="plan",
    path="/v1/schedules/plan",
    shape=Page[SchedulePlan],
    query={"next": "5", "limit": "1000"},
    every_s=15.0,
    pages=5,
)
WORKER_STATS = PolledCall(
    key="worker_stats",
    path="/v1/stats/workers",
    shape=Page[WorkerStats],
    query={"window": "15m", "limit": "1000"},
    every_s=15.0,
)
FORECAST = PolledCall(key="forecast", path="/v1/forecast", shape=Forecast, every_s=30.0)


def timeline(stretch_s: int) -> PolledCall:
    """What is planned, with how much is due in each stretch of so many seconds."""
    query = {**PLAN.query, "bucket": str(stretch_s)}
    return msgspec.structs.replace(PLAN, key="timeline", query=query)


def tasks(window: str, key: str = "tasks") -> PolledCall:
    """Where the slots' time goes: the server looks at all that ended in the window."""
    query = {"window": window, "limit": "200"}
    return PolledCall(
        key=key, path="/v1/stats/slow-tasks", shape=Page[TaskStats], query=query, every_s=10.0
    )


def task(pipeline: str, job: str, window: str) -> PolledCall:
    """How long the attempts of one job took."""
    query = {"pipeline": pipeline, "job": job, "window": window}
    return PolledCall(key="task", path="/v1/stats/task", shape=TaskDetail, query=query, every_s=5.0)


def partition(number: int) -> PolledCall:
    """What is in one lane."""
    return PolledCall(
        key="partition", path=f"/v1/partitions/{number}", shape=PartitionWithJobs, every_s=1.0
    )


def history(worker: str, window: str) -> PolledCall:
    """What a worker has executed."""
    return PolledCall(
        key="history",
        path=f"/v1/workers/{quote(worker, safe='')}/history",
        shape=Page[WorkerAttempt],
        query={"window": window, "limit": "1000"},
        every_s=5.0,
    )


def explanation(job_id: int) -> PolledCall:
    """Why a job waits, runs, or has ended."""
    return PolledCall(
        key="explanation", path=f"/v1/jobs/{job_id}/explain", shape=Explanation, every_s=2.0
    )


def job(job_id: int, took: Callable[[JobView], None]) -> PolledCall:
    """One job with its earlier attempts."""
    return PolledCall(key="job", path=f"/v1/jobs/{job_id}", shape=JobView, every_s=5.0, took=took)


def run(run_id: int, took: Callable[[RunView], None]) -> PolledCall:
    """One run with how long it will take."""
    return PolledCall(key="run", path=f"/v1/runs/{run_id}", shape=RunView, every_s=5.0, took=took)


def jobs(run_id: int, took: Callable[[Page[JobView]], None]) -> PolledCall:
    """All jobs of a run."""
    return PolledCall(
        key="jobs",
        path=f"/v1/runs/{run_id}/jobs",
        shape=Page[JobView],
        query={"limit": "1000"},
        every_s=30.0,
        took=took,
        pages=10,
    )


def latest_runs(took: Callable[[Page[RunView]], None]) -> PolledCall:
    """The newest runs of all."""
    return PolledCall(
        key="latest",
        path="/v1/runs",
        shape=Page[RunView],
        query={"limit": "200"},
        every_s=15.0,
        took=took,
    )


def open_runs(state: State, took: Callable[[Page[RunView]], None]) -> PolledCall:
    """The newest open runs in this state: which there are, and how long they will take."""
    return PolledCall(
        key=f"open.{state}",
        path="/v1/runs",
        shape=Page[RunView],
        query={"state": state.value, "limit": "100"},
        every_s=10.0,
        took=took,
    )


def recent_runs(pipeline: str) -> PolledCall:
    """The last runs of a pipeline."""
    return PolledCall(
        key="recent",
        path="/v1/runs",
        shape=Page[RunView],
        query={"pipeline": pipeline, "limit": "14"},
        every_s=10.0,
    )

"""Owns how benchmarks prepare a system and see that its work has ended."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

import httpx
import trio

LOOK_S = 0.05
_OPEN = re.compile(r"^taskplane_runs_open(?:\{\})? ([0-9.e+]+)$", re.MULTILINE)


class WatchedJob(TypedDict):
    """What benchmarks read of a job."""

    name: str
    stage: str
    state: str
    attempt: int
    ready_at: str
    started_at: str
    finished_at: str


async def put_pipeline(client: httpx.AsyncClient, definition: dict[str, object]) -> None:
    """Store a pipeline."""
    answer = await client.put(f"/v1/pipelines/{definition['name']}", json=definition)
    answer.raise_for_status()


async def all_ended(client: httpx.AsyncClient, *, but: int = 0) -> None:
    """Wait until no run is open, but for so many."""
    while True:
        answer = await client.get("/metrics")
        answer.raise_for_status()
        found = _OPEN.search(answer.text)
        if found is None:
            message = "GET /metrics gives no taskplane_runs_open"
            raise SystemExit(message)
        if float(found.group(1)) <= but:
            return
        await trio.sleep(LOOK_S)


async def jobs_of(client: httpx.AsyncClient, runs: Sequence[int]) -> list[list[WatchedJob]]:
    """The jobs of each run; all must be DONE."""
    found: list[list[WatchedJob]] = []
    for run in runs:
        answer = await client.get(f"/v1/runs/{run}/jobs", params={"limit": 1000})
        answer.raise_for_status()
        jobs: list[WatchedJob] = answer.json()["items"]
        for job in jobs:
            if job["state"] != "DONE":
                message = f"job {job['name']} of run {run} is {job['state']}"
                raise SystemExit(message)
        found.append(jobs)
    return found


def ms(text: str) -> float:
    """A time of the API as milliseconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() * 1000

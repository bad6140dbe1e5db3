"""Owns the load under which consoles are measured: what waits, and jobs that come and go."""

import re
import time
from typing import Final

import httpx
import trio

from bench.load.watching import put_pipeline

CHANGES_OF_A_JOB: Final = 3  # It is submitted, it began, it ended.
_PIPELINES: Final = 20
_BATCH_JOBS: Final = 2_000
_TICK_S: Final = 0.1
_PORTION: Final = 250  # Runs in one call of the closed loop,
_DEPTH: Final = 5_000  # and runs that are kept under way by it.
_ENDED: Final = re.compile(r"^taskplane_jobs_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
_NOOP: Final = "bench-noop"


async def fill(client: httpx.AsyncClient, runs: int, waiting: int) -> None:
    """So many runs, whose jobs, so many together, need a label that nobody has."""
    jobs = max(waiting // runs, 1)
    for number in range(_PIPELINES):
        stuck = _definition(f"bench-stuck-{number}", jobs, ["nobody-has-this"])
        await put_pipeline(client, {**stuck, "schedules": [{"cron": "0 * * * *"}]})
        await put_pipeline(client, _definition(f"{_NOOP}-{number}", 1, []))
    batch = max(_BATCH_JOBS // jobs, 1)
    for at in range(0, runs, batch):
        names = [f"bench-stuck-{n % _PIPELINES}" for n in range(at, min(at + batch, runs))]
        await _submit(client, names)


def _definition(name: str, jobs: int, labels: list[str]) -> dict[str, object]:
    job = {"stage": "run", "kind": "Sleep", "params": {"seconds": 0}, "labels": labels}
    return {
        "name": name,
        "stages": ["run"],
        "jobs": [{"name": f"job-{number}", **job} for number in range(jobs)],
    }


async def jobs_ended(client: httpx.AsyncClient) -> float:
    """How many jobs the control plane has seen end."""
    answer = await client.get("/metrics")
    answer.raise_for_status()
    return sum(float(found) for found in _ENDED.findall(answer.text))


async def gauge(client: httpx.AsyncClient, name: str) -> float:
    """One figure of `GET /metrics`."""
    answer = await client.get("/metrics")
    answer.raise_for_status()
    found = re.search(rf"^{name} ([0-9.e+]+)$", answer.text, re.MULTILINE)
    return float(found.group(1)) if found else float("nan")


async def steady(client: httpx.AsyncClient, jobs_per_s: float) -> None:
    """An open loop: submit so many a second, whatever becomes of them, until cancelled."""
    begin, submitted = time.perf_counter(), 0
    async with trio.open_nursery() as nursery:
        while True:
            due = int((time.perf_counter() - begin) * jobs_per_s) - submitted
            if due:
                submitted += due
                nursery.start_soon(_submit, client, _noops(due))
            await trio.sleep(_TICK_S)


async def full(client: httpx.AsyncClient) -> None:
    """A closed loop: as many jobs under way as keep the system full, until cancelled."""
    submitted = await jobs_ended(client)  # Nothing is under way yet.
    while True:
        under_way = submitted - await jobs_ended(client)
        portions = int(max(_DEPTH - under_way, 0)) // _PORTION
        submitted += portions * _PORTION
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, _TICK_S)
            for _ in range(portions):
                nursery.start_soon(_submit, client, _noops(_PORTION))


async def drained(client: httpx.AsyncClient) -> None:
    """Wait until no job ends any more."""
    before = -1.0
    while (ended := await jobs_ended(client)) != before:
        before = ended
        await trio.sleep(1)


def _noops(count: int) -> list[str]:
    return [f"{_NOOP}-{number % _PIPELINES}" for number in range(count)]


async def _submit(client: httpx.AsyncClient, pipelines: list[str]) -> None:
    body = {"runs": [{"pipeline": name} for name in pipelines]}
    while True:
        answer = await client.post("/v1/runs:batch", json=body)
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        await trio.sleep(_TICK_S)
    answer.raise_for_status()

"""Measures what people ask a control plane whose queue is full: each answer, and the slowest.

Nothing takes the jobs, so all of them wait while doctor, lists, explanations, cancellations, and
reports are asked for, one after the other.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Final

import httpx
import trio
import typer

from bench.load.watching import put_pipeline
from bench.servers.system import System, report, system

NAME: Final = "bench-backlog"
DEFINITION: Final[dict[str, object]] = {
    "name": NAME,
    "stages": ["first", "second"],
    "jobs": [
        {"name": "ready", "stage": "first", "kind": "Sleep", "params": {"seconds": 0}},
        {"name": "later", "stage": "second", "kind": "Sleep", "params": {"seconds": 0}},
    ],
}
BATCH: Final = 2_000  # Runs in one call, at most.
Question = tuple[str, str]
"""Method and path; a path may have the ids of a run, its first job, and another run in it."""
QUESTIONS: Final[Sequence[Question]] = (
    ("GET", "/v1/doctor"),
    ("GET", "/v1/health"),
    ("GET", "/v1/runs?limit=50"),
    ("GET", "/v1/runs?limit=1000"),
    ("GET", "/v1/runs?state=READY&limit=50"),
    ("GET", "/v1/runs?state=DONE&limit=50"),
    ("GET", f"/v1/runs?pipeline={NAME}&state=ERROR&limit=50"),
    ("GET", "/v1/runs?client=nobody&limit=50"),
    ("GET", "/v1/runs/{run}"),
    ("GET", "/v1/runs/{run}/jobs"),
    ("GET", "/v1/jobs/{job}"),
    ("GET", "/v1/jobs/{job}/explain"),
    ("GET", "/v1/queues?limit=20"),
    ("GET", "/v1/partitions"),
    ("GET", "/v1/partitions/0"),
    ("GET", "/v1/forecast"),
    ("GET", "/v1/pipelines"),
    ("GET", "/v1/clients"),
    ("GET", "/v1/workers"),
    ("GET", "/v1/stats/summary"),
    ("GET", "/v1/stats/pipelines"),
    ("GET", "/v1/stats/slow-tasks"),
    ("GET", "/metrics"),
    ("PATCH", "/v1/jobs/{job}"),
    ("POST", "/v1/jobs/{job}/cancel"),
    ("POST", "/v1/runs/{other}/cancel"),
    ("DELETE", "/v1/runs/{other}"),
)


def main(
    jobs: Annotated[int, typer.Option(help="Jobs that wait.")] = 200_000,
    rounds: Annotated[int, typer.Option(help="How often each is asked.")] = 5,
) -> None:
    """Milliseconds of each answer, the slowest of all rounds."""
    with system(None, slots=1, workers=0, queue_size=2 * jobs) as running:
        report(trio.run(measure, running, jobs, rounds))


async def measure(running: System, jobs: int, rounds: int) -> dict[str, object]:
    """Fill the queue, then ask."""
    slowest = dict.fromkeys(QUESTIONS, 0.0)
    async with running.client() as client:
        await put_pipeline(client, DEFINITION)
        runs: list[int] = []
        while len(runs) < jobs:
            runs += await _submitted(client, min(BATCH, jobs - len(runs)))
        for at in range(rounds):
            # From the middle of the queue; the last questions end both.
            run, other = runs[len(runs) // 2 + 2 * at :][:2]
            answer = await client.get(f"/v1/runs/{run}/jobs")
            job = answer.raise_for_status().json()["items"][0]["id"]
            for method, path in QUESTIONS:
                place = path.format(run=run, job=job, other=other)
                took_ms = await _asked(client, method, place)
                slowest[method, path] = max(slowest[method, path], took_ms)
    return {
        "bench": "backlog",
        "waiting": jobs,
        "slowest_ms": max(slowest.values()),
        **{f"{method} {path}": slowest[method, path] for method, path in QUESTIONS},
    }


async def _submitted(client: httpx.AsyncClient, count: int) -> list[int]:
    answer = await client.post("/v1/runs:batch", json={"runs": [{"pipeline": NAME}] * count})
    return [run["id"] for run in answer.raise_for_status().json()["runs"]]


async def _asked(client: httpx.AsyncClient, method: str, place: str) -> float:
    body = {"priority": 1} if method == "PATCH" else None
    began = time.perf_counter()
    answer = await client.request(method, place, json=body)
    answer.raise_for_status()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    typer.run(main)

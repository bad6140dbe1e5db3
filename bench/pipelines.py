"""Measures how fast one stage follows another: pipelines of 5 stages of 4 no-op jobs."""

import time
from itertools import pairwise
from typing import Annotated

import trio
import typer

from bench.load.watching import WatchedJob, all_ended, jobs_of, ms, put_pipeline
from bench.servers.system import DataDir, Dispatchers, OnKafka, System, percentile, report, system

STAGES = [f"stage-{number}" for number in range(5)]
DEFINITION: dict[str, object] = {
    "name": "bench-stages",
    "stages": STAGES,
    "jobs": [
        {"name": f"{stage}-{number}", "stage": stage, "kind": "Sleep", "params": {"seconds": 0}}
        for stage in STAGES
        for number in range(4)
    ],
}


def main(  # noqa: PLR0917 - each is an option of the command.
    runs: Annotated[int, typer.Option(help="How many runs.")] = 200,
    at_once: Annotated[int, typer.Option(help="Runs open at once.")] = 1,
    slots: Annotated[int, typer.Option(help="Slots of the one worker.")] = 8,
    data_dir: DataDir = None,
    kafka: OnKafka = False,
    dispatchers: Dispatchers = 0,
) -> None:
    """Milliseconds from the end of a stage's last job to the start of the next stage's first."""
    with system(data_dir, slots=slots, kafka=kafka, dispatchers=dispatchers) as running:
        report(trio.run(measure, running, runs, at_once))


async def measure(running: System, runs: int, at_once: int) -> dict[str, object]:
    """The figures."""
    ids: list[int] = []
    async with running.client() as client:
        await put_pipeline(client, DEFINITION)
        begin = time.perf_counter()
        for _ in range(0, runs, at_once):
            body = {"runs": [{"pipeline": DEFINITION["name"]}] * at_once}
            answer = await client.post("/v1/runs:batch", json=body)
            answer.raise_for_status()
            ids += [run["id"] for run in answer.json()["runs"]]
            await all_ended(client)
        took = time.perf_counter() - begin
        found = await jobs_of(client, ids)
    gaps = [gap for jobs in found for gap in _gaps(jobs)]
    whole = [_last(jobs) - min(ms(job["ready_at"]) for job in jobs) for jobs in found]
    return {
        "bench": "pipelines",
        "runs": len(ids),
        "jobs": sum(map(len, found)),
        "runs_per_s": len(ids) / took,
        "handover_ms_p50": percentile(gaps, 0.5),
        "handover_ms_p99": percentile(gaps, 0.99),
        "run_ms_p50": percentile(whole, 0.5),
        "run_ms_p99": percentile(whole, 0.99),
    }


def _gaps(jobs: list[WatchedJob]) -> list[float]:
    gaps = []
    for before, after in pairwise(STAGES):
        ended = _last([job for job in jobs if job["stage"] == before])
        began = min(ms(job["started_at"]) for job in jobs if job["stage"] == after)
        gaps.append(began - ended)
    return gaps


def _last(jobs: list[WatchedJob]) -> float:
    return max(ms(job["finished_at"]) for job in jobs)


if __name__ == "__main__":
    typer.run(main)

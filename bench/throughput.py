"""Measures no-op jobs from submission (the batch call) to the recorded result."""

import time
from typing import Annotated

import httpx
import trio
import typer

from bench.load.watching import all_ended, put_pipeline
from bench.servers.system import DataDir, Dispatchers, OnKafka, System, report, system

NOOP: dict[str, object] = {
    "name": "bench-noop",
    "stages": ["run"],
    "jobs": [{"name": "noop", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}],
}

# Nobody has the label: these jobs wait, with a smaller priority number than the others.
STUCK: dict[str, object] = {
    "name": "bench-stuck",
    "priority": 1,
    "stages": ["run"],
    "jobs": [
        {
            "name": "stuck",
            "stage": "run",
            "kind": "Sleep",
            "params": {"seconds": 0},
            "labels": ["nobody-has-this"],
        }
    ],
}


def main(  # noqa: PLR0917 - each is an option of the command.
    jobs: Annotated[int, typer.Option(help="How many jobs.")] = 50_000,
    batch: Annotated[int, typer.Option(help="Jobs in one batch call.")] = 500,
    submitters: Annotated[int, typer.Option(help="Batch calls under way at once.")] = 2,
    slots: Annotated[int, typer.Option(help="Slots of the one worker.")] = 16,
    waiting: Annotated[int, typer.Option(help="Jobs that wait all the time, and cannot run.")] = 0,
    warm_up: Annotated[int, typer.Option(help="Jobs before it is measured.")] = 10_000,
    data_dir: DataDir = None,
    kafka: OnKafka = False,
    dispatchers: Dispatchers = 0,
) -> None:
    """No-op jobs per second, with everything durable."""
    with system(
        data_dir, slots=slots, queue_size=100_000 + waiting, kafka=kafka, dispatchers=dispatchers
    ) as running:
        report(trio.run(measure, running, jobs, batch, submitters, waiting, warm_up))


async def measure(  # noqa: PLR0917 - trio.run passes positional arguments only.
    running: System, jobs: int, batch: int, submitters: int, waiting: int, warm_up: int
) -> dict[str, object]:
    """The figures, after a warm-up: a broker that has just started compiles its own code first."""
    async with running.client() as client:
        await put_pipeline(client, NOOP)
        await put_pipeline(client, STUCK)
        await _submit_all(client, STUCK, waiting, batch, submitters)
        await _submit_all(client, NOOP, warm_up, batch, submitters)
        await all_ended(client, but=waiting)
        memory_before = running.memory_mib()
        cpu_before, begin = running.cpu_s(), time.perf_counter()
        await _submit_all(client, NOOP, jobs, batch, submitters)
        submitted = time.perf_counter() - begin
        await all_ended(client, but=waiting)
        took = time.perf_counter() - begin
        return {
            "bench": "throughput",
            "jobs": jobs,
            "waiting": waiting,
            "jobs_per_s": jobs / took,
            "submitted_per_s": jobs / submitted,
            "seconds": took,
            "cpu_ms_per_job": 1000 * (running.cpu_s() - cpu_before) / jobs,
            "memory_mib_before": memory_before,
            "memory_mib_after": running.memory_mib(),
        }


async def _submit_all(
    client: httpx.AsyncClient, pipeline: dict[str, object], jobs: int, batch: int, submitters: int
) -> None:
    left = list(range(0, jobs, batch))

    async def submit() -> None:
        while left:
            count = min(batch, jobs - left.pop())
            body = {"runs": [{"pipeline": pipeline["name"]}] * count}
            while True:
                answer = await client.post("/v1/runs:batch", json=body)
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                await trio.sleep(0.1)  # The queue is full: that is its job.
            answer.raise_for_status()

    async with trio.open_nursery() as nursery:
        for _ in range(submitters):
            nursery.start_soon(submit)


if __name__ == "__main__":
    typer.run(main)

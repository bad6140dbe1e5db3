"""Breaks a running system with kill -9, round after round, and checks that nothing is lost.

In each round, with thousands of jobs in flight, one of two workers is killed, then the control
plane. Afterwards every job must be DONE, counted once, and no run stuck.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import trio
import typer

from bench.load.watching import all_ended, jobs_of, ms, put_pipeline
from bench.servers.system import System, percentile, report, start_control, start_worker

NAME = "bench-kill"


def definition(seconds: float) -> dict[str, object]:
    """Two stages, so that hand-overs are hit as well."""
    jobs = [
        {"name": name, "stage": name, "kind": "Sleep", "params": {"seconds": seconds}}
        for name in ("first", "second")
    ]
    return {"name": NAME, "stages": ["first", "second"], "jobs": jobs}


def main(
    rounds: Annotated[int, typer.Option(help="How many times.")] = 10,
    jobs: Annotated[int, typer.Option(help="Jobs in flight in each round.")] = 2_000,
    slots: Annotated[int, typer.Option(help="Slots of each of the two workers.")] = 16,
    seconds: Annotated[float, typer.Option(help="How long each job takes.")] = 0.05,
) -> None:
    """Rounds survived, and how fast work went on."""
    with TemporaryDirectory(prefix="tp-kill-") as directory:
        elsewhere: list[float] = []
        restarts: list[float] = []
        again = 0
        for _ in range(rounds):
            found = one_round(Path(directory), jobs, slots, seconds)
            elsewhere.append(found[0])
            restarts.append(found[1])
            again += found[2]
        report(
            {
                "bench": "kill",
                "rounds": rounds,
                "jobs": rounds * jobs,
                "jobs_run_again": again,
                "lost_work_restarts_ms_max": max(elsewhere),
                "first_start_after_restart_ms_p50": percentile(restarts, 0.5),
                "first_start_after_restart_ms_max": max(restarts),
            }
        )


def one_round(
    directory: Path, jobs: int, slots: int, seconds: float, flags: Sequence[str] = ()
) -> tuple[float, float, int]:
    """Kill a worker, then the control plane, and check.

    Gives how many milliseconds after the worker's death its work had started elsewhere, how many
    after the control plane's restart the first job started, and how many jobs were run again.
    """
    with ExitStack() as stack:
        control = stack.enter_context(start_control(directory, *flags))
        one = stack.enter_context(start_worker(directory, slots=slots, name="one"))
        stack.enter_context(start_worker(directory, slots=slots, name="two"))
        system = System(directory, [])
        runs = trio.run(_submit, system, jobs // 2, seconds)
        time.sleep(jobs * seconds / (2 * slots) * 0.25)
        one.kill()
        worker_died_ms = time.time() * 1000
        time.sleep(jobs * seconds / (2 * slots) * 0.25)
        control.kill()
        control.wait()
        ports = [system.url.rpartition("/")[2], system.gateway.rpartition("/")[2]]
        addresses = ["--listen", ports[0], "--gateway", ports[1]]
        restarted_ms = time.time() * 1000
        stack.enter_context(start_control(directory, *addresses, *flags))
        return trio.run(_check, System(directory, []), runs, worker_died_ms, restarted_ms)


async def _submit(system: System, runs: int, seconds: float) -> list[int]:
    async with system.client() as client:
        await put_pipeline(client, definition(seconds))
        body = {"runs": [{"pipeline": NAME}] * runs}
        answer = await client.post("/v1/runs:batch", json=body)
        answer.raise_for_status()
        return [run["id"] for run in answer.json()["runs"]]


async def _check(
    system: System, runs: list[int], worker_died_ms: float, restarted_ms: float
) -> tuple[float, float, int]:
    async with system.client() as client:
        with trio.fail_after(120):
            await all_ended(client)
        found = [job for jobs in await jobs_of(client, runs) for job in jobs]
        await _counted_once(client, len(runs))
    again = [job for job in found if job["attempt"] > 1]
    moved = [
        ms(job["started_at"]) - worker_died_ms
        for job in again
        if worker_died_ms < ms(job["started_at"]) < restarted_ms
    ]
    first = min(ms(job["started_at"]) for job in found if ms(job["started_at"]) >= restarted_ms)
    return max(moved, default=0.0), first - restarted_ms, len(again)


async def _counted_once(client: httpx.AsyncClient, runs: int) -> None:
    """The statistics have each job of this pipeline once; they follow within a second or two."""
    deadline = trio.current_time() + 10
    while True:
        answer = await client.get("/v1/stats/pipelines", params={"window": "1d"})
        answer.raise_for_status()
        (row,) = [row for row in answer.json()["items"] if row["pipeline"] == NAME]
        if row["done"] == row["jobs"] and row["done"] % (2 * runs) == 0:
            return
        if trio.current_time() > deadline:
            message = f"the statistics have {row['done']} DONE of {row['jobs']} jobs"
            raise SystemExit(message)
        await trio.sleep(0.2)


if __name__ == "__main__":
    typer.run(main)

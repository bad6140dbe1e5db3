"""Plays a workload against a running system in real time, beside what is predicted for it.

Only time is changed: durations and arrivals are divided by `speedup`, and waits multiplied by it,
so that the figures are those of the workload. Jobs do not fail here, nor do workers.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import trio
import typer

from bench.balancer import tables
from bench.balancer.goals import FIFO
from bench.balancer.measures import measured
from bench.balancer.recorded import recorded
from bench.balancer.simulate import play_ours, play_policy
from bench.balancer.workloads import FAMILIES, NOISY, Workload, workload
from bench.load.watching import all_ended, jobs_of, ms, put_pipeline
from bench.servers.system import DataDir, Dispatchers, OnKafka, System, percentile, system
from control.core.simulation.workload import Farm, Played, PlayedJob

_CONFLICT = 409


def main(  # noqa: PLR0917 - each is an option of the command.
    name: Annotated[str, typer.Option("--workload", help=", ".join(FAMILIES))] = "D1",
    history: Annotated[
        Path | None, typer.Option(help="Play what `tpctl stats export` wrote instead.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="How many, about.")] = 3_000,
    load: Annotated[float, typer.Option(help="Share of the slots' time that is asked for.")] = 0.8,
    speedup: Annotated[float, typer.Option(help="So many seconds pass in one.")] = 60.0,
    workers: Annotated[int, typer.Option(help="Of the system that is started.")] = 2,
    slots: Annotated[int, typer.Option(help="Of each worker.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the workload.")] = 1,
    data_dir: DataDir = None,
    kafka: OnKafka = False,
    dispatchers: Dispatchers = 0,
) -> None:
    """Waits in seconds of the workload: as measured, as predicted, and in a central FIFO."""
    farm = Farm(slots=(slots,) * (dispatchers or workers))
    if history is not None:
        made = recorded(history, farm)
    else:
        made = workload(name, seed=seed, jobs=jobs, load=load, farm=farm)
    made = msgspec.structs.replace(made, farm=farm)  # Without its faults.
    quick = sped_up(made, speedup)
    last_s = quick.jobs[-1].at_s
    count = len(quick.jobs)
    print(f"{made.name}: {count:,} jobs on {farm.total} slots, {count / last_s:.0f} a second")
    with system(
        data_dir, slots=slots, workers=workers, kafka=kafka, dispatchers=dispatchers
    ) as running:
        measured_here = trio.run(perform, running, quick.jobs)
    found = {
        "measured": measured_here,
        "predicted": play_ours(quick.jobs, farm),
        "predicted FIFO": play_policy(FIFO, quick, seed),
    }
    figures = {
        title: {made.name: measured(made.jobs, stretched(played, speedup), farm, but_client=NOISY)}
        for title, played in found.items()
    }
    tables.show_all(f"{made.name}, {speedup:g} times as fast, in seconds of the workload", figures)


def sped_up(made: Workload, speedup: float) -> Workload:
    """The same in less time."""
    quick = [
        msgspec.structs.replace(
            job,
            at_s=job.at_s / speedup,
            arrival_s=job.arrival_s / speedup,
            seconds=job.seconds / speedup,
            fails=False,
        )
        for job in made.jobs
    ]
    return msgspec.structs.replace(made, jobs=quick)


def stretched(played: Played, speedup: float) -> Played:
    """What came of it, in the time it would have taken."""
    return Played(
        ready=[each * speedup for each in played.ready],
        started=[each * speedup for each in played.started],
        ended=[each * speedup for each in played.ended],
        lost_s=played.lost_s * speedup,
    )


def definition(name: str, names: Sequence[str]) -> dict[str, object]:
    """A pipeline of such jobs, one a stage; each run says how long they take."""
    return {
        "name": name,
        "stages": list(names),
        "jobs": [
            {
                "name": each,
                "stage": each,
                "kind": "Sleep",
                "params": {"seconds": f"${{{{ run.seconds[{place}] }}}}"},
            }
            for place, each in enumerate(names)
        ],
    }


async def perform(running: System, jobs: Sequence[PlayedJob]) -> Played:
    """Submit every run when it arrives; give what became of its jobs."""
    runs: dict[int, list[int]] = {}
    for place, job in enumerate(jobs):
        runs.setdefault(job.run, []).append(place)
    ids: dict[int, int] = {}
    took: list[float] = []
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(running.client())
        clients: dict[str, httpx.AsyncClient] = {}
        for name in dict.fromkeys(job.client for job in jobs):
            client = await _client(admin, running, f"bench-{name}")
            clients[name] = await stack.enter_async_context(client)
        names = await _put_pipelines(clients, jobs, runs)
        begin = trio.current_time() + 0.5

        async def submit(run: int, places: Sequence[int]) -> None:
            first = jobs[places[0]]
            body = {"input": {"seconds": [jobs[place].seconds for place in places]}}
            path = f"/v1/pipelines/{names[run]}/runs"
            answer = await clients[first.client].post(path, json=body)
            answer.raise_for_status()
            ids[run] = answer.json()["id"]
            took.append(trio.current_time() - begin - first.at_s)

        async with trio.open_nursery() as nursery:
            for run, places in runs.items():
                await trio.sleep_until(begin + jobs[places[0]].at_s)
                nursery.start_soon(submit, run, places)
        late = percentile(took, 0.99)
        print(f"99 % of the runs were accepted within {late:.3f} s of their time")
        await all_ended(admin)
        return await _ends(admin, runs, ids)


async def _client(admin: httpx.AsyncClient, running: System, name: str) -> httpx.AsyncClient:
    """A client of this name, for use under trio."""
    body = {"client_id": name, "role": "submitter"}
    answer = await admin.post("/v1/clients", json=body)
    if answer.status_code == _CONFLICT:  # It is there from an earlier time.
        answer = await admin.post(f"/v1/clients/{name}/rotate")
    answer.raise_for_status()
    auth = (name, answer.json()["client_secret"])
    return httpx.AsyncClient(base_url=running.url, auth=auth, timeout=60.0)


async def _put_pipelines(
    clients: dict[str, httpx.AsyncClient], jobs: Sequence[PlayedJob], runs: dict[int, list[int]]
) -> dict[int, str]:
    """Store what all runs are runs of; gives by run the pipeline's name there.

    Jobs of one run come one after the other here, each a stage.
    """
    found: dict[int, str] = {}
    known: dict[tuple[str, ...], str] = {}
    for run, places in runs.items():
        first = jobs[places[0]]
        stages = [f"stage-{place}" for place in range(len(places))]
        key = (first.pipeline, first.client, str(len(places)))
        if key not in known:
            known[key] = f"bench-{len(known)}"
            await put_pipeline(clients[first.client], definition(known[key], stages))
        found[run] = known[key]
    return found


async def _ends(
    admin: httpx.AsyncClient, runs: dict[int, list[int]], ids: dict[int, int]
) -> Played:
    count = sum(map(len, runs.values()))
    ready, started, ended = [0.0] * count, [0.0] * count, [0.0] * count
    for places, jobs in zip(
        runs.values(), await jobs_of(admin, [ids[run] for run in runs]), strict=True
    ):
        jobs.sort(key=lambda job: job["ready_at"])
        for place, job in zip(places, jobs, strict=True):
            ready[place] = ms(job["ready_at"]) / 1000
            started[place] = ms(job["started_at"]) / 1000
            ended[place] = ms(job["finished_at"]) / 1000
    return Played(ready=ready, started=started, ended=ended)


if __name__ == "__main__":
    typer.run(main)

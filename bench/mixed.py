"""Measures how long fast jobs wait among slow ones: 90 % of 10 ms, 10 % of 1 s, by chance."""

import random
from typing import Annotated

import trio
import typer

from bench.load.watching import all_ended, jobs_of, ms, put_pipeline
from bench.servers.system import DataDir, Dispatchers, OnKafka, System, percentile, report, system

FAST_S, SLOW_S, FAST_SHARE = 0.01, 1.0, 0.9


def definition(name: str, seconds: float) -> dict[str, object]:
    """A pipeline of one job that takes so long."""
    job = {"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": seconds}}
    return {"name": name, "stages": ["run"], "jobs": [job]}


def main(  # noqa: PLR0917 - each is an option of the command.
    seconds: Annotated[float, typer.Option(help="How long jobs arrive.")] = 60.0,
    load: Annotated[float, typer.Option(help="Share of the slots' time that is asked for.")] = 0.75,
    slots: Annotated[int, typer.Option(help="Slots of the one worker.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
    warm_up: Annotated[float, typer.Option(help="Seconds at the start that do not count.")] = 0.0,
    data_dir: DataDir = None,
    kafka: OnKafka = False,
    dispatchers: Dispatchers = 0,
) -> None:
    """Waits (ready to started) of fast and slow jobs, in milliseconds."""
    with system(data_dir, slots=slots, kafka=kafka, dispatchers=dispatchers) as running:
        report(trio.run(measure, running, seconds, load, slots, seed, warm_up))


async def measure(  # noqa: PLR0917 - trio.run passes positional arguments only.
    running: System, seconds: float, load: float, slots: int, seed: int, warm_up: float
) -> dict[str, object]:
    """The figures. Arrivals are a Poisson process that knows nothing of the system's answers."""
    chance = random.Random(seed)
    rate = load * slots / (FAST_SHARE * FAST_S + (1 - FAST_SHARE) * SLOW_S)
    sent: dict[str, list[tuple[float, int]]] = {"bench-fast": [], "bench-slow": []}
    async with running.client() as client:
        await put_pipeline(client, definition("bench-fast", FAST_S))
        await put_pipeline(client, definition("bench-slow", SLOW_S))
        begin = trio.current_time()

        async def submit(name: str, at: float) -> None:
            answer = await client.post(f"/v1/pipelines/{name}/runs", json={})
            answer.raise_for_status()
            sent[name].append((at, answer.json()["id"]))

        at = 0.0
        async with trio.open_nursery() as nursery:
            while (at := at + chance.expovariate(rate)) < seconds:
                name = "bench-fast" if chance.random() < FAST_SHARE else "bench-slow"
                await trio.sleep_until(begin + at)
                nursery.start_soon(submit, name, at)
        await all_ended(client)
        figures: dict[str, object] = {"bench": "mixed", "load": load, "seed": seed}
        for name, runs in sent.items():
            counted = [run for at, run in runs if at >= warm_up]
            waits = [
                ms(jobs[0]["started_at"]) - ms(jobs[0]["ready_at"])
                for jobs in await jobs_of(client, counted)
            ]
            short = name.removeprefix("bench-")
            figures[f"{short}_jobs"] = len(waits)
            for share in (50, 95, 99):
                figures[f"{short}_wait_ms_p{share}"] = percentile(waits, share / 100)
    return figures


if __name__ == "__main__":
    typer.run(main)

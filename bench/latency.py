"""Measures how long after its request has left the client a job starts and is done, open loop."""

import time
from typing import Annotated

import trio
import typer

from bench.load.watching import all_ended, jobs_of, ms, put_pipeline
from bench.servers.system import DataDir, Dispatchers, OnKafka, System, percentile, report, system
from bench.throughput import NOOP


def main(  # noqa: PLR0917 - each is an option of the command.
    rate: Annotated[float, typer.Option(help="Submissions per second.")] = 50.0,
    seconds: Annotated[float, typer.Option(help="How long.")] = 20.0,
    slots: Annotated[int, typer.Option(help="Slots of the one worker.")] = 8,
    warm_up: Annotated[float, typer.Option(help="Seconds before, which do not count.")] = 1.0,
    data_dir: DataDir = None,
    kafka: OnKafka = False,
    dispatchers: Dispatchers = 0,
) -> None:
    """Milliseconds from sending the request to the job's start and end."""
    with system(data_dir, slots=slots, kafka=kafka, dispatchers=dispatchers) as running:
        report(trio.run(measure, running, rate, seconds, warm_up))


async def measure(
    running: System, rate: float, seconds: float, warm_up: float
) -> dict[str, object]:
    """The figures, without those of the warm-up."""
    sent: dict[int, float] = {}
    async with running.client() as client:
        await put_pipeline(client, NOOP)

        async def submit() -> None:
            left: list[float] = []

            async def note(event: str, _: object) -> None:
                # What the client does before is not the system's time, and shares its two cores.
                if event == "http11.send_request_headers.started":
                    left.append(time.time() * 1000)

            url = f"/v1/pipelines/{NOOP['name']}/runs"
            answer = await client.post(url, json={}, extensions={"trace": note})
            answer.raise_for_status()
            sent[answer.json()["id"]] = left[-1]

        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(int(rate * (seconds + warm_up))):
                await trio.sleep_until(begin + number / rate)
                nursery.start_soon(submit)
        await all_ended(client)
        runs = sorted(sent)[int(rate * warm_up) :]
        starts, ends = [], []
        for run, jobs in zip(runs, await jobs_of(client, runs), strict=True):
            starts.append(max(ms(jobs[0]["started_at"]) - sent[run], 0.0))
            ends.append(max(ms(jobs[0]["finished_at"]) - sent[run], 0.0))
    return {
        "bench": "latency",
        "jobs": len(runs),
        "rate_per_s": rate,
        "start_ms_p50": percentile(starts, 0.5),
        "start_ms_p99": percentile(starts, 0.99),
        "done_ms_p50": percentile(ends, 0.5),
        "done_ms_p99": percentile(ends, 0.99),
    }


if __name__ == "__main__":
    typer.run(main)

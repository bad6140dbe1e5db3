"""Measures consoles beside a system under load: their CPU, memory, and reaction, and their cost.

One run: 10,000 runs with 100,000 waiting jobs, 1,000 workers, and an open loop of jobs, while
consoles look on; then the system full, in windows without and with consoles; then an hour's frames
for one console.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import httpx
import msgspec
import trio
import typer

from bench import hour
from bench.load import crowd, pressure
from bench.onlookers import consoles, look_on
from bench.servers.fleet import ServiceProcess
from bench.servers.system import System, report, system

_BEGIN_S: Final = 5.0  # Before each window: what has just begun is not measured.
_SETTLED_S: Final = 12.0  # What a console asks when it begins is not what it costs all day.
_QUEUE_FACTOR: Final = 3  # Of the jobs that wait: there is room for those that come and go.

Figures = dict[str, object]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything. `count`: consoles; `rate`: changes of jobs a second."""

    count: int
    seconds: float
    rate: float
    keys: int
    pairs: int
    profiles: Path | None


def main(  # noqa: PLR0917 - each is an option of the command.
    count: Annotated[int, typer.Option("--consoles", help="How many look on.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each window.")] = 15.0,
    workers: Annotated[int, typer.Option(help="Simulated, each with its own connection.")] = 1_000,
    runs: Annotated[int, typer.Option(help="That wait all the time.")] = 10_000,
    waiting: Annotated[int, typer.Option(help="Jobs of these runs.")] = 100_000,
    rate: Annotated[float, typer.Option(help="Changes of jobs a second.")] = 2_000.0,
    frames: Annotated[int, typer.Option(help="For one console; 36,000 are an hour's.")] = 36_000,
    keys: Annotated[int, typer.Option(help="Pressed on each view.")] = 25,
    pairs: Annotated[int, typer.Option(help="Windows without and with consoles.")] = 4,
    profiles: Annotated[Path | None, typer.Option(help="Run consoles under cProfile.")] = None,
) -> None:
    """Consoles beside a system under load."""
    size = Size(count=count, seconds=seconds, rate=rate, keys=keys, pairs=pairs, profiles=profiles)
    figures: Figures = {"bench": "console", "consoles": count, "runs": runs, "waiting": waiting}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-bench-")))
        recording = folder / "recording.jsonl"
        with _crowded(folder, workers, _QUEUE_FACTOR * waiting + 100_000) as running:
            figures |= trio.run(_measure, running, size, runs, waiting, recording)
        if frames:
            figures |= hour.feed(recording, frames)
    report(figures)


@contextmanager
def _crowded(folder: Path, workers: int, queue_size: int) -> Iterator[System]:
    """A system with so many simulated workers."""
    # They end after the control plane, which would warn of each one that is gone.
    with (
        ExitStack() as after,
        system(None, slots=1, workers=0, queue_size=queue_size) as running,
    ):
        running.set_apart()  # Load and consoles come from other machines.
        command = [sys.executable, "-m", "bench.load.crowd", "--gateway", running.gateway]
        command += ["--workers", str(workers)]
        log = folder / "crowd.log"
        process = ServiceProcess("crowd", command, log, crowd.READY, running.environ())
        after.callback(process.stop)
        process.start()
        yield running


async def _measure(
    running: System, size: Size, runs: int, waiting: int, recording: Path
) -> Figures:
    figures: Figures = {}
    async with running.client() as client:
        await pressure.fill(client, runs, waiting)
        async with trio.open_nursery() as nursery:
            jobs_per_s = size.rate / pressure.CHANGES_OF_A_JOB
            nursery.start_soon(pressure.steady, client, jobs_per_s)
            await trio.sleep(_BEGIN_S)
            _, figures["control_cpu_percent_alone"] = await _window(running, client, size.seconds)
            with consoles(running, size.count, size.profiles) as among:
                looked = await look_on(among, size.seconds, size.keys)
                ended_per_s, cpu = await _window(running, client, size.seconds)
            figures["changes_per_s"] = pressure.CHANGES_OF_A_JOB * ended_per_s
            figures["control_cpu_percent_watched"] = cpu
            figures |= looked.figures()
            await trio.to_thread.run_sync(hour.record, running, recording)
            nursery.cancel_scope.cancel()
        await pressure.drained(client)
        figures |= await _compare(running, client, size)
        figures["workers"] = await pressure.gauge(client, "taskplane_workers")
        figures["control_memory_mib"] = running.memory_mib()
    return figures


async def _compare(running: System, client: httpx.AsyncClient, size: Size) -> Figures:
    """The throughput of a full system, in windows without and with consoles.

    The control plane is full as long as it has next to 100 % of its core; consoles get what the
    load leaves of the others.
    """
    rates: tuple[list[float], list[float]] = ([], [])
    cpus: tuple[list[float], list[float]] = ([], [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pressure.full, client)
        await trio.sleep(_BEGIN_S)
        for number in range(2 * size.pairs):
            watched = (number + 1) // 2 % 2  # Without, with, with, without: so drift cancels out.
            with consoles(running, size.count * watched, aside=True) as among:
                for console, key in zip(among, ("1", "4", "5"), strict=False):
                    console.press(key)
                await trio.sleep(_SETTLED_S)
                rate, cpu = await _window(running, client, size.seconds)
            rates[watched].append(rate)
            cpus[watched].append(cpu)
        nursery.cancel_scope.cancel()
    ratios = [watched / alone for alone, watched in zip(*rates, strict=True)]
    cpu_ms = [list(map(_cpu_ms, *each)) for each in zip(cpus, rates, strict=True)]
    return {
        "full_jobs_per_s_alone": [round(rate) for rate in rates[0]],
        "full_jobs_per_s_watched": [round(rate) for rate in rates[1]],
        "full_ratios": [round(ratio, 3) for ratio in ratios],
        "full_ratio_median": median(ratios) if ratios else float("nan"),
        "full_ratio": sum(rates[1]) / sum(rates[0]) if ratios else float("nan"),
        "full_cpu_percent_alone": median(cpus[0]) if ratios else float("nan"),
        "full_cpu_percent_watched": median(cpus[1]) if ratios else float("nan"),
        "control_cpu_ms_a_job_alone": median(cpu_ms[0]) if ratios else float("nan"),
        "control_cpu_ms_a_job_watched": median(cpu_ms[1]) if ratios else float("nan"),
    }


def _cpu_ms(cpu_percent: float, jobs_per_s: float) -> float:
    """CPU of the control plane for each job."""
    return 10 * cpu_percent / jobs_per_s


async def _window(
    running: System, client: httpx.AsyncClient, seconds: float
) -> tuple[float, float]:
    """Jobs that ended a second, and the control plane's CPU in percent of a core."""
    before, cpu_s, begin = await pressure.jobs_ended(client), running.cpu_s(), time.perf_counter()
    await trio.sleep(seconds)
    after, took_s = await pressure.jobs_ended(client), time.perf_counter() - begin
    return (after - before) / took_s, 100 * (running.cpu_s() - cpu_s) / took_s


if __name__ == "__main__":
    typer.run(main)

"""Measures the balancer at its limit: what decisions cost, and the memory, with a million waiting.

CPU time of this thread: `submit` takes a job in, `finish` learns from an end, `assign` decides what
comes next.
"""

import gc
import random
import resource
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import typer

from bench.balancer.messages import connected, done, ready
from bench.servers.system import percentile, report
from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy

_MIB = 1024


def main(
    waiting: Annotated[int, typer.Option(help="Jobs that wait.")] = 1_000_000,
    pipelines: Annotated[int, typer.Option(help="So many they are of.")] = 10_000,
    workers: Annotated[int, typer.Option(help="Connected ones, of 8 slots each.")] = 100,
    decisions: Annotated[int, typer.Option(help="Ends of jobs that are told.")] = 50_000,
    seed: Annotated[int, typer.Option(help="Of lengths, clients, and ends.")] = 1,
) -> None:
    """Microseconds of each step and MiB: with few jobs waiting, then with all of them."""
    few = min(pipelines, waiting)
    for count in (few, waiting):
        report(measured(count, pipelines, workers, decisions, seed))


def measured(
    waiting: int, pipelines: int, workers: int, decisions: int, seed: int
) -> dict[str, object]:
    """The figures for so many waiting jobs."""
    chance = random.Random(seed)
    lengths = [chance.lognormvariate(-0.4, 2.0) for _ in range(pipelines)]
    balancer = Balancer(Policy())
    # As after any start: statistics have told how long the jobs of each pipeline took.
    balancer.recall((f"p{n}", "job", [seconds] * 5) for n, seconds in enumerate(lengths))
    jobs = _jobs(chance, pipelines)
    before = _resident_mib()
    begun_ns = time.thread_time_ns()
    for place in range(waiting):
        balancer.submit(ready(*next(jobs)), place)
    filled_us = (time.thread_time_ns() - begun_ns) / waiting / 1000
    after = _resident_mib()
    # As in the control plane: what lives long is not looked at again and again.
    gc.collect()
    gc.freeze()
    for number in range(workers):
        balancer.worker_up(connected(f"worker-{number}", 8, balancer.classes))
    running = balancer.assign(0, workers * 8)
    place, now_ms = waiting, 0
    costs: dict[str, list[float]] = {"submit": [], "finish": [], "assign": []}
    for _ in range(decisions):
        made = running.pop(chance.randrange(len(running)))
        seconds = lengths[int(made.job.pipeline[1:])] * chance.lognormvariate(0.0, 0.5)
        message, fresh = done(made, seconds), ready(*next(jobs))
        now_ms, place = now_ms + 1, place + 1
        steps = [time.thread_time_ns()]
        balancer.submit(fresh, place)
        steps.append(time.thread_time_ns())
        balancer.finished(message, now_ms)
        steps.append(time.thread_time_ns())
        running += balancer.assign(now_ms, 100)
        steps.append(time.thread_time_ns())
        for cost, (start, end) in zip(costs.values(), pairwise(steps), strict=True):
            cost.append((end - start) / 1000)
    gc.unfreeze()
    return {
        "bench": "balancer scale",
        "waiting": waiting,
        "pipelines": pipelines,
        "fill_us": round(filled_us, 1),
        **{
            f"{step}_us_p{share}": round(percentile(cost, share / 100), 1)
            for step, cost in costs.items()
            for share in (50, 99)
        },
        **{f"{step}_us_mean": round(sum(cost) / len(cost), 1) for step, cost in costs.items()},
        "memory_mib": round(after - before),
    }


def _jobs(chance: random.Random, pipelines: int) -> Iterator[tuple[int, str, str]]:
    """Id, pipeline, and client: one of twenty, each with pipelines of its own."""
    job_id = 0
    while True:
        job_id += 1
        number = chance.randrange(pipelines)
        yield job_id, f"p{number}", f"client-{number % 20}"


def _resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


if __name__ == "__main__":
    typer.run(main)

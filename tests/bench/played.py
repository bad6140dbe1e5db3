"""Owns what tests of the load tests are made of: jobs, farms, and random arrivals."""

import random
from collections.abc import Callable, Sequence

from control.core.simulation.workload import Farm, PlayedJob


def job(
    at_s: float,
    seconds: float,
    *,
    run: int = 0,
    pipeline: str = "p",
    client: str = "ann",
    after: int | None = None,
    stages_left: int = 1,
) -> PlayedJob:
    return PlayedJob(
        run=run,
        at_s=at_s,
        arrival_s=at_s,
        pipeline=pipeline,
        client=client,
        seconds=seconds,
        after=after,
        stages_left=stages_left,
    )


def farm(*slots: int) -> Farm:
    return Farm(slots=slots, delay_s=0.0)


def poisson(
    count: int, rate: float, seconds: Callable[[random.Random], float], seed: int = 1
) -> list[PlayedJob]:
    chance = random.Random(seed)
    at_s, found = 0.0, []
    for run in range(count):
        at_s += chance.expovariate(rate)
        found.append(job(at_s, seconds(chance), run=run))
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""Owns the small workloads that tests play in virtual time, and what is read off what was played.

Every stream has a source of chance of its own, so that one more of them changes none of the others.
"""

import random
from collections.abc import Callable, Sequence

import msgspec

from control.core.simulation.workload import Played, PlayedJob


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one pipeline, `rate` a second by chance; their seconds spread log-normally.

    `turns`: from when on they take how many seconds.
    """

    pipeline: str
    rate: float
    seconds: float
    spread: float = 0.3
    client: str = "client"
    from_s: float = 0.0
    until_s: float
    turns: tuple[float, float] | None = None

    def jobs(self, seed: int) -> list[PlayedJob]:
        chance = random.Random(f"{self.pipeline} {seed}")
        at_s, made = self.from_s, []
        while (at_s := at_s + chance.expovariate(self.rate)) < self.until_s:
            middle = self.seconds
            if self.turns is not None and at_s >= self.turns[0]:
                middle = self.turns[1]
            made.append(
                PlayedJob(
                    run=0,
                    at_s=at_s,
                    arrival_s=at_s,
                    pipeline=self.pipeline,
                    client=self.client,
                    seconds=middle * chance.lognormvariate(0.0, self.spread),
                )
            )
        return made


def workload(streams: Sequence[Stream], seed: int) -> list[PlayedJob]:
    """All of these, by arrival."""
    found = [job for stream in streams for job in stream.jobs(seed)]
    found.sort(key=lambda job: job.at_s)
    return [msgspec.structs.replace(job, run=place) for place, job in enumerate(found)]


def usual(until_s: float, *, load: float, slots: int, slow_s: float = 40.0) -> list[Stream]:
    """Eight pipelines of 0.2 to 4 s, and three slow ones with 60 % of the work."""
    fast = [0.2 * 1.53**at for at in range(8)]
    work = load * slots
    return [
        *(
            Stream(pipeline=f"fast-{at}", rate=0.05 * work / each, seconds=each, until_s=until_s)
            for at, each in enumerate(fast)
        ),
        *(
            Stream(pipeline=f"slow-{at}", rate=0.2 * work / each, seconds=each, until_s=until_s)
            for at, each in enumerate((slow_s / 2, slow_s, 2 * slow_s))
        ),
    ]


def waits(
    jobs: Sequence[PlayedJob], played: Played, counts: Callable[[PlayedJob], bool]
) -> list[float]:
    """The waits of the jobs that count, sorted."""
    return sorted(wait for job, wait in zip(jobs, played.waits(), strict=True) if counts(job))


def p99(jobs: Sequence[PlayedJob], played: Played, counts: Callable[[PlayedJob], bool]) -> float:
    """The wait below which 99 of 100 of them are."""
    found = waits(jobs, played, counts)
    assert len(found) >= 200  # Else it says nothing.
    return found[int(0.99 * len(found))]


def times_longer(jobs: Sequence[PlayedJob], played: Played) -> list[float]:
    """How many times its own seconds each job took: by that a worker's slowness shows."""
    return [
        (end - begun) / job.seconds
        for job, begun, end in zip(jobs, played.started, played.ended, strict=True)
    ]


def is_fast(job: PlayedJob) -> bool:
    """Of a pipeline of `usual` whose jobs are fast."""
    return job.pipeline.startswith("fast")

"""Decides which pipelines the simulated clients submit."""

import random

from control.model.pipelines import JobSpec, Pipeline, ScheduleSpec, TriggerSpec
from control.model.states import Missed, Overlap, When
from tests.services.plane import job, pipeline

STAGES = ("build", "test", "ship")


def any_job(rng: random.Random, at: int, stage: str, earlier: list[str]) -> JobSpec:
    """A job that fails, retries, waits, and is wanted in all sorts of ways."""
    needs = None
    if rng.random() < 0.3:
        needs = tuple(rng.sample(earlier, rng.randint(0, min(2, len(earlier)))))
    return job(
        f"j{at}",
        stage,
        needs=needs,
        when=rng.choice([When.ON_SUCCESS] * 5 + [When.ON_FAILURE, When.ALWAYS]),
        retry_attempt=rng.choice((0, 0, 1, 2)),
        retry_delay=rng.choice((0.0, 0.0, 0.5, 3.0)),
        allow_failure=rng.random() < 0.2,
        timeout=rng.choice((None, None, 1.0)),
        priority=rng.choice((5, 10)),
    )


def any_pipeline(rng: random.Random, number: int) -> Pipeline:
    """A pipeline of up to three stages."""
    count = rng.randint(1, 6)
    stages = sorted(rng.choice(range(3)) for _ in range(count))
    jobs: list[JobSpec] = []
    for at, stage in enumerate(stages):
        jobs.append(any_job(rng, at, STAGES[stage], [each.name for each in jobs]))
    triggers = (TriggerSpec(pipeline="weekly", when=When.ALWAYS),) if rng.random() < 0.2 else ()
    timeout = rng.choice((None, None, None, 8.0))
    return pipeline(f"p{number}", *jobs, triggers=triggers, timeout=timeout)


def scheduled(rng: random.Random, missed: Missed) -> Pipeline:
    """One that starts by itself, at times of the day that a clock may be set to."""
    every = ScheduleSpec(cron="*/20 0-19 7-9 * * *", missed=missed)
    other = ScheduleSpec(cron="5,35 0-19 7-9 * * *", overlap=rng.choice(list(Overlap)))
    return pipeline("nightly", job("a", "x"), job("b", "y"), schedules=(every, other))


def triggered() -> Pipeline:
    """One that others start."""
    return pipeline("weekly", job("w", "x"))

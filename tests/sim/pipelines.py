"""Decides which pipelines the simulated clients submit."""

import random

from msgspec import Raw

from control.model.names import CHILD_KIND
from control.model.pipelines import JobSpec, Pipeline, ScheduleSpec, TriggerSpec
from control.model.states import Missed, Overlap, When
from tests.services.plane import job, pipeline

STAGES = ("build", "test", "ship")
CHILDREN = 0.1  # The share of jobs that are runs of other pipelines.


def any_job(
    rng: random.Random, at: int, stage: str, earlier: list[str], fields: dict[str, object]
) -> JobSpec:
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
        **fields,
    )


def child_run(rng: random.Random, number: int) -> dict[str, object]:
    """A run of a pipeline that is there, or not there, or another client's, or has started this."""
    name = rng.choice(("weekly", f"p{rng.randint(0, number)}"))
    wait = "true" if rng.random() < 0.8 else "false"
    params = f'{{"name": "{name}", "wait": {wait}}}'
    return {"kind": CHILD_KIND, "params": Raw(params.encode())}


def any_pipeline(rng: random.Random, number: int) -> Pipeline:
    """A pipeline of up to three stages."""
    count = rng.randint(1, 6)
    stages = sorted(rng.choice(range(3)) for _ in range(count))
    jobs: list[JobSpec] = []
    for at, stage in enumerate(stages):
        fields = child_run(rng, number) if rng.random() < CHILDREN else {}
        jobs.append(any_job(rng, at, STAGES[stage], [each.name for each in jobs], fields))
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

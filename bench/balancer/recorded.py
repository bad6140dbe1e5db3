"""Owns workloads from recorded history: reads what `tpctl stats export` wrote."""

from collections.abc import Sequence
from pathlib import Path

import typer

from bench.balancer.sources import empirical_truth
from bench.balancer.workloads import Workload
from control.cli.commands import history
from control.cli.errors import UsageError
from control.core.simulation.replay_history import played_jobs
from control.core.simulation.workload import Farm, PlayedJob


def recorded(path: Path, farm: Farm) -> Workload:
    """The workload of this file (csv, json, or parquet, by its name) for this farm."""
    try:
        jobs = played_jobs(history.read(path))
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error
    if not jobs:
        message = f"{path} holds no job that ran"
        raise typer.BadParameter(message)
    means, indexes = _truths(jobs)
    return Workload(name=path.name, jobs=jobs, means=means, indexes=indexes, farm=farm)


def _truths(jobs: Sequence[PlayedJob]) -> tuple[list[float], list[float]]:
    """What is true of each job's name, over all that is recorded of it."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        seconds.setdefault((job.pipeline, job.name), []).append(job.seconds)
    known = {key: empirical_truth(each) for key, each in seconds.items()}
    found = [known[job.pipeline, job.name] for job in jobs]
    return [mean for mean, _ in found], [index for _, index in found]

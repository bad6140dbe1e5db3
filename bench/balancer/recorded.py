"""Owns workloads from recorded history: reads what `tpctl stats export` wrote."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import typer

from bench.balancer.sources import empirical_truth
from bench.balancer.workloads import Workload
from control.core.history import PastAttempt, played_jobs
from control.core.workload import Farm, PlayedJob

_COLUMNS: Final = PastAttempt.__struct_fields__


def recorded(path: Path, farm: Farm) -> Workload:
    """The workload of this file (csv, json, or parquet, by its name) for this farm."""
    jobs = played_jobs(_attempts(path))
    if not jobs:
        message = f"{path} holds no job that ran"
        raise typer.BadParameter(message)
    means, indexes = _truths(jobs)
    return Workload(name=path.name, jobs=jobs, means=means, indexes=indexes, farm=farm)


def _attempts(path: Path) -> Iterator[PastAttempt]:
    with duckdb.connect() as conn:
        match path.suffix:
            case ".parquet":
                relation = conn.read_parquet(str(path))
            case ".csv":
                # A pipeline may be called 1; every column comes as text and is converted here.
                relation = conn.read_csv(str(path), header=True, all_varchar=True)
            case ".json":
                relation = conn.read_json(str(path))
            case _:
                message = f"{path} is neither .csv, nor .json, nor .parquet"
                raise typer.BadParameter(message)
        for row in relation.select(*_COLUMNS).fetchall():
            yield msgspec.convert(dict(zip(_COLUMNS, row, strict=True)), PastAttempt, strict=False)


def _truths(jobs: Sequence[PlayedJob]) -> tuple[list[float], list[float]]:
    """What is true of each job's name, over all that is recorded of it."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        seconds.setdefault((job.pipeline, job.name), []).append(job.seconds)
    known = {key: empirical_truth(each) for key, each in seconds.items()}
    found = [known[job.pipeline, job.name] for job in jobs]
    return [mean for mean, _ in found], [index for _, index in found]

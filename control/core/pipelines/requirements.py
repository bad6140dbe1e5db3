"""Decides what a definition needs that is not in it: other pipelines, and workers."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from control.model.errors import Problem
from control.model.names import CHILD_KIND
from control.model.pipelines import Pipeline
from control.model.templates import OPENING


class StartedPipeline(NamedTuple):
    """A pipeline that another one starts, and where that is written."""

    path: str
    pipeline: str


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


_NAMED: Final = msgspec.json.Decoder(_Named)


def targets_of(pipeline: Pipeline) -> list[StartedPipeline]:
    """The pipelines that are named as such; what a template names is known when it runs."""
    found = [
        StartedPipeline(f"triggers[{at}].pipeline", trigger.pipeline)
        for at, trigger in enumerate(pipeline.triggers)
    ]
    for at, job in enumerate(pipeline.jobs):
        if job.kind == CHILD_KIND:
            name = _NAMED.decode(job.params).name
            if OPENING not in name:
                found.append(StartedPipeline(f"jobs[{at}].params.name", name))
    return found


def kind_warnings(
    pipeline: Pipeline, workers: Iterable[Mapping[str, Collection[str]]]
) -> list[Problem]:
    """Kinds that no connected worker executes. `workers`: the versions of each one's kinds.

    Without any worker there is nothing to say: then no job runs.
    """
    found = [{(name, each) for name, versions in of.items() for each in versions} for of in workers]
    if not found:
        return []
    offered = set[tuple[str, str]]().union(*found)
    problems: dict[tuple[str, str], Problem] = {}
    for at, job in enumerate(pipeline.jobs):
        kind = (job.kind, job.version)
        if job.kind == CHILD_KIND or kind in offered or kind in problems:
            continue
        message = f"no connected worker executes {job.kind} {job.version}: such jobs wait for one"
        problems[kind] = Problem(path=f"jobs[{at}].kind", message=message)
    return list(problems.values())

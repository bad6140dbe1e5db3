"""Decides which other pipelines a definition names: those that it triggers, or runs as jobs."""

from typing import Final, NamedTuple

import msgspec

from control.model.names import CHILD_KIND
from control.model.pipelines import Pipeline
from control.model.templates import OPENING


class Target(NamedTuple):
    """A pipeline that another one starts, and where that is written."""

    path: str
    pipeline: str


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


_NAMED: Final = msgspec.json.Decoder(_Named)


def targets_of(pipeline: Pipeline) -> list[Target]:
    """The pipelines that are named as such; what a template names is known when it runs."""
    found = [
        Target(f"triggers[{at}].pipeline", trigger.pipeline)
        for at, trigger in enumerate(pipeline.triggers)
    ]
    for at, job in enumerate(pipeline.jobs):
        if job.kind == CHILD_KIND:
            name = _NAMED.decode(job.params).name
            if OPENING not in name:
                found.append(Target(f"jobs[{at}].params.name", name))
    return found

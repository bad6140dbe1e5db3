"""Owns what the simulators play: jobs with their true durations, and the farm that runs them.

Times are virtual seconds from 0. A farm's slots belong to workers; what may go wrong with them is
a list of faults, known beforehand to nobody but the player.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.model.bus.messages import PriorityKey

ORDINARY: Final[PriorityKey] = (10, 10, 0, 10)
"""Where a job stands whose client, run, and job have no priority of their own."""


class PlayedJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as it will be: what its submitter says of it, and what only the worker finds out.

    `after`: the place, in the workload, of the job whose end makes this one ready (always an
    earlier place); None: it is ready at `at_s`. `at_s` of a job with `after` is not used.
    `arrival_s`: when its run arrived, whose place in the order all its stages keep.
    """

    run: int
    at_s: float
    arrival_s: float
    pipeline: str
    name: str = "job"
    client: str = "client"
    seconds: float
    order: PriorityKey = ORDINARY
    after: int | None = None
    stages_left: int = 1
    fails: bool = False  # It ends in an error after its seconds.


class WorkerFault(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_s` on a worker takes `slowness` times as long; None: it is gone, with all it had.

    1.0 makes it well again, or brings it back. What it runs when it turns slow is not affected.
    """

    at_s: float
    worker: int
    slowness: float | None


class Farm(msgspec.Struct, frozen=True, kw_only=True):
    """The workers' slots. `delay_s`: of a message, one way; `grace_s`: hope for a lost worker.

    `partitions`: over how many the slots are divided.
    """

    slots: tuple[int, ...]
    partitions: int = 10
    delay_s: float = 0.002
    grace_s: float = 3.0
    faults: tuple[WorkerFault, ...] = ()

    @property
    def total(self) -> int:
        """All slots."""
        return sum(self.slots)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each job of a workload, by its place: seconds; the attempt that ended it.

    `lost_s`: seconds that slots worked for attempts that were lost with their worker.
    """

    ready: list[float]
    started: list[float]
    ended: list[float]
    lost_s: float = 0.0

    def waits(self) -> list[float]:
        """Seconds from ready to start, of each job."""
        return [begun - ready for begun, ready in zip(self.started, self.ready, strict=True)]


def work_s(jobs: Sequence[PlayedJob]) -> float:
    """Seconds of work in all of these."""
    return sum(job.seconds for job in jobs)

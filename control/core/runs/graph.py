"""Decides which jobs of a pipeline wait for which.

Without `needs` a job waits for every job of every earlier stage. Those lists are never spelled
out: with 1,000 jobs they would have 500,000 entries.
"""

import heapq
from functools import cached_property

from msgspec import Raw

from control.model.bus.messages import ENCODER
from control.model.names import CHILD_KIND
from control.model.pipelines import Pipeline


class Graph:
    """A pipeline's jobs by index, in an order in which predecessors come first."""

    def __init__(self, pipeline: Pipeline, revision: int | None = None) -> None:
        """`revision`: its number; None: of a pipeline that is not stored."""
        self.revision = revision
        self.pipeline = pipeline
        self.index = {job.name: idx for idx, job in enumerate(pipeline.jobs)}
        stages = {stage: at for at, stage in enumerate(pipeline.stages)}
        # What only workers read, encoded once for all runs of this revision.
        self.work = tuple(
            Raw(ENCODER.encode({"params": job.params, "env": job.env})) for job in pipeline.jobs
        )
        # Jobs that the control plane executes itself: runs of other pipelines.
        self.children = frozenset(
            idx for idx, job in enumerate(pipeline.jobs) if job.kind == CHILD_KIND
        )
        self.stage_of = tuple(stages[job.stage] for job in pipeline.jobs)
        self.needs = tuple(
            None if job.needs is None else tuple(self.index[name] for name in job.needs)
            for job in pipeline.jobs
        )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Indexes by stage, and by `needs` within a stage (Kahn's algorithm)."""
        waits = [0] * len(self.needs)
        followers: list[list[int]] = [[] for _ in self.needs]
        for idx, needed in enumerate(self.needs):
            for before in needed or ():
                waits[idx] += 1
                followers[before].append(idx)
        ready = [(self.stage_of[idx], idx) for idx, count in enumerate(waits) if not count]
        heapq.heapify(ready)
        order = []
        while ready:
            _, idx = heapq.heappop(ready)
            order.append(idx)
            for follower in followers[idx]:
                waits[follower] -= 1
                if not waits[follower]:
                    heapq.heappush(ready, (self.stage_of[follower], follower))
        assert len(order) == len(waits), "definitions.py lets no cycle in"
        return tuple(order)

    def before(self, idx: int) -> tuple[int, ...]:
        """The jobs whose end this one waits for."""
        needed = self.needs[idx]
        if needed is not None:
            return needed
        stage = self.stage_of[idx]
        return tuple(other for other, at in enumerate(self.stage_of) if at < stage)

"""Decides how recorded attempts are played again: when each arrives, and what it waits for.

Facts tell when an attempt was ready and how long it took, not why it became ready then. A job
follows the one of its run whose end came last before it was ready; an attempt follows the one
before it. So a run that waits less is through earlier, as it would be on another farm.
"""

import heapq
from collections.abc import Iterable, Iterator

import msgspec

from control.core.simulation.workload import PlayedJob
from control.model.numbers import JobId, RunId
from control.model.states import Outcome


class PastAttempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is needed of a fact; its other columns are left out. Null seconds: it never began."""

    run_id: RunId
    job_id: JobId
    attempt: int
    pipeline: str
    job: str
    stage: str | None = None
    client: str
    outcome: Outcome
    final: bool
    ready_ms: int
    duration_seconds: float | None = None
    finished_ms: int


class _Run:
    """One run as it unfolds: who has ended by now, and who was the last."""

    __slots__ = ("begun_ms", "last", "open", "stages", "tries")

    def __init__(self, begun_ms: int) -> None:
        self.begun_ms = begun_ms
        self.stages: dict[str | None, int] = {}  # In the order in which they became ready.
        self.open: list[tuple[int, int]] = []  # When it ended, its place.
        self.last: int | None = None
        self.tries: dict[int, int] = {}  # Job to the place of its attempt before.

    def predecessor(self, past: PastAttempt) -> int | None:
        """The place of what made this attempt ready; None: it came by itself."""
        while self.open and self.open[0][0] <= past.ready_ms:
            self.last = heapq.heappop(self.open)[1]
        before = self.tries.get(past.job_id)
        if before is not None:
            return before
        return self.last if past.ready_ms > self.begun_ms else None


def played_jobs(attempts: Iterable[PastAttempt]) -> list[PlayedJob]:
    """The attempts that took time, in the order in which they became ready; the first at 0 s."""
    began = list(_began(attempts))
    began.sort(key=lambda past: (past.ready_ms, past.finished_ms, past.job_id, past.attempt))
    if not began:
        return []
    first_ms = began[0].ready_ms
    runs: dict[int, _Run] = {}
    for past in began:
        run = runs.setdefault(past.run_id, _Run(past.ready_ms))
        run.stages.setdefault(past.stage, len(run.stages))
    found = []
    for place, past in enumerate(began):
        run = runs[past.run_id]
        found.append(_played(past, run, run.predecessor(past), first_ms))
        heapq.heappush(run.open, (past.finished_ms, place))
        if past.final:
            run.tries.pop(past.job_id, None)
        else:
            run.tries[past.job_id] = place
    return found


def _began(attempts: Iterable[PastAttempt]) -> Iterator[PastAttempt]:
    """Those that ran. Whom its worker's loss ended, another farm runs once: when it came first."""
    since: dict[int, int] = {}
    for past in sorted(attempts, key=lambda past: past.attempt):
        if past.outcome is Outcome.LOST:
            since.setdefault(past.job_id, past.ready_ms)
        elif past.duration_seconds is not None:
            yield msgspec.structs.replace(past, ready_ms=since.pop(past.job_id, past.ready_ms))


def _played(past: PastAttempt, run: _Run, after: int | None, first_ms: int) -> PlayedJob:
    return PlayedJob(
        run=past.run_id,
        at_s=(past.ready_ms - first_ms) / 1000,
        arrival_s=(run.begun_ms - first_ms) / 1000,
        pipeline=past.pipeline,
        name=past.job,
        client=past.client,
        seconds=max(past.duration_seconds or 0.0, 0.0),
        after=after,
        stages_left=len(run.stages) - run.stages[past.stage],
        fails=past.outcome is not Outcome.DONE,
    )

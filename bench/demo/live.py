"""Owns what the demo sees live: it follows the events of the API, as the console does."""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

from bench.demo.calls import DemoCalls
from bench.load.watching import ms
from bench.servers.system import percentile
from control.model.states import FINAL, State

FAST: Final = "thumbnail"
_RECENT: Final = 100  # Fast jobs whose waits are in the live line.
_AGAIN_S: Final = 0.2
# No worker, and no run but those that begin from now on; the jobs of all runs.
_WATCH: Final = '{"runs": [], "workers": false}'


class LiveJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo needs of a job."""

    id: int
    run_id: int
    name: str
    state: State
    attempt: int
    worker: str | None
    ready_at: str | None
    started_at: str | None


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo needs of the counts."""

    open_runs: int
    waiting: int
    running: int


class _LiveFrame(msgspec.Struct, frozen=True, kw_only=True):
    counts: LiveCounts | None = None
    jobs: list[LiveJob] = []


_DECODER: Final = msgspec.json.Decoder(_LiveFrame)


class LiveBoard:
    """The newest state of each job that an event was about, and the counts.

    `started`: how many runs have been started so far.
    """

    def __init__(self, started: Callable[[], int]) -> None:
        self._started = started
        self.runs = 0  # Started when the counts were told.
        self.counts = LiveCounts(open_runs=0, waiting=0, running=0)
        self.jobs: dict[int, LiveJob] = {}
        self._measured: set[int] = set()
        self._waits_ms: deque[float] = deque(maxlen=_RECENT)
        self._changed = trio.Event()

    @property
    def has_learned(self) -> bool:
        """Whether a job has ended: the balancer learns from each how long its name takes."""
        return any(job.state in FINAL for job in self.jobs.values())

    @property
    def fast_p95_ms(self) -> float:
        """Of the waits of the last fast jobs that began."""
        return percentile(list(self._waits_ms), 0.95)

    def executed_by(self, worker: str) -> list[LiveJob]:
        """The jobs that it executes now, but for the fast ones, which are over before we look."""
        return [
            job
            for job in self.jobs.values()
            if job.worker == worker and job.state is State.IN_PROGRESS and job.name != FAST
        ]

    def of_run(self, run: int) -> list[LiveJob]:
        """The jobs of a run that an event was about, in their order."""
        found = [job for job in self.jobs.values() if job.run_id == run]
        return sorted(found, key=lambda job: job.id)

    def has_ended(self, run: int, jobs: int) -> bool:
        """Whether a run of so many jobs has ended."""
        return sum(job.state in FINAL for job in self.of_run(run)) == jobs

    def has_moved(self, job: LiveJob) -> bool:
        """Whether another attempt at this job is planned, or it has ended after all."""
        now = self.jobs[job.id]
        return now.attempt > job.attempt or now.state in FINAL

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until an event has made it true."""
        while not true():
            await self._changed.wait()

    async def follow(
        self, calls: DemoCalls, up: Callable[[], trio.Event], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Follow until cancelled, through restarts; started with the first frame."""
        met = False
        while True:
            await up().wait()
            try:
                async with open_websocket_url(calls.url, extra_headers=calls.headers) as socket:
                    await socket.send_message(_WATCH)
                    while True:
                        self._take(await socket.get_message())
                        if not met:
                            task_status.started()
                            met = True
            except (ConnectionClosed, HandshakeError, OSError):
                await trio.sleep(_AGAIN_S)

    def _take(self, message: str | bytes) -> None:
        frame = _DECODER.decode(message)
        if frame.counts is not None:  # They come once a second at most.
            self.counts, self.runs = frame.counts, self._started()
        for job in frame.jobs:
            self.jobs[job.id] = job
            if job.name == FAST and job.started_at and job.id not in self._measured:
                self._measured.add(job.id)
                self._waits_ms.append(ms(job.started_at) - ms(job.ready_at or job.started_at))
        self._changed.set()
        self._changed = trio.Event()

"""Owns what the console knows: frames go in, screens read; nothing here draws or waits.

Objects are kept by their ids, so that a cursor or a mark can stay on its object. Everything is as
the server said it: text is made harmless where it is drawn.
"""

import copy
from collections import ChainMap, OrderedDict
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET

from control.model.api.fleet import PartitionView, WorkerView
from control.model.api.forecast import Forecast
from control.model.api.live import Counts, Frame, Note, Pulse
from control.model.api.queues import Queues
from control.model.api.reports import Summary, TaskStats, WorkerStats
from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.api.views import JobView, Page, RunView
from control.model.raw import NULL
from control.model.states import FINAL, Role, State
from tui.core.timestamps import instant

RUNS_MAX: Final = 5_000
JOBS_MAX: Final = 10_000
_SPARE: Final = 500  # The oldest go together: finding them takes a look at all.
PULSES_MAX: Final = 91  # 15 minutes, and the one under way.
NOTES_MAX: Final = 200
_PLANS: Final = ("plan", "timeline")
Shape = TypeVar("Shape")
LinkState = Literal["connecting", "live", "lost", "refused"]


class ConsoleLink(msgspec.Struct, frozen=True, kw_only=True):
    """How the console stands with the control plane. `next_try_ms`: when it tries again."""

    state: LinkState = "connecting"
    why: str = ""
    since_ms: int = 0
    next_try_ms: int | None = None


class FetchedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a question brought last: a value, or why there is none newer."""

    value: object = None
    at_ms: int = 0
    problem: str = ""
    of: object = None  # Which call it answers: of several that share a key.


class Store:
    """All that the screens show."""

    def __init__(self) -> None:
        self.link = ConsoleLink()
        self.runs: OrderedDict[int, RunView] = OrderedDict()
        self.jobs: OrderedDict[int, JobView] = OrderedDict()
        self.workers: dict[str, WorkerView] = {}
        self.partitions: dict[int, PartitionView] = {}
        self.counts: Counts | None = None
        self.pulses: list[Pulse] = []
        self.notes: list[Note] = []
        self.answers: MutableMapping[str, FetchedAnswer] = {}
        self.client_id = ""
        self.role: Role | None = None
        self.server_version = ""
        self.life: str | None = None  # Which data are shown.
        self._unsure: set[int] = set()  # Open runs that may have ended while there was no link.
        self.frame_ms: int | None = None  # When the last frame came.
        self.behind_s = 0.0
        self._skew_ms: int | None = None

    def copied(self) -> "Store":
        """The same as it is now, whatever comes in later: a frozen picture."""
        made = copy.copy(self)
        made.runs, made.jobs = OrderedDict(self.runs), OrderedDict(self.jobs)
        made._unsure = set(self._unsure)  # noqa: SLF001 - one of ours.
        made.workers, made.partitions = dict(self.workers), dict(self.partitions)
        made.pulses, made.notes = list(self.pulses), list(self.notes)
        # What had not been asked for until now is seen when it comes.
        made.answers = ChainMap(dict(self.answers), self.answers)
        return made

    def server_now(self, now_ms: int) -> int:
        """The server's clock, as its frames tell."""
        return now_ms + (self._skew_ms or 0)

    def take(self, frame: Frame, now_ms: int) -> None:
        """One more frame."""
        if frame.kind == "snapshot":
            self._skew_ms = None  # Clocks are set right, and servers change.
        server_ms = instant(frame.time)
        self._take_time(now_ms if server_ms is None else server_ms, now_ms)
        if frame.kind == "snapshot":
            self._begin_anew(frame)
        for run in frame.runs:
            self.put_run(run, told=True)
        for job in frame.jobs:
            self.put_job(job, told=True)
        if frame.counts is not UNSET:
            self.counts = frame.counts
        if frame.workers is not UNSET:
            self.workers.update((worker.id, worker) for worker in frame.workers)
        for name in frame.workers_gone:
            self.workers.pop(name, None)
        if frame.partitions is not UNSET:
            self.partitions.update((each.partition, each) for each in frame.partitions)
        self._take_pulses(frame.pulses)
        self.notes = (self.notes + frame.notes)[-NOTES_MAX:]

    def put_run(self, run: RunView, *, told: bool = False) -> None:
        """What is known of a run now; `told`: by a frame, which is newer than any answer.

        A frame does not say how long it will take, nor its input: that is kept.
        """
        before = self.runs.get(run.id)
        if before is not None and not told and before.state in FINAL and run.state not in FINAL:
            return  # The answer was under way when a frame told of its end.
        if before is not None and run.expected_seconds is None and run.state not in FINAL:
            run = msgspec.structs.replace(run, expected_seconds=before.expected_seconds)
        if before is not None and run.input == NULL:
            run = msgspec.structs.replace(run, input=before.input)
        self.runs[run.id] = run
        self._unsure.discard(run.id)
        if len(self.runs) > RUNS_MAX + _SPARE:
            for run_id in sorted(self.runs)[:_SPARE]:
                del self.runs[run_id]

    def put_job(self, job: JobView, *, told: bool = False) -> None:
        """What is known of a job now; frames leave its earlier attempts out: they are kept."""
        before = self.jobs.get(job.id)
        old = before is not None and not told and before.attempt >= job.attempt
        if old and before is not None and before.state in FINAL and job.state not in FINAL:
            return  # As above.
        if before is not None and not job.attempts and before.attempt == job.attempt:
            job = msgspec.structs.replace(job, attempts=before.attempts)
        self.jobs[job.id] = job
        while len(self.jobs) > JOBS_MAX:
            self.jobs.popitem(last=False)

    def keep_jobs_of(self, run_id: int) -> None:
        """Jobs of other runs are not looked at any more."""
        self.jobs = OrderedDict(
            (key, job) for key, job in self.jobs.items() if job.run_id == run_id
        )

    def jobs_of(self, run_id: int) -> list[JobView]:
        """The jobs of one run, in the order of its definition."""
        return sorted(
            (job for job in self.jobs.values() if job.run_id == run_id), key=lambda job: job.id
        )

    def value(self, key: str, shape: type[Shape]) -> Shape | None:
        """The answer to a question, where there is one."""
        answer = self.answers.get(key)
        return answer.value if answer and isinstance(answer.value, shape) else None

    def queues(self) -> Queues | None:
        """What waits at the balancer."""
        return self.value("queues", Queues)

    def summary(self) -> Summary | None:
        """What ended in the last 15 minutes."""
        return self.value("summary", Summary)

    def tasks(self, key: str = "tasks") -> list[TaskStats]:
        """Where the slots' time goes."""
        return self._items(key)

    def worker_stats(self) -> list[WorkerStats]:
        """What workers executed in the last 15 minutes."""
        return self._items("worker_stats")

    def schedules(self) -> list[ScheduleView]:
        """All schedules."""
        return self._items("schedules")

    def plans(self) -> dict[int, SchedulePlan]:
        """What each schedule has planned, as it was told last."""
        asked = {key: self.answers[key].at_ms for key in _PLANS if key in self.answers}
        return self.plans_of(max(asked, key=asked.__getitem__)) if asked else {}

    def plans_of(self, key: str) -> dict[int, SchedulePlan]:
        """What each schedule has planned, as this question was answered."""
        return {each.schedule_id: each for each in self._items(key)}

    def forecast(self) -> Forecast | None:
        """What planned runs will need."""
        return self.value("forecast", Forecast)

    def open_runs(self) -> list[RunView]:
        """Runs that have not ended, the newest first: those that were asked for, and newer ones.

        Of others no frame tells that they have ended.
        """
        pages = [self.value(f"open.{state}", Page) for state in State if state not in FINAL]
        asked = {run.id for page in pages if page is not None for run in page.items}
        newest = max(asked, default=0)
        return [
            run
            for run_id, run in sorted(self.runs.items(), reverse=True)
            if run.state not in FINAL
            and (run_id in asked or (run_id > newest and run_id not in self._unsure))
        ]

    def _items(self, key: str) -> list[Any]:
        page = self.value(key, Page)
        return [] if page is None else page.items

    def problem(self, key: str) -> str:
        """Why a question has no newer answer; empty: it has."""
        answer = self.answers.get(key)
        return answer.problem if answer else ""

    def forget_answers(self, keys: Iterable[str]) -> None:
        """These questions are nobody's any more."""
        for key in keys:
            self.answers.pop(key, None)

    def _begin_anew(self, frame: Frame) -> None:
        if self.life is not None and frame.life != self.life:  # Nothing of it is there any more.
            self.runs.clear()
            self.jobs.clear()
            self.answers.clear()
        self.life = frame.life
        self._unsure = {run_id for run_id, run in self.runs.items() if run.state not in FINAL}
        self.workers.clear()
        self.partitions.clear()
        self.pulses = []
        self.notes = []
        self.client_id = frame.client_id or self.client_id
        self.role = frame.role or self.role
        self.server_version = frame.version or ""

    def _take_time(self, server_ms: int, now_ms: int) -> None:
        skew_ms = server_ms - now_ms  # Too small by what the frame took on its way.
        if self._skew_ms is None or skew_ms > self._skew_ms:
            self._skew_ms = skew_ms
        self.behind_s = (self._skew_ms - skew_ms) / 1000
        self.frame_ms = now_ms

    def _take_pulses(self, pulses: list[Pulse]) -> None:
        # A snapshot has some that are sent to all a moment later.
        by_time = {pulse.at: pulse for pulse in (*self.pulses, *pulses)}
        self.pulses = [by_time[at] for at in sorted(by_time)][-PULSES_MAX:]

"""Decides what happens to a run when something happened to one of its jobs.

`Advance` is one transaction's work on one run: feed it what happened, call `settle`, then write
what it collected. No I/O, no clock: times are arguments.
"""

from collections.abc import Callable, Sequence

from control.core.epochs import next_attempt
from control.core.runs.attempts import archived, check_subject, is_published, may_be_reported
from control.core.runs.graph import Graph
from control.core.runs.lifecycle import JOB, RUN, LifecycleEvent, after
from control.core.runs.lost_records import Reach
from control.core.runs.retry import retry_delay_ms
from control.model import limits
from control.model.bus.child_messages import ChildEnded
from control.model.bus.messages import CancelJob, Finished, Started, Unstarted
from control.model.errors import Conflict, NotFound
from control.model.numbers import JobId
from control.model.state_rows import AttemptRow, JobRow, RunRow
from control.model.states import FINAL, Outcome, State, When

WAITS = "waits for a free slot"
WAITS_FOR_JOBS = "waits for the jobs before it"
_GONE = "its record was deleted from the bus"
_REPLACED = "another attempt has taken its place"
_FAILED = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})


class Advance:
    """One run's next step. The lists are what the shell has to store and to publish.

    What names a job that is not of this run raises `NotFound`, and changes nothing.
    """

    def __init__(
        self, run: RunRow, graph: Graph, now_ms: int, steady_ms: int | None = None
    ) -> None:
        self.run, self.graph = run, graph
        # The wall clock may have been set back since: a run's times never are.
        self.now_ms = max(now_ms, run.created_ms, run.started_ms or 0)
        self._steady_ms = now_ms if steady_ms is None else steady_ms  # What timers go by.
        self.changed: dict[int, JobRow] = {}  # By idx.
        self.released: list[JobRow] = []  # May run as soon as `ready_ms` has come.
        self.skipped: list[JobRow] = []  # Ended without an attempt.
        self.stopped: list[JobRow] = []  # Were with a worker (or on the way) and must be stopped.
        self.superseded: list[CancelJob] = []  # Attempts that may still be on the bus somewhere.
        self.archived: list[AttemptRow] = []
        self.run_changed = False
        self.ended = False
        self.deadline_set = False  # The run has a (new) deadline to be watched.
        self.waiting_delta = 0  # How many more jobs wait (state READY) than before.

    def job(self, job_id: JobId) -> JobRow:
        """A job of this run; raises `NotFound` for any other."""
        at = job_id - self.run.jobs[0].id
        if not 0 <= at < len(self.run.jobs):
            message = f"job {job_id} is not of run {self.run.id}"
            raise NotFound(message)
        return self.run.jobs[at]

    def started(self, message: Started) -> bool:
        """An attempt began. False: it is not the one that should run, and must be stopped."""
        job = self.job(message.job_id)
        if not may_be_reported(job, message.attempt):
            return False
        if job.state == State.READY:
            self._start(job, message.worker, message.partition, message.started_ms)
        return True

    def started_child(self, job: JobRow, reason: str) -> None:
        """A job's child run is there."""
        self._start(job, None, None, self.now_ms)
        job.reason = reason

    def unstarted(self, message: Unstarted) -> None:
        """An attempt did not begin after all; it waits for another worker already."""
        job = self.job(message.job_id)
        current = job.attempt, job.state, job.worker
        if current == (message.attempt, State.IN_PROGRESS, message.worker):
            why = f"worker {message.worker} could not start it: {message.reason}"
            self._move(job, LifecycleEvent.REPEAT, f"{why}; {WAITS}")
            self._clear(job)

    def finished(self, message: Finished | ChildEnded, *, jitter: float) -> bool:
        """An attempt ended. False: refused, because it does not count (any more)."""
        job = self.job(message.job_id)
        spec = self.graph.pipeline.jobs[job.idx]
        check_subject(message, self.run, spec)
        if not may_be_reported(job, message.attempt):
            return False
        began = job.state == State.IN_PROGRESS or message.started_ms is not None
        if job.state == State.READY:
            at_ms = message.started_ms or message.finished_ms
            self._start(job, message.worker, message.partition, at_ms)
        self._ends(job, message.finished_ms)
        job.exit_code, job.error = message.exit_code, message.error
        job.log_bytes = message.log_bytes
        if message.outcome == Outcome.DONE:
            job.progress = None
            self._move(job, LifecycleEvent.SUCCEED, "done")
        elif message.outcome == Outcome.LOST:
            job.lost += began
            if job.lost >= limits.ATTEMPT_LOST_MAX:
                self._move(job, LifecycleEvent.FAIL, f"it lost its worker {job.lost} times")
            else:
                self._again(job, message, 0, f"its worker {message.worker} was lost")
        elif message.outcome in _FAILED:
            job.failures += 1
            error = message.error or "it failed"
            if job.failures <= spec.retry_attempt and not message.final:
                delay_ms = retry_delay_ms(spec, job.failures, jitter)
                why = f"attempt {job.attempt} failed: {error}"
                self._again(job, message, delay_ms, why)
            else:
                self._move(job, LifecycleEvent.FAIL, error)
        else:
            self._move(job, LifecycleEvent.CANCEL, message.error or "cancelled")
        return True

    def progressed(self, job_id: JobId, attempt: int, progress: float) -> None:
        """An attempt told how far it is."""
        job = self.job(job_id)
        if job.attempt == attempt and job.state == State.IN_PROGRESS:
            job.progress = progress
            self.changed[job.idx] = job

    def cancel(self, reason: str) -> None:
        """End the run, but for its clean-up jobs (`when: always`); a second time, with them."""
        if self.run.state in FINAL:
            message = f"run {self.run.id} is {self.run.state} already"
            raise Conflict(message)
        self._break_off(LifecycleEvent.CANCEL, reason)

    def time_out(self) -> None:
        """The whole run took too long."""
        reason = f"the run's time-out of {self.graph.pipeline.timeout:g} s was reached"
        self._break_off(LifecycleEvent.FAIL, reason)

    def cancel_job(self, job_id: JobId, reason: str) -> None:
        """End one job; what waits for it follows the rules of `when`."""
        job = self.job(job_id)
        if job.state in FINAL:
            message = f"job {job.id} is {job.state} already"
            raise Conflict(message)
        self._cancel(job, reason)

    def retry(self, epoch: int = 1) -> None:
        """By hand: the failed and cancelled jobs again. `epoch`: of the data."""
        if self.run.state not in FINAL:
            message = f"run {self.run.id} is {self.run.state}; only a run that has ended is retried"
            raise Conflict(message)
        if self.run.state == State.DONE:  # What it triggers was triggered.
            message = (
                f"run {self.run.id} is DONE, so there is nothing to retry; to run it once more, "
                "start its pipeline, or submit it, again"
            )
            raise Conflict(message)
        again = [job for job in self.run.jobs if job.state in {State.ERROR, State.CANCELLED}]
        for job in again:
            if job.started_ms is not None:
                failed = job.state == State.ERROR
                self._archive(job, Outcome.FAILED if failed else Outcome.CANCELLED)
            # The old one has its end, and may still be on its way somewhere.
            job.attempt = next_attempt(epoch, job.id, job.attempt)
            self._move(job, LifecycleEvent.RETRY, WAITS_FOR_JOBS)
            self._clear(job)
            job.ready_ms, job.failures, job.lost = None, 0, 0
        self._move_run(LifecycleEvent.RETRY, "retried")
        self.run.finished_ms, self.run.allowed_failures = None, 0
        timeout = self.graph.pipeline.timeout
        self.run.deadline_ms = None if timeout is None else self._steady_ms + round(timeout * 1000)
        self.deadline_set = True

    def restart(self, number: Callable[[int], int]) -> None:
        """Run what is open again: the data were restored, and what became of it is not known.

        `number` gives the number of a job's next attempt, which no record of an earlier life has.
        """
        for job in self.run.jobs:
            if job.state in FINAL:
                continue
            if job.ready_ms is None:  # Perhaps it was released in the life that is lost.
                job.attempt = number(job.attempt)
                self.changed[job.idx] = job
            else:
                self._reissue(job, number(job.attempt), "the data were restored from a backup")

    def fail_unstarted(self, job: JobRow, reason: str) -> None:
        """A job that may start cannot: its input is too large, say."""
        self._start(job, None, None, self.now_ms)
        job.finished_ms = self.now_ms
        job.error = reason
        self._move(job, LifecycleEvent.FAIL, reason)
        self.released.remove(job)

    def publish_again(self, reach: Reach) -> None:
        """Records of open jobs are gone from the bus: each gets a new attempt.

        Of those that run how they end may be lost, too. An older attempt that is on its way after
        all is stopped, and its result does not count.
        """
        for job in self.run.jobs:
            reached = reach >= Reach.WAITING or job.idx in self.graph.children
            placed = reached and job.state == State.READY and is_published(job)
            running = reach == Reach.BEGUN and job.state == State.IN_PROGRESS
            if not placed and not running:
                continue
            self.superseded.append(CancelJob(job_id=job.id, attempt=job.attempt, reason=_REPLACED))
            if running:
                job.error = _GONE
                self._archive(job, Outcome.LOST)
            self._reissue(job, job.attempt + 1, _GONE)
            job.reason = f"{_GONE}; {WAITS}"

    def _reissue(self, job: JobRow, attempt: int, why: str) -> None:
        """Give an open job another attempt, at once unless it waits for its retry."""
        if job.state == State.IN_PROGRESS:
            self._move(job, LifecycleEvent.REPEAT, f"{why}; {WAITS}")
            self._clear(job)
            job.ready_ms = self.now_ms
        job.attempt = attempt
        self.changed[job.idx] = job
        if not job.delayed:
            self.released.append(job)

    def settle(self) -> None:
        """Release or skip every job whose predecessors have ended; end the run after its last."""
        if self.run.state in FINAL:
            return
        jobs, graph = self.run.jobs, self.graph
        open_jobs = 0
        stage, earlier_open, stage_open = 0, False, False
        earlier_bad: int | None = None  # The first job of earlier stages that did not succeed.
        stage_bad: int | None = None
        good = [True] * len(jobs)
        for idx in graph.order:
            if graph.stage_of[idx] != stage:
                stage = graph.stage_of[idx]
                earlier_open = earlier_open or stage_open
                earlier_bad = stage_bad if earlier_bad is None else earlier_bad
                stage_open, stage_bad = False, None
            needed = graph.needs[idx]
            if needed is None:
                waits, bad = earlier_open, earlier_bad
            else:
                waits = any(jobs[other].state not in FINAL for other in needed)
                bad = next((other for other in needed if not good[other]), None)
            job = jobs[idx]
            if job.state == State.READY and job.ready_ms is None and not waits:
                self._release(job, bad)
            if job.finished_ms is not None and job.finished_ms > self.now_ms:
                self.now_ms = job.finished_ms
            good[idx] = self._is_good(job, bad=bad is not None)
            stage_open = stage_open or job.state not in FINAL
            if stage_bad is None and not good[idx]:
                stage_bad = idx
            open_jobs += job.state not in FINAL
        if not open_jobs:
            self._conclude(good)

    def _break_off(self, event: LifecycleEvent, reason: str) -> None:
        """Cancel what has not ended. The first time clean-up jobs stay; the run waits for them."""
        ending, specs = self.run.ending, self.graph.pipeline.jobs
        stay = False
        for job in self.run.jobs:
            if job.state in FINAL:
                continue
            if ending is None and specs[job.idx].when == When.ALWAYS:
                stay = True
            else:
                self._cancel(job, reason)
        if not stay:
            self._end(event if ending is None else LifecycleEvent(ending), reason)
            return
        self.run.ending, self.run.reason = event.value, reason
        self.run.deadline_ms = None  # It has passed, or no longer matters.
        self.run_changed = True

    def _release(self, job: JobRow, bad: int | None) -> None:
        """Let a job run, or skip it; `bad`: a job before it that did not succeed."""
        specs = self.graph.pipeline.jobs
        when = specs[job.idx].when
        if when == When.ON_SUCCESS and bad is not None:
            self._skip(job, f"a job before it did not succeed: {specs[bad].name}")
        elif when == When.ON_FAILURE and bad is None:
            self._skip(job, "it runs only on failure, and nothing before it failed")
        else:
            job.ready_ms = self.now_ms
            job.reason = WAITS
            self.changed[job.idx] = job
            self.released.append(job)

    def _is_good(self, job: JobRow, *, bad: bool) -> bool:
        """Whether what follows on success may go on after this job."""
        spec = self.graph.pipeline.jobs[job.idx]
        if job.state == State.ERROR:
            return spec.allow_failure
        if job.state == State.CANCELLED:  # Skipped as there was no failure: stands in no one's way.
            return spec.when == When.ON_FAILURE and not bad
        return True

    def _conclude(self, good: Sequence[bool]) -> None:
        jobs, specs = self.run.jobs, self.graph.pipeline.jobs
        failed = [job for job in jobs if job.state == State.ERROR]
        self.run.allowed_failures = sum(specs[job.idx].allow_failure for job in failed)
        if self.run.ending is not None:
            self._end(LifecycleEvent(self.run.ending), self.run.reason)
            return
        fatal = [job for job in failed if not specs[job.idx].allow_failure]
        if fatal:
            more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
            self._end(LifecycleEvent.FAIL, f"{specs[fatal[0].idx].name}: {fatal[0].reason}{more}")
            return
        stopped = [job for job in jobs if job.state == State.CANCELLED and not good[job.idx]]
        if stopped:
            self._end(LifecycleEvent.CANCEL, f"{specs[stopped[0].idx].name}: {stopped[0].reason}")
        else:
            self._end(LifecycleEvent.SUCCEED, "done")

    def _start(
        self, job: JobRow, worker: str | None, partition: int | None, started_ms: int
    ) -> None:
        started_ms = max(started_ms, job.ready_ms or 0)
        job.worker, job.partition, job.started_ms = worker, partition, started_ms
        self._move(job, LifecycleEvent.START, f"runs on {worker}" if worker else "starts")
        if self.run.state == State.READY:
            self.run.started_ms = started_ms
            why = "in progress" if self.run.ending is None else self.run.reason
            self._move_run(LifecycleEvent.START, why)

    def _again(self, job: JobRow, message: Finished | ChildEnded, delay_ms: int, why: str) -> None:
        self._archive(job, message.outcome)
        when = f"next attempt in {delay_ms / 1000:g} s" if delay_ms else WAITS
        self._move(job, LifecycleEvent.REPEAT, f"{why}; {when}")
        self._clear(job)
        job.attempt += 1
        job.delayed = delay_ms > 0
        job.ready_ms = self._steady_ms + delay_ms if job.delayed else self.now_ms
        self.released.append(job)

    def _archive(self, job: JobRow, outcome: Outcome) -> None:
        self.archived.append(archived(job, outcome, self.now_ms))

    def _clear(self, job: JobRow) -> None:
        job.worker = job.partition = job.progress = job.error = job.exit_code = None
        job.started_ms = job.finished_ms = None
        job.log_bytes = 0

    def release_due(self) -> None:
        """The retries whose delay is over may run."""
        for job in self.run.jobs:
            if job.delayed and job.ready_ms is not None and job.ready_ms <= self._steady_ms:
                ready_ms = job.ready_ms + self.now_ms - self._steady_ms
                job.ready_ms = max(ready_ms, self.run.created_ms)
                job.delayed = False
                job.reason = WAITS
                self.changed[job.idx] = job
                self.released.append(job)

    def _cancel(self, job: JobRow, reason: str) -> None:
        if job.ready_ms is None:
            self._skip(job, reason)
            return
        if job.delayed:
            job.ready_ms = self.now_ms
        self.stopped.append(job)
        self._ends(job, self.now_ms)
        if job.state == State.READY:
            self.skipped.append(job)
        self._move(job, LifecycleEvent.CANCEL, reason)

    def _ends(self, job: JobRow, at_ms: int) -> None:
        """Not before it was ready or began, and what follows from it not before its end."""
        job.finished_ms = max(at_ms, job.started_ms or job.ready_ms or 0)
        self.now_ms = max(self.now_ms, job.finished_ms)

    def _skip(self, job: JobRow, reason: str) -> None:
        job.finished_ms = self.now_ms
        self._move(job, LifecycleEvent.CANCEL, reason)
        self.skipped.append(job)

    def _move(self, job: JobRow, event: LifecycleEvent, reason: str) -> None:
        before = job.state
        job.state = after(JOB, before, event)
        job.delayed = False
        job.reason = reason
        self.waiting_delta += (job.state == State.READY) - (before == State.READY)
        self.changed[job.idx] = job

    def _move_run(self, event: LifecycleEvent, reason: str) -> None:
        self.run.state = after(RUN, self.run.state, event)
        self.run.reason = reason
        self.run_changed = True

    def _end(self, event: LifecycleEvent, reason: str) -> None:
        self._move_run(event, reason)
        self.run.ending = None
        self.run.finished_ms = max(self.now_ms, *(job.finished_ms or 0 for job in self.run.jobs))
        self.ended = True

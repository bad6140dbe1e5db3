"""Owns the transactions in which a run starts runs of other pipelines: by triggers, or as its jobs.

A job of the kind `Pipeline` goes to the trigger instead of the balancer (`StartChild`), which
starts its child run. When that ends, the job's end (`ChildEnded`) is published as a worker's would
be. Each attempt that began gets one end: the child's, a time-out, or a cancellation. While it has
none, its link `waits` (`store/children.py`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Raw

from control.core.pipelines import ownership
from control.core.runs import child_runs, triggers
from control.core.runs.advance import Advance
from control.core.runs.attempts import check_subject, is_published, may_be_reported
from control.core.runs.child_runs import Choice, End, PipelineParams
from control.core.runs.expand import triggered_input
from control.core.runs.triggers import fires, start_problem
from control.model import limits
from control.model.bus.child_messages import StartChild, StopChild
from control.model.bus.messages import ENCODER, Progressed
from control.model.bus.records import Record
from control.model.errors import Conflict, JobFailed, NotFound, QueueFull
from control.model.names import Topic
from control.model.state_rows import JobRow, RunRow
from control.model.states import FINAL, Outcome, State
from store import catalog, children, clients, runs
from store.children import ChildLink
from store.database.writer import Tx

if TYPE_CHECKING:
    from control.transactions.run_transactions import Ledger

_NULL = b"null"
_STOPPED = "its job was cancelled"


class Descendants:
    """Runs that runs start."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self.triggers_refused = 0  # Triggers that started nothing,
        self.last_refusal = ""  # and why the last one did not.

    def trigger(self, tx: Tx, step: Advance) -> None:
        """Start what `triggers` names; what cannot be started is in the run's reason."""
        run = step.run
        wanted = [spec.pipeline for spec in step.graph.pipeline.triggers if fires(spec, run.state)]
        for name in wanted:
            try:
                outputs = outputs_of(tx, step, limits.JOB_INPUT_BYTES_MAX)
                value = triggered_input(input_of(tx, run.id), outputs, run)
                self._start(tx, step, name, value)
            except JobFailed as problem:
                run.reason = f"{run.reason}; {problem}"
                self.triggers_refused += 1
                self.last_refusal = f"run {run.id}: {problem}"

    def start_child(self, tx: Tx, step: Advance, message: StartChild) -> None:
        """Start the run that a job is, or let the job wait for the one that is there.

        Raises `NotFound` when the message is about another installation's job.
        """
        job = step.job(message.job_id)
        check_subject(message, step.run, step.graph.pipeline.jobs[job.idx])
        if not may_be_reported(job, message.attempt) or job.state != State.READY:
            return  # It was cancelled meanwhile.
        try:
            params = child_runs.params_of(step, job, message.input)
            link = self._child(tx, step, job, params, message.ended_attempt)
            if link is None:
                return
        except JobFailed as problem:
            end = End(outcome=Outcome.FAILED, error=str(problem), final=problem.final)
            self._publish(tx, step, job, ChildLink(0, job.id, job.attempt, step.now_ms), end)
            return
        verb = "waits for" if params.wait else "started"
        step.started_child(job, f"{verb} run {link.run_id} of {params.name}")
        child = self._ledger.load(tx, [link.run_id], now_ms=step.now_ms)[link.run_id]
        if not params.wait:
            output = {"run_id": link.run_id, "state": State.READY, "jobs": {}}
            end = End(outcome=Outcome.DONE, output=Raw(ENCODER.encode(output)))
            self._publish(tx, step, job, link, end)
        elif child.run.state in FINAL:
            self._publish(tx, step, job, link, _end_of(tx, child))
        else:
            self._progress(tx, step.run.id, link, child)

    def stop_child(self, tx: Tx, message: StopChild, *, now_ms: int) -> None:
        """A job was cancelled: so are the runs that it waits for, if it is still there or not.

        Raises `NotFound` when the message is about another installation's job.
        """
        run_id = runs.run_of_job(tx.conn, message.job_id)
        if run_id is not None and run_id != message.run_id:
            text = f"job {message.job_id} is not of run {message.run_id}"
            raise NotFound(text)
        if run_id is not None:
            parent = self._ledger.load(tx, [run_id], now_ms=now_ms)[run_id]
            job = parent.job(message.job_id)
            check_subject(message, parent.run, parent.graph.pipeline.jobs[job.idx])
        for link in children.waited_for(tx.conn, message.job_id, message.attempt):
            self._stop(tx, link, message.reason, now_ms, attempt=message.attempt)

    def stop_all(self, tx: Tx, *, now_ms: int) -> None:
        """Orders to stop were lost: stop what jobs wait for that have ended."""
        while found := children.unstopped(tx.conn, limits.PUBLISH_PORTION_MAX):
            for link in found:
                self._stop(tx, link, _STOPPED, now_ms)

    def time_out(self, tx: Tx, link: ChildLink, *, now_ms: int) -> None:
        """An attempt has waited too long for the end of its run, which is cancelled."""
        parent = self._parent(tx, link, now_ms)
        job = None if parent is None else parent.job(link.job_id)
        if parent is None or job is None or job.state in FINAL:
            self._stop(tx, link, _STOPPED, now_ms)
        elif not may_be_reported(job, link.attempt):
            children.forget_deadline(tx.conn, link.run_id)  # Its successor takes the run over.
        else:
            timeout = parent.graph.pipeline.jobs[job.idx].timeout
            error = f"the time-out of {timeout:g} s was reached"
            self._publish(tx, parent, job, link, End(outcome=Outcome.TIMED_OUT, error=error))
            self._cancel(tx, link, "the time-out of the job that started it was reached", now_ms)

    def report(self, tx: Tx, step: Advance) -> None:
        """Publish how far a run is, or its end, for the job that waits for it, if there is one."""
        found = children.parent(tx.conn, step.run.id)
        if found is None:
            return
        link, is_to_be_retried = found
        parent = self._parent(tx, link, step.now_ms)
        if parent is None:
            children.answered(tx.conn, link.run_id)
            return
        job = parent.job(link.job_id)
        if is_to_be_retried:
            if step.ended:
                self._begin_again(tx, parent, job, link)
        elif not step.ended:
            self._progress(tx, parent.run.id, link, step)
        elif may_be_reported(job, link.attempt):
            self._publish(tx, parent, job, link, _end_of(tx, step))
        elif job.state in FINAL and job.attempt == link.attempt:
            self._publish(tx, parent, job, link, End(outcome=Outcome.CANCELLED, error=job.reason))
        # Else the next attempt takes it over, and has its end, or who stops it ends it.

    def _begin_again(self, tx: Tx, parent: Advance, job: JobRow, link: ChildLink) -> None:
        """The run before has ended: a job that still waits for that may start one, or retry it."""
        children.answered(tx.conn, link.run_id)
        if job.state == State.READY and is_published(job):
            parent.released.append(job)
            self._ledger.save(tx, [parent])

    def _child(
        self, tx: Tx, step: Advance, job: JobRow, params: PipelineParams, ended_attempt: int
    ) -> ChildLink | None:
        """The run that a job's attempt waits for; raises `JobFailed`.

        None: the attempt begins when the run before has ended.
        """
        timeout = step.graph.pipeline.jobs[job.idx].timeout
        deadline_ms = None
        if timeout is not None and params.wait:
            deadline_ms = self._ledger.steady_ms() + round(timeout * 1000)
        value = ENCODER.encode(params.input)
        last = children.of_job(tx.conn, job.id)
        if last is not None:
            target = catalog.find(tx.conn, params.name)
            same = target is not None and target.revision_id == last.revision_id and params.wait
            choice = child_runs.choose(
                last.state,
                ending=last.ending,
                attempt=last.attempt,
                ended_attempt=ended_attempt,
                same=same and last.input.encode() == value,
            )
            if choice == Choice.LATER:
                children.retry_later(tx.conn, last.run_id)
                job.reason = f"waits until run {last.run_id} has ended, to retry it"
                step.changed[job.idx] = job
                return None
            if choice == Choice.RETRY:
                self._retry(tx, last.run_id, step.now_ms)
            if choice != Choice.NEW:
                link = ChildLink(last.run_id, job.id, job.attempt, step.now_ms)
                children.take(tx.conn, link, waits=params.wait, deadline_ms=deadline_ms)
                return link
        problem = child_runs.circle_problem(children.names(tx.conn, step.run.id), params.name)
        problem = problem or child_runs.input_problem(value)
        if problem is not None:
            raise JobFailed(f"{params.name} was not started: {problem}", final=True)
        child = self._start(tx, step, params.name, Raw(value), of_job=True)
        link = ChildLink(child.id, job.id, job.attempt, step.now_ms)
        children.insert(tx.conn, link, waits=params.wait, deadline_ms=deadline_ms)
        return link

    def _retry(self, tx: Tx, run_id: int, now_ms: int) -> None:
        try:
            self._ledger.retry_run(tx, run_id, now_ms=now_ms)
        except (Conflict, QueueFull) as error:
            message = f"run {run_id} was not retried: {error}"
            raise JobFailed(message, final=isinstance(error, Conflict)) from error

    def _start(
        self, tx: Tx, step: Advance, name: str, value: Raw, *, of_job: bool = False
    ) -> RunRow:
        """Start a run of another pipeline for this run's client; raises `JobFailed`.

        `of_job`: of one that waits no longer then; the new run is at least as urgent as this one.
        """
        run = step.run
        target = catalog.find(tx.conn, name)
        if target is None:
            raise JobFailed(f"there is no pipeline {name} to start", final=True)
        starter = clients.standing(tx.conn, run.client)
        wrote = runs.author(tx.conn, run.revision_id)
        author = starter if wrote in {None, run.client} else clients.standing(tx.conn, wrote or "")
        family = runs.family(tx.conn, run.root_run_id)
        problem = ownership.start_refusal(starter, author, target.client)
        problem = problem or start_problem(
            depth=run.depth, family=family, input_bytes=len(bytes(value))
        )
        if problem is not None:
            raise JobFailed(f"{name} was not started: {problem}", final=True)
        pipeline = self._ledger.graphs.get(tx, target.revision_id).pipeline
        new = triggers.started_by(step, target.revision_id, pipeline, value, of_job=of_job)
        runs.add_waiting(tx.conn, {run.client: -of_job})
        try:
            (started,) = self._ledger.submit(tx, [new])
        except QueueFull as error:
            raise JobFailed(f"{name} was not started: {error}") from error
        finally:
            runs.add_waiting(tx.conn, {run.client: of_job})
        runs.grow_family(tx.conn, run.root_run_id)
        return started

    def _parent(self, tx: Tx, link: ChildLink, now_ms: int) -> Advance | None:
        """The run whose job waits; None: it was deleted."""
        run_id = runs.run_of_job(tx.conn, link.job_id)
        return None if run_id is None else self._ledger.load(tx, [run_id], now_ms=now_ms)[run_id]

    def _progress(self, tx: Tx, parent_id: int, link: ChildLink, child: Advance) -> None:
        """How many of the child's jobs have ended; who watches the job learns that it began."""
        jobs = child.run.jobs
        share = sum(job.state in FINAL for job in jobs) / len(jobs)
        message = Progressed(
            run_id=parent_id, job_id=link.job_id, attempt=link.attempt, progress=share
        )
        tx.publish([Record(Topic.TASK_RUN_EVENTS, message, parent_id)])

    def _publish(self, tx: Tx, step: Advance, job: JobRow, link: ChildLink, end: End) -> None:
        """The one end of an attempt."""
        children.answered(tx.conn, link.run_id)
        message = child_runs.child_ended(
            step, job, end, attempt=link.attempt, started_ms=link.started_ms
        )
        tx.publish([Record(Topic.TASK_RUN_RESULTS, message, step.run.id)])

    def _stop(
        self, tx: Tx, link: ChildLink, reason: str, now_ms: int, *, attempt: int | None = None
    ) -> None:
        """End the attempt that was cancelled, which is the job's last one by default, and its run.

        An older attempt was replaced before it had an end, and has none.
        """
        parent = self._parent(tx, link, now_ms)
        if parent is not None:
            job = parent.job(link.job_id)
            if link.attempt == (job.attempt if attempt is None else attempt):
                end = End(outcome=Outcome.CANCELLED, error=reason)
                self._publish(tx, parent, job, link, end)
        self._cancel(tx, link, f"the job that started it was cancelled: {reason}", now_ms)

    def _cancel(self, tx: Tx, link: ChildLink, reason: str, now_ms: int) -> None:
        children.answered(tx.conn, link.run_id)
        try:
            self._ledger.cancel_run(tx, link.run_id, reason, now_ms=now_ms)
        except (Conflict, NotFound):
            return  # It has ended already, or was deleted.


def input_of(tx: Tx, run_id: int) -> bytes:
    """A run's input, JSON."""
    return runs.inputs(tx.conn, [run_id]).get(run_id, _NULL)


def outputs_of(tx: Tx, step: Advance, bytes_max: int) -> Mapping[str, bytes]:
    """The output of each job of a run, JSON by its name; raises `JobFailed` for too many bytes."""
    job_ids = [job.id for job in step.run.jobs]
    size = sum(runs.output_sizes(tx.conn, job_ids).values())
    if size > bytes_max:
        allowed = bytes_max // limits.MIB
        message = f"the outputs of run {step.run.id} are more than {allowed} MiB together"
        raise JobFailed(message, final=True)
    found = runs.outputs(tx.conn, job_ids)
    return {
        spec.name: found.get(job.id, _NULL)
        for spec, job in zip(step.graph.pipeline.jobs, step.run.jobs, strict=True)
    }


def _end_of(tx: Tx, child: Advance) -> End:
    """How a job ends whose child run has ended."""
    if child.run.state != State.DONE:
        return child_runs.ended_with(child.run, {})
    try:
        return child_runs.ended_with(child.run, outputs_of(tx, child, limits.OUTPUT_BYTES_MAX))
    except JobFailed as problem:
        return End(outcome=Outcome.FAILED, error=str(problem), final=True)

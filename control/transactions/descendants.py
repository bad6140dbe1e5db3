"""Owns the transactions in which a run starts runs of other pipelines: by triggers, or as its jobs.

A job of the kind `Pipeline` goes to the trigger instead of the balancer (`StartChild`), which
starts its child run. When that ends, the job's end (`ChildEnded`) is published as a worker's would
be. Each attempt at such a job is answered once: by the child's end, a time-out, or a cancellation.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Raw

from control.core import child_runs, rights
from control.core.advance import Advance
from control.core.attempts import may_be_reported
from control.core.child_runs import End, PipelineParams
from control.core.divide import triggered_input
from control.core.triggers import fires, start_problem
from control.model.errors import Conflict, JobFailed, NotFound, QueueFull
from control.model.messages import ENCODER, StartChild, StopChild
from control.model.names import Topic
from control.model.records import Record
from control.model.rows import JobRow, NewRun, RunRow
from control.model.states import FINAL, Outcome, State, Trigger
from store import catalog, children, clients, runs
from store.children import Link
from store.writer import Tx

if TYPE_CHECKING:
    from control.transactions.ledger import Ledger

_NULL = b"null"
_RETRIED = frozenset({State.ERROR, State.CANCELLED})


class Descendants:
    """Runs that runs start."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self.triggers_refused = 0  # Triggers that started nothing,
        self.last_refusal = ""  # and why the last one did not.

    def trigger(self, tx: Tx, step: Advance) -> None:
        """Start what `triggers` says; what cannot be started is said in the run's reason."""
        run = step.run
        wanted = [spec.pipeline for spec in step.graph.pipeline.triggers if fires(spec, run.state)]
        if not wanted:
            return
        value = triggered_input(_input(tx, run.id), _outputs(tx, step), run)
        for name in wanted:
            try:
                self._start(tx, step, name, value)
            except JobFailed as problem:
                run.reason = f"{run.reason}; {problem}"
                self.triggers_refused += 1
                self.last_refusal = f"run {run.id}: {problem}"

    def start_child(self, tx: Tx, step: Advance, message: StartChild) -> None:
        """Start the run that a job is, or let the job wait for the one that is there."""
        job = step.job(message.job_id)
        if not may_be_reported(job, message.attempt) or job.state != State.READY:
            return  # It was cancelled meanwhile.
        try:
            params = child_runs.params_of(step.run, step.graph, job, message.input)
            child_id = self._child(tx, step, job, params, message.ended_attempt)
        except JobFailed as problem:
            end = End(outcome=Outcome.FAILED, error=str(problem), final=problem.final)
            self._publish(tx, step, job, end)
            return
        verb = "waits for" if params.wait else "started"
        step.started_child(job, f"{verb} run {child_id} of {params.name}")
        if not params.wait:
            output = {"run_id": child_id, "state": State.READY, "jobs": {}}
            end = End(outcome=Outcome.DONE, output=Raw(ENCODER.encode(output)))
            self._publish(tx, step, job, end)
            return
        child = self._ledger.load(tx, [child_id], now_ms=step.now_ms)[child_id]
        if child.run.state in FINAL:  # Its end was on its way when records were lost.
            self._answer(tx, step, job, child)

    def stop_child(self, tx: Tx, step: Advance, message: StopChild) -> None:
        """A job was cancelled: so are the runs that it waits for."""
        for link in children.waited_for(tx.conn, message.job_id):
            job = step.job(link.job_id)
            if job.attempt == link.attempt:
                end = End(outcome=Outcome.CANCELLED, error=message.reason)
                self._publish(tx, step, job, end)
            reason = f"its job in run {step.run.id} was cancelled: {message.reason}"
            self._cancel(tx, link, reason, step.now_ms)

    def time_out(self, tx: Tx, link: Link, *, now_ms: int) -> None:
        """An attempt has waited too long for the end of its run, which is cancelled."""
        parent = self._parent(tx, link, now_ms)
        if parent is not None:
            job = parent.job(link.job_id)
            spec = parent.graph.pipeline.jobs[job.idx]
            error = f"the time-out of {spec.timeout:g} s was reached"
            self._publish(tx, parent, job, End(outcome=Outcome.TIMED_OUT, error=error))
        self._cancel(tx, link, "the time-out of the job that started it was reached", now_ms)

    def ended(self, tx: Tx, step: Advance) -> None:
        """A run has ended: so has the job, if there is one, that waits for it."""
        link = children.parent(tx.conn, step.run.id)
        if link is not None:
            parent = self._parent(tx, link, step.now_ms)
            if parent is None:
                children.answered(tx.conn, link.run_id)
            else:
                self._answer(tx, parent, parent.job(link.job_id), step)

    def _child(
        self, tx: Tx, step: Advance, job: JobRow, params: PipelineParams, ended_attempt: int
    ) -> int:
        """The run that a job's attempt waits for: a new one, or the one it had; raises `JobFailed`.

        One that was started for an attempt whose end is not known is taken over. After a failure
        the run is retried, so what was done in it is not done again, if it would be the same run.
        """
        spec = step.graph.pipeline.jobs[job.idx]
        deadline_ms = None
        if spec.timeout is not None and params.wait:
            deadline_ms = self._ledger.steady_ms() + round(spec.timeout * 1000)
        value = ENCODER.encode(params.input)
        last = children.of_job(tx.conn, job.id)
        if last is not None:
            link = Link(last.run_id, job.id, job.attempt)
            if last.attempt > ended_attempt:
                children.take(tx.conn, link, waits=params.wait, deadline_ms=deadline_ms)
                return last.run_id
            target = catalog.find(tx.conn, params.name)
            same = target is not None and target.revision_id == last.revision_id
            if same and last.state in _RETRIED and last.input.encode() == value and params.wait:
                self._retry(tx, last.run_id, step.now_ms)
                children.take(tx.conn, link, waits=True, deadline_ms=deadline_ms)
                return last.run_id
        problem = child_runs.circle_problem(children.names(tx.conn, step.run.id), params.name)
        if problem is not None:
            raise JobFailed(f"{params.name} was not started: {problem}", final=True)
        child = self._start(tx, step, params.name, Raw(value), priority=step.run.priority)
        link = Link(child.id, job.id, job.attempt)
        children.insert(tx.conn, link, waits=params.wait, deadline_ms=deadline_ms)
        return child.id

    def _retry(self, tx: Tx, run_id: int, now_ms: int) -> None:
        try:
            self._ledger.retry_run(tx, run_id, now_ms=now_ms)
        except (Conflict, QueueFull) as error:
            message = f"run {run_id} was not retried: {error}"
            raise JobFailed(message, final=isinstance(error, Conflict)) from error

    def _start(
        self, tx: Tx, step: Advance, name: str, value: Raw, *, priority: int | None = None
    ) -> RunRow:
        """Start a run of another pipeline for this run's client; raises `JobFailed`.

        `priority`: at least so urgent.
        """
        run = step.run
        target = catalog.find(tx.conn, name)
        if target is None:
            raise JobFailed(f"there is no pipeline {name} to start", final=True)
        starter = clients.standing(tx.conn, run.client)
        wrote = runs.author(tx.conn, run.revision_id)
        author = starter if wrote in {None, run.client} else clients.standing(tx.conn, wrote or "")
        family = runs.family(tx.conn, run.root_run_id)
        problem = rights.start_refusal(starter, author, target.client)
        problem = problem or start_problem(
            depth=run.depth, family=family, input_bytes=len(bytes(value))
        )
        if problem is not None:
            raise JobFailed(f"{name} was not started: {problem}", final=True)
        if priority is not None:
            own = self._ledger.graphs.get(tx, target.revision_id).pipeline.priority
            priority = min(priority, own)
        new = NewRun(
            revision_id=target.revision_id,
            client=run.client,
            client_priority=run.client_priority,
            max_running=run.max_running,
            trigger=Trigger.PIPELINE,
            created_ms=step.now_ms,
            priority=priority,
            input=value,
            depth=run.depth + 1,
            root_run_id=run.root_run_id,
        )
        try:
            (started,) = self._ledger.submit(tx, [new])
        except QueueFull as error:
            raise JobFailed(f"{name} was not started: {error}") from error
        runs.grow_family(tx.conn, run.root_run_id)
        return started

    def _parent(self, tx: Tx, link: Link, now_ms: int) -> Advance | None:
        """The run whose attempt still waits; None: it does not, or is gone."""
        run_id = runs.run_of_job(tx.conn, link.job_id)
        if run_id is None:
            return None
        parent = self._ledger.load(tx, [run_id], now_ms=now_ms)[run_id]
        job = parent.job(link.job_id)
        return parent if may_be_reported(job, link.attempt) else None

    def _answer(self, tx: Tx, parent: Advance, job: JobRow, child: Advance) -> None:
        children.answered(tx.conn, child.run.id)
        self._publish(tx, parent, job, child_runs.ended_with(child.run, _outputs(tx, child)))

    def _publish(self, tx: Tx, step: Advance, job: JobRow, end: End) -> None:
        message = child_runs.child_ended(step.run, step.graph, job, end, step.now_ms)
        tx.publish([Record(Topic.TASK_RUN_RESULTS, message, step.run.id)])

    def _cancel(self, tx: Tx, link: Link, reason: str, now_ms: int) -> None:
        children.answered(tx.conn, link.run_id)
        try:
            self._ledger.cancel_run(tx, link.run_id, reason, now_ms=now_ms)
        except (Conflict, NotFound):
            return  # It has ended already, or was deleted.


def _input(tx: Tx, run_id: int) -> bytes:
    return runs.inputs(tx.conn, [run_id]).get(run_id, _NULL)


def _outputs(tx: Tx, step: Advance) -> Mapping[str, bytes]:
    """The output of each job of a run, by its name."""
    found = runs.outputs(tx.conn, [job.id for job in step.run.jobs])
    return {
        spec.name: found.get(job.id, _NULL)
        for spec, job in zip(step.graph.pipeline.jobs, step.run.jobs, strict=True)
    }

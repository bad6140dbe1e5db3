"""Owns the transactions that start runs and move them on.

Each function runs inside one transaction of the writer: it reads what is true, lets
`control.core` decide, and writes state and messages together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from control.core.pipelines import ownership
from control.core.runs import hand_over, notice_runs, queue_share
from control.core.runs.advance import Advance
from control.core.runs.expand import (
    divide,
    job_input,
    order_of,
    released,
    skipped,
    stopped,
)
from control.core.runs.hand_over import DueJob
from control.core.runs.lost_records import Reach
from control.model import limits
from control.model.bus.messages import Deadline, Message, ReorderJob
from control.model.bus.records import Record
from control.model.errors import Conflict, NotFound, QueueFull
from control.model.names import Change, Topic
from control.model.raw import NULL
from control.model.state_rows import NewRun, RunRow
from control.model.states import FINAL, State
from control.transactions.descendants import Descendants
from control.transactions.graphs import Graphs
from store import clients, epoch, notices, runs
from store.database.writer import Tx
from store.notices import Pending

_NULL = bytes(NULL)


class Again(NamedTuple):
    """What was published again: up to which run, and how many jobs."""

    last_run_id: int
    jobs: int


class Ledger:
    """What may be done to runs. `queue_size` bounds the jobs waiting, of all clients.

    `steady_ms`: the clock that deadlines and retries go by.
    """

    def __init__(self, graphs: Graphs, queue_size: int, steady_ms: Callable[[], int]) -> None:
        self.graphs = graphs
        self.steady_ms = steady_ms
        self.descendants = Descendants(self)
        self._installation_name = ""  # Until it is read.
        self.queue_size = queue_size

    def submit(self, tx: Tx, news: Sequence[NewRun]) -> list[RunRow]:
        """Start runs, all or none; raises `QueueFull` when a limit would be passed."""
        asked: Counter[str] = Counter()
        for new in news:  # Looked at before the work of dividing: a full queue must be cheap.
            asked[new.client] += len(self.graphs.get(tx, new.revision_id).stage_of)
        self._check_room(tx, asked)
        steps = self._divide(tx, news)
        self._insert(tx, news, steps)
        return [step.run for step in steps]

    def _divide(self, tx: Tx, news: Sequence[NewRun]) -> list[Advance]:
        run_id, job_id = runs.next_ids(tx.conn)
        steady_ms = self.steady_ms()
        steps: list[Advance] = []
        for new in news:
            graph = self.graphs.get(tx, new.revision_id)
            step = divide(new, graph, run_id=run_id, first_job_id=job_id, steady_ms=steady_ms)
            steps.append(step)
            run_id, job_id = run_id + 1, job_id + len(graph.stage_of)
        return steps

    def _insert(self, tx: Tx, news: Sequence[NewRun], steps: Sequence[Advance]) -> None:
        runs.insert(tx.conn, [(new, step.run) for new, step in zip(news, steps, strict=True)])
        messages: list[Record] = []
        installation = self._installation(tx)
        for new, step in zip(news, steps, strict=True):
            ready_input = job_input(bytes(new.input), {}, {})
            messages += [released(step, job, ready_input, installation) for job in step.released]
            messages += self._ends(step)
            if step.ended:  # Every job was skipped.
                _notify(tx, step)
                if step.run.schedule_id is not None:
                    tx.touch(Change.SCHEDULES)
        tx.publish(messages)
        runs.add_waiting(tx.conn, _waiting_deltas(steps))

    def _installation(self, tx: Tx) -> str:
        if not self._installation_name:
            self._installation_name = runs.installation(tx.conn)
        return self._installation_name

    def load(self, tx: Tx, run_ids: Iterable[int], *, now_ms: int) -> dict[int, Advance]:
        """Runs to work on, by id; those that do not exist (any more) are missing."""
        steady_ms = self.steady_ms()
        return {
            run.id: Advance(run, self.graphs.get(tx, run.revision_id), now_ms, steady_ms)
            for run in runs.load(tx.conn, run_ids)
        }

    def save(self, tx: Tx, steps: Sequence[Advance]) -> None:
        """Settle, store, and publish everything that happened to these runs."""
        for step in steps:
            step.settle()
        archived = [attempt for step in steps for attempt in step.archived]
        if archived:
            runs.insert_attempts(tx.conn, archived)
        ready = self._ready(tx, [step for step in steps if step.released])
        # Before anything is triggered: what has begun or ended waits no more.
        runs.add_waiting(tx.conn, _waiting_deltas(steps))
        for step in steps:
            if step.ended and step.graph.pipeline.triggers:
                self.descendants.trigger(tx, step)
            if step.run.depth and any(job.state in FINAL for job in step.changed.values()):
                self.descendants.report(tx, step)
            if step.ended:
                _notify(tx, step)
            if step.ended and step.run.schedule_id is not None:
                tx.touch(Change.SCHEDULES)  # The next one may be waiting for this end.
        jobs = [job for step in steps for job in step.changed.values()]
        if jobs:
            tx.touch(Change.JOBS)
        runs.save_jobs(tx.conn, jobs)
        runs.save_runs(tx.conn, [step.run for step in steps if step.run_changed])
        messages = ready
        for step in steps:
            messages += self._ends(step)
        tx.publish(messages)

    def restart_open(self, tx: Tx, number: Callable[[int], int], *, now_ms: int) -> int:
        """Run all that is open again, after a restore; gives how many runs are open.

        `number`: as for `Advance.restart`.
        """
        after, count = 0, 0
        while found := runs.open_after(tx.conn, after, limits.PUBLISH_PORTION_MAX):
            steps = list(self.load(tx, found, now_ms=now_ms).values())
            for step in steps:
                step.restart(number)
            self.save(tx, steps)
            after, count = found[-1], count + len(found)
        epoch.published(tx.conn)
        return count

    def cancel_run(self, tx: Tx, run_id: int, reason: str, *, now_ms: int) -> RunRow:
        """End a run; raises `NotFound` or `Conflict`."""
        step = self._one(tx, run_id, now_ms)
        step.cancel(reason)
        self.save(tx, [step])
        return step.run

    def retry_run(self, tx: Tx, run_id: int, *, now_ms: int) -> Advance:
        """Run the failed and cancelled jobs again; raises `NotFound`, `Conflict`, `QueueFull`."""
        step = self._one(tx, run_id, now_ms)
        check_starts(tx, step.run.client)
        step.retry(epoch.position(tx.conn).epoch)
        self._check_room(tx, _waiting_deltas([step]))
        self.save(tx, [step])
        return step

    def publish_again(self, tx: Tx, after: int, *, reach: Reach, now_ms: int) -> Again | None:
        """Publish again what is open of some runs with ids above `after`; None: there are no more.

        Records of it are gone from the bus.
        """
        if not after:
            self.descendants.stop_all(tx, now_ms=now_ms)
        run_ids = runs.open_after(tx.conn, after, limits.PUBLISH_PORTION_MAX)
        steps = self.load(tx, run_ids, now_ms=now_ms)
        for step in steps.values():
            step.publish_again(reach)
        self.save(tx, list(steps.values()))
        if not run_ids:
            return None
        return Again(run_ids[-1], sum(len(step.superseded) for step in steps.values()))

    def cancel_job(self, tx: Tx, job_id: int, reason: str, *, now_ms: int) -> None:
        """End one job; raises `NotFound` or `Conflict`."""
        step = self._one(tx, self._run_of(tx, job_id), now_ms)
        step.cancel_job(job_id, reason)
        self.save(tx, [step])

    def set_priority(self, tx: Tx, job_id: int, priority: int, *, now_ms: int) -> None:
        """Move a waiting job in the order; raises `NotFound` or `Conflict`."""
        step = self._one(tx, self._run_of(tx, job_id), now_ms)
        job = step.job(job_id)
        if job.state != State.READY:
            message = f"job {job_id} is {job.state}; its priority counts only while it is READY"
            raise Conflict(message)
        job.priority = priority
        runs.save_jobs(tx.conn, [job])
        order = order_of(step.run, step.graph, job)
        tx.publish([Record(Topic.TASK_COMMANDS, ReorderJob(job_id=job_id, order=order))])

    def _one(self, tx: Tx, run_id: int, now_ms: int) -> Advance:
        found = self.load(tx, [run_id], now_ms=now_ms)
        if run_id not in found:
            message = f"there is no run {run_id}"
            raise NotFound(message)
        return found[run_id]

    def _run_of(self, tx: Tx, job_id: int) -> int:
        run_id = runs.run_of_job(tx.conn, job_id)
        if run_id is None:
            message = f"there is no job {job_id}"
            raise NotFound(message)
        return run_id

    def _check_room(self, tx: Tx, deltas: Mapping[str, int]) -> None:
        for client, asked in deltas.items():
            problem = self._no_room(tx, client, asked)
            if problem is not None:
                raise QueueFull(problem, retry_after_s=limits.RETRY_AFTER_S)

    def _no_room(self, tx: Tx, client: str, asked: int) -> str | None:
        held, max_queued = runs.client_queue(tx.conn, client)
        return queue_share.refusal(
            client,
            asked,
            held=held,
            max_queued=max_queued,
            waiting=runs.waiting(tx.conn),
            queue_size=self.queue_size,
        )

    def _ready(self, tx: Tx, steps: Sequence[Advance]) -> list[Record]:
        """Messages about released jobs, with the outputs of those they waited for."""
        records: list[Record] = []
        published: set[int] = set()
        # One that cannot start lets others go on: those that wait for its failure.
        while due := hand_over.due_jobs(steps, published):
            published.update(each.job.id for each in due)
            records += self._hand_over(tx, due)
        return records

    def _hand_over(self, tx: Tx, due: Sequence[DueJob]) -> list[Record]:
        large = hand_over.of_unknown_size(due)
        sizes = runs.output_sizes(tx.conn, large) if large else {}
        due = hand_over.without_too_large(due, sizes)
        inputs = runs.inputs(tx.conn, {each.step.run.id for each in due})
        outputs = runs.outputs(tx.conn, {job_id for each in due for job_id in each.predecessors})
        again = [each.job.id for each in due if each.job.attempt > 1]
        ended = runs.ended_attempts(tx.conn, again) if again else {}
        records = (
            hand_over.record_of(
                each,
                run_input=inputs.get(each.step.run.id, _NULL),
                outputs=outputs,
                installation=self._installation(tx),
                ended_attempt=ended.get(each.job.id, 0),
            )
            for each in due
        )
        return [record for record in records if record is not None]

    def _ends(self, step: Advance) -> list[Record]:
        """Messages about jobs that ended without an attempt, those to be stopped, a deadline."""
        key = step.run.id
        messages: list[tuple[Topic, Message]] = [
            (Topic.TASK_RUN_RESULTS, skipped(step.run, step.graph, job, step.now_ms))
            for job in step.skipped
        ]
        messages += [stopped(step, job) for job in step.stopped]
        messages += [(Topic.TASK_COMMANDS, stop) for stop in step.superseded]
        if step.deadline_set and step.run.deadline_ms is not None:
            deadline = Deadline(run_id=key, at_ms=step.run.deadline_ms)
            messages.append((Topic.TASK_COMMANDS, deadline))
        return [Record(topic, message, key) for topic, message in messages]


def check_starts(tx: Tx, client: str) -> None:
    """Raise `Conflict` when nothing may start in this client's name, whoever asks for it."""
    problem = ownership.bar(clients.standing(tx.conn, client))
    if problem is not None:
        raise Conflict(problem)


def _notify(tx: Tx, step: Advance) -> None:
    """A run has ended: have the notices sent that its pipeline asks for."""
    found = notice_runs.wanted(step.graph.pipeline, step.run.state)
    if found:
        ended_ms = step.run.finished_ms or step.now_ms
        notices.insert(tx.conn, [Pending(step.run.id, entry, ended_ms) for entry in found])
        tx.touch(Change.NOTICES)


def _waiting_deltas(steps: Sequence[Advance]) -> Counter[str]:
    deltas: Counter[str] = Counter()
    for step in steps:
        deltas[step.run.client] += step.waiting_delta
    return deltas

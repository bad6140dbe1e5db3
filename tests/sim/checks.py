"""Decides what must hold after every commit, and at the end, whatever happened before."""

import sqlite3
from collections import Counter, defaultdict

from control.model.messages import Finished, Message, Skipped
from control.model.records import Delivery
from control.model.states import FINAL, Outcome, State
from tests.services.plane import Plane

_OF_OUTCOME = {
    Outcome.DONE: State.DONE,
    Outcome.FAILED: State.ERROR,
    Outcome.TIMED_OUT: State.ERROR,
    Outcome.LOST: State.ERROR,
}


class Checks:
    """What was seen so far. An operator's retry says so in `retried` before it is committed."""

    def __init__(self) -> None:
        self.retried: set[int] = set()
        self.results: dict[int, Message] = {}  # By offset: the log tells a thing twice, at most.
        self.commits = 0
        self._jobs: dict[int, tuple[State, int]] = {}
        self._runs: dict[int, State] = {}
        self._finished: dict[tuple[int, int], int] = {}

    def committed(self, conn: sqlite3.Connection) -> None:
        """After every commit: what is final stays, and counters are true."""
        self.commits += 1
        jobs = {
            job_id: (State(state), run_id)
            for job_id, run_id, state in conn.execute("SELECT id, run_id, state FROM jobs")
        }
        for job_id, (before, run_id) in self._jobs.items():
            after = jobs[job_id][0]
            if before in FINAL and after != before:
                assert run_id in self.retried, f"job {job_id} went from {before} to {after}"
        runs = {i: State(state) for i, state in conn.execute("SELECT id, state FROM runs")}
        for run_id, before in self._runs.items():
            if before in FINAL and runs[run_id] != before:
                assert run_id in self.retried, f"run {run_id} went from {before}"
        for run_id, state in runs.items():
            if state in FINAL:
                open_jobs = [j for j, (s, r) in jobs.items() if r == run_id and s not in FINAL]
                assert not open_jobs, f"run {run_id} is {state}, its jobs {open_jobs} are not"
        self._jobs, self._runs = jobs, runs
        self.retried.clear()
        self._count_waiting(conn)

    def _count_waiting(self, conn: sqlite3.Connection) -> None:
        counted = dict(conn.execute("SELECT client_id, waiting FROM clients"))
        real = dict.fromkeys(counted, 0)
        sql = """SELECT r.client_id, count(*) FROM jobs AS j JOIN runs AS r ON r.id = j.run_id
                 WHERE j.state = 'READY' GROUP BY 1"""
        real.update(conn.execute(sql))
        assert counted == real

    def result(self, delivery: Delivery) -> None:
        """The observing group was handed a record; perhaps again."""
        message = delivery.message
        before = self.results.setdefault(delivery.offset, message)
        assert before == message, f"two records have the offset {delivery.offset}"
        if isinstance(message, Finished):
            attempt = (message.job_id, message.attempt)
            first = self._finished.setdefault(attempt, delivery.offset)
            assert first == delivery.offset, f"two results of {attempt}"

    def leases(self, plane: Plane, max_running: dict[str, int]) -> None:
        """No client runs more than it may.

        An attempt that was cancelled and has not stopped yet does not count: its worker may be
        out of reach, and the job may have been retried since.
        """
        sql = "SELECT id, attempt FROM jobs WHERE state IN ('READY', 'IN_PROGRESS')"
        wanted = set(plane.conn.execute(sql))
        held = plane.dispatcher.leases._held.values()  # noqa: SLF001
        running = Counter(
            each.placed.job.client
            for each in held
            if (each.lease.job_id, each.lease.attempt) in wanted
        )
        for client, allowed in max_running.items():
            assert running[client] <= allowed, f"{client} has {running[client]} of {allowed}"

    def at_the_end(self, plane: Plane, produced: dict[tuple[int, int], set[bytes]]) -> None:
        """Nothing is lost, nothing is left, and what is stored is what was produced."""
        finished: defaultdict[tuple[int, int], list[Finished]] = defaultdict(list)
        skipped: set[int] = set()
        for message in self.results.values():
            if isinstance(message, Finished):
                finished[message.job_id, message.attempt].append(message)
            elif isinstance(message, Skipped):
                skipped.add(message.job_id)
        outputs = dict(plane.conn.execute("SELECT job_id, output FROM outputs"))
        for run in plane.runs():
            assert run.state in FINAL, f"run {run.id} is {run.state}: {run.reason}"
            for job in run.jobs:
                results = finished[job.id, job.attempt]
                if job.state == State.CANCELLED:
                    continue
                (result,) = results
                assert _OF_OUTCOME[result.outcome] == job.state
                if job.state == State.DONE:
                    assert outputs[job.id].encode() in produced[job.id, job.attempt]
        self._nothing_is_held(plane)

    def _nothing_is_held(self, plane: Plane) -> None:
        leases, core = plane.dispatcher.leases, plane.balancer._core  # noqa: SLF001
        assert not leases._held  # noqa: SLF001
        assert not leases.holdings.adrift
        assert not leases._claims  # noqa: SLF001
        assert not core.waiting.jobs
        assert not core.outstanding.jobs, core.outstanding.jobs
        assert not core.outstanding.clients
        assert core.outstanding.slow == 0
        for worker in core.slots.workers.values():
            assert (worker.outstanding, worker.slow) == (0, 0)
            assert sum(lane.free for lane in worker.lanes.values()) == worker.info.slots

"""Decides what must hold after every commit, and at the end, whatever happened before."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence

import msgspec

from control.model.bus.child_messages import ChildEnded
from control.model.bus.messages import Finished, Message, Placed, Skipped
from control.model.bus.records import Delivery
from control.model.names import Topic
from control.model.numbers import JobId
from control.model.states import FINAL, Outcome, State
from control.model.worker.wire import Lease
from store import runs
from tests.services.plane import Plane
from tests.sim.watch import Moved, TappedRows, moves

FOREIGN = "foreign"  # The pipeline that records name which nobody of ours has written.
_OF_OUTCOME = {
    Outcome.DONE: State.DONE,
    Outcome.FAILED: State.ERROR,
    Outcome.TIMED_OUT: State.ERROR,
    Outcome.LOST: State.ERROR,
}
_OVERDUE_MS = 2_000  # A timer is seen to within this.
_TIMER_MAX_MS = 60_000  # None of the pipelines has a longer one.


class Log(msgspec.Struct):
    """What this life of the data has on its bus: gone with what is restored over it."""

    results: dict[tuple[int, int], Message] = {}  # By the topic's number and the offset.
    finished: dict[tuple[int, int], tuple[int, int]] = {}  # By attempt: where.
    leases: set[Lease] = set()  # That were given out.
    topics: int = 0  # How often the topic of results was made.
    leases_lost: bool = False  # An attempt that was being stopped has no end then.

    def copy(self) -> "Log":
        """As it is now."""
        return msgspec.structs.replace(
            self,
            results=dict(self.results),
            finished=dict(self.finished),
            leases=set(self.leases),
        )


class Checks:
    """What was seen so far. An operator's retry says so in `retried` before it is committed."""

    def __init__(self) -> None:
        self.retried: set[int] = set()
        self.ever_retried: set[int] = set()
        self.log = Log()
        self.commits = 0
        self.ids_after = 0  # Those of this life.
        self._ids: set[tuple[str, int]] = set()  # Of all lives.

    def committed(self, plane: Plane, rows: TappedRows, *, timely: bool) -> None:
        """After every commit: what is final stays, counters are true, and ids are new.

        `timely`: the plane has been there for a while, so timers were seen to.
        """
        self.commits += 1
        moved = moves(plane.conn)
        for each in moved:
            if each.before is None:
                assert (each.what, each.id) not in self._ids, f"{each.what} {each.id} comes again"
                assert each.id > self.ids_after, f"{each.what} {each.id} is of another life"
                self._ids.add((each.what, each.id))
            elif each.before in FINAL:
                if _is_a_child(plane.conn, each.run_id):
                    self.retried.add(each.run_id)  # With its job.
                assert each.run_id in self.retried, f"{each.what} {each.id} was {each.before}"
        self.ever_retried |= self.retried
        self.retried.clear()
        if moved:
            self._what_moved(plane.conn, moved)
        self._count_waiting(plane.conn)
        if timely:
            self._timers(plane)
        for topic, partition, offset, message in rows.appended():
            if topic == Topic.TASK_RUN_RESULTS:
                self._result((self.log.topics, offset), message)
            elif isinstance(message, Placed):
                place = Delivery(message, Topic(topic), partition, offset).place
                job = message.job
                lease = Lease(job.job_id, job.attempt, message.epoch_at(place))
                self.log.leases.add(lease)

    def _what_moved(self, conn: sqlite3.Connection, moved: Sequence[Moved]) -> None:
        ids = msgspec.json.encode(sorted({each.run_id for each in moved})).decode()
        sql = """SELECT r.id, r.state, j.id, j.state FROM json_each(?) AS e
                 JOIN runs AS r ON r.id = e.value
                 JOIN jobs AS j ON j.id >= r.first_job_id AND j.id < r.first_job_id + r.job_count
                 WHERE r.state IN ('DONE', 'ERROR', 'CANCELLED')
                     AND j.state NOT IN ('DONE', 'ERROR', 'CANCELLED')"""
        open_jobs = conn.execute(sql, (ids,)).fetchall()
        assert not open_jobs, f"runs that have ended with jobs that have not: {open_jobs}"
        sql = """SELECT j.id, r.created_ms, j.ready_ms, j.started_ms, j.finished_ms, r.finished_ms
                 FROM json_each(?) AS e JOIN runs AS r ON r.id = e.value
                 JOIN jobs AS j ON j.id >= r.first_job_id AND j.id < r.first_job_id + r.job_count
                 WHERE j.state IN ('DONE', 'ERROR') AND (j.ready_ms < r.created_ms
                     OR j.started_ms < j.ready_ms OR j.finished_ms < j.started_ms
                     OR r.finished_ms < j.finished_ms)"""
        backwards = conn.execute(sql, (ids,)).fetchall()
        assert not backwards, f"jobs whose times go backwards: {backwards}"

    def _count_waiting(self, conn: sqlite3.Connection) -> None:
        counted = dict(conn.execute("SELECT client_id, waiting FROM clients"))
        real = dict.fromkeys(counted, 0)
        sql = """SELECT r.client_id, count(*) FROM jobs AS j JOIN runs AS r ON r.id = j.run_id
                 WHERE j.state = 'READY' GROUP BY 1"""
        real.update(conn.execute(sql))
        assert counted == real

    def _timers(self, plane: Plane) -> None:
        """Retries and deadlines come when they should, wherever the wall clock is."""
        next_ms = runs.next_timer_ms(plane.conn)
        if next_ms is not None:
            left_ms = next_ms - plane.clock.steady_ms()
            assert -_OVERDUE_MS <= left_ms <= _TIMER_MAX_MS, f"a timer is {left_ms} ms away"

    def _result(self, place: tuple[int, int], message: Message) -> None:
        self.log.results[place] = message
        if isinstance(message, Finished | ChildEnded) and message.pipeline != FOREIGN:
            attempt = (message.job_id, message.attempt)
            first = self.log.finished.setdefault(attempt, place)
            assert first == place, f"two results of {attempt}"

    def observed(self, delivery: Delivery) -> None:
        """The observing group was handed a record; perhaps again."""
        place = (self.log.topics, delivery.offset)
        assert self.log.results[place] == delivery.message, f"another record is at {place}"

    def leases(self, plane: Plane, max_running: dict[str, int]) -> None:
        """No client runs more than it may.

        An attempt that was cancelled and has not stopped yet does not count: its worker may be
        out of reach, and the job may have been retried since.
        """
        sql = "SELECT id, attempt FROM jobs WHERE state IN ('READY', 'IN_PROGRESS')"
        held = [
            each
            for each in plane.dispatcher.leases._held.values()  # noqa: SLF001
            if each.placed.job.client in max_running
        ]
        if not held:
            return
        wanted = set(plane.conn.execute(sql))
        running = Counter(
            each.placed.job.client
            for each in held
            if (each.lease.job_id, each.lease.attempt) in wanted
        )
        for client, allowed in max_running.items():
            assert running[client] <= allowed, f"{client} has {running[client]} of {allowed}"

    def at_the_end(self, plane: Plane, marks: Mapping[str, Lease]) -> None:
        """Nothing is lost, nothing is left, and what is stored is what its lease produced.

        `marks`: what each result of a worker has of its own, and of which lease it is.
        """
        finished: defaultdict[tuple[int, int], list[Finished | ChildEnded]] = defaultdict(list)
        for message in self.log.results.values():
            if isinstance(message, Finished | ChildEnded) and message.pipeline != FOREIGN:
                finished[message.job_id, message.attempt].append(message)
        outputs = dict(plane.conn.execute("SELECT job_id, output FROM outputs"))
        for run in plane.runs():
            assert run.state in FINAL, f"run {run.id} is {run.state}: {run.reason}"
            for job in run.jobs:
                if job.state == State.CANCELLED:
                    continue
                (result,) = finished[job.id, job.attempt]
                assert _OF_OUTCOME[result.outcome] == job.state
                if isinstance(result, ChildEnded):
                    continue
                mark = job.error or ""
                if job.state == State.DONE:
                    mark = msgspec.json.decode(outputs[job.id], type=str)
                lease = marks.get(mark)
                if lease is not None:
                    assert (lease.job_id, lease.attempt) == (job.id, job.attempt)
                    assert lease in self.log.leases, f"{lease} is of a life that is lost"
                else:
                    assert result.outcome == Outcome.LOST, f"nobody has said {mark!r}"
        self._nothing_is_held(plane)
        waiting = plane.conn.execute("SELECT * FROM children WHERE waits").fetchall()
        assert not waiting, f"attempts that wait for runs that have ended: {waiting}"

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


def _is_a_child(conn: sqlite3.Connection, run_id: int) -> bool:
    sql = "SELECT 1 FROM children WHERE run_id = ?"
    return conn.execute(sql, (run_id,)).fetchone() is not None


def naive_ends(log: Log, jobs: Container[int]) -> Counter[tuple[JobId, int, str]]:
    """Which ends the attempts at these jobs have, by what is on the topic of results."""
    ours = [
        message
        for message in log.results.values()
        if isinstance(message, Skipped | Finished | ChildEnded)
        and message.job_id in jobs
        and message.pipeline != FOREIGN
    ]
    skipped = {(each.job_id, each.attempt) for each in ours if isinstance(each, Skipped)}
    found: Counter[tuple[JobId, int, str]] = Counter()
    for each in ours:
        attempt = (each.job_id, each.attempt)
        if isinstance(each, Skipped):
            found[*attempt, "cancelled"] += 1
        elif attempt not in skipped:
            found[*attempt, str(each.outcome)] += 1
    return found

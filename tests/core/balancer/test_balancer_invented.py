"""Decides that the balancer's counts, order and diligence survive any sequence of events.

Also of events nobody should send: ends of unknown jobs, jobs that come twice with other places,
workers in any order, overruns of anything.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import product

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control.core.balancer.balancer import Balancer
from control.core.balancer.job_queue import WaitingJob
from control.core.balancer.policy import Assignment, Policy
from control.core.balancer.slots import WINDOW_S
from control.model.bus.messages import Finished, Hold, JobReady
from control.model.states import Outcome, Speed
from tests.core.balancer.balancing import announced, finished, ready, teach, worker

SECONDS = {"tiny": 0.002, "short": 0.3, "mid": 4.0, "long": 60.0}
PIPELINES = (*SECONDS, "new", "newer")
CLIENTS = ("a", "b", "c")
MOST = {"a": None, "b": 3, "c": 1}
WORKERS = ("w1", "w2", "w3")
JOBS = st.one_of(st.integers(1, 9), st.integers(100, 115))
LABELS: tuple[tuple[str, ...], ...] = ((), (), (), ("gpu",))


def sum_of(values: Iterable[float]) -> float:
    return sum(values, 0.0)


class Invented(RuleBasedStateMachine):
    """Whatever is said, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.balancer = Balancer(Policy(partitions=4))
        self.placed: dict[int, Assignment] = {}
        self.limits: dict[str, int | None] = dict(MOST)
        self.now_ms = 0
        self.place = 0
        self.attempts: Counter[int] = Counter()

    @initialize(lend=st.booleans(), share=st.sampled_from([None, 0.6]))
    def begin(self, *, lend: bool, share: float | None) -> None:
        self.balancer = Balancer(Policy(partitions=4, lend=lend, slow_share=share))
        for pipeline, seconds in SECONDS.items():
            teach(self.balancer, pipeline, seconds)
        for name in WORKERS[:2]:
            self.balancer.worker_up(worker(name, 3, self.balancer, ("gpu",)))

    def send(self, job: JobReady) -> None:
        self.place += 1
        self.balancer.submit(job, self.place)

    @rule(
        job_id=JOBS,
        pipeline=st.sampled_from(PIPELINES),
        level=st.integers(0, 2),
        client=st.sampled_from(CLIENTS),
        labels=st.sampled_from(LABELS),
        attempt=st.integers(0, 1),
    )
    def submit(
        self,
        *,
        job_id: int,
        pipeline: str,
        level: int,
        client: str,
        labels: tuple[str, ...],
        attempt: int,
    ) -> None:
        """The same id may come again: at another place, as another attempt, as another job."""
        job = ready(
            job_id,
            pipeline=pipeline,
            client=client,
            order=(level, 0, 0, 0),
            max_running=MOST[client],
            labels=labels,
            created_ms=self.now_ms,
        )
        self.attempts[job_id] += attempt
        self.send(msgspec.structs.replace(job, attempt=1 + self.attempts[job_id]))

    @rule(
        first=st.integers(100, 110),
        pipelines=st.lists(st.sampled_from(PIPELINES), min_size=4, max_size=12),
        level=st.integers(0, 2),
        client=st.sampled_from(CLIENTS),
    )
    def submit_many(self, first: int, pipelines: list[str], level: int, client: str) -> None:
        for job_id, pipeline in enumerate(pipelines, first):
            job = ready(
                job_id,
                pipeline=pipeline,
                client=client,
                order=(level, 0, 0, 0),
                max_running=MOST[client],
                created_ms=self.now_ms,
            )
            self.send(job)

    @rule(job_id=JOBS, worker_name=st.sampled_from(WORKERS), outcome=st.sampled_from(list(Outcome)))
    def end(self, job_id: int, worker_name: str, outcome: Outcome) -> None:
        """The end of a job, placed or not, perhaps on a worker that never had it."""
        made = self.placed.get(job_id)
        if made is None:
            job = ready(job_id, pipeline="new")
            made = Assignment(job, 0, 0, worker_name, Speed.FAST, 1.0)
        self.tell(finished(made, 0.5, outcome))

    @rule(
        pipeline=st.sampled_from(PIPELINES),
        durations=st.lists(st.sampled_from([0.01, 1.0, 60.0]), min_size=1, max_size=20),
    )
    def recall(self, pipeline: str, durations: list[float]) -> None:
        self.balancer.recall([(pipeline, "j", durations)])

    @rule(
        worker_name=st.sampled_from(WORKERS),
        times=st.sampled_from([0.2, 1.0, 1.0, 6.0]),
        many=st.integers(1, 8),
    )
    def ends_on(self, worker_name: str, times: float, many: int) -> None:
        """A worker ends what it has, and more: it becomes a straggler, or is well again."""
        for made in [made for made in self.placed.values() if made.worker == worker_name]:
            seconds = SECONDS.get(made.job.pipeline, 1.0)
            self.tell(finished(made, times * seconds))
        for at, pipeline in product(range(many), SECONDS):
            job = ready(1000 + at, pipeline=pipeline)
            made = Assignment(job, 0, 0, worker_name, Speed.FAST, 1.0)
            self.tell(finished(made, times * SECONDS[pipeline]))

    def tell(self, message: Finished) -> None:
        self.now_ms += 10
        self.balancer.finished(message, self.now_ms)

    @rule(
        name=st.sampled_from(WORKERS),
        dispatcher=st.sampled_from("de"),
        connected_ms=st.integers(0, 2),
        partitions=st.lists(st.integers(-1, 4), max_size=5),
        labels=st.sampled_from(LABELS),
        draining=st.booleans(),
        holds=st.sets(JOBS, max_size=2),
    )
    def worker_up(
        self,
        *,
        name: str,
        dispatcher: str,
        connected_ms: int,
        partitions: list[int],
        labels: tuple[str, ...],
        holds: set[int],
        draining: bool,
    ) -> None:
        info = msgspec.structs.replace(
            worker(name, len(partitions), self.balancer, labels),
            dispatcher=dispatcher,
            connected_ms=connected_ms,
            partitions=tuple(partitions),
            draining=draining,
            holds=tuple(self.hold(job_id) for job_id in sorted(holds)),
        )
        self.balancer.worker_up(info)

    def hold(self, job_id: int) -> Hold:
        return Hold(
            job_id=job_id,
            attempt=1,
            client="a",
            pipeline="mid",
            name="j",
            speed=Speed.SLOW if job_id % 2 else Speed.FAST,
            expected=4.0,
        )

    @rule(name=st.sampled_from(WORKERS), dispatcher=st.sampled_from("de"))
    def worker_down(self, name: str, dispatcher: str) -> None:
        self.balancer.worker_down(name, dispatcher)

    @rule(
        dispatcher=st.sampled_from("de"),
        partitions=st.sets(st.integers(-1, 4)),
        names=st.lists(st.sampled_from(WORKERS), unique=True),
        slots=st.integers(1, 4),
        adrift=st.sets(JOBS, max_size=2),
    )
    def dispatcher_up(
        self, dispatcher: str, partitions: set[int], names: list[str], slots: int, adrift: set[int]
    ) -> None:
        infos = [
            msgspec.structs.replace(
                worker(name, slots, self.balancer), dispatcher=dispatcher, connected_ms=1
            )
            for name in names
        ]
        message = announced(dispatcher, tuple(partitions), *infos)
        holds = tuple(self.hold(job_id) for job_id in sorted(adrift))
        self.balancer.dispatcher_up(msgspec.structs.replace(message, adrift=holds))

    @rule(name=st.sampled_from((*WORKERS, "nobody")))
    def drain(self, name: str) -> None:
        self.balancer.drain(name)

    @rule(name=st.sampled_from((*WORKERS, "nobody")), job_ids=st.lists(JOBS, max_size=4))
    def overran(self, name: str, job_ids: list[int]) -> None:
        self.balancer.overran(name, tuple(job_ids))

    @rule(job_id=JOBS, attempt=st.integers(1, 3))
    def cancel(self, job_id: int, attempt: int) -> None:
        self.balancer.cancel(job_id, attempt)

    @rule(job_id=JOBS, level=st.integers(0, 2), comes=st.booleans())
    def reorder(self, job_id: int, level: int, *, comes: bool) -> None:
        moved = self.balancer.reorder(job_id, (level, 1, 0, 0))
        if moved is not None and comes:  # Else its message was lost.
            self.send(moved[0])

    @rule(
        client=st.sampled_from(CLIENTS),
        level=st.integers(0, 2),
        most=st.sampled_from([None, 0, 1, 3]),
    )
    def client_changed(self, client: str, level: int, most: int | None) -> None:
        self.balancer.client_changed(client, level, most)

    @rule(share=st.sampled_from([None, 0.0, 0.3, 0.6, 1.0]))
    def split(self, share: float | None) -> None:
        self.balancer.split(share)

    @rule(job_id=JOBS)
    def hand_back(self, job_id: int) -> None:
        made = self.placed.get(job_id)
        if made is not None:
            self.send(made.job)

    @rule(many=st.integers(1, 3))
    def assign_a_few(self, many: int) -> None:
        self.assign(many)

    @rule()
    def assign_all(self) -> None:
        """Nothing idles beside work that it could do."""
        self.assign(1000)
        balancer = self.balancer
        for job_id, waiting in balancer.waiting.jobs.items():
            found = balancer.waits(job_id)
            assert found is not None
            assert found.why != "its turn comes next", (job_id, waiting.queue.parked)
            assert waiting.queue.parked is not None
            assert found.refused is not None

    def assign(self, limit: int) -> None:
        self.now_ms += 10
        balancer = self.balancer
        before = dict(balancer.waiting.jobs)
        for made in balancer.assign(self.now_ms, limit):
            assert before[made.job.job_id].job == made.job
            self.placed[made.job.job_id] = made
            for waiting in balancer.waiting.jobs.values():
                assert not self.is_passed_over(waiting, made)

    def is_passed_over(self, waiting: WaitingJob, made: Assignment) -> bool:
        """Whether a job stayed behind that is before the one placed and needs no more than that."""
        balancer, job = self.balancer, waiting.job
        expected_s = balancer.estimates.expected(job.key)
        found = balancer.waits(job.job_id)
        assert found is not None
        return (
            job.order < made.job.order
            and "max_running" not in found.why
            and job.labels == made.job.labels
            and found.speed == made.speed
            and expected_s <= made.expected_s
        )

    @invariant()
    def what_is_counted_is_outstanding(self) -> None:
        outstanding = self.balancer.outstanding
        jobs = outstanding.jobs
        assert outstanding.slow == sum(known.speed == Speed.SLOW for known in jobs.values())
        assert outstanding.clients == Counter(known.client for known in jobs.values())
        assert outstanding.expected_s == pytest.approx(
            sum_of(known.expected_s for known in jobs.values())
        )
        keys = Counter(known.key for known in jobs.values())
        for pipeline in PIPELINES:
            assert outstanding.of_key((pipeline, "j")) == keys[pipeline, "j"]
        for name in WORKERS:
            assert set(outstanding.of_worker(name)) == {
                job_id
                for job_id, known in jobs.items()
                if known.lane is not None and known.lane.worker.info.worker == name
            }

    @invariant()
    def what_is_free_is_free(self) -> None:
        slots = self.balancer.slots
        jobs = self.balancer.outstanding.jobs.values()
        assert slots.total == sum(w.slots for w in slots.workers.values() if not w.draining)
        for each in slots.workers.values():
            mine = [known for known in jobs if known.lane is not None and known.lane.worker is each]
            assert each.outstanding == len(mine)
            assert each.slow == sum(known.expected_s > WINDOW_S for known in mine)
            assert each.ahead_s >= 0
            assert each.ahead_s == pytest.approx(
                sum_of(known.expected_s for known in mine if known.expected_s <= WINDOW_S)
            )
            for lane in each.lanes.values():
                here = sum(known.lane is lane for known in mine)
                assert lane.free == lane.slots - here
                assert lane.speed == self.balancer.classes[lane.partition]
            slowness = self.balancer.learning.slowness
            assert each.slowness == slowness.get(each.info.worker, 1.0)

    @invariant()
    def what_waits_is_in_the_order_or_parked(self) -> None:
        waiting = self.balancer.waiting
        of_clients: Counter[tuple[int, str]] = Counter()
        for each in waiting.jobs.values():
            assert not each.gone
            of_clients[each.job.order[0], each.job.client] += 1
        for level in {level for level, _ in of_clients}:
            fairness = waiting._fairness[level]  # noqa: SLF001
            assert {name: queued.jobs for name, queued in fairness._clients.items()} == {  # noqa: SLF001
                client: jobs for (at, client), jobs in of_clients.items() if at == level
            }
        queues = {each.queue for each in waiting.jobs.values()}
        assert sum(queue.size for queue in queues) == len(waiting.jobs)
        parked = Counter(queue.parked for queue in queues if queue.parked is not None)
        assert {cause: lot.size for cause, lot in waiting._parked.items()} == parked  # noqa: SLF001
        for queue in queues:
            entries = (
                waiting._parked[queue.parked].heap  # noqa: SLF001
                if queue.parked is not None
                else waiting._levels[queue.level]  # noqa: SLF001
            )
            assert any(entry[-1] is queue and entry[-2] == queue.version for entry in entries)

    @invariant()
    def what_is_told_can_be_told(self) -> None:
        assert self.balancer.rules().reserve >= 0
        assert sum(load.slots for load in self.balancer.partitions()) >= self.balancer.slots.total
        for job_id in self.balancer.waiting.jobs:
            found = self.balancer.waits(job_id)
            assert found is not None
            assert 0 <= found.ahead < len(self.balancer.waiting.jobs)


Invented.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestInvented = Invented.TestCase

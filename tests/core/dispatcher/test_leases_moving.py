"""Decides that leases survive the moves of workers and partitions between dispatchers."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.core.dispatcher.dispatchers import PARTITIONS, World

DISPATCHERS = st.sampled_from(("d1", "d2", "d3"))
WORKERS = st.sampled_from("abc")


class Moves(RuleBasedStateMachine):
    """Jobs, workers, dispatchers, partitions, and time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.start(self.world.members["d1"])

    @rule(worker=WORKERS, partition=st.sampled_from(PARTITIONS))
    def place(self, worker: str, partition: int) -> None:
        self.world.place(worker, partition)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.world.jobs:
            self.world.cancel(data.draw(st.integers(1, self.world.jobs)))

    @rule(worker=WORKERS, dispatcher=DISPATCHERS)
    def connect(self, worker: str, dispatcher: str) -> None:
        self.world.connect(self.world.workers[worker], self.world.members[dispatcher])

    @rule(worker=WORKERS)
    def notice(self, worker: str) -> None:
        self.world.notice(self.world.workers[worker])

    @rule(worker=WORKERS, with_disk=st.booleans())
    def crash(self, worker: str, *, with_disk: bool) -> None:
        self.world.restart(self.world.workers[worker], with_disk=with_disk)

    @rule(worker=WORKERS)
    def begin(self, worker: str) -> None:
        self.world.workers[worker].begin(self.world.now_ms)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        running = list(self.world.running())
        if running:
            worker, lease = data.draw(st.sampled_from(running))
            worker.end(lease, self.world.now_ms)

    @rule(worker=WORKERS)
    def speak(self, worker: str) -> None:
        self.world.speak(self.world.workers[worker])

    @rule(partition=st.sampled_from(PARTITIONS), dispatcher=DISPATCHERS)
    def move(self, partition: int, dispatcher: str) -> None:
        if self.world.members[dispatcher].serves:
            self.world.wanted[partition] = dispatcher

    @rule(dispatcher=DISPATCHERS)
    def start(self, dispatcher: str) -> None:
        member = self.world.members[dispatcher]
        if not member.alive:
            self.world.start(member)

    @rule(dispatcher=DISPATCHERS)
    def kill(self, dispatcher: str) -> None:
        self.world.kill(self.world.members[dispatcher])

    @rule(dispatcher=DISPATCHERS, paused=st.booleans())
    def pause(self, dispatcher: str, *, paused: bool) -> None:
        self.world.members[dispatcher].paused = paused

    @rule(dispatcher=DISPATCHERS)
    def work(self, dispatcher: str) -> None:
        self.world.work(self.world.members[dispatcher])

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule(step_ms=st.sampled_from((1, 100, 400, 600, 3_000, 11_000)))
    def time_passes(self, step_ms: int) -> None:
        self.world.pass_time(step_ms)

    @invariant()
    def one_worker_at_most_has_a_lease(self) -> None:
        running = [lease for _, lease in self.world.running()]
        assert len(running) == len(set(running))

    def teardown(self) -> None:
        self.world.come_to_an_end()


TestMoves = pytest.mark.slow(Moves.TestCase)
TestMoves.settings = settings(max_examples=250, stateful_step_count=80)

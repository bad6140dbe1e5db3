"""Decides which processes of attempts may live beside each other, whatever has become of workers.

What `workers/isolation` promises: with a worker that dies its attempts' guards end what it ran, at
once; what dies together with its guards leaves processes behind, until the next worker of the same
state directory ends them, before it takes anything.
"""

import math
from collections import defaultdict
from collections.abc import Container

import trio

from control.model.worker.wire import Lease


class Process:
    """What executes an attempt. `home`: the state directory of its worker."""

    def __init__(self, home: str, lease: Lease) -> None:
        self.home = home
        self.lease = lease
        self.until = math.inf
        self.guarded = False  # Its worker died while it was connected, and its guard ends it.


class Processes:
    """Those of all workers.

    `one_each`: a job has another attempt only after the one before it. Not so where its records
    were lost, its data restored, or its run `retried` by hand: then nobody waits for an attempt.
    """

    def __init__(self, retried: Container[int], *, one_each: bool) -> None:
        self._retried = retried
        self._one_each = one_each
        self._of_job: defaultdict[int, list[Process]] = defaultdict(list)

    def begin(self, home: str, lease: Lease, run_id: int) -> Process:
        """An attempt begins: no other one of its job may live in the same directory."""
        now = trio.current_time()
        alive = [each for each in self._of_job[lease.job_id] if each.until > now]
        one_each = self._one_each and run_id not in self._retried
        for other in alive:
            assert other.home != home, f"{home} executes {lease} beside {other.lease}"
            alone = not (one_each and other.guarded)
            assert alone, f"{home} executes {lease} beside {other.lease} of a worker that died"
        process = Process(home, lease)
        self._of_job[lease.job_id] = [*alive, process]
        return process

    def end_leftovers(self, home: str) -> None:
        """A worker starts in this directory."""
        now = trio.current_time()
        for processes in self._of_job.values():
            for each in processes:
                if each.home == home:
                    each.until = min(each.until, now)

    def at_the_end(self) -> None:
        """Nothing runs for ever."""
        now = trio.current_time()
        left = [each.lease for found in self._of_job.values() for each in found if each.until > now]
        assert not left, f"they run without a worker: {left}"


GUARD_S = 0.05  # A guard has ended everything by then: sooner than a worker starts again.

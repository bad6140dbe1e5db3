"""Decides where a worker that is not connected here is, and to which partition its leases go.

All dispatchers read the same news in the same order. So they agree, soon after each change.
"""

from collections.abc import Iterable, Sequence

from control.core.dispatcher.claims import is_foreign
from control.core.fleet.worker_registry import WorkerRegistry, reported
from control.model.bus.messages import DispatcherUp, Message, WorkerDown, WorkerQuiet, WorkerUp
from control.model.numbers import JobId


def gives_way(ours: WorkerUp, theirs: WorkerUp) -> bool:
    """Whether our worker goes, because one of its name is connected to another dispatcher.

    A worker that moves is where its newest connection is. Of two clients the first to come has
    the name.
    """
    if is_foreign(ours.client, theirs.client):
        return ours.connected_ms >= theirs.connected_ms
    return ours.connected_ms < theirs.connected_ms


class PeerDispatchers:
    """Workers and partitions of all dispatchers but `name`; there are `count` partitions."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._registry = WorkerRegistry()

    def apply(self, message: Message) -> Sequence[WorkerUp]:
        """Take in news; gives the workers that a peer reports with it."""
        if (
            not isinstance(message, WorkerUp | WorkerDown | WorkerQuiet | DispatcherUp)
            or message.dispatcher == self._name
        ):
            return ()
        self._registry.apply(message)
        return reported(message)

    def taken(self, partitions: Iterable[int]) -> None:
        """This dispatcher has just these partitions now; peers have none of them."""
        self._registry.own(self._name, partitions)

    def is_here(self, worker: str) -> None:
        """A worker connected to this dispatcher: what peers reported of it is of the past."""
        self._registry.forget(worker)

    def worker(self, worker: str) -> WorkerUp | None:
        """Where a worker of this name is; None: at no peer that serves partitions."""
        info = self._registry.workers.get(worker)
        return info if info is not None and self._registry.partitions_of(info.dispatcher) else None

    def is_quiet(self, info: WorkerUp) -> bool:
        """Whether a peer's worker says nothing."""
        return self._registry.quiet_since_ms(info.worker) is not None

    def partition_for(self, worker: str, job_id: JobId, owner: str) -> int | None:
        """Where a job of this worker must go; None: no peer reports the worker.

        `owner`: the client of the worker that it was assigned to; another one's is not meant.
        """
        info = self.worker(worker)
        if info is None or is_foreign(info.client, owner):
            return None
        theirs = self._registry.partitions_of(info.dispatcher)
        known = [at for at in theirs if 0 <= at < self._count]
        return known[job_id % len(known)] if known else None

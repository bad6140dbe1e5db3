"""Knows what the other dispatchers have, as they tell it: which workers, which partitions.

All of them read the same news in the same order. So they agree, soon after each change, on where a
worker is and to which partition its leases go.
"""

from collections.abc import Iterable, Sequence

from control.model.messages import DispatcherUp, Message, WorkerDown, WorkerUp


class Others:
    """Workers and partitions of all dispatchers but `name`; there are `count` partitions."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._partitions: dict[str, tuple[int, ...]] = {}  # By dispatcher.
        self._dispatchers: dict[str, str] = {}  # By worker.

    def heard(self, message: Message) -> Sequence[WorkerUp]:
        """Somebody said so, and the newest word counts; gives the workers that are elsewhere."""
        if (
            not isinstance(message, WorkerUp | WorkerDown | DispatcherUp)
            or message.dispatcher == self._name
        ):
            return ()
        name = message.dispatcher
        if isinstance(message, WorkerDown):
            if self._dispatchers.get(message.worker) == name:
                del self._dispatchers[message.worker]
            return ()
        if isinstance(message, WorkerUp):
            self._dispatchers[message.worker] = name
            return (message,)
        for worker in [worker for worker, at in self._dispatchers.items() if at == name]:
            del self._dispatchers[worker]
        self._dispatchers.update((info.worker, name) for info in message.workers)
        self.taken(message.partitions)
        theirs = (at for at in sorted(message.partitions) if 0 <= at < self._count)
        self._partitions[name] = tuple(theirs)
        return message.workers

    def taken(self, partitions: Iterable[int]) -> None:
        """Nobody else has these partitions any more."""
        gone = frozenset(partitions)
        for name, known in self._partitions.items():
            self._partitions[name] = tuple(at for at in known if at not in gone)

    def is_here(self, worker: str) -> None:
        """A worker connected to this dispatcher."""
        self._dispatchers.pop(worker, None)

    def partition_for(self, worker: str, job_id: int) -> int | None:
        """Where a job of this worker must go; None: nobody is known to serve the worker."""
        known = self._partitions.get(self._dispatchers.get(worker, ""), ())
        return known[job_id % len(known)] if known else None

"""Knows what the other dispatchers have, as they tell it: which workers, which partitions.

All of them read the same news in the same order. So they agree, soon after each change, on where a
worker is and to which partition its leases go.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from control.model.messages import DispatcherUp, Message, WorkerDown, WorkerUp


class Others:
    """Workers and partitions of all dispatchers but `name`; there are `count` partitions."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._partitions: dict[str, tuple[int, ...]] = {}  # By dispatcher.
        # By worker: each dispatcher that says it is there, and since when. All but the newest
        # are mistaken, as a rule; but clocks differ, and the newest may take its word back.
        self._since_ms: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def heard(self, message: Message) -> Sequence[WorkerUp]:
        """Somebody said so; gives the workers that are elsewhere."""
        if (
            not isinstance(message, WorkerUp | WorkerDown | DispatcherUp)
            or message.dispatcher == self._name
        ):
            return ()
        if isinstance(message, WorkerDown):
            self._gone(message.worker, message.dispatcher)
            return ()
        came = (message,) if isinstance(message, WorkerUp) else message.workers
        if isinstance(message, DispatcherUp):
            for worker in list(self._since_ms):
                self._gone(worker, message.dispatcher)
            self.taken(message.partitions)
            theirs = (at for at in sorted(message.partitions) if 0 <= at < self._count)
            self._partitions[message.dispatcher] = tuple(theirs)
        for info in came:
            self._since_ms[info.worker][message.dispatcher] = info.connected_ms
        return came

    def taken(self, partitions: Iterable[int]) -> None:
        """Nobody else has these partitions any more."""
        gone = frozenset(partitions)
        for name, known in self._partitions.items():
            self._partitions[name] = tuple(at for at in known if at not in gone)

    def is_here(self, worker: str) -> None:
        """A worker connected to this dispatcher."""
        self._since_ms.pop(worker, None)

    def partition_for(self, worker: str, job_id: int) -> int | None:
        """Where a job of this worker must go; None: nobody is known to serve the worker."""
        since_ms = self._since_ms.get(worker, {})
        serving = [name for name in since_ms if self._partitions.get(name)]
        if not serving:
            return None
        known = self._partitions[max(serving, key=since_ms.__getitem__)]
        return known[job_id % len(known)]

    def _gone(self, worker: str, dispatcher: str) -> None:
        said = self._since_ms.get(worker, {})
        said.pop(dispatcher, None)
        if not said:
            self._since_ms.pop(worker, None)

"""Knows what the other dispatchers have, as they tell it: which workers, which partitions.

All of them read the same news in the same order. So they agree, soon after each change, on where a
worker is and to which partition its leases go.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from control.core.dispatcher.claims import is_foreign
from control.model.bus.messages import DispatcherUp, Message, WorkerDown, WorkerQuiet, WorkerUp


def gives_way(ours: WorkerUp, theirs: WorkerUp) -> bool:
    """Whether our worker goes, because one of its name is connected to another dispatcher.

    A worker that moves is where its newest connection is. Of two clients the first to come has
    the name.
    """
    if is_foreign(ours.client, theirs.client):
        return ours.connected_ms >= theirs.connected_ms
    return ours.connected_ms < theirs.connected_ms


class Others:
    """Workers and partitions of all dispatchers but `name`; there are `count` partitions."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._partitions: dict[str, tuple[int, ...]] = {}  # By dispatcher.
        # By worker: each dispatcher that says it is there, and since when. All but the newest
        # are mistaken, as a rule; but clocks differ, and the newest may take its word back.
        self._up: defaultdict[str, dict[str, WorkerUp]] = defaultdict(dict)
        self._quiet: set[tuple[str, str]] = set()  # Worker and dispatcher.

    def heard(self, message: Message) -> Sequence[WorkerUp]:
        """Somebody said so; gives the workers that are elsewhere."""
        if isinstance(message, WorkerQuiet) and message.dispatcher != self._name:
            where = (message.worker, message.dispatcher)
            if message.since_ms is None:
                self._quiet.discard(where)
            elif message.dispatcher in self._up.get(message.worker, {}):
                self._quiet.add(where)
        if (
            not isinstance(message, WorkerUp | WorkerDown | DispatcherUp)
            or message.dispatcher == self._name
        ):
            return ()
        if isinstance(message, WorkerDown):
            self._gone(message.worker, message.dispatcher)
            return ()
        listed = (message,) if isinstance(message, WorkerUp) else message.workers
        # One that a dispatcher lists as another one's is of a foreign record.
        came = tuple(info for info in listed if info.dispatcher == message.dispatcher)
        if isinstance(message, DispatcherUp):
            for worker in list(self._up.keys() - {info.worker for info in came}):
                self._gone(worker, message.dispatcher)
            self.taken(message.partitions)
            theirs = (at for at in sorted(message.partitions) if 0 <= at < self._count)
            self._partitions[message.dispatcher] = tuple(theirs)
        for info in came:
            before = self._up[info.worker].get(message.dispatcher)
            if before is not None and before.connected_ms != info.connected_ms:
                self._quiet.discard((info.worker, message.dispatcher))  # Another connection.
            self._up[info.worker][message.dispatcher] = info
        return came

    def taken(self, partitions: Iterable[int]) -> None:
        """Nobody else has these partitions any more."""
        gone = frozenset(partitions)
        for name, known in self._partitions.items():
            self._partitions[name] = tuple(at for at in known if at not in gone)

    def is_here(self, worker: str) -> None:
        """A worker connected to this dispatcher."""
        for dispatcher in self._up.pop(worker, {}):
            self._quiet.discard((worker, dispatcher))

    def worker(self, worker: str) -> WorkerUp | None:
        """The newest word on a worker of this name, of a dispatcher that serves partitions."""
        up = self._up.get(worker, {})
        serving = [info for name, info in up.items() if self._partitions.get(name)]
        return max(serving, key=lambda info: info.connected_ms, default=None)

    def is_quiet(self, info: WorkerUp) -> bool:
        """Whether the worker's dispatcher hears nothing of it."""
        return (info.worker, info.dispatcher) in self._quiet

    def partition_for(self, worker: str, job_id: int, owner: str) -> int | None:
        """Where a job of this worker must go; None: no dispatcher reports the worker.

        `owner`: the client of the worker that it was assigned to; another one's is not meant.
        """
        info = self.worker(worker)
        if info is None or is_foreign(info.client, owner):
            return None
        known = self._partitions[info.dispatcher]
        return known[job_id % len(known)]

    def _gone(self, worker: str, dispatcher: str) -> None:
        self._quiet.discard((worker, dispatcher))
        said = self._up.get(worker, {})
        said.pop(dispatcher, None)
        if not said:
            self._up.pop(worker, None)

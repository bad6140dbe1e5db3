"""Decides which news of workers counts: each is with one dispatcher, each partition has one owner.

A dispatcher that was taken for dead may still speak, late and of the past; one that is dead says
nothing at all. So a worker is where its newest connection is, only who has it may say that it is
gone, and a dispatcher whose last partition others have announced is gone with its workers.
"""

from typing import NamedTuple

import msgspec

from control.model.bus.messages import DispatcherUp, WorkerUp


class Changes(NamedTuple):
    """Workers that came or are other than before, and those that are gone."""

    came: list[WorkerUp]
    gone: list[WorkerUp]


class Roster:
    """All workers, as their dispatchers tell of them."""

    def __init__(self) -> None:
        self.workers: dict[str, WorkerUp] = {}  # Without what they hold, which is old soon.
        # Of other dispatchers, with an older connection: clocks differ, so it may be the true one.
        self._aside: dict[str, WorkerUp] = {}
        self._owners: dict[int, str] = {}  # Of each partition that was announced.

    def worker_up(self, info: WorkerUp) -> Changes:
        """A worker connected or changed; old news of it changes nothing."""
        changes = Changes([], [])
        self._hear(info, changes)
        return changes

    def worker_down(self, name: str, dispatcher: str) -> Changes:
        """A dispatcher says that a worker is gone."""
        changes = Changes([], [])
        self._lose(name, dispatcher, changes)
        return changes

    def dispatcher_up(self, message: DispatcherUp) -> Changes:
        """A dispatcher said all it has: replaces what it had said, and nothing else."""
        changes = Changes([], [])
        here = {info.worker for info in message.workers}
        for name in self._names_of(message.dispatcher) - here:
            self._lose(name, message.dispatcher, changes)
        for former in self._own(message.dispatcher, message.partitions):
            if former in self._owners.values():
                for info in self.workers.values():
                    if info.dispatcher == former:  # Fewer of its slots can be used.
                        changes.came.append(self._keep(info))
            else:
                for name in self._names_of(former):
                    self._lose(name, former, changes)
        for info in message.workers:
            self._hear(info, changes)
        return changes

    def drain(self, name: str) -> None:
        """This worker takes nothing new, whatever else changes until it is told of again."""
        info = self.workers.get(name)
        if info is not None:
            self.workers[name] = msgspec.structs.replace(info, draining=True)

    def _hear(self, info: WorkerUp, changes: Changes) -> None:
        known = self.workers.get(info.worker)
        if (
            known is not None
            and known.dispatcher != info.dispatcher
            and known.connected_ms > info.connected_ms
        ):
            self._aside[info.worker] = msgspec.structs.replace(info, holds=())
            return
        self._aside.pop(info.worker, None)
        kept = self._keep(info)
        changes.came.append(msgspec.structs.replace(kept, holds=info.holds))

    def _lose(self, name: str, dispatcher: str, changes: Changes) -> None:
        known, aside = self.workers.get(name), self._aside.get(name)
        if aside is not None and aside.dispatcher == dispatcher:
            del self._aside[name]
        elif known is not None and known.dispatcher == dispatcher:
            del self.workers[name]
            if aside is None:
                changes.gone.append(known)
            else:
                changes.came.append(self._keep(self._aside.pop(name)))

    def _keep(self, info: WorkerUp) -> WorkerUp:
        """Remember a worker, with those slots only that are in partitions of its dispatcher."""
        owned = [
            p for p in info.partitions if self._owners.get(p, info.dispatcher) == info.dispatcher
        ]
        kept = msgspec.structs.replace(info, partitions=tuple(owned), holds=())
        self.workers[info.worker] = kept
        return kept

    def _names_of(self, dispatcher: str) -> set[str]:
        said = [*self.workers.values(), *self._aside.values()]
        return {info.worker for info in said if info.dispatcher == dispatcher}

    def _own(self, dispatcher: str, partitions: tuple[int, ...]) -> set[str]:
        """Note whose partitions these are now; gives who had some of them."""
        former = {self._owners.get(partition, dispatcher) for partition in partitions}
        kept = {p: owner for p, owner in self._owners.items() if owner != dispatcher}
        self._owners = kept | dict.fromkeys(partitions, dispatcher)
        return former - {dispatcher}

"""Decides at which dispatcher each worker is, and which dispatcher owns each partition.

Each dispatcher publishes what it has, in order; between dispatchers there is no order. So each has
a claim of its own on a worker, and the state follows from all claims, whichever came first. A
worker is where its newest connection is; when that claim is taken back, the next one counts. Who
announced a partition last owns it. A dispatcher that was taken for dead may still speak, and one
that is dead says nothing at all: once others have announced all of its partitions, its claims on
workers do not count.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from control.model import limits
from control.model.bus.messages import DispatcherUp, Message, WorkerDown, WorkerQuiet, WorkerUp


class WorkerChanges(NamedTuple):
    """Workers that came, moved, or changed, with what they hold if that was reported; and gone."""

    came: list[WorkerUp]
    gone: list[WorkerUp]


class _Claim(msgspec.Struct):
    """What one dispatcher says of a worker."""

    info: WorkerUp  # Without what it holds, which is old soon.
    quiet_since_ms: int | None = None


def reported(message: Message) -> tuple[WorkerUp, ...]:
    """The workers that a dispatcher reports as its own. Others that it lists are foreign."""
    if isinstance(message, WorkerUp):
        return (message,)
    if isinstance(message, DispatcherUp):
        return tuple(info for info in message.workers if info.dispatcher == message.dispatcher)
    return ()


class WorkerRegistry:
    """All workers and partitions, as the dispatchers announce them."""

    def __init__(self, dispatchers_max: int = limits.DISPATCHERS_MAX) -> None:
        """`dispatchers_max`: beyond it, dispatchers that serve no partition are forgotten."""
        # Where each worker is. Of its slots, only those in partitions of its dispatcher.
        self.workers: dict[str, WorkerUp] = {}
        self._dispatchers_max = dispatchers_max
        self._claims: defaultdict[str, dict[str, _Claim]] = defaultdict(dict)  # Worker, dispatcher.
        self._announced: dict[str, frozenset[int]] = {}  # By dispatcher; the last word comes last.
        self._owners: dict[int, str] = {}  # By partition.
        self._serving: dict[str, tuple[int, ...]] = {}  # By dispatcher: what it owns, in order.

    @property
    def dispatchers(self) -> int:
        """How many are known."""
        return len(self._announced)

    def apply(self, message: Message) -> WorkerChanges:
        """Take in a message of any kind."""
        match message:
            case WorkerUp():
                return self.worker_up(message)
            case WorkerDown(worker=worker, dispatcher=dispatcher):
                return self.worker_down(worker, dispatcher)
            case DispatcherUp():
                return self.dispatcher_up(message)
            case WorkerQuiet():
                self.worker_quiet(message)
        return WorkerChanges([], [])

    def worker_up(self, info: WorkerUp) -> WorkerChanges:
        """A worker connected or changed; an older connection changes nothing."""
        changes = WorkerChanges([], [])
        self._claim(info)
        self._refresh(info.worker, changes, info)
        return changes

    def worker_down(self, worker: str, dispatcher: str) -> WorkerChanges:
        """A dispatcher takes its claim on a worker back."""
        changes = WorkerChanges([], [])
        self._retract(worker, dispatcher)
        self._refresh(worker, changes)
        return changes

    def dispatcher_up(self, message: DispatcherUp) -> WorkerChanges:
        """A dispatcher announced all it has: replaces its former claims, and no others."""
        changes, reports = WorkerChanges([], []), reported(message)
        listed = {info.worker for info in reports}
        concerned = [name for name in self._claimed_by(message.dispatcher) if name not in listed]
        for worker in concerned:
            self._retract(worker, message.dispatcher)
        if self._own(message.dispatcher, message.partitions):
            concerned += self._claims
        concerned += self._forget_dispatchers()
        for info in reports:
            self._claim(info)
        for worker in dict.fromkeys(concerned):
            if worker not in listed:
                self._refresh(worker, changes)
        for info in reports:
            self._refresh(info.worker, changes, info)
        return changes

    def worker_quiet(self, message: WorkerQuiet) -> bool:
        """A worker says nothing to a dispatcher, or speaks again. False: it is not there."""
        claim = self._claims_on(message.worker).get(message.dispatcher)
        if claim is not None:
            claim.quiet_since_ms = message.since_ms
        info = self.workers.get(message.worker)
        return info is not None and info.dispatcher == message.dispatcher

    def own(self, dispatcher: str, partitions: Iterable[int]) -> None:
        """A dispatcher has just these partitions now; of its workers nothing is said."""
        if self._own(dispatcher, partitions):
            for worker in list(self._claims):
                self._refresh(worker, WorkerChanges([], []))

    def drain(self, worker: str) -> None:
        """This worker takes nothing new, until its dispatcher reports it again."""
        info = self.workers.get(worker)
        if info is not None:
            claim = self._claims[worker][info.dispatcher]
            claim.info = msgspec.structs.replace(claim.info, draining=True)
            self.workers[worker] = msgspec.structs.replace(info, draining=True)

    def forget(self, worker: str) -> None:
        """What was reported of a worker of this name is of the past."""
        self._claims.pop(worker, None)
        self.workers.pop(worker, None)

    def quiet_since_ms(self, worker: str) -> int | None:
        """Since when a worker says nothing; None: it speaks, or is nowhere."""
        info = self.workers.get(worker)
        return None if info is None else self._claims[worker][info.dispatcher].quiet_since_ms

    def partitions_of(self, dispatcher: str) -> tuple[int, ...]:
        """The partitions that a dispatcher owns, in order."""
        return self._serving.get(dispatcher, ())

    def _claim(self, info: WorkerUp) -> None:
        claims = self._claims[info.worker]
        before = claims.get(info.dispatcher)
        claim = claims[info.dispatcher] = _Claim(msgspec.structs.replace(info, holds=()))
        if before is not None and before.info.connected_ms == info.connected_ms:
            claim.quiet_since_ms = before.quiet_since_ms

    def _retract(self, worker: str, dispatcher: str) -> None:
        claims = self._claims_on(worker)
        claims.pop(dispatcher, None)
        if not claims:
            self._claims.pop(worker, None)

    def _claims_on(self, worker: str) -> dict[str, _Claim]:
        return self._claims.get(worker, {})

    def _refresh(self, worker: str, changes: WorkerChanges, report: WorkerUp | None = None) -> None:
        """Choose among the claims on a worker. `report`: what has just been said of it."""
        before = self.workers.pop(worker, None)
        claims = [each.info for each in self._claims_on(worker).values()]
        info = max(filter(self._counts, claims), key=self._rank, default=None)
        if info is None:
            if before is not None:
                changes.gone.append(before)
            return
        owned = [
            at for at in info.partitions if self._owners.get(at, info.dispatcher) == info.dispatcher
        ]
        now = self.workers[worker] = msgspec.structs.replace(info, partitions=tuple(owned))
        if report is not None and report.dispatcher == info.dispatcher:
            changes.came.append(msgspec.structs.replace(now, holds=report.holds))
        elif now != before:
            changes.came.append(now)

    def _counts(self, info: WorkerUp) -> bool:
        """Whether its dispatcher lives, as far as is known: others have not taken all it had."""
        dispatcher = info.dispatcher
        return dispatcher in self._serving or not self._announced.get(dispatcher)

    def _rank(self, info: WorkerUp) -> tuple[bool, int, str]:
        # Nothing can be placed where there is no partition. The name: all readers choose alike.
        return info.dispatcher in self._serving, info.connected_ms, info.dispatcher

    def _claimed_by(self, dispatcher: str) -> list[str]:
        """The workers on which a dispatcher has a claim."""
        return [worker for worker, claims in self._claims.items() if dispatcher in claims]

    def _own(self, dispatcher: str, partitions: Iterable[int]) -> bool:
        """Note what a dispatcher announced last. True: slots of any worker may count or not now."""
        before, own = self._announced.pop(dispatcher, None), frozenset(partitions)
        self._announced[dispatcher] = own
        if before == own and len(self.partitions_of(dispatcher)) == len(own):
            return False  # It had them all, and has them still.
        self._owners = {at: name for name, each in self._announced.items() for at in each}
        serving: defaultdict[str, list[int]] = defaultdict(list)
        for at in sorted(self._owners):
            serving[self._owners[at]].append(at)
        self._serving = {name: tuple(owned) for name, owned in serving.items()}
        return True

    def _forget_dispatchers(self) -> list[str]:
        """Of those that serve nothing, forget the ones whose last announcement is oldest.

        Gives the workers on which they had claims.
        """
        excess = len(self._announced) - self._dispatchers_max
        if excess <= 0:
            return []
        concerned: list[str] = []
        idle = [name for name in self._announced if name not in self._serving]
        for dispatcher in idle[:excess]:
            del self._announced[dispatcher]
            claimed = self._claimed_by(dispatcher)
            concerned += claimed
            for worker in claimed:
                self._retract(worker, dispatcher)
        return concerned

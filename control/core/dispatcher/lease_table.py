"""Keeps what a dispatcher has: partitions, connected workers, leases, and what belongs together."""

from collections import Counter, deque
from collections.abc import Sequence

import msgspec

from control.core.dispatcher.claims import is_foreign
from control.core.dispatcher.lease_messages import clock_skew_ms, hold_of
from control.core.fleet.partition_classes import slot_partitions
from control.model import limits
from control.model.bus.messages import DispatcherUp, Placed, WorkerUp
from control.model.states import Speed
from control.model.worker.wire import Lease


class Held(msgspec.Struct):
    """One lease: a placed job that has not ended."""

    placed: Placed
    place: int  # Of its record on the bus, as it came to us.
    lease: Lease
    since_ms: int
    worker: str | None = None  # None: adrift, until its worker claims it or the grace ends.
    started_ms: int | None = None
    overrun: bool = False
    stop: str | None = None  # Why it was cancelled: said again to a worker that comes back.

    def is_for(self, client: str) -> bool:
        """Whether a worker of this client may have it."""
        return not is_foreign(client, self.placed.owner)


class WorkerConnection(msgspec.Struct):
    """A connected worker."""

    info: WorkerUp
    has_subject: bool = False  # Whether its `assign` frames may have one.
    skew_ms: int = 0  # What to add to its clock.
    holds: dict[Lease, Held] = {}
    clock_ms: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=limits.CLOCK_SAMPLES))

    def hear_clock(self, difference_ms: int) -> None:
        """It has said what its clock shows: how much earlier than ours when that arrived."""
        self.clock_ms.append(difference_ms)
        self.skew_ms = clock_skew_ms(self.clock_ms)

    def up(self) -> WorkerUp:
        """What to tell of it."""
        holds = tuple(hold_of(held.placed, held.started_ms) for held in self.holds.values())
        return msgspec.structs.replace(self.info, holds=holds)


class Holdings:
    """A lease that is held is with a connected worker, or adrift."""

    def __init__(self, classes: Sequence[Speed], partitions: frozenset[int] | None) -> None:
        self.classes = classes
        self.partitions = partitions  # None: all, for good.
        self.links: dict[str, WorkerConnection] = {}
        self.held: dict[Lease, Held] = {}
        self.adrift: dict[Lease, int] = {}  # When the grace of each ends.
        self._by_attempt: dict[tuple[int, int], Held] = {}

    def add(self, held: Held) -> None:
        """A lease is given out, or was found again."""
        self.held[held.lease] = held
        self._by_attempt[held.lease.job_id, held.lease.attempt] = held

    def of_attempt(self, job_id: int, attempt: int) -> Held | None:
        """The lease of this attempt, if it is here."""
        return self._by_attempt.get((job_id, attempt))

    def owners_of(self, worker: str) -> set[str]:
        """Whose leases wait for a worker of this name to come back."""
        adrift = map(self.held.__getitem__, self.adrift)
        return {held.placed.owner for held in adrift if held.placed.worker == worker}

    def give(self, held: Held, worker: str) -> None:
        """A connected worker has it."""
        self.adrift.pop(held.lease, None)
        held.worker = worker
        self.links[worker].holds[held.lease] = held

    def set_adrift(self, held: Held, until_ms: int) -> None:
        """Nobody who is connected has it."""
        held.worker = None
        self.adrift[held.lease] = until_ms

    def drop(self, held: Held) -> None:
        """Know nothing of it any more."""
        lease = held.lease
        del self.held[lease]
        self.adrift.pop(lease, None)
        attempt = (lease.job_id, lease.attempt)
        if self._by_attempt.get(attempt) is held:
            del self._by_attempt[attempt]
        if held.worker is not None and held.worker in self.links:
            self.links[held.worker].holds.pop(lease, None)

    def divide(self, slots: int) -> tuple[int, ...]:
        """Partitions for so many new slots; none where we have none: nothing can come here."""
        owned = self._owned()
        if not owned:
            return ()
        used = Counter(at for link in self.links.values() for at in link.info.partitions)
        classes = [self.classes[at] for at in owned]
        chosen = slot_partitions([used[at] for at in owned], slots, classes)
        return tuple(owned[at] for at in chosen)

    def redivide(self) -> None:
        """Our partitions, or their classes, are others now: divide all slots anew."""
        for link in self.links.values():
            link.info = msgspec.structs.replace(link.info, partitions=())
        for link in self.links.values():
            link.info = msgspec.structs.replace(link.info, partitions=self.divide(link.info.slots))

    def up(self, dispatcher: str) -> DispatcherUp:
        """All there is to tell."""
        adrift = [self.held[lease] for lease in self.adrift]
        return DispatcherUp(
            dispatcher=dispatcher,
            partitions=tuple(self._owned()),
            workers=tuple(link.up() for link in self.links.values()),
            adrift=tuple(hold_of(held.placed, held.started_ms) for held in adrift),
        )

    def _owned(self) -> list[int]:
        everything = range(len(self.classes))
        return [at for at in everything if self.partitions is None or at in self.partitions]

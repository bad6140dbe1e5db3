"""Decides which waiting job comes next: strict priority, then shorter expected work, aged.

Jobs with the same priority, pipeline, name, client, and needs are one queue, ordered by the
arrival of their run, put back by what their client has queued beyond its due. Queues whose head
cannot be placed are parked under the cause. When the cause may be gone only the first of them is
looked at, the next one when that has gone: so the end of a job costs the same however many queues
wait.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from control.core.balancer.fairness import Fairness
from control.core.balancer.slots import Shape, shape_of
from control.model.bus.messages import JobReady, PriorityKey

AGE_WEIGHT: Final = 200.0
"""A: a job of index x that has waited w is not overtaken by one of index y once w > A (x - y)."""

_SAME_MS: Final = 50.0  # Ranks closer than this are not worth moving a queue for.
_SAME_RATIO: Final = 0.98  # Nor are lengths.
_LOOKED_AT_MAX: Final = 20_000  # Jobs that are looked at to tell one's position.
_GONE_SLACK: Final = 64  # Entries of jobs that are gone are swept when they are more, and the most.


class Cause(NamedTuple):
    """Why a queue is parked: `client` is at its limit, the reserve is kept, only a straggler or
    no slot at all is free.

    `length` and `shape` say what its jobs need: queues that need the same fail alike.
    """

    why: Literal["client", "reserve", "straggler", "slots"]
    length: str
    shape: Shape
    client: str = ""


class WaitingJob:
    """A job in the balancer's hands, with the place that answers for it."""

    __slots__ = ("arrival_ms", "expected_s", "gone", "job", "place", "queue")

    def __init__(self, job: JobReady, place: int, queue: "Queue", expected_s: float) -> None:
        self.job = job
        self.place = place
        self.queue = queue
        self.arrival_ms: float = job.created_ms  # The virtual one: of its run, put back.
        self.expected_s = expected_s  # When it came: what its client has queued.
        self.gone = False  # Placed or cancelled; its entry is dropped when it surfaces.

    @property
    def put_back_s(self) -> float:
        """How much later than its run it counts as having come."""
        return (self.arrival_ms - self.job.created_ms) / 1000


class Queue:
    """Waiting jobs that only their arrival tells apart."""

    __slots__ = (
        "alike",
        "client",
        "heap",
        "key",
        "level",
        "parked",
        "refused",
        "shape",
        "size",
        "version",
        "woken",
    )

    def __init__(self, job: JobReady, alike: "_Alike") -> None:
        self.level = job.order
        self.key = job.key
        self.alike = alike
        self.client = job.client
        self.shape: Shape = shape_of(job)
        self.heap: list[tuple[float, int, int, WaitingJob]] = []
        self.size = 0
        self.parked: Cause | None = None
        self.refused: tuple[Cause, int] | None = None  # What was found last, and when.
        self.woken: Cause | None = None  # It is looked at for all that are parked for this.
        self.version = 0  # Which entry, in its level's heap or its lot's, is the current one.

    def head(self) -> WaitingJob | None:
        """The first job, or None."""
        heap = self.heap
        while heap and heap[0][3].gone:
            heapq.heappop(heap)
        return heap[0][3] if heap else None


class _Lot:
    """The queues that are parked for one cause, first one first."""

    __slots__ = ("heap", "size")

    def __init__(self) -> None:
        self.heap: list[tuple[PriorityKey, float, int, int, int, Queue]] = []
        self.size = 0


class _Alike:
    """The queues of one key, and the longest length that one of them has its place by."""

    __slots__ = ("index", "queues")

    def __init__(self) -> None:
        self.index = 0.0
        self.queues: dict[Queue, None] = {}


class WaitingJobs:
    """All waiting jobs. `index` gives the length by which a key is ordered, in seconds."""

    def __init__(self, index: Callable[[tuple[str, str]], float]) -> None:
        self._index = index
        self.jobs: dict[int, WaitingJob] = {}
        self._queues: dict[tuple[object, ...], Queue] = {}
        self._alike: dict[tuple[str, str], _Alike] = {}
        self._fairness: defaultdict[int, Fairness] = defaultdict(Fairness)  # By client priority.
        self._levels: dict[PriorityKey, list[tuple[float, int, int, int, Queue]]] = {}
        self._order: list[PriorityKey] = []  # Heap of the levels in use.
        self._parked: dict[Cause, _Lot] = {}
        self._seq = 0

    def add(
        self,
        job: JobReady,
        place: int,
        expected_s: float,
        slots: int,
        put_back_s: float | None = None,
    ) -> None:
        """A job waits. `slots`: how many there are; `put_back_s`: as before, if it comes again."""
        key = (job.order, job.pipeline, job.name, job.client, job.kind, job.version, job.labels)
        queue = self._queues.get(key)
        if queue is None:
            alike = self._alike.get(job.key)
            if alike is None:
                alike = self._alike[job.key] = _Alike()
            queue = self._queues[key] = Queue(job, alike)
            alike.queues[queue] = None
        waiting = WaitingJob(job, place, queue, expected_s)
        self.jobs[job.job_id] = waiting
        fairness = self._fairness[job.order[0]]
        if put_back_s is None:
            put_back_s = fairness.delay_s(job.client, expected_s, slots)
        waiting.arrival_ms += 1000 * put_back_s
        fairness.add(job.client, expected_s)
        self._seq += 1
        before = queue.head()
        # The run's arrival, so that later stages keep its place; job ids tell equals apart, and
        # the last number a job that came back from its own entry, which is gone but still there.
        heapq.heappush(queue.heap, (waiting.arrival_ms, job.job_id, self._seq, waiting))
        queue.size += 1
        if queue.head() is not before:
            self._rank(queue)

    def remove(self, waiting: WaitingJob) -> None:
        """The job was placed or cancelled."""
        waiting.gone = True
        job, queue = waiting.job, waiting.queue
        del self.jobs[job.job_id]
        fairness = self._fairness[job.order[0]]
        fairness.remove(job.client, waiting.expected_s)
        if not fairness.clients:
            del self._fairness[job.order[0]]
        queue.size -= 1
        if not queue.size:
            key = (job.order, *queue.key, queue.client, *queue.shape)
            if self._queues.pop(key, None) is not None:
                self._forget(queue)
            queue.version += 1
            if queue.parked is not None:
                self._leave(queue.parked)
                queue.parked = None
        elif len(queue.heap) > 2 * queue.size + _GONE_SLACK:
            queue.heap[:] = [entry for entry in queue.heap if not entry[3].gone]
            heapq.heapify(queue.heap)
        self._rank(queue)
        if queue.woken is not None:  # Where this one was placed, the next one may be.
            cause, queue.woken = queue.woken, None
            self.wake(cause)

    def park(self, queue: Queue, cause: Cause, now_ms: int) -> None:
        """Its head cannot be placed until `wake(cause)` comes to it."""
        woken, queue.woken = queue.woken, None
        queue.parked, queue.refused = cause, (cause, now_ms)
        self._parked.setdefault(cause, _Lot()).size += 1
        self._rank(queue)
        if woken is not None and not _fails_for_all(woken, cause):
            self.wake(woken)

    def wake(self, cause: Cause) -> None:
        """The cause may be gone: look at the first queue, and, once it has gone, at the next."""
        lot = self._parked.get(cause)
        while lot is not None and lot.size:
            _, rank, *_, version, queue = heapq.heappop(lot.heap)
            head = queue.head() if version == queue.version else None
            if head is None:
                continue
            if self.rank_of(queue, head) > rank + _SAME_MS:
                self._rank(queue)  # It has grown longer since: to its new place.
                continue
            self._leave(cause)
            queue.parked, queue.woken = None, cause
            self._rank(queue)
            return

    def relearned(self, key: tuple[str, str], *, other_length: bool) -> None:
        """Jobs of this key are expected to take another time than when they got their places.

        What has become longer is noticed when it surfaces; what has become shorter would not
        surface. With `other_length` they may fail for other causes than they are parked for.
        """
        alike = self._alike.get(key)
        if alike is None:
            return
        index = self._index(key)
        if not other_length and index > _SAME_RATIO * alike.index:
            return
        alike.index = index
        for queue in alike.queues:
            if other_length and queue.parked is not None:
                self._leave(queue.parked)
                queue.parked = None
            self._rank(queue)

    def reclassified(self, length: Callable[[tuple[str, str]], str]) -> None:
        """Jobs may have another length than they were parked with, and fail for other causes."""
        woken: dict[Cause, None] = {}
        for key, alike in self._alike.items():
            now = length(key)
            for queue in alike.queues:
                if queue.parked is not None and queue.parked.length.split()[0] != now:
                    self._leave(queue.parked)
                    # Only slow jobs leave the reserve free; the others wait for any slot.
                    fits = queue.parked.why == "reserve" and now != "slow"
                    why = "slots" if fits else queue.parked.why
                    queue.parked = queue.parked._replace(why=why, length=now)
                    self._parked.setdefault(queue.parked, _Lot()).size += 1
                    self._rank(queue)
                    woken[queue.parked] = None
        for cause in woken:
            self.wake(cause)

    @property
    def keys(self) -> int:
        """Of how many keys jobs wait."""
        return len(self._alike)

    def take_all(self) -> list[WaitingJob]:
        """Take out all jobs, in the order in which their runs came, to be added again."""
        found = sorted(self.jobs.values(), key=lambda each: (each.job.created_ms, each.job.job_id))
        for waiting in found:
            self.remove(waiting)
        return found

    def requeue(self, client: str, priority: int) -> list[WaitingJob]:
        """Take out all jobs of a client that have another priority, to be added again."""
        found = [
            entry[3]
            for queue in self._queues.values()
            if queue.client == client and queue.level[0] != priority
            for entry in queue.heap
            if not entry[3].gone
        ]
        for waiting in found:
            self.remove(waiting)
        return found

    def ahead(self, waiting: WaitingJob) -> tuple[int, bool]:
        """How many jobs come before this one; True: it may be more, they were too many to count."""
        level, rank = waiting.queue.level, self.rank_of(waiting.queue, waiting)
        own = (rank, waiting.job.job_id)
        count, left, at_least = 0, _LOOKED_AT_MAX, False
        for queue in self._queues.values():
            if queue.level < level:
                count += queue.size
                continue
            head = queue.head()
            if queue.level > level or head is None or self.rank_of(queue, head) > rank:
                continue
            if len(queue.heap) > left:
                count, at_least = count + 1, True
                continue
            left -= len(queue.heap)
            length_ms = _length_ms(self._index(queue.key), head)
            count += sum(
                (entry[0] + length_ms, entry[1]) < own and not entry[3].gone for entry in queue.heap
            )
        return count, at_least

    def queues(self) -> list[Queue]:
        """All queues, in no order."""
        return list(self._queues.values())

    def causes(self) -> list[Cause]:
        """Everything queues are parked for."""
        return list(self._parked)

    def heads(self) -> Iterator[WaitingJob]:
        """Heads in the order in which they should be placed.

        Between two steps the caller removes or parks the head it was given, or stops.
        """
        while self._order:
            level = self._order[0]
            heap = self._levels[level]
            if not heap:
                heapq.heappop(self._order)
                del self._levels[level]
                continue
            rank, *_, version, queue = heap[0]
            head = queue.head() if version == queue.version else None
            if head is None:
                heapq.heappop(heap)
            elif self.rank_of(queue, head) > rank + _SAME_MS:
                heapq.heappop(heap)  # It has grown longer since: to its new place.
                self._rank(queue)
            else:
                yield head

    def _forget(self, queue: Queue) -> None:
        del queue.alike.queues[queue]
        if not queue.alike.queues:
            del self._alike[queue.key]

    def _leave(self, cause: Cause) -> None:
        lot = self._parked[cause]
        lot.size -= 1
        if not lot.size:
            del self._parked[cause]

    def _rank(self, queue: Queue) -> None:
        """Give a queue its place by its head: among those of its level, or in its lot."""
        head = queue.head()
        if head is None:
            return
        queue.version += 1
        self._seq += 1
        index = self._index(queue.key)
        rank = head.arrival_ms + _length_ms(index, head)
        queue.alike.index = max(queue.alike.index, index)
        place = (rank, head.job.job_id, self._seq, queue.version)  # Job ids tell equals apart.
        if queue.parked is not None:
            lot = self._parked[queue.parked]
            heapq.heappush(lot.heap, (queue.level, *place, queue))
            if len(lot.heap) > 2 * lot.size + _GONE_SLACK:
                lot.heap[:] = [entry for entry in lot.heap if entry[-2] == entry[-1].version]
                heapq.heapify(lot.heap)
            return
        heap = self._levels.get(queue.level)
        if heap is None:
            heap = self._levels[queue.level] = []
            heapq.heappush(self._order, queue.level)
        heapq.heappush(heap, (*place, queue))
        if len(heap) > 2 * len(self._queues) + _GONE_SLACK:
            heap[:] = [entry for entry in heap if entry[-2] == entry[-1].version]
            heapq.heapify(heap)

    def rank_of(self, queue: Queue, waiting: WaitingJob) -> float:
        """By what its queue has its place among those of its level, while this is its head."""
        return waiting.arrival_ms + _length_ms(self._index(queue.key), waiting)


def _length_ms(index: float, waiting: WaitingJob) -> float:
    return 1000 * AGE_WEIGHT * index * waiting.job.stages_left


def _fails_for_all(woken: Cause, found: Cause) -> bool:
    """Whether one that was looked at for `woken` failed as all that are parked there would."""
    if found.why == "slots":  # Nothing at all is free, also where a straggler was.
        lengths = woken.length.split()[0] == found.length
    else:
        lengths = woken.length == found.length
    return lengths and woken.shape == found.shape and found.client in {"", woken.client}

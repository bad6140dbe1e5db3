"""Decides how what waits at the balancer is shown: grouped by reason, client, and name.

All queues are looked at, in portions: between two the balancer may place jobs, so a picture of a
hundred thousand jobs holds nobody up. What changes meanwhile is seen as it was, or as it is.
"""

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Final

from control.core.balancer.balancer import Balancer
from control.core.balancer.estimates import Key
from control.core.balancer.job_queue import Cause, Queue, WaitingJob
from control.core.balancer.slots import Shape
from control.model.api.queues import Queues, WaitingClass, WaitingGroup, WaitingReason
from control.model.bus.messages import PriorityKey
from control.model.states import Speed

_PORTION: Final = 500  # Queues that are looked at in one portion.
_FIRST_MAX: Final = 16  # Jobs of one queue that are looked at for the oldest one: those in front.


class _Group:
    """Waiting jobs of one client and name that wait for the same reason."""

    __slots__ = ("first", "head", "jobs")

    def __init__(self, first: tuple[PriorityKey, float, int], head: WaitingJob) -> None:
        self.first = first
        self.head = head
        self.jobs = 0


class _Class:
    """All waiting jobs of one class."""

    __slots__ = ("expected_s", "jobs", "oldest_ms")

    def __init__(self) -> None:
        self.jobs = 0
        self.expected_s = 0.0
        self.oldest_ms: int | None = None


class Survey:
    """One look at all that waits, or at what one client has waiting."""

    def __init__(self, balancer: Balancer, client: str | None = None) -> None:
        self._balancer = balancer
        self._client = client
        queues = balancer.waiting.queues()
        self._left: Iterator[Queue] = iter(queues)
        self._queues, self._looked_at = len(queues), 0
        self._said: dict[tuple[Cause | None, Shape], str] = {}
        self._keys: dict[Key, tuple[float, Speed]] = {}
        self._groups: dict[tuple[str, str, Key], _Group] = {}
        self._classes = {Speed.FAST: _Class(), Speed.SLOW: _Class()}

    def step(self) -> bool:
        """Look at the next portion; False: all has been looked at."""
        for queue in islice(self._left, _PORTION):
            self._looked_at += 1
            if self._client is None or queue.client == self._client:
                head = queue.head()
                if head is not None:  # Else it is gone by now.
                    self._look(queue, head)
        return self._looked_at < self._queues

    def result(self, limit: int, now_ms: int) -> Queues:
        """What was found: `limit` groups at most, the one whose head comes first first."""
        reasons: dict[str, int] = {}
        for (reason, _, _), group in self._groups.items():
            reasons[reason] = reasons.get(reason, 0) + group.jobs
        first = heapq.nsmallest(limit, self._groups.items(), key=lambda item: item[1].first)
        return Queues(
            items=[self._shown(reason, group, now_ms) for (reason, _, _), group in first],
            reasons=[
                WaitingReason(reason=reason, jobs=jobs)
                for reason, jobs in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            ],
            classes=[
                WaitingClass(
                    speed=speed,
                    jobs=found.jobs,
                    expected_seconds=found.expected_s,
                    oldest_seconds=_seconds(found.oldest_ms, now_ms),
                )
                for speed, found in self._classes.items()
            ],
            groups_more=len(self._groups) - len(first),
        )

    def _look(self, queue: Queue, head: WaitingJob) -> None:
        cause, key, size = queue.parked, queue.key, queue.size
        reason = self._said.get((cause, queue.shape))
        if reason is None:
            reason = self._said[cause, queue.shape] = self._balancer.in_words(queue, cause)
        expected_s, speed = self._length(key)
        first = (queue.level, self._balancer.waiting.rank_of(queue, head), head.job.job_id)
        name = (reason, queue.client, key)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(first, head)
        elif first < group.first:
            group.first, group.head = first, head
        group.jobs += size
        its_class = self._classes[speed]
        its_class.jobs += size
        its_class.expected_s += size * expected_s
        oldest_ms = head.job.ready_ms
        if size > 1:  # An older run's job may have become ready later.
            front = queue.heap[:_FIRST_MAX]
            oldest_ms = min([entry[3].job.ready_ms for entry in front if not entry[3].gone])
        if its_class.oldest_ms is None or oldest_ms < its_class.oldest_ms:
            its_class.oldest_ms = oldest_ms

    def _length(self, key: Key) -> tuple[float, Speed]:
        known = self._keys.get(key)
        if known is None:
            expected_s = self._balancer.estimates.expected(key)
            known = self._keys[key] = (expected_s, self._balancer.learning.speed(key, expected_s))
        return known

    def _shown(self, reason: str, group: _Group, now_ms: int) -> WaitingGroup:
        job = group.head.job
        expected_s, speed = self._length(job.key)
        return WaitingGroup(
            reason=reason,
            client=job.client,
            pipeline=job.pipeline,
            stage=job.stage,
            job=job.name,
            speed=speed,
            jobs=group.jobs,
            order=job.order,
            expected_seconds=expected_s,
            ready_seconds=max(now_ms - job.ready_ms, 0) / 1000,
            run_id=job.run_id,
            job_id=job.job_id,
        )


def queues(balancer: Balancer, limit: int, now_ms: int, client: str | None = None) -> Queues:
    """What waits at this balancer, of one client or of all, looked at without a pause."""
    survey = Survey(balancer, client)
    while survey.step():
        pass
    return survey.result(limit, now_ms)


def _seconds(since_ms: int | None, now_ms: int) -> float | None:
    return None if since_ms is None else max(now_ms - since_ms, 0) / 1000

"""Owns the pods of one Job: their logs, the notes on them, and how long one may fail to start."""

import math
from collections.abc import Mapping, Sequence

import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Reporter
from workers.kinds.kubernetes.api import KubernetesApi
from workers.kinds.kubernetes.events import with_reason
from workers.kinds.kubernetes.objects import ContainerStatus, Pod
from workers.kinds.kubernetes.pod_logs import ContainerLog
from workers.kinds.kubernetes.pod_states import cannot_start, failure, has_not_begun


class Pods:
    """All pods that a Job has, and the last failed one that is gone."""

    def __init__(
        self, api: KubernetesApi, report: Reporter, start_s: float, *, several: bool
    ) -> None:
        """`start_s`: how long a pod may be unable to start. `several`: log lines say whose."""
        self._api = api
        self._report = report
        self._start_s = start_s
        self._several = several
        self._slots = trio.CapacityLimiter(limits.KUBERNETES_LOGS_MAX)
        self._pods: Mapping[str, Pod] = {}
        self._failed: Pod | None = None
        # Runs of containers: (the pod's uid, container, how often it was started again).
        self._logs: dict[tuple[str, str, int], ContainerLog] = {}
        self._noted: dict[str, str] = {}  # The last note on each pod, by its uid.
        # Since when a pod, by its uid, cannot start, and why; None: only its events can say.
        self._stuck_at: dict[str, tuple[float, str | None]] = {}

    async def run(
        self, changes: trio.MemoryReceiveChannel[Mapping[str, Pod]], logs: trio.Nursery
    ) -> None:
        """Take in what changes until cancelled; raises JobFailed when a pod does not start."""
        while True:
            since = min((since for since, _ in self._stuck_at.values()), default=math.inf)
            pods = None
            with trio.move_on_at(since + self._start_s):
                pods = await changes.receive()
            if pods is None:
                raise JobFailed(f"{await self._why_stuck()} (for {self._start_s:g} s)")
            await self.take(pods, logs)

    async def take(self, pods: Mapping[str, Pod], logs: trio.Nursery) -> None:
        """Take in all pods as they are now."""
        alive = {pod.metadata.uid for pod in pods.values()}
        for (uid, _, _), log in self._logs.items():
            if uid not in alive:
                log.end(previous=False)
        for uid in self._stuck_at.keys() - alive:
            del self._stuck_at[uid]
        self._pods = pods
        for pod in pods.values():
            self._look_at_start(pod)
            await self._note(pod)
            for container in pod.status.containers:
                self._look_at_log(pod, container, logs)

    def end(self) -> None:
        """Say that no pod runs any more."""
        for log in self._logs.values():
            log.end(previous=False)

    def last(self) -> Sequence[Pod]:
        """All that are there, and the last one that failed."""
        there = list(self._pods.values())
        return there if self._failed is None or self._failed in there else [*there, self._failed]

    def _look_at_start(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        why = cannot_start(pod)
        is_stuck = why is not None or has_not_begun(pod)
        if pod.metadata.deletion_timestamp or not is_stuck:
            self._stuck_at.pop(uid, None)
        else:
            since, _ = self._stuck_at.get(uid, (trio.current_time(), None))
            self._stuck_at[uid] = since, why

    async def _why_stuck(self) -> str:
        """Of the pod that has been so for the longest time."""
        uid, (_, why) = min(self._stuck_at.items(), key=lambda item: item[1][0])
        if why is not None:
            return why
        (name,) = (pod.metadata.name for pod in self._pods.values() if pod.metadata.uid == uid)
        return await with_reason(self._api, uid, f"pod {name} has started no container")

    def _look_at_log(self, pod: Pod, container: ContainerStatus, logs: trio.Nursery) -> None:
        state = container.state
        has_ended = state.terminated or (state.waiting and container.last_state.terminated)
        if not (state.running or has_ended):
            return
        uid, runs = pod.metadata.uid, container.restart_count
        for before in range(runs):
            if (earlier := self._logs.get((uid, container.name, before))) is not None:
                earlier.end(previous=True)
        key = uid, container.name, runs
        if key not in self._logs:
            prefix = f"[{pod.metadata.name}/{container.name}] " if self._several else ""
            log = ContainerLog(self._api, pod.metadata.name, container.name, prefix, self._report)
            self._logs[key] = log
            logs.start_soon(log.run, self._slots)
        if has_ended:
            self._logs[key].end(previous=False)

    async def _note(self, pod: Pod) -> None:
        problem = failure(pod)
        if problem is not None:
            self._failed = pod
        trouble = cannot_start(pod) or (problem.words if problem is not None else None)
        where = f"pod {pod.metadata.name} is on node {pod.spec.node_name}"
        note = trouble or (where if pod.spec.node_name else None)
        if note is not None and self._noted.get(pod.metadata.uid) != note:
            self._noted[pod.metadata.uid] = note
            await self._report.log(f"kubernetes: {note}\n")

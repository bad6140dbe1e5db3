"""Decides whether a Job has begun or ended, why it failed in words, and what its output says."""

from collections.abc import Sequence

import msgspec

from workers.kinds.kubernetes.objects import BatchJob, Condition, Pod
from workers.kinds.kubernetes.pod_states import PodFailure, failure


class ContainerOutput(msgspec.Struct, frozen=True, kw_only=True):
    """How a container is, or has ended. `message`: what it wrote to its termination log."""

    name: str
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    restarts: int = 0
    started_at: str | None = None
    finished_at: str | None = None


class PodOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The last state of the pod that ended last."""

    name: str
    node: str
    phase: str
    containers: list[ContainerOutput]


class JobOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a job of this kind. `pod`: None where none is left."""

    namespace: str
    job: str
    succeeded: int
    failed: int
    pod: PodOutput | None


def has_no_pod(job: BatchJob) -> bool:
    """Whether a Job that is to run has never had a pod; between two of them it may pause."""
    is_to_run = not job.spec.suspend and job.spec.parallelism != 0
    status = job.status
    return is_to_run and not (status.active or status.succeeded or status.failed)


def ended(job: BatchJob) -> Condition | None:
    """The condition that says how a Job ended; None: it has not."""
    for condition in job.status.conditions:
        if condition.type in {"Complete", "Failed"} and condition.holds:
            return condition
    return None


def failed(job: BatchJob, pods: Sequence[Pod]) -> PodFailure | None:
    """Why a Job that has ended failed; None: it did not. `pods`: all that are known, newest last.

    What the Job says (BackoffLimitExceeded) is the rule that ended it; what a pod says is why.
    """
    end = ended(job)
    if end is None or end.type == "Complete":
        return None
    words = f"the Job {job.metadata.name} failed: {end.reason}: {end.message}"
    causes = [cause for pod in pods if (cause := failure(pod)) is not None]
    causes.sort(key=lambda cause: cause.exit_code is None)
    if not causes:
        return PodFailure(words)
    return PodFailure(f"{words}; {causes[0].words}", causes[0].exit_code)


def output(job: BatchJob, pods: Sequence[Pod]) -> JobOutput:
    """What a Job that has ended leaves."""
    done = [pod for pod in pods if pod.status.phase == "Succeeded"]
    last = max(done or pods, key=_finished_at, default=None)
    return JobOutput(
        namespace=job.metadata.namespace,
        job=job.metadata.name,
        succeeded=job.status.succeeded,
        failed=job.status.failed,
        pod=None if last is None else _pod(last),
    )


def _finished_at(pod: Pod) -> str:
    ends = (each.state.terminated for each in pod.status.containers)
    return max((end.finished_at or "" for end in ends if end is not None), default="")


def _pod(pod: Pod) -> PodOutput:
    containers = []
    for status in pod.status.containers:
        end = status.state.terminated
        containers.append(
            ContainerOutput(name=status.name, restarts=status.restart_count)
            if end is None
            else ContainerOutput(
                name=status.name,
                exit_code=end.exit_code,
                reason=end.reason,
                message=end.message,
                restarts=status.restart_count,
                started_at=end.started_at,
                finished_at=end.finished_at,
            )
        )
    return PodOutput(
        name=pod.metadata.name,
        node=pod.spec.node_name,
        phase=pod.status.phase,
        containers=containers,
    )

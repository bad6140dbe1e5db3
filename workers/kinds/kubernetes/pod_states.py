"""Decides in words why a pod does not start, and how it failed."""

from typing import Final, NamedTuple

from workers.kinds.kubernetes.objects import ContainerEnd, ContainerStatus, Pod

# Those of a container that was not started, and will not be until something else has changed.
_UNSTARTED: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
_CRASHING: Final = "CrashLoopBackOff"
_OUT_OF_MEMORY: Final = "OOMKilled"


class PodFailure(NamedTuple):
    """How a pod failed. `exit_code`: of the container to blame, if there is one."""

    words: str
    exit_code: int | None = None


def cannot_start(pod: Pod) -> str | None:
    """Why a pod does not start; None: it has, or nothing is known that hinders it."""
    name = pod.metadata.name
    for condition in pod.status.conditions:
        unscheduled = condition.type == "PodScheduled" and not condition.holds
        if unscheduled and condition.reason == "Unschedulable":
            return f"pod {name} is Unschedulable: {condition.message}"
    for container in pod.status.containers:
        waiting = container.state.waiting
        if waiting is not None and waiting.reason in _UNSTARTED:
            words = f"container {container.name} of pod {name} cannot start: {waiting.reason}"
            return f"{words}: {waiting.message}" if waiting.message else words
    return None


def has_not_begun(pod: Pod) -> bool:
    """Whether no container of a pod was ever started: it waits for a node, a volume, an image."""
    return pod.status.phase == "Pending" and not any(
        container.state.running or _end(container) for container in pod.status.containers
    )


def failure(pod: Pod) -> PodFailure | None:
    """How a pod failed, or a container of it that is started again; None: neither has."""
    ended = [
        (end, container)
        for container in pod.status.containers
        if (end := _end(container)) is not None and end.exit_code != 0
    ]
    # Of several the first: the others often fail because of it.
    ended.sort(key=lambda each: each[0].finished_at or "~")
    exit_code = ended[0][0].exit_code if ended else None
    if pod.status.reason:  # Evicted, DeadlineExceeded, NodeLost, Preempting, …
        message = f": {pod.status.message}" if pod.status.message else ""
        return PodFailure(f"pod {pod.metadata.name}: {pod.status.reason}{message}", exit_code)
    if ended:
        return PodFailure(_of_container(pod, ended[0][1], ended[0][0]), exit_code)
    for condition in pod.status.conditions:
        if condition.type == "DisruptionTarget" and condition.holds:
            words = f"pod {pod.metadata.name}: {condition.reason}: {condition.message}"
            return PodFailure(words)
    return PodFailure(f"pod {pod.metadata.name} failed") if pod.status.phase == "Failed" else None


def _end(container: ContainerStatus) -> ContainerEnd | None:
    return container.state.terminated or container.last_state.terminated


def _of_container(pod: Pod, container: ContainerStatus, end: ContainerEnd) -> str:
    who = f"container {container.name} of pod {pod.metadata.name}"
    if end.reason == _OUT_OF_MEMORY:
        limit = _memory_limit(pod, container.name)
        of_what = f"its limit of {limit}" if limit else "what its node has"
        words = f"{who} needed more memory than {of_what}: {_OUT_OF_MEMORY}"
    else:
        reason = "" if end.reason in {"", "Error"} else f" ({end.reason})"
        words = f"{who} ended with exit code {end.exit_code}{reason}"
    waiting = container.state.waiting
    if waiting is not None and waiting.reason == _CRASHING:
        words += f", after {container.restart_count} restarts: {_CRASHING}"
    return f"{words}: {end.message.strip()}" if end.message.strip() else words


def _memory_limit(pod: Pod, container: str) -> str | None:
    for each in (*pod.spec.init_containers, *pod.spec.containers):
        if each.name == container and "memory" in each.resources.limits:
            return str(each.resources.limits["memory"])
    return None

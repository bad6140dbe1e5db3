"""Decides how far the rollout of a Deployment is: what `kubectl rollout status` would say of it."""

from typing import NamedTuple

from workers.kinds.kubernetes.objects import Deployment


class RolloutProgress(NamedTuple):
    """How far a rollout is. `failed`: it will not go on, and why."""

    words: str
    fraction: float
    done: bool = False
    failed: bool = False


def progress_of(deployment: Deployment) -> RolloutProgress:
    """Of the newest revision that was asked for."""
    spec, status = deployment.spec, deployment.status
    name = deployment.metadata.name
    if status.observed_generation < deployment.metadata.generation:
        return RolloutProgress(f"{name}: the controller has not seen the change yet", 0.0)
    if spec.paused:
        return RolloutProgress(
            f"the Deployment {name} is paused: resume it first", 0.0, failed=True
        )
    fraction = min(status.updated_replicas, status.available_replicas) / max(spec.replicas, 1)
    fraction = min(fraction, 1.0)
    for condition in status.conditions:
        if condition.reason == "ProgressDeadlineExceeded":
            words = f"the rollout of {name} failed: {condition.reason}: {condition.message}"
            return RolloutProgress(words, fraction, failed=True)
    if status.updated_replicas < spec.replicas:
        words = f"{status.updated_replicas} of {spec.replicas} replicas are updated"
    elif status.replicas > status.updated_replicas:
        words = f"{status.replicas - status.updated_replicas} old replicas are still there"
    elif status.available_replicas < status.updated_replicas:
        words = f"{status.available_replicas} of {status.updated_replicas} replicas are available"
    else:
        return RolloutProgress(f"{name}: all {spec.replicas} replicas are updated", 1.0, done=True)
    return RolloutProgress(f"{name}: {words}", fraction)

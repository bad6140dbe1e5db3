"""Decides in words what hinders an object, by the events that the cluster has of it."""

from control.model.errors import JobFailed
from workers.kinds.kubernetes.api import EVENTS, KubernetesApi
from workers.kinds.kubernetes.objects import ObjectEvent
from workers.kinds.kubernetes.watch import ObjectWatch
from workers.trouble import WorkerTrouble


async def with_reason(api: KubernetesApi, uid: str, words: str) -> str:
    """The words, and after them the last warning about the object of this uid, if it can be had."""
    watch = ObjectWatch(api, EVENTS, ObjectEvent, {"fieldSelector": f"involvedObject.uid={uid}"})
    try:
        events = await watch.list()
    except (JobFailed, WorkerTrouble):  # A Role need not allow it.
        return words
    warnings = [event for event in events.values() if event.type == "Warning"]
    if not warnings:
        return words
    last = max(warnings, key=lambda event: event.last_timestamp or event.event_time or "")
    return f"{words}: {last.reason}: {last.message}"

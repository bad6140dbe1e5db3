"""Decides how it is told why a job waits at the balancer."""

from control.core.balancer.in_flight import InFlight
from control.core.balancer.job_queue import Cause, Queue
from control.core.balancer.slots import Slots
from control.core.fleet.requirements import why_unfit
from control.model.api.queues import NONE_TAKES


def in_words(
    cause: Cause | None, queue: Queue, slots: Slots, outstanding: InFlight, most: int | None
) -> str:
    """Why the head of a queue is not placed; `most`: its client's `max_running`."""
    if not slots.any_can(queue.shape):
        infos = (worker.info for worker in slots.workers.values())
        unfit = why_unfit(*queue.shape, infos)
        if unfit is not None:
            return unfit
    if cause is None:
        return "its turn comes next"
    if cause.why == "client":
        running = outstanding.clients.get(queue.client, 0)
        return f"{queue.client} is at max_running: {running} of {most}"
    able = (worker for worker in slots.workers.values() if worker.can(queue.shape))
    if all(worker.draining for worker in able):
        return f"{NONE_TAKES}: they drain, or are sick"
    held = f"{outstanding.slow} slot" if outstanding.slow == 1 else f"{outstanding.slow} slots"
    said = {
        "reserve": f"slow jobs hold {held}; the rest is kept for fast ones",
        "straggler": "no free slot but a straggler's, where it would take far longer",
    }
    return said.get(cause.why, "no free slot") if slots.total else "no free slot"

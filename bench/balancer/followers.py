"""Owns which jobs of a workload arrive by themselves, and which follow the end of another one."""

from collections.abc import Sequence

from control.core.simulation.workload import PlayedJob


def arrivals_and_followers(jobs: Sequence[PlayedJob]) -> tuple[list[int], dict[int, list[int]]]:
    """The places of those that arrive; by place, the places of those that follow it."""
    arriving: list[int] = []
    following: dict[int, list[int]] = {}
    for place, job in enumerate(jobs):
        if job.after is None:
            arriving.append(place)
        else:
            following.setdefault(job.after, []).append(place)
    return arriving, following

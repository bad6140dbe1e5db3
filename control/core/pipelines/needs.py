"""Decides what jobs wait for in a definition not yet known to be valid, and finds circles in it.

`control/core/runs/graph.py` decides the same for valid pipelines, where nothing can be missing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec


class JobNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a job's predecessors. `stage` is the place of its stage, from 0."""

    name: str
    stage: int
    needs: Collection[str] | None


def predecessors(jobs: Sequence[JobNeeds]) -> dict[str, Collection[str]]:
    """The names each job waits for: its needs, or every job of every earlier stage."""
    stages = sorted({job.stage for job in jobs})
    earlier: dict[int, tuple[str, ...]] = {}
    before: list[str] = []
    for stage in stages:
        earlier[stage] = tuple(before)
        before.extend(job.name for job in jobs if job.stage == stage)
    return {job.name: earlier[job.stage] if job.needs is None else tuple(job.needs) for job in jobs}


def find_circles(needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Circles as `(a, b, a)`, no name in two of them; none only where there is none."""
    circles: list[tuple[str, ...]] = []
    done: set[str] = set()
    listed: set[str] = set()
    for start in needs:
        if start not in done:
            for circle in _circles_from(start, needs, done):
                if listed.isdisjoint(circle):
                    circles.append(circle)
                    listed.update(circle)
    return circles


def _circles_from(
    start: str, needs: Mapping[str, Sequence[str]], done: set[str]
) -> Iterator[tuple[str, ...]]:
    """Go depth first from `start`, without recursion; at most one circle for each name."""
    trail = {start: iter(needs[start])}  # In the order walked.
    closing: set[str] = set()
    while trail:
        here = next(reversed(trail))
        following = next(trail[here], None)
        if following is None:
            done.add(here)
            del trail[here]
        elif following in trail:
            if here not in closing:
                names = list(trail)
                yield (*names[names.index(following) :], following)
            closing.add(here)
        elif following in needs and following not in done:
            trail[following] = iter(needs[following])

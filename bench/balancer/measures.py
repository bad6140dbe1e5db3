"""Decides what is measured of a played workload, and how measures are put together.

A fast job truly takes less than 30 s. Slowdown: response by size, of a second at least; never
below 1, so that a job of 10 ms that did not wait is not a hundred times better than others.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from control.core.simulation.workload import Farm, Played, PlayedJob

FAST_S: Final = 30.0
_LEAST_S: Final = 1.0
_NOISE_S: Final = 0.01  # Waits below are equal: a ratio of two of them says nothing.


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """One workload under one policy. `others_p99`: of the fast jobs of all but one client."""

    fast_mean: float
    fast_p50: float
    fast_p95: float
    fast_p99: float
    slow_mean: float
    slow_p99: float
    slowdown: float
    slowdown_p99: float
    longest: float
    response: float
    worst_client: float
    jain: float
    utilisation: float
    others_p99: float


def measured(
    jobs: Sequence[PlayedJob], played: Played, farm: Farm, *, but_client: str | None = None
) -> Measures:
    """The figures. `but_client`: whom `others_p99` leaves out."""
    waits = played.waits()
    fast: list[float] = []
    slow: list[float] = []
    others: list[float] = []
    slowdowns: list[float] = []
    of_client: dict[str, list[float]] = {}
    responses = 0.0
    for job, wait, ready, ended in zip(jobs, waits, played.ready, played.ended, strict=True):
        if job.seconds < FAST_S:
            fast.append(wait)
            if job.client != but_client:
                others.append(wait)
        else:
            slow.append(wait)
        responses += ended - ready
        slowdown = max((ended - ready) / max(job.seconds, _LEAST_S), 1.0)
        slowdowns.append(slowdown)
        of_client.setdefault(job.client, []).append(slowdown)
    clients = [mean(each) for each in of_client.values()]
    for each in (fast, slow, others, slowdowns):
        each.sort()
    return Measures(
        fast_mean=mean(fast),
        fast_p50=at(fast, 0.5),
        fast_p95=at(fast, 0.95),
        fast_p99=at(fast, 0.99),
        slow_mean=mean(slow),
        slow_p99=at(slow, 0.99),
        slowdown=mean(slowdowns),
        slowdown_p99=at(slowdowns, 0.99),
        longest=max(waits, default=0.0),
        response=responses / max(len(jobs), 1),
        worst_client=max(clients, default=0.0),
        jain=sum(clients) ** 2 / (len(clients) * sum(each * each for each in clients)),
        utilisation=_utilisation(jobs, played, farm),
        others_p99=at(others, 0.99),
    )


def _utilisation(jobs: Sequence[PlayedJob], played: Played, farm: Farm) -> float:
    """Work done and lost, by what the slots could do until the last run arrived."""
    busy = sum(end - begun for begun, end in zip(played.started, played.ended, strict=True))
    return (busy + played.lost_s) / max(farm.total * jobs[-1].arrival_s, 1e-9)


def mean(values: Sequence[float]) -> float:
    """Zero of none."""
    return sum(values) / len(values) if values else 0.0


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies (nearest rank)."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def over_seeds(found: Sequence[Measures]) -> Measures:
    """The mean of each measure."""
    return Measures(
        **{
            name: mean([getattr(each, name) for each in found])
            for name in Measures.__struct_fields__
        }
    )


def ratio(ours: float, theirs: float) -> float:
    """How many times theirs; what nobody can feel counts as equal."""
    return max(ours, _NOISE_S) / max(theirs, _NOISE_S)


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean; of zero too, as of something that cannot be felt."""
    logs = [math.log(max(value, _NOISE_S)) for value in values]
    return math.exp(mean(logs))

"""Decides what another farm, or other rules, would have made of jobs that were recorded.

The same jobs are played twice by the policy itself, in virtual time. A job counts as slow in both
plays or in neither: by what its name's jobs took on average, so that like is compared with like.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from control.core.balancer.policy import Policy
from control.core.balancer.slow_threshold import THRESHOLD_MAX_S, learned_threshold
from control.core.simulation.simulator import play
from control.core.simulation.workload import Farm, Played, PlayedJob, work_s
from control.model.api.reports import Spread
from control.model.states import Speed

_LATEST_MAX: Final = 5
_SHORTEST_S: Final = 0.001  # Nothing is measured more finely.
_NOTHING: Final = Spread(mean=None, p50=None, p95=None, p99=None, max=None)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A farm, and the rules by which jobs are placed on it."""

    farm: Farm
    policy: Policy


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be otherwise; None: as it is. `slots`: of each worker."""

    workers: int | None = None
    slots: int | None = None
    partitions: int | None = None
    slow: float | Literal["auto"] | None = None  # The share of the partitions.
    slow_threshold: float | Literal["auto"] | None = None
    lend: bool | None = None


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """How long the jobs of a class waited."""

    speed: Speed = msgspec.field(name="class")
    jobs: int
    wait: Spread
    late: int


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline with jobs that waited for too long."""

    pipeline: str
    jobs: int
    late: int
    longest_seconds: float


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One play: what it was played on, and what came of it. `slow`: percent of the partitions."""

    workers: int
    slots: int
    partitions: int
    slow: float | Literal["auto"]
    slow_threshold: float | Literal["auto"]
    lend: bool
    utilisation: float
    classes: tuple[Waited, ...]
    late: int
    pipelines: tuple[Late, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Now beside what would be. `what_if` is null where nothing was to be otherwise.

    `threshold_seconds`: jobs of names that took at least so long on average are shown as slow.
    """

    jobs: int
    span_seconds: float
    threshold_seconds: float
    late_seconds: float
    now: Scenario
    what_if: Scenario | None


def changed(setup: Setup, changes: Overrides) -> Setup:
    """The same with these changes. New workers are like those that are there, in their order."""
    farm, policy = setup.farm, setup.policy
    count = len(farm.slots) if changes.workers is None else changes.workers
    slots = tuple(
        farm.slots[at % len(farm.slots)] if changes.slots is None else changes.slots
        for at in range(count)
    )
    partitions = farm.partitions if changes.partitions is None else changes.partitions
    given: dict[str, float | bool | None] = {}
    if changes.slow is not None:
        given["slow_share"] = _fixed(changes.slow)
    if changes.slow_threshold is not None:
        given["slow_threshold_s"] = _fixed(changes.slow_threshold)
    if changes.lend is not None:
        given["lend"] = changes.lend
    return Setup(
        farm=msgspec.structs.replace(farm, slots=slots, partitions=partitions),
        policy=msgspec.structs.replace(policy, partitions=partitions, **given),
    )


def _fixed(value: float | Literal["auto"]) -> float | None:
    return None if value == "auto" else value


def compare(jobs: Sequence[PlayedJob], now: Setup, then: Setup, *, late_s: float) -> Comparison:
    """Play these jobs (there is at least one) on both, or once where both are the same.

    They are shown as slow from the fixed threshold of now on, or else from the one that is learned
    from them.
    """
    means = _means(jobs)
    threshold_s = now.policy.slow_threshold_s
    if threshold_s is None:
        threshold_s = learned_threshold(list(means.values())) or THRESHOLD_MAX_S
    slow = [means[job.pipeline, job.name][0] >= threshold_s for job in jobs]
    played = play(jobs, now.farm, now.policy)
    before = _scenario(jobs, now, played, slow, late_s)
    after = None
    if then != now:
        after = _scenario(jobs, then, play(jobs, then.farm, then.policy), slow, late_s)
    return Comparison(
        jobs=len(jobs),
        span_seconds=_span_s(played),
        threshold_seconds=threshold_s,
        late_seconds=late_s,
        now=before,
        what_if=after,
    )


def spread(values: Iterable[float]) -> Spread:
    """Percentiles of these seconds, interpolated."""
    found = sorted(values)
    if not found:
        return _NOTHING
    return Spread(
        mean=math.fsum(found) / len(found),
        p50=_quantile(found, 0.50),
        p95=_quantile(found, 0.95),
        p99=_quantile(found, 0.99),
        max=found[-1],
    )


def _quantile(ordered: Sequence[float], part: float) -> float:
    at = part * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _means(jobs: Iterable[PlayedJob]) -> Mapping[tuple[str, str], tuple[float, float]]:
    """Mean seconds of each name, and how many jobs it had."""
    totals: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for job in jobs:
        total = totals[job.pipeline, job.name]
        total[0] += job.seconds
        total[1] += 1
    return {
        key: (max(seconds / count, _SHORTEST_S), count) for key, (seconds, count) in totals.items()
    }


def _scenario(
    jobs: Sequence[PlayedJob], setup: Setup, played: Played, slow: Sequence[bool], late_s: float
) -> Scenario:
    farm, policy = setup.farm, setup.policy
    waits = played.waits()
    available_s = farm.total * _span_s(played)
    return Scenario(
        workers=len(farm.slots),
        slots=farm.total,
        partitions=farm.partitions,
        slow="auto" if policy.slow_share is None else policy.slow_share * 100,
        slow_threshold="auto" if policy.slow_threshold_s is None else policy.slow_threshold_s,
        lend=policy.lend,
        utilisation=(work_s(jobs) + played.lost_s) / available_s if available_s else 0.0,
        classes=tuple(
            _waited(
                speed,
                [wait for wait, is_slow in zip(waits, slow, strict=True) if is_slow == wanted],
                late_s,
            )
            for speed, wanted in ((Speed.FAST, False), (Speed.SLOW, True))
        ),
        late=sum(wait > late_s for wait in waits),
        pipelines=_latest(jobs, waits, late_s),
    )


def _waited(speed: Speed, waits: Sequence[float], late_s: float) -> Waited:
    return Waited(
        speed=speed,
        jobs=len(waits),
        wait=spread(waits),
        late=sum(wait > late_s for wait in waits),
    )


def _latest(jobs: Sequence[PlayedJob], waits: Sequence[float], late_s: float) -> tuple[Late, ...]:
    """The pipelines with the most late jobs."""
    all_jobs: Counter[str] = Counter()
    too_late: Counter[str] = Counter()
    longest: dict[str, float] = {}
    for job, wait in zip(jobs, waits, strict=True):
        all_jobs[job.pipeline] += 1
        if wait > late_s:
            too_late[job.pipeline] += 1
            longest[job.pipeline] = max(longest.get(job.pipeline, 0.0), wait)
    return tuple(
        Late(pipeline=name, jobs=all_jobs[name], late=count, longest_seconds=longest[name])
        for name, count in too_late.most_common(_LATEST_MAX)
    )


def _span_s(played: Played) -> float:
    """From the first job that was ready to the last that ended."""
    return max(max(played.ended) - min(played.ready), 0.0)

"""Decides which goals of docs/balancing.md, section 14.1, the measures reach."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from bench.balancer.measures import Measures, geometric_mean, ratio

OURS: Final = "ours"
FIFO: Final = "fifo"
TRUE_STATISTICS: Final = "true-statistics"
SRPT: Final = "srpt"
YLEM: Final = "ylem-coded"
FLOOD: Final = "D9"
_FLOOD_MOST: Final = 0.25


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of ours to another policy's: how large it may be, all in all and at worst."""

    title: str
    of: Callable[[Measures], float]
    against: str
    geo_most: float
    worst_most: float


GOALS: Final = (
    Goal(
        title="fast p99 wait / central FIFO",
        of=lambda found: found.fast_p99,
        against=FIFO,
        geo_most=0.30,
        worst_most=1.0,
    ),
    Goal(
        title="fast p99 wait / Ylem as coded",
        of=lambda found: found.fast_p99,
        against=YLEM,
        geo_most=1 / 12,
        worst_most=1 / 4,
    ),
    Goal(
        title="mean slowdown / true statistics",
        of=lambda found: found.slowdown,
        against=TRUE_STATISTICS,
        geo_most=1.2,
        worst_most=1.4,
    ),
    Goal(
        title="mean slowdown / central FIFO",
        of=lambda found: found.slowdown,
        against=FIFO,
        geo_most=1 / 20,
        worst_most=1 / 5,
    ),
    Goal(
        title="slow mean wait / central FIFO",
        of=lambda found: found.slow_mean,
        against=FIFO,
        geo_most=1.3,
        worst_most=1.75,
    ),
    Goal(
        title="longest wait / true statistics",
        of=lambda found: found.longest,
        against=TRUE_STATISTICS,
        geo_most=1.15,
        worst_most=1.5,
    ),
    Goal(
        title="mean response / SRPT-k",
        of=lambda found: found.response,
        against=SRPT,
        geo_most=2.0,
        worst_most=4.0,
    ),
)


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """One goal as measured. `bound`: the same ratio of the bound with true statistics."""

    title: str
    geo: float
    geo_most: float
    worst: float
    worst_most: float
    worst_workload: str
    bound_geo: float | None = None
    bound_worst: float | None = None

    @property
    def reached(self) -> bool:
        """Whether both are small enough."""
        return self.geo <= self.geo_most and self.worst <= self.worst_most


def reached(found: Mapping[str, Mapping[str, Measures]]) -> list[Reached]:
    """Each goal whose policies were played. `found`: by policy and workload, means over seeds."""
    rows: list[Reached] = []
    if OURS not in found:
        return rows
    rows += [_row(goal, found) for goal in GOALS if goal.against in found]
    if FIFO in found and FLOOD in found[OURS]:
        rate = ratio(found[OURS][FLOOD].others_p99, found[FIFO][FLOOD].others_p99)
        rows.append(
            Reached(
                title="fast p99 wait of others in a flood / central FIFO",
                geo=rate,
                geo_most=_FLOOD_MOST,
                worst=rate,
                worst_most=_FLOOD_MOST,
                worst_workload=FLOOD,
            )
        )
    return rows


def _row(goal: Goal, found: Mapping[str, Mapping[str, Measures]]) -> Reached:
    workloads = list(found[OURS])
    ratios = _ratios(goal, found, OURS, workloads)
    worst = max(range(len(ratios)), key=ratios.__getitem__)
    bound: list[float] = []
    if TRUE_STATISTICS in found and goal.against != TRUE_STATISTICS:
        bound = _ratios(goal, found, TRUE_STATISTICS, workloads)
    return Reached(
        title=goal.title,
        geo=geometric_mean(ratios),
        geo_most=goal.geo_most,
        worst=ratios[worst],
        worst_most=goal.worst_most,
        worst_workload=workloads[worst],
        bound_geo=geometric_mean(bound) if bound else None,
        bound_worst=max(bound, default=None),
    )


def _ratios(
    goal: Goal,
    found: Mapping[str, Mapping[str, Measures]],
    policy: str,
    workloads: Sequence[str],
) -> list[float]:
    return [
        ratio(goal.of(found[policy][each]), goal.of(found[goal.against][each]))
        for each in workloads
    ]

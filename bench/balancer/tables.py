"""Owns how measures are printed: tables and plots of plain text."""

from collections.abc import Mapping, Sequence
from typing import Final

import plotext  # type: ignore[import-untyped]
from rich import box
from rich.console import Console
from rich.table import Table

from bench.balancer.goals import Reached
from bench.balancer.measures import Measures, geometric_mean

COLUMNS: Final = {
    "fast mean": "fast_mean",
    "p50": "fast_p50",
    "p95": "fast_p95",
    "p99": "fast_p99",
    "slow mean": "slow_mean",
    "slow p99": "slow_p99",
    "slowdown": "slowdown",
    "its p99": "slowdown_p99",
    "longest": "longest",
    "worst client": "worst_client",
    "Jain": "jain",
    "used": "utilisation",
}
_CONSOLE: Final = Console(color_system=None, width=170, highlight=False)
_LARGE: Final = 100.0
_PLOT_SIZE: Final = (100, 24)
_PLOT_LEAST_S: Final = 0.01


def show_by_workload(title: str, field: str, found: Mapping[str, Mapping[str, Measures]]) -> None:
    """One measure: a row for each policy, a column for each workload."""
    workloads = list(next(iter(found.values())))
    table = _table(title, ["policy", *workloads])
    for policy, of in found.items():
        table.add_row(policy, *(number(getattr(of[each], field)) for each in workloads))
    _CONSOLE.print(table)


def show_all(
    title: str,
    found: Mapping[str, Mapping[str, Measures]],
    cpu_us: Mapping[str, float] | None = None,
) -> None:
    """All measures, put together over workloads by their geometric mean."""
    costs = ["us/job", "jobs/s"] if cpu_us is not None else []
    table = _table(title, ["policy", *COLUMNS, *costs])
    for policy, of in found.items():
        cells = [
            number(geometric_mean(getattr(each, field) for each in of.values()))
            for field in COLUMNS.values()
        ]
        if cpu_us is not None:
            cost = max(cpu_us[policy], 1e-3)
            cells += [number(cost), f"{1e6 / cost:,.0f}"]
        table.add_row(policy, *cells)
    _CONSOLE.print(table)


def show_goals(rows: Sequence[Reached]) -> None:
    """The goals: what was measured, what is allowed, and what the bound itself would reach."""
    columns = ["ours / other", "geo", "goal", "bound", "worst", "goal", "bound", "in", "reached"]
    table = _table("Goals (ratios of means over seeds)", columns)
    for row in rows:
        table.add_row(
            row.title,
            *(number(each) for each in (row.geo, row.geo_most)),
            "" if row.bound_geo is None else number(row.bound_geo),
            *(number(each) for each in (row.worst, row.worst_most)),
            "" if row.bound_worst is None else number(row.bound_worst),
            row.worst_workload,
            "yes" if row.reached else "NO",
        )
    _CONSOLE.print(table)


def show_plot(title: str, waits: Mapping[str, Sequence[float]]) -> None:
    """By policy, the wait (log scale) that each per cent of the jobs does not exceed."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(*_PLOT_SIZE)
    plotext.title(f"{title}: seconds waited at most, by per cent of the jobs")
    plotext.yscale("log")
    for (policy, each), marker in zip(waits.items(), "abcdefghijklmnopqrstuvwxyz", strict=False):
        percents = [100 * (place + 1) / len(each) for place in range(len(each))]
        values = [max(wait, _PLOT_LEAST_S) for wait in each]
        plotext.plot(percents, values, label=policy, marker=marker)
    print(plotext.uncolorize(plotext.build()))


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.3g}"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table

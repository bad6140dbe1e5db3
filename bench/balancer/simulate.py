"""Plays workloads in virtual time: our policy's own code beside classical policies and bounds."""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from bench.balancer import goals, tables
from bench.balancer.central import play_by_length, play_fifo, play_srpt
from bench.balancer.classical import CLASSICAL, play_classical
from bench.balancer.measures import FAST_S, Measures, measured, over_seeds
from bench.balancer.recorded import recorded
from bench.balancer.workloads import FAMILIES, NOISY, Workload, workload
from control.core.balancer.policy import Policy
from control.core.simulation.simulator import play
from control.core.simulation.workload import Farm, Played, PlayedJob

WALLS: Final = "ours-lend-off"
TRUE_SIZES: Final = "true-sizes"
BOUNDS: Final = (goals.FIFO, goals.TRUE_STATISTICS, TRUE_SIZES, goals.SRPT)
POLICIES: Final = (*CLASSICAL, WALLS, goals.OURS, *BOUNDS)
_POINTS: Final = 200  # Of a plot.


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One workload, as every process can make it."""

    name: str
    seed: int
    jobs: int
    load: float
    farm: Farm
    history: Path | None = None


class PlayResult(msgspec.Struct, frozen=True, kw_only=True):
    """One workload played once. The waits are quantiles, for plots."""

    asked: Asked
    policy: str
    jobs: int
    cpu_s: float
    measures: Measures
    fast_waits: list[float]
    slow_waits: list[float]


def main(  # noqa: PLR0917 - each is an option of the command.
    workloads: Annotated[str, typer.Option(help="D1,D2…, or all.")] = "all",
    history: Annotated[
        Path | None, typer.Option(help="Play what `tpctl stats export` wrote instead.")
    ] = None,
    policies: Annotated[str, typer.Option(help="Some of: " + ", ".join(POLICIES))] = "all",
    load: Annotated[float, typer.Option(help="Share of the slots' time that is asked for.")] = 0.8,
    jobs: Annotated[int, typer.Option(help="Of each workload, about.")] = 20_000,
    seeds: Annotated[int, typer.Option(help="How many of each workload.")] = 3,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 1,
    workers: Annotated[int, typer.Option(help="Of the farm.")] = 10,
    slots: Annotated[int, typer.Option(help="Of each worker.")] = 2,
    processes: Annotated[int, typer.Option(help="Play so many at a time.")] = 2,
    plot: Annotated[bool, typer.Option("--plot", help="Show how waits are distributed.")] = False,
) -> None:
    """Waits in seconds, by policy and workload, and which goals ours reaches."""
    farm = Farm(slots=(slots,) * workers)
    chosen = _chosen(policies, POLICIES)
    if history is not None:
        asked = [Asked(name=history.name, seed=1, jobs=0, load=0, farm=farm, history=history)]
    else:
        asked = [
            Asked(name=name, seed=first_seed + number, jobs=jobs, load=load, farm=farm)
            for name in _chosen(workloads, tuple(FAMILIES))
            for number in range(seeds)
        ]
    begun = time.perf_counter()
    tasks = [(each, policy) for each in asked for policy in chosen]
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(played_once, tasks))
    passed_s = time.perf_counter() - begun
    _show(found, chosen, load, history is not None)
    if plot:
        _plot(found)
    played = sum(each.jobs for each in found)
    print(f"{played:,} jobs played in {passed_s:.1f} s by {processes} processes")


def played_once(task: tuple[Asked, str]) -> PlayResult:
    """Play one workload under one policy."""
    asked, policy = task
    made = _made(asked)
    begun = time.process_time()
    played = play_policy(policy, made, asked.seed)
    cpu_s = time.process_time() - begun
    waits = played.waits()
    fast = [job.seconds < FAST_S for job in made.jobs]
    return PlayResult(
        asked=asked,
        policy=policy,
        jobs=len(made.jobs),
        cpu_s=cpu_s,
        measures=measured(made.jobs, played, made.farm, but_client=NOISY),
        fast_waits=_points([wait for wait, each in zip(waits, fast, strict=True) if each]),
        slow_waits=_points([wait for wait, each in zip(waits, fast, strict=True) if not each]),
    )


@functools.lru_cache(maxsize=2)
def _made(asked: Asked) -> Workload:
    if asked.history is not None:
        return recorded(asked.history, asked.farm)
    return workload(asked.name, seed=asked.seed, jobs=asked.jobs, load=asked.load, farm=asked.farm)


def play_ours(jobs: Sequence[PlayedJob], farm: Farm, *, lend: bool = True) -> Played:
    """What becomes of the jobs under our own policy, with its defaults."""
    return play(jobs, farm, Policy(lend=lend))


def play_policy(policy: str, made: Workload, seed: int) -> Played:
    """What becomes of the workload under the policy of this name."""
    if policy in CLASSICAL:
        return play_classical(policy, made.jobs, made.farm, seed)
    match policy:
        case goals.FIFO:
            return play_fifo(made.jobs, made.farm)
        case goals.TRUE_STATISTICS:
            return play_by_length(made.jobs, made.farm, made.indexes)
        case "true-sizes":
            return play_by_length(made.jobs, made.farm, [job.seconds for job in made.jobs])
        case goals.SRPT:
            return play_srpt(made.jobs, made.farm)
        case _:
            return play_ours(made.jobs, made.farm, lend=policy == goals.OURS)


def _points(waits: list[float]) -> list[float]:
    waits.sort()
    return [waits[len(waits) * place // _POINTS] for place in range(_POINTS)] if waits else []


def _chosen(text: str, known: tuple[str, ...]) -> list[str]:
    if text == "all":
        return list(known)
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            message = f"{name} is none of {', '.join(known)}"
            raise typer.BadParameter(message)
    return chosen


def _show(
    found: Sequence[PlayResult], policies: Sequence[str], load: float, recorded: bool
) -> None:
    means: dict[str, dict[str, Measures]] = {}
    cpu_us: dict[str, float] = {}
    for policy in policies:
        of = [each for each in found if each.policy == policy]
        names = dict.fromkeys(each.asked.name for each in of)
        means[policy] = {
            name: over_seeds([each.measures for each in of if each.asked.name == name])
            for name in names
        }
        cpu_us[policy] = 1e6 * sum(each.cpu_s for each in of) / sum(each.jobs for each in of)
    about = "as recorded" if recorded else f"load {load:g}"
    tables.show_by_workload(f"Fast p99 wait, {about}", "fast_p99", means)
    tables.show_by_workload(f"Mean slowdown, {about}", "slowdown", means)
    tables.show_by_workload(f"Slow mean wait, {about}", "slow_mean", means)
    tables.show_all("All workloads (geometric means)", means, cpu_us)
    rows = goals.reached(means)
    if rows:
        tables.show_goals(rows)


def _plot(found: Sequence[PlayResult]) -> None:
    first: dict[str, list[PlayResult]] = {}
    for each in found:
        of = first.setdefault(each.asked.name, [])
        if each.asked.seed == found[0].asked.seed:
            of.append(each)
    for name, of in first.items():
        tables.show_plot(f"{name}, fast jobs", {each.policy: each.fast_waits for each in of})
        slow = {each.policy: each.slow_waits for each in of if each.slow_waits}
        if slow:
            tables.show_plot(f"{name}, slow jobs", slow)


if __name__ == "__main__":
    typer.run(main)
